"""The allowlist as an admin writes it: ConfigMap data, or YAML text, to an Allowlist.

Pure: no client, no file system, no clock. Whatever cannot be understood grants nothing and is reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, StrictBool, StrictStr, ValidationError

from sandmount import paths
from sandmount.allowlist import Allowlist, BadItem, Entry, overlap
from sandmount.api import Model
from sandmount.fields import LabelKey, LabelValue
from sandmount.settings import EmptyAllowlist

KEY = "allowed_host_paths"
"""The ConfigMap's key."""

_NAMESPACES = r"^(\*|[a-z0-9][-a-z0-9]{0,62}\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)\z"


class _Item(Model):
    """An item with attributes. ``path`` is looked at apart, so that a bad item's path can still decide."""

    model_config = ConfigDict(validate_by_name=False)  # one way to write each: an admin's list is no Python

    path: StrictStr
    read_only: StrictBool = False
    namespaces: Annotated[tuple[Annotated[StrictStr, Field(pattern=_NAMESPACES)], ...], Field(min_length=1)] = ()
    nodes: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    acknowledge_risk: StrictBool = False


def version_of(config_map: Mapping[str, Any] | None) -> str:
    """What tells the list in this ConfigMap from any other."""
    if config_map is None:
        return "absent"
    metadata = config_map["metadata"]
    return f"{metadata['uid']}/{metadata['resourceVersion']}"


def load(config_map: Mapping[str, Any] | None, empty: EmptyAllowlist) -> Allowlist:
    """The allowlist in a ConfigMap, as the API server sent it; None when there is no such ConfigMap."""
    version = version_of(config_map)
    if config_map is None:
        return Allowlist(version, unusable=("AllowlistMissing", "the cluster has no allowlist ConfigMap"))
    text = (config_map.get("data") or {}).get(KEY)
    if text is None:
        return Allowlist(version, unusable=("AllowlistKeyMissing", f"the allowlist ConfigMap has no key {KEY}"))
    return parse(text, version, empty)


def parse(text: str, version: str, empty: EmptyAllowlist) -> Allowlist:
    """The allowlist in a YAML text."""
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with less
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        ArithmeticError,
        RecursionError,
        TypeError,
        AttributeError,
    ) as error:
        return Allowlist(version, unusable=("AllowlistUnreadable", f"the allowlist is not valid YAML{_place(error)}"))
    if value == "none":
        return Allowlist(version)
    if not isinstance(value, list):
        found = "nothing" if value is None else f"a {_kind(value)}"
        return Allowlist(
            version,
            unusable=(
                "AllowlistNotAList",
                f"the allowlist must be a YAML list of paths, [] or none; found {found}",
            ),
        )
    if not value:
        return Allowlist(version, allows_all=empty is EmptyAllowlist.ALLOW)
    return _from_items(value, version)


