"""The objects in a manifest's text: its Sandboxes, and the ConfigMap with the allowlist. Pure.

What kubectl or the API server would refuse, and what cannot be told apart safely, becomes a Finding of level INVALID.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandmount import paths
from sandmount.api import API_VERSION, GROUP, KIND
from sandmount.check.documents import Document, Flaw, Node, line_of, plain, read
from sandmount.check.findings import Finding, Level, Place

_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SHOWN = 8
"""Fields that do not belong there and are told of."""
_FIELDS = {"apiVersion", "kind", "metadata", "spec", "status"}
_GENERATED = "xxxxx"
"""Stands for the five characters that the API server puts behind a generateName."""


@dataclass(frozen=True, slots=True)
class Object:
    """A Kubernetes object of any kind."""

    file: str
    node: Node
    api_version: str
    kind: str
    flaws: tuple[Flaw, ...]
    """Those of its document."""

    def place(self, *path: str | int) -> Place:
        """Where a field stands, or the last thing on the way to it that is there."""
        return Place(self.file, line_of(self.node, path))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A Sandbox as somebody wrote it; ``raw`` is what the API server would store of it."""

    object: Object
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a text holds, for whom Sandboxes matter."""

    sandboxes: tuple[Manifest, ...]
    findings: tuple[Finding, ...]
    others: int
    """Objects of other kinds."""


def invalid(place: Place, rule: str, message: str) -> Finding:
    """A finding that makes the exit code 2."""
    return Finding(place, Level.INVALID, rule, message)


def is_namespace(text: str) -> bool:
    """Whether a namespace can have this name."""
    return _fits(_NAMESPACE, text, 63)


def objects(file: str, data: bytes) -> Iterator[Object | Finding]:
    """The objects in a text, those in lists too, and what is none."""
    for found in read(data):
        if isinstance(found, Document):
            yield from _flat(file, found, found.root, "", "")
        else:
            yield invalid(Place(file, found.line), "Unreadable", found.problem)


def contents(file: str, data: bytes, namespace: str) -> Contents:
    """The Sandboxes in a text; ``namespace`` is that of those which name none."""
    sandboxes: list[Manifest] = []
    findings: list[Finding] = []
    others = 0
    told: tuple[Flaw, ...] = ()
    for found in objects(file, data):
        if isinstance(found, Finding):
            findings.append(found)
        elif problem := _not_served(found):
            findings.append(invalid(found.place("apiVersion"), "UnknownVersion", problem))
        elif found.api_version != API_VERSION:
            others += 1
        else:
            sandboxes.append(Manifest(found, _as_stored(found.node, namespace)))
            findings += _problems(found)
            if found.flaws is not told:  # once for all objects of a document
                findings += [invalid(Place(file, f.line), "UnclearYaml", f.problem) for f in found.flaws]
                told = found.flaws
    if not (sandboxes or findings or others):
        findings.append(invalid(Place(file), "NoObjects", "holds no objects; is it empty, or the pipe before it?"))
    return Contents(tuple(sandboxes), tuple(findings), others)


def _flat(file: str, document: Document, node: Node, api_version: str, kind: str) -> Iterator[Object | Finding]:
    """An object, or the items of a list. Those of a typed list need not repeat its version and kind."""
    if not isinstance(node.value, dict):
        yield invalid(Place(file, node.line), "NotAnObject", "is not a Kubernetes object; write apiVersion, kind, ...")
        return
    api_version, kind = _text(node, "apiVersion") or api_version, _text(node, "kind") or kind
    if not kind or not api_version:
        missing = "apiVersion" if kind else "kind"
        yield invalid(Place(file, node.line), "NotAnObject", f"is not a Kubernetes object: it has no {missing}")
        return
    items = node.value.get("items")
    if kind.endswith("List") and items is not None and isinstance(items.value, list):
        typed = ("", "") if kind == "List" else (api_version, kind.removesuffix("List"))
        for item in items.value:
            yield from _flat(file, document, item, *typed)
        return
    yield Object(file, node, api_version, kind, document.flaws)


def _text(node: Node, key: str) -> str:
    found = node.value.get(key) if isinstance(node.value, dict) else None
    return found.value if found is not None and isinstance(found.value, str) else ""


def _not_served(found: Object) -> str | None:
    """Why the API server would not know what this is, though it is meant for us."""
    group = found.api_version.partition("/")[0]
    if group != GROUP or (found.api_version == API_VERSION and found.kind == KIND):
        return None
    return (
        f"there is no {paths.quoted(found.kind)} in {paths.quoted(found.api_version)}; "
        f"write apiVersion: {API_VERSION} and kind: {KIND}"
    )


def _problems(found: Object) -> Iterator[Finding]:
    """What is wrong with a Sandbox around its spec."""
    raw = plain(found.node)
    for key in sorted(raw.keys() - _FIELDS)[:_SHOWN]:
        yield invalid(
            found.place(key), "InvalidObject", f"{paths.quoted(key)[1:-1]}: is not a field of a Sandbox; remove it"
        )
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict):
        yield invalid(found.place("metadata"), "InvalidObject", "metadata: must be a mapping with a name")
        return
    name, prefix, namespace = (metadata.get(k) for k in ("name", "generateName", "namespace"))
    if not _fits(_NAME, f"{prefix}{_GENERATED}" if not name and isinstance(prefix, str) else name, 253):
        words = "metadata.name: must be lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
        yield invalid(found.place("metadata", "name"), "InvalidObject", words)
    if namespace and not (isinstance(namespace, str) and is_namespace(namespace)):
        words = "metadata.namespace: must be the name of a namespace: lower-case letters, digits and '-'"
        yield invalid(found.place("metadata", "namespace"), "InvalidObject", words)


def _fits(pattern: re.Pattern[str], value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and pattern.fullmatch(value) is not None


def _as_stored(node: Node, namespace: str) -> dict[str, Any]:
    """With a namespace and a name, and without the nulls that the API server drops, such as an empty ``env:``."""
    raw: dict[str, Any] = _without_nulls(plain(node))
    metadata = raw.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, Mapping) else {}
    metadata["namespace"] = metadata.get("namespace") or namespace  # an empty one counts as none
    if not metadata.get("name") and isinstance(metadata.get("generateName"), str):
        metadata["name"] = metadata["generateName"] + _GENERATED
    return raw | {"metadata": metadata}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
