"""The allowlist: ConfigMap data to an Allowlist, and an Allowlist's decision on one volume: a Grant or a Denial.

Pure: no client, no file system, no clock. Whatever cannot be understood grants nothing, and a bad item still decides
for the path it names, so that a typo never lets a wider entry grant instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from sandmount import paths
from sandmount.api import Volume
from sandmount.settings import EmptyAllowlist

KEY = "allowed_host_paths"
"""The ConfigMap's key."""

_SHOWN = 10  # roots that a denial lists before it says how many more there are


@dataclass(frozen=True, slots=True)
class Entry:
    """An item of the list: the directories at and below ``root`` may be mounted."""

    root: str


@dataclass(frozen=True, slots=True)
class BadItem:
    """An item that grants nothing. Where its path can be read, it decides for that path: deny."""

    position: int
    """Its place in the list, the first being 1."""
    problem: str
    path: str | None = None

    def __str__(self) -> str:
        return f"item {self.position}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Grant:
    """One volume's way through an entry: the Pod mounts ``root`` with ``sub_path`` as the kubelet's subPath."""

    volume: str
    root: str
    sub_path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a volume may not be mounted: a CamelCase reason and a sentence that says what would be allowed."""

    volume: str
    path: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Allowlist:
    """A loaded list. ``version`` tells two loads apart; equal versions decide equally."""

    version: str
    entries: tuple[Entry, ...] = ()
    bad_items: tuple[BadItem, ...] = ()
    repeated: tuple[str, ...] = ()
    """Paths that stand more than once; without effect, and reported."""
    allows_all: bool = False
    unusable: tuple[str, str] | None = None
    """Reason and sentence, when the list as a whole could not be read; it then denies everything."""
    _roots: frozenset[str] = field(init=False, repr=False)
    _bad_paths: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_roots", frozenset(e.root for e in self.entries))
        object.__setattr__(self, "_bad_paths", frozenset(b.path for b in self.bad_items if b.path is not None))

    @property
    def firm(self) -> bool:
        """Whether a grant that is lost may stop what is running: a list with mistakes must not be an outage."""
        return self.unusable is None and not self.bad_items

    def decide(self, namespace: str, volume: Volume) -> Grant | Denial | None:
        """A grant or a denial for a host volume; None for other volumes, which the allowlist does not concern."""
        if volume.host is None:
            return None
        path, sub_path = volume.host.path, volume.sub_path or ""
        if self.unusable is not None:
            reason, sentence = self.unusable
            return Denial(
                volume.name, path, reason, f'volume "{volume.name}": host.path "{path}" is denied: {sentence}'
            )
        if self.allows_all:
            return Grant(volume.name, path, sub_path, volume.read_only)
        root = self._granting_root(path)
        if root is None or self._granting_root(paths.join(path, sub_path)) is None:
            return self._denial(volume, paths.join(path, sub_path) if root else path)
        return Grant(volume.name, root, paths.join(paths.below(path, root), sub_path), volume.read_only)

    def _granting_root(self, path: str) -> str | None:
        """The longest root that holds ``path``; None when there is none or when a bad item stands there."""
        for root in paths.upwards(path):
            if root in self._bad_paths:
                return None
            if root in self._roots:
                return root
        return None

    def _denial(self, volume: Volume, path: str) -> Denial:
        where = "host.path" if volume.host and path == volume.host.path else "host.path with subPath"
        allowed = [f'"{e.root}"' for e in self.entries]
        shown = ", ".join(allowed[:_SHOWN]) + (f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else "")
        holding = [b for b in self.bad_items if b.path and paths.is_within(path, b.path)]
        bad = max(holding, key=lambda b: len(b.path or ""), default=None)
        why = f"lies in the allowlist's item {bad.position}, which is not valid" if bad else "is not on the allowlist"
        return Denial(
            volume.name,
            path,
            "HostPathNotAllowed",
            f'volume "{volume.name}": {where} "{path}" {why}; '
            + (f"allowed here: at or below {shown}" if shown else "no host path is allowed here"),
        )


def load(config_map: Mapping[str, Any] | None, empty: EmptyAllowlist) -> Allowlist:
    """The allowlist in a ConfigMap, as the API server sent it; None when there is no such ConfigMap."""
    if config_map is None:
        return Allowlist("absent", unusable=("AllowlistMissing", "the cluster has no allowlist ConfigMap"))
    metadata = config_map["metadata"]
    version = f"{metadata['uid']}/{metadata['resourceVersion']}"
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
    """YAML without aliases and tags: a list of paths needs neither.

    A few aliases can grow without bound, and a tag can make what looks like the empty list of something else.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed here")
        if getattr(self.peek_event(), "tag", None):  # type: ignore[no-untyped-call]
            raise yaml.YAMLError("tags are not allowed here")
        return super().compose_node(parent, index)


def _from_items(items: Sequence[object], version: str) -> Allowlist:
    """Sorts items into entries and bad items. A nested root is bad; the one that holds it stands."""
    roots: dict[str, int] = {}
    bad: list[BadItem] = []
    repeated: list[str] = []
    for position, item in enumerate(items, start=1):
        found = _read_item(position, item)
        if isinstance(found, BadItem):
            bad.append(found)
        elif found in roots:
            repeated.append(found)
        else:
            roots[found] = position
    for root, position in roots.items():
        outer = next((r for r in paths.upwards(root) if r != root and r in roots), None)
        if outer is not None:
            problem = (
                f"{paths.quoted(root)} lies inside item {roots[outer]}, {paths.quoted(outer)}: "
                "who may write there could replace it by a link; remove one of the two"
            )
            bad.append(BadItem(position, problem, root))
    nested = {b.path for b in bad}
    bad.sort(key=lambda b: b.position)
    return Allowlist(
        version,
        entries=tuple(Entry(r) for r in roots if r not in nested),
        bad_items=tuple(bad),
        repeated=tuple(dict.fromkeys(repeated)),
    )


def _read_item(position: int, item: object) -> str | BadItem:
    """The root that an item names, or why it is bad."""
    if not isinstance(item, str):
        named = item.get("path", next(iter(item), None)) if isinstance(item, dict) else None  # or "/data:", by mistake
        words = f"is a {_kind(item)}; write a plain path such as /data/shared"
        return BadItem(position, words, paths.meant(named) if isinstance(named, str) else None)
    root = paths.without_trailing_slash(item)
    if problem := paths.problem_with_absolute(root):
        return BadItem(position, problem, paths.meant(item))
    if root == "/":
        return BadItem(position, "/ is the whole host; name the directories that are needed", root)
    if critical := paths.host_critical(root):
        return BadItem(position, f"{paths.quoted(root)} gives access to {critical}, which the node depends on", root)
    return root


def _kind(value: object) -> str:
    """The YAML name of a value's type. Never the value itself: an alias can make a small text print as gigabytes."""
    names = {dict: "mapping", list: "list", str: "text", bool: "boolean", int: "number", float: "number"}
    return "null" if value is None else names.get(type(value), "value of another type")


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
