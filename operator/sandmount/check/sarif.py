"""A Report as SARIF 2.1.0, which code hosts show as annotations beside the lines. Pure."""

import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from sandmount import __version__
from sandmount.check.findings import Finding, Level, exit_code

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Level.INVALID: "error", Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "note"}

RULES = {
    "AllowlistAllowsAll": "The allowlist is empty and allows every path.",
    "AllowlistBadItem": "An item of the allowlist grants nothing.",
    "AllowlistKeyMissing": "The allowlist's ConfigMap has no key with the list.",
    "AllowlistMissing": "There is no allowlist.",
    "AllowlistNotAList": "The allowlist is neither a list nor none.",
    "AllowlistNotText": "The allowlist's key holds something else than text.",
    "AllowlistRepeatedItem": "An item of the allowlist says what an earlier one says.",
    "AllowlistTooLong": "The allowlist is longer than a ConfigMap can be.",
    "AllowlistUnreadable": "The allowlist is not valid YAML.",
    "AncestorWritable": "Somebody but root can write a directory above a root.",
    "HostPathNotAllowed": "A host path is not on the allowlist.",
    "HostPathReadOnly": "A host path may only be mounted read-only.",
    "InvalidObject": "The API server would refuse this object.",
    "InvalidSpec": "The spec of a Sandbox is not valid.",
    "LinkLeadsOut": "A link below a root leads out of it.",
    "MountFlags": "What a root is mounted with.",
    "MountUnknown": "It is not known what a root is mounted with.",
    "NestedByMount": "A mount puts a root inside a writable one.",
    "NestedRoot": "A root lies inside a read-only one.",
    "NoObjects": "A file holds no objects.",
    "NotAnObject": "Something is not a Kubernetes object.",
    "NotLookedAt": "A part of a root was not looked at.",
    "OwnersUnknown": "The owners of directories cannot be told from here.",
    "ReadOnlyAndWritable": "A path is read-only for some namespaces and writable for others.",
    "ReadableThroughOuter": "A root can be read through the one around it by namespaces that it is not for.",
    "RiskyRoot": "A root gives access to what the node depends on.",
    "RootLookedAt": "What was found below a root.",
    "RootMissing": "A root does not exist on this node.",
    "RootNotReal": "A root is not a directory of its own.",
    "RuntimeClassNotAllowed": "The operator's settings do not allow this RuntimeClass.",
    "SandboxWarning": "A Sandbox is allowed and still worth a thought.",
    "SecretRefNotAllowed": "The operator's settings do not allow Secrets as environment variables.",
    "Submount": "Something is mounted below a root.",
    "UnclearYaml": "Tools read this YAML differently.",
    "UnknownVersion": "There is no such version or kind of Sandbox.",
    "UnneededAcknowledgeRisk": "acknowledgeRisk stands where it is not needed.",
    "Unreadable": "A file cannot be read.",
    "WritableEverywhere": "A root can be written from every namespace.",
}
"""What each rule is about. The ids are the operator's reasons, and reasons of the same kind for what it never sees."""


def to_sarif(findings: Iterable[Finding], folder: PurePosixPath) -> str:
    """The findings as a SARIF log; paths become relative to ``folder``, where the command runs."""
    found = list(findings)
    rules = sorted({f.rule for f in found})
    driver = {
        "name": "sandmount",
        "version": __version__,
        "rules": [
            {"id": rule, "shortDescription": {"text": RULES.get(rule, "A reason of the operator.")}} for rule in rules
        ],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": exit_code(found) != 2}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(f, rules.index(f.rule), folder) for f in found],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(finding: Finding, rule: int, folder: PurePosixPath) -> dict[str, Any]:
    about = f"{finding.about}: " if finding.about else ""
    place = {
        "artifactLocation": {"uri": _uri(finding.place.file, folder)},
        "region": {"startLine": finding.place.line},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": _LEVELS[finding.level],
        "message": {"text": about + finding.message},
        "locations": [{"physicalLocation": place}],
    }


def _uri(file: str, folder: PurePosixPath) -> str:
    """A relative reference where the file lies below the folder, as code hosts need it."""
    path = PurePosixPath(file)
    if path.is_absolute() and not path.is_relative_to(folder):
        return "file://" + quote(str(path), errors="surrogateescape")
    relative = path.relative_to(folder) if path.is_absolute() else path
    return quote(str(relative), errors="surrogateescape")