class _Loader(yaml.SafeLoader):
    """YAML without aliases, tags and keys that stand twice: a list of paths needs none of them.

    A few aliases can grow without bound, a tag can make what looks like the empty list of something else, and of two
    equal keys only the last would count.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed here")
        if getattr(self.peek_event(), "tag", None):  # type: ignore[no-untyped-call]
            raise yaml.YAMLError("tags are not allowed here")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) != len(node.value):
            mark = node.start_mark
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", mark)
        return found


def _from_items(items: Sequence[object], version: str) -> Allowlist:
    """Sorts items into entries and bad items."""
    entries: list[Entry] = []
    bad: list[BadItem] = []
    for position, item in enumerate(items, start=1):
        found = _read_item(position, item)
        if isinstance(found, BadItem):
            bad.append(found)
        else:
            entries.append(found)
    unlike, repeated = _unlike(entries)
    mistaken = [*_competing(unlike), *_nested(unlike)]
    wrong = {b.position for b in mistaken}
    return Allowlist(
        version,
        entries=tuple(e for e in unlike if e.position not in wrong),
        bad_items=tuple(sorted({b.position: b for b in (*mistaken, *bad)}.values(), key=lambda b: b.position)),
        repeated=repeated,
    )


def _unlike(entries: Sequence[Entry]) -> tuple[list[Entry], tuple[str, ...]]:
    """The entries without those that say once more what another has said, and the paths of those."""
    kept: dict[str, list[Entry]] = {}
    repeated: dict[str, None] = {}
    for entry in entries:
        same_root = kept.setdefault(entry.root, [])
        if any(entry.same_but_for_place(e) for e in same_root):
            repeated[entry.root] = None
        else:
            same_root.append(entry)
    return sorted((e for same in kept.values() for e in same), key=lambda e: e.position), tuple(repeated)


def _competing(entries: Sequence[Entry]) -> Iterator[BadItem]:
    """Entries of a path that an earlier one has for the same namespaces: which of the two decides would be a guess."""
    earlier: dict[str, list[Entry]] = {}
    for entry in entries:
        for other in earlier.get(entry.root, ()):
            if common := overlap(entry, other):
                problem = (
                    f"{paths.quoted(entry.root)} stands in item {other.position} too, and both are for namespaces "
                    f'"{common}"; give them namespaces that do not overlap, or remove one'
                )
                yield BadItem(entry.position, problem, entry.root)
                break
        earlier.setdefault(entry.root, []).append(entry)


def _nested(entries: Sequence[Entry]) -> Iterator[BadItem]:
    """Entries whose root lies inside that of a writable one."""
    writable = {e.root: e for e in reversed(entries) if not e.read_only}
    for entry in entries:
        outer = next((r for r in paths.upwards(entry.root) if r != entry.root and r in writable), None)
        if outer is not None:
            problem = (
                f"{paths.quoted(entry.root)} lies inside item {writable[outer].position}, {paths.quoted(outer)}: "
                "who may write there could replace it by a link; remove one of the two, or make the outer one readOnly"
            )
            yield BadItem(entry.position, problem, entry.root)


def _read_item(position: int, item: object) -> Entry | BadItem:
    if isinstance(item, str):
        return _entry(position, _Item(path=item))
    if not isinstance(item, dict):
        words = f"is a {_kind(item)}; write a plain path such as /data/shared, or a mapping with path"
        return BadItem(position, words)
    try:
        return _entry(position, _Item.model_validate(item))
    except ValidationError as error:
        named = item.get("path", next(iter(item), None))  # or "/data:", by mistake
        problems = [_problem(e["loc"], e["type"], e["msg"]) for e in error.errors(include_url=False)[:4]]
        return BadItem(position, "; ".join(problems), paths.meant(named) if isinstance(named, str) else None)


def _entry(position: int, item: _Item) -> Entry | BadItem:
    """The entry, if its root is one that may be on the list."""
    root = paths.without_trailing_slash(item.path)
    if problem := paths.problem_with_absolute(root):
        return BadItem(position, problem, paths.meant(item.path))
    if root == "/":
        return BadItem(position, "/ is the whole host; name the directories that are needed", root)
    critical = paths.host_critical(root)
    if critical and not item.acknowledge_risk:
        problem = (
            f"{paths.quoted(root)} gives access to {critical}, which the node depends on; choose another directory, or "
            "set acknowledgeRisk: true"
        )
        return BadItem(position, problem, root)
    return Entry(
        root=root,
        position=position,
        read_only=item.read_only,
        namespaces=() if "*" in item.namespaces else tuple(dict.fromkeys(item.namespaces)),
        nodes=tuple(sorted(item.nodes.items())),
        acknowledge_risk=item.acknowledge_risk,
    )


_NOT_AN_ATTRIBUTE = "is not an attribute; write path, readOnly, namespaces, nodes or acknowledgeRisk"
_WORDS = {
    "extra_forbidden": _NOT_AN_ATTRIBUTE,
    "invalid_key": _NOT_AN_ATTRIBUTE,
    "missing": "is required",
    "bool_type": "must be true or false",
    "string_type": "must be text; put it in quotes",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "too_short": "must not be empty; leave it out for all",
}
_PATTERNS = {
    "namespaces": 'is not a namespace; write a name, or the beginning of names and * ("ci-*")',
    "nodes": 'is not a label; write one as in a nodeSelector (has-data: "true")',
}


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    """What is wrong with one attribute, named as it is written."""
    field = ".".join(paths.quoted(str(part))[1:-1] for part in location if part != "[key]")
    words = _PATTERNS.get(str(location[0])) if kind == "string_pattern_mismatch" else _WORDS.get(kind)
    return f"{field}: {words or message}"


def _kind(value: object) -> str:
    """The YAML name of a value's type. Never the value itself: an alias can make a small text print as gigabytes."""
    names = {dict: "mapping", list: "list", str: "text", bool: "boolean", int: "number", float: "number"}
    return "null" if value is None else names.get(type(value), "value of another type")


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
