"""A Report as lines for people, and as JSON. Pure."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sandmount import paths
from sandmount.allowlist import Denial, Grant
from sandmount.check.findings import Finding, Level, Place, exit_code, printable
from sandmount.check.sandboxes import Checked, Decided, Report


def to_text(report: Report) -> str:
    """A line for every volume and every finding, each with its place first, and a summary."""
    lines = [line for checked in report.sandboxes for line in _granted(checked)]
    lines += [(f.place, _finding_words(f)) for f in report.findings]
    files = report.files
    lines.sort(key=lambda line: (files[line[0].file], line[0].line))
    shown = [printable(f"{place.file}:{place.line}: {words}") for place, words in lines]
    return "\n".join([*shown, _summary(report)]) + "\n"


def to_json(report: Report) -> str:
    """The whole report; docs/check.md says what is in it."""
    whole = {
        "sandboxes": [_sandbox(s) for s in report.sandboxes],
        "findings": [_finding(f) for f in report.findings],
        "otherObjects": report.others,
        "exitCode": exit_code(report.findings),
    }
    return json.dumps(whole, indent=2) + "\n"


def _granted(checked: Checked) -> Iterator[tuple[Place, str]]:
    """What is allowed about a Sandbox."""
    if not checked.volumes and checked.judgement.allowed:
        yield checked.place, f"allowed: {checked.about}: it mounts no host directory"
    for volume in checked.volumes:
        if isinstance(volume.decision, Grant):
            yield volume.place, f"granted: {checked.about}: {_grant_words(volume.decision)}"


def _grant_words(grant: Grant) -> str:
    words = [f'volume "{grant.volume}": root {paths.quoted(grant.root)}']
    if grant.sub_path:
        words.append(f"subPath {paths.quoted(grant.sub_path)}")
    words.append("read-only" if grant.read_only else "writable")
    if grant.nodes:
        words.append("on nodes with " + ",".join(f"{k}={v}" for k, v in grant.nodes))
    return ", ".join(words)


def _finding_words(finding: Finding) -> str:
    if not finding.about:
        return f"{finding.level}: {finding.rule}: {finding.message}"
    word = "denied" if finding.level is Level.ERROR else finding.level
    return f"{word}: {finding.about}: {finding.rule}: {finding.message}"


def _summary(report: Report) -> str:
    parts = []
    if report.sandboxes or report.others:
        allowed = sum(s.judgement.allowed for s in report.sandboxes)
        parts.append(f"{_number(len(report.sandboxes), 'Sandbox', 'Sandboxes')}, {allowed} allowed")
    if report.others:
        parts.append(f"{_number(report.others, 'object', 'objects')} of other kinds not looked at")
    counts = Counter(f.level for f in report.findings)
    plurals = {level: level if level is Level.INVALID else f"{level}s" for level in Level}
    found = [_number(counts[level], level, plurals[level]) for level in Level if counts[level]]
    return "; ".join([*parts, ", ".join(found) or "nothing is wrong"])


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _sandbox(checked: Checked) -> dict[str, Any]:
    judgement = checked.judgement
    refusal = judgement.refusal
    return {
        "file": checked.place.file,
        "line": checked.place.line,
        "namespace": judgement.namespace,
        "name": judgement.name,
        "allowed": judgement.allowed,
        "problems": list(judgement.problems),
        "refusal": {"reason": refusal.reason, "message": refusal.message} if refusal else None,
        "volumes": [_volume(v) for v in checked.volumes],
        "warnings": list(judgement.warnings),
    }


def _volume(volume: Decided) -> dict[str, Any]:
    decision = volume.decision
    common = {"name": decision.volume, "line": volume.place.line}
    if isinstance(decision, Denial):
        said = {"path": decision.path, "reason": decision.reason, "message": decision.message}
        return common | {"decision": "denied"} | said
    granted = {"root": decision.root, "subPath": decision.sub_path, "readOnly": decision.read_only}
    return common | {"decision": "granted"} | granted | {"nodes": dict(decision.nodes)}


def _finding(finding: Finding) -> dict[str, Any]:
    about = {"sandbox": finding.about} if finding.about else {}
    return {
        "file": finding.place.file,
        "line": finding.place.line,
        "level": finding.level,
        "rule": finding.rule,
        "message": finding.message,
        **about,
    }
