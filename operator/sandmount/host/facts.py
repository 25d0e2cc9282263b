"""What the node's file system has at the roots of an allowlist: facts only, hostcheck.py says what they mean."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandmount import paths
from sandmount.host import mountinfo
from sandmount.host.mountinfo import Mount
from sandmount.host.tree import Limits, Tree, walk

_PEEK = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW  # only Linux has O_PATH, and only nodes are looked at
_WHOLE_RANGE = ["0", "0", "4294967295"]


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A directory above a root."""

    path: str
    owner: int
    mode: int
    """Permission bits. With a POSIX ACL, the group's are its mask: without w there, no entry of it can write."""


@dataclass(frozen=True, slots=True)
class RootFacts:
    """What was found at one root. ``tree`` is None when the root is no directory, or cannot be looked at."""

    root: str
    ancestors: tuple[Ancestor, ...] = ()
    """From / down, as far as they are there."""
    trouble: str | None = None
    """Why the root is not a directory that can be looked at, as words behind its path."""
    missing: bool = False
    """Whether there is nothing at all."""
    mount: Mount | None = None
    """The mount that the root lies in."""
    submounts: tuple[Mount, ...] = ()
    tree: Tree | None = None


def look(root: str, limits: Limits) -> RootFacts:
    """The facts about a root, a canonical absolute path. No link is followed, on the way to the root or below it."""
    ancestors: list[Ancestor] = []
    with _descriptors() as opened:
        here, path = opened.add("/", None), ""
        for name in root.strip("/").split("/"):
            ancestors.append(_ancestor(path or "/", here))
            path = f"{path}/{name}"
            try:
                inner = opened.add(name, here)
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                words = "there is no such directory" if missing else f"it cannot be looked at: {error.strerror}"
                return RootFacts(root, tuple(ancestors), _about(path, root, words), missing)
            if trouble := _not_a_directory(inner):
                return RootFacts(root, tuple(ancestors), _about(path, root, trouble))
            here = inner
        mounts = _mounts()
        return RootFacts(
            root,
            tuple(ancestors),
            mount=next((m for m in mounts if m.number == _mount_number(here)), None),
            submounts=tuple(mountinfo.below(mounts, root)),
            tree=walk(root, here, limits),
        )


def in_user_namespace() -> bool:
    """Whether user 0 of this process need not be the root user of the node, or it cannot be told."""
    try:
        return Path("/proc/self/uid_map").read_text().split() != _WHOLE_RANGE
    except OSError:
        return not Path("/proc/self").exists()  # a kernel without user namespaces, or a place without /proc


class _Descriptors:
    def __init__(self) -> None:
        self._open: list[int] = []

    def add(self, name: str, parent: int | None) -> int:
        """Opens a name without following it; raises OSError."""
        self._open.append(os.open(name, _PEEK, dir_fd=parent))
        return self._open[-1]

    def close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)


@contextmanager
def _descriptors() -> Iterator[_Descriptors]:
    opened = _Descriptors()
    try:
        yield opened
    finally:
        opened.close()


def _ancestor(path: str, descriptor: int) -> Ancestor:
    found = os.fstat(descriptor)
    return Ancestor(path, found.st_uid, stat.S_IMODE(found.st_mode))


def _not_a_directory(descriptor: int) -> str | None:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISLNK(mode):
        return (
            f'it is a link to "{os.readlink("", dir_fd=descriptor)}", which the kubelet follows; write where it leads'
        )
    return None if stat.S_ISDIR(mode) else "it is not a directory"


def _about(path: str, root: str, words: str) -> str:
    return words if path == root else f"{paths.quoted(path)}: {words}"


def _mounts() -> tuple[Mount, ...]:
    try:
        return mountinfo.parse(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return ()


def _mount_number(descriptor: int) -> int:
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    except OSError:
        return -1
    return next((int(line.split()[1]) for line in lines if line.startswith("mnt_id:")), -1)
