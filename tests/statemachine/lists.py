"""The allowlists that the machine sets and what each grants: written down here, and not asked of the operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.support import Json

ONE, TWO, OPEN = "/srv/states/one", "/srv/states/two", "/srv/states/read-only"
INNER = f"{ONE}/inner"
PATHS = (ONE, f"{ONE}/work", f"{INNER}/work", f"{TWO}/work", f"{OPEN}/work", "/srv/states/never/work")
"""What volumes are made of; the last one is on no list but the one that allows everything."""
USUAL = PATHS[1:4]


@dataclass(frozen=True)
class Mount:
    """What a Pod has of the host through one volume."""

    volume: str
    root: str
    below: str
    read_only: bool


@dataclass(frozen=True)
class Wanted:
    """A host volume that a spec asks for."""

    name: str
    path: str
    read_only: bool


@dataclass(frozen=True)
class Listing:
    """One state of the allowlist. ``data`` is the ConfigMap's; None: there is no ConfigMap."""

    name: str
    data: Json | None
    roots: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    """Those of the roots that only read-only volumes may use."""
    everything: bool = False
    lenient: bool = False
    """Whether what runs stays: the list has mistakes in it."""
    unusable: str = ""
    """The reason with which it denies everything."""

    def decide(self, wanted: Wanted) -> Mount | str:
        """The mount that is granted, or the reason of the denial."""
        if self.unusable:
            return self.unusable
        if self.everything:
            return Mount(wanted.name, wanted.path, "", wanted.read_only)
        root = max((r for r in self.roots if is_within(wanted.path, r)), key=len, default=None)
        if root is None:
            return "HostPathNotAllowed"
        if root in self.read_only and not wanted.read_only:
            return "HostPathReadOnly"
        return Mount(wanted.name, root, wanted.path[len(root) :].strip("/"), wanted.read_only)

    def grants(self, mounts: Iterable[Mount]) -> bool:
        """Whether all that a Pod has of the host could have been granted by this list."""
        return all(self.decide(Wanted(m.volume, place(m), m.read_only)) == m for m in mounts)


def is_within(path: str, root: str) -> bool:
    """Whether a directory is another one, or below it."""
    return f"{path}/".startswith(f"{root}/")


def place(mount: Mount) -> str:
    """The directory of the host that a mount shows."""
    return f"{mount.root}/{mount.below}".rstrip("/")


def _listing(name: str, text: str, *roots: str, read_only: tuple[str, ...] = (), lenient: bool = False) -> Listing:
    return Listing(name, {"allowed_host_paths": text}, roots, read_only, lenient=lenient)


def _unusable(name: str, data: Json | None, reason: str) -> Listing:
    return Listing(name, data, lenient=True, unusable=reason)


WIDE = _listing("wide", f"- {ONE}\n- {TWO}\n- {{path: {OPEN}, readOnly: true}}\n", ONE, TWO, OPEN, read_only=(OPEN,))
LISTS = (
    WIDE,
    _listing("only one", f"- {ONE}\n", ONE),
    _listing("only two", f"- {TWO}\n", TWO),
    _listing("inner", f"- {INNER}\n- {TWO}\n", INNER, TWO),
    _listing("read-only", f"- {{path: {ONE}, readOnly: true}}\n- {TWO}\n", ONE, TWO, read_only=(ONE,)),
    _listing("none", "none"),
    _listing("bad item", f"- {ONE}\n- not/absolute\n", ONE, lenient=True),
    _listing("bad item at two", f"- {ONE}\n- {{path: {TWO}, readOnly: maybe}}\n", ONE, lenient=True),
    Listing("everything", {"allowed_host_paths": "[]"}, everything=True),
    _unusable("no ConfigMap", None, "AllowlistMissing"),
    _unusable("no key", {"other": "x"}, "AllowlistKeyMissing"),
    _unusable("not YAML", {"allowed_host_paths": "- [\n"}, "AllowlistUnreadable"),
    _unusable("a scalar", {"allowed_host_paths": "yes please"}, "AllowlistNotAList"),
)
