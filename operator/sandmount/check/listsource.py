"""Where an allowlist is read from before it is in the cluster: a file with its ConfigMap, or the bare list. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandmount import listfile, paths
from sandmount.allowlist import Allowlist
from sandmount.check.documents import Document, Flaw, Node, plain, read
from sandmount.check.findings import Finding, Place
from sandmount.check.manifests import Object, invalid, objects
from sandmount.settings import EmptyAllowlist, Settings

MAX_TEXT = 1024 * 1024
"""Characters of a list; a ConfigMap holds no more."""

_VERSION = "file"


@dataclass(frozen=True, slots=True)
class ListSource:
    """An allowlist with the text that it was read from and where that text stands."""

    allowlist: Allowlist
    file: str
    text: str
    first_line: int
    """Line of the file on which the text begins."""
    literal: bool = True
    """Whether each line of the text is a line of the file."""
    is_live: bool = False
    """Whether it is the list in force, read from the cluster."""

    def place(self, line: int) -> Place:
        """Where a line of the text stands, the first being 1."""
        return Place(self.file, self.first_line + line - 1 if self.literal else self.first_line)


def from_file(file: str, data: bytes, settings: Settings) -> ListSource | tuple[Finding, ...]:
    """The allowlist in a file: a list or ``none``, or the ConfigMap that the settings name, among other objects too."""
    first = next(read(data), None)
    if isinstance(first, Flaw):
        return _unreadable(file, data, first, settings.empty_allowlist)
    if first is None or not _is_object(first.root):
        return _source(file, data.decode("utf-8-sig"), settings.empty_allowlist)
    found, findings = [], []
    for item in objects(file, data):
        if isinstance(item, Finding):
            findings.append(item)
        elif _is_ours(item, settings):
            found.append(item)
    if len(found) == 1 and not findings:
        return _from_object(found[0], settings.empty_allowlist)
    return tuple(findings) or (_not_one(file, found, settings),)


def from_cluster(config_map: Mapping[str, Any] | None, settings: Settings) -> ListSource:
    """The allowlist in force, as the API server sent it; None when there is no such ConfigMap."""
    text = ((config_map or {}).get("data") or {}).get(listfile.KEY) or ""
    file = f"configmap/{settings.namespace}/{settings.allowlist_name}"
    return ListSource(listfile.load(config_map, settings.empty_allowlist), file, text, first_line=1, is_live=True)


def item_nodes(source: ListSource) -> list[Node]:
    """The items as they are written, in order; none where the text is no list."""
    first = next(read(source.text.encode(errors="replace")), None)
    return first.root.value if isinstance(first, Document) and isinstance(first.root.value, list) else []


def _unreadable(file: str, data: bytes, flaw: Flaw, empty: EmptyAllowlist) -> ListSource | tuple[Finding, ...]:
    """What the operator would say of such a list, if it is one; it has only one sentence for all that is no YAML."""
    try:
        source = _source(file, data.decode("utf-8-sig"), empty) if len(data) <= MAX_TEXT else ()
    except UnicodeDecodeError:
        source = ()
    if isinstance(source, ListSource) and source.allowlist.unusable:
        return source
    return (invalid(Place(file, flaw.line), "Unreadable", flaw.problem),)


def _is_object(node: Node) -> bool:
    """Whether it is meant as a Kubernetes object, which a list is not."""
    return isinstance(node.value, dict) and bool(node.value.keys() & {"apiVersion", "kind"})


def _source(file: str, text: str, empty: EmptyAllowlist) -> ListSource | tuple[Finding, ...]:
    if len(text) > MAX_TEXT:
        return (_too_long(Place(file)),)
    return ListSource(listfile.parse(text, _VERSION, empty), file, text, first_line=1)


def _is_ours(item: Object, settings: Settings) -> bool:
    if (item.api_version, item.kind) != ("v1", "ConfigMap"):
        return False
    metadata = plain(item.node).get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") != settings.allowlist_name:
        return False
    return metadata.get("namespace") in (None, settings.namespace)


def _not_one(file: str, found: list[Object], settings: Settings) -> Finding:
    name = f"{paths.quoted(settings.allowlist_name)} for namespace {paths.quoted(settings.namespace)}"
    if found:
        return invalid(found[1].place(), "AllowlistMissing", f"is the second ConfigMap {name}; keep one")
    words = f"has no ConfigMap {name} and is no list of paths (options --allowlist-name and --operator-namespace)"
    return invalid(Place(file), "AllowlistMissing", words)


def _from_object(found: Object, empty: EmptyAllowlist) -> ListSource | tuple[Finding, ...]:
    if found.flaws:
        return tuple(invalid(Place(found.file, f.line), "UnclearYaml", f.problem) for f in found.flaws)
    raw = plain(found.node)
    data = raw.get("data")
    place = found.place("data", listfile.KEY)
    text = data.get(listfile.KEY) if isinstance(data, dict) else None
    if text is not None and not isinstance(text, str):
        words = f"data.{listfile.KEY}: a ConfigMap holds text; write | behind the key, and the list indented below it"
        return (invalid(place, "AllowlistNotText", words),)
    if text is not None and len(text) > MAX_TEXT:
        return (_too_long(place),)
    node = _value_node(found.node)
    literal = node is not None and node.literal
    stored = {
        "metadata": {"uid": _VERSION, "resourceVersion": "0"},
        "data": {} if text is None else {listfile.KEY: text},
    }
    return ListSource(listfile.load(stored, empty), found.file, text or "", place.line + literal, literal)


def _value_node(node: Node) -> Node | None:
    data = node.value.get("data") if isinstance(node.value, dict) else None
    return data.value.get(listfile.KEY) if data is not None and isinstance(data.value, dict) else None


def _too_long(place: Place) -> Finding:
    return invalid(place, "AllowlistTooLong", "has more than 1 MiB, which is more than a ConfigMap holds")
