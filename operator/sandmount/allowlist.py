"""The allowlist, and its decision on one volume: a Grant or a Denial.

Pure: no client, no file system, no clock. How a list is read is in listfile.py. A bad item still decides for the path
it names, so that a typo never lets a wider entry grant instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandmount import paths
from sandmount.api import Volume

_SHOWN = 10  # roots that a denial lists before it says how many more there are

Labels = tuple[tuple[str, str], ...]
"""Labels as pairs of key and value, sorted."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item of the list: the directories at and below ``root`` may be mounted."""

    root: str
    position: int
    """Its place in the list, the first being 1."""
    read_only: bool = False
    """Whether only volumes that are read-only may use it."""
    namespaces: tuple[str, ...] = ()
    """Exact names, or the beginning of names followed by ``*``; empty for all namespaces."""
    nodes: Labels = ()
    """Labels of the nodes that hold the root."""
    acknowledge_risk: bool = False
    """Whether an admin meant it although the node depends on the directory."""

    def serves(self, namespace: str) -> bool:
        """Whether Sandboxes of this namespace may use it."""
        return not self.namespaces or any(matches(p, namespace) for p in self.namespaces)

    def same_but_for_place(self, other: "Entry") -> bool:
        """Whether both say the same, wherever they stand."""
        return (
            (self.root, self.read_only, self.nodes) == (other.root, other.read_only, other.nodes)
            and set(self.namespaces) == set(other.namespaces)
            and self.acknowledge_risk == other.acknowledge_risk
        )


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
    nodes: Labels = ()
    """Labels that a node must have to hold it."""


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
    """Paths that stand more than once and say the same; without effect, and reported."""
    allows_all: bool = False
    unusable: tuple[str, str] | None = None
    """Reason and sentence, when the list as a whole could not be read; it then denies everything."""
    _at: Mapping[str, tuple[Entry, ...]] = field(init=False, repr=False, compare=False)
    _bad_paths: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at: dict[str, tuple[Entry, ...]] = {}
        for entry in self.entries:
            at[entry.root] = (*at.get(entry.root, ()), entry)
        object.__setattr__(self, "_at", at)
        object.__setattr__(self, "_bad_paths", frozenset(b.path for b in self.bad_items if b.path is not None))

    @property
    def firm(self) -> bool:
        """Whether a grant that is lost may stop what is running: a list with mistakes must not be an outage."""
        return self.unusable is None and not self.bad_items

    def decide(self, namespace: str, volume: Volume) -> Grant | Denial | None:
        """A grant or a denial for a host volume; None for other volumes, which the allowlist does not concern.

        ``host.path``, and ``host.path`` with ``subPath``, must both be granted; the root is the former's.
        """
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
        whole = paths.join(path, sub_path)
        outer, inner = self._deciding(namespace, path), self._deciding(namespace, whole)
        if outer is None or inner is None:
            return self._not_listed(namespace, volume, whole if outer else path)
        if not volume.read_only and (outer.read_only or inner.read_only):
            return self._not_writable(namespace, volume, path if outer.read_only else whole)
        nodes = tuple(sorted({*outer.nodes, *inner.nodes}))
        rest = paths.join(paths.below(path, outer.root), sub_path)
        return Grant(volume.name, outer.root, rest, volume.read_only, nodes)

    def read_by_others(self, namespace: str, grant: Grant) -> Entry | None:
        """An entry through which another namespace is meant to read what this grant may write; None without one.

        A writable entry for all namespaces is no such promise: nobody is named, and nobody is kept from writing.
        """
        place = paths.join(grant.root, grant.sub_path)
        for entry in self.entries:
            others = any(p != namespace for p in entry.namespaces) or (entry.read_only and not entry.namespaces)
            if others and (paths.is_within(entry.root, place) or paths.is_within(place, entry.root)):
                return entry
        return None

    def _deciding(self, namespace: str, path: str) -> Entry | None:
        """The entry that grants ``path``. None where no root holds it, where a bad item stands at the longest one, and
        where the longest one is for other namespaces."""
        for root in paths.upwards(path):
            if root in self._bad_paths:
                return None
            if root in self._at:
                return next((e for e in self._at[root] if e.serves(namespace)), None)
        return None

    def _not_listed(self, namespace: str, volume: Volume, path: str) -> Denial:
        why = self._why_not(namespace, path)
        words = f'volume "{volume.name}": {_field(volume, path)} "{path}" {why}; {self._allowed_in(namespace)}'
        return Denial(volume.name, path, "HostPathNotAllowed", words)

    def _not_writable(self, namespace: str, volume: Volume, path: str) -> Denial:
        words = (
            f'volume "{volume.name}": {_field(volume, path)} "{path}" is read-only here: set readOnly: true on the '
            f"volume; {self._allowed_in(namespace)}"
        )
        return Denial(volume.name, path, "HostPathReadOnly", words)

    def _why_not(self, namespace: str, path: str) -> str:
        holding = [b for b in self.bad_items if b.path and paths.is_within(path, b.path)]
        if bad := max(holding, key=lambda b: len(b.path or ""), default=None):
            return f"lies in the allowlist's item {bad.position}, which is not valid"
        around = [e.root for e in self.entries if e.serves(namespace) and paths.is_within(path, e.root)]
        if around:
            return f'is excepted from "{max(around, key=len)}" in namespace "{namespace}"'
        return "is not on the allowlist"

    def _allowed_in(self, namespace: str) -> str:
        """What a namespace may mount; entries of other namespaces are nobody else's business."""
        allowed = [f'"{e.root}"' + (" (read-only)" if e.read_only else "") for e in self.entries if e.serves(namespace)]
        if not allowed:
            return "no host path is allowed here"
        more = f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else ""
        return f"allowed here: at or below {', '.join(allowed[:_SHOWN])}{more}"


def matches(pattern: str, namespace: str) -> bool:
    """Whether a namespace is the one that is named, or begins as a pattern with ``*`` at its end says."""
    return namespace.startswith(pattern[:-1]) if pattern.endswith("*") else namespace == pattern


def overlap(one: Entry, other: Entry) -> str | None:
    """The narrowest pattern or name whose namespaces both entries serve; None when they share none."""
    for a in one.namespaces or ("*",):
        for b in other.namespaces or ("*",):
            if matches(a, b.removesuffix("*")) or matches(b, a.removesuffix("*")):
                return max(a, b, key=lambda p: (len(p.removesuffix("*")), not p.endswith("*")))
    return None


def _field(volume: Volume, path: str) -> str:
    return "host.path" if volume.host and path == volume.host.path else "host.path with subPath"
