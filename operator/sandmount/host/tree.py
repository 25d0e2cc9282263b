"""A walk through a directory that tenants write to while it is walked, to find the links that lead out of it.

No link is ever followed by the kernel: every name is opened from the descriptor of the directory that holds it, links
are resolved here, and a link that leaves the root is not looked at further. The walk is bounded in every direction;
what it did not look at, it says.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

SHOWN = 20
"""Links, and directories that could not be read, that are named; all are counted."""

MAX_FILES = 1_000_000
"""Below one root, unless the caller says otherwise."""

MAX_DEPTH = 200
"""Directories inside one another; each takes two descriptors."""

_MAX_LINKS = 255
"""Links in the way of one path; with more, the kubelet gives up too."""

_STEPS_PER_FILE = 10
"""Names that resolving links may look up for each file that the walk may see."""

_PEEK = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW  # only Linux has O_PATH, and only nodes are looked at


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is looked at."""

    max_files: int = MAX_FILES
    """Files, directories and links below one root."""
    one_file_system: bool = False
    """Leave out what is mounted below the root."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What was found below a root."""

    files: int
    """Files, directories and links that were seen."""
    links_out: int = 0
    first_links_out: tuple[tuple[str, str], ...] = ()
    """Path below the root, and what stands in the link."""
    unread: int = 0
    """Directories that were not read."""
    first_unread: tuple[tuple[str, str], ...] = ()
    """Path below the root, and why."""
    complete: bool = True
    """False when there was more than the limits allow."""


def walk(root: str, descriptor: int, limits: Limits) -> Tree:
    """Looks at all below a root, a canonical path without links; ``descriptor`` is open on it."""
    return _Walk(root, descriptor, limits).tree()


class _Counted:
    """A path and words about it, many times: all are counted, the first few by path are kept."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[tuple[str, str]] = []

    def add(self, path: str, words: str) -> None:
        self.count += 1
        self._kept.append((path, words))
        if len(self._kept) > 50 * SHOWN:
            self._kept = sorted(self._kept)[:SHOWN]

    @property
    def first(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(self._kept)[:SHOWN])


class _EnoughError(Exception):
    """There is more to look at than the limits allow."""


class _Walk:
    def __init__(self, root: str, descriptor: int, limits: Limits) -> None:
        self._root = [part for part in root.split("/") if part]
        self._descriptor = descriptor
        self._limits = limits
        self._device = os.fstat(descriptor).st_dev
        self._files = self._steps = 0
        self._out = _Counted()
        self._unread = _Counted()

    def tree(self) -> Tree:
        complete = True
        try:
            self._directory(self._descriptor, ".", ())
        except _EnoughError:
            complete = False
        out, unread = self._out, self._unread
        return Tree(self._files, out.count, out.first, unread.count, unread.first, complete)

    def _directory(self, parent: int, name: str, parts: tuple[str, ...]) -> None:
        """A directory and what is below it; one that cannot be read is counted."""
        try:
            if len(parts) > MAX_DEPTH:
                raise OSError(f"it lies more than {MAX_DEPTH} directories deep")
            with _opened(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, parent) as here:
                if not self._limits.one_file_system or os.fstat(here).st_dev == self._device:
                    self._entries(here, parts)
        except FileNotFoundError:
            return  # somebody has just removed it
        except NotADirectoryError:
            self._link(parent, name, parts)  # or put something else in its place
        except OSError as error:
            self._unread.add("/".join(parts) or ".", error.strerror or str(error))

    def _entries(self, here: int, parts: tuple[str, ...]) -> None:
        with os.scandir(here) as entries:
            for entry in entries:
                self._files += 1
                if self._files > self._limits.max_files:
                    raise _EnoughError
                inner = (*parts, entry.name)
                if entry.is_symlink():
                    self._link(here, entry.name, inner)
                elif entry.is_dir(follow_symlinks=False):
                    self._directory(here, entry.name, inner)

    def _link(self, here: int, name: str, parts: tuple[str, ...]) -> None:
        try:
            target = os.readlink(name, dir_fd=here)
        except OSError:
            return  # it is no longer a link
        if self._leads_out([*self._root, *parts]):
            self._out.add("/".join(parts), target)

    def _leads_out(self, path: list[str]) -> bool:
        """Whether an absolute path, all links in it resolved, ends or passes outside of the root.

        A name that is not there is taken for a directory: a tenant may make it one.
        """
        ahead, links = deque(path), 0
        with _Way(self._root, self._descriptor) as way:
            while ahead:
                self._steps += 1
                if self._steps > _STEPS_PER_FILE * self._limits.max_files:
                    raise _EnoughError
                target = way.go(ahead.popleft())
                if way.is_outside:
                    return True
                if target is not None:
                    links += 1
                    if links > _MAX_LINKS:
                        return False
                    ahead.extendleft(reversed(target.split("/")))
            return way.is_above


class _Way:
    """A place at, above or below a root, reached name by name. Above the root there are no links: that was checked."""

    def __init__(self, root: list[str], descriptor: int) -> None:
        self._root = root
        self._descriptor = descriptor
        self._above: list[str] = []
        """The part of the root's path that has been gone; all of it below the root."""
        self._opened: list[int | None] = []
        """What is open below the root, name by name; None for what is not there."""
        self.is_outside = False

    def __enter__(self) -> "_Way":
        return self

    def __exit__(self, *_: object) -> None:
        self._close(0)

    @property
    def is_above(self) -> bool:
        """Whether it is above the root."""
        return len(self._above) < len(self._root)

    def go(self, name: str) -> str | None:
        """The next name of a path. For a link: what stands in it, the place then being the link's directory or /."""
        if name in ("", "."):
            return None
        if name == "..":
            self._up()
        elif self.is_above:
            self._above.append(name)
            self.is_outside = self._above != self._root[: len(self._above)]
        else:
            return self._down(name)
        return None

    def _up(self) -> None:
        if self._opened:
            self._close(len(self._opened) - 1)
        elif self._above:
            self._above.pop()

    def _down(self, name: str) -> str | None:
        parent = self._opened[-1] if self._opened else self._descriptor
        found = None if parent is None else _peeked(name, parent)
        self._opened.append(found)
        if found is None or not stat.S_ISLNK(os.fstat(found).st_mode):
            return None
        target = os.readlink("", dir_fd=found)
        self._up()
        if target.startswith("/"):
            self._close(0)
            self._above = []
        return target

    def _close(self, kept: int) -> None:
        while len(self._opened) > kept:
            descriptor = self._opened.pop()
            if descriptor is not None:
                os.close(descriptor)


def _peeked(name: str, parent: int) -> int | None:
    """A descriptor of whatever has this name, a link itself too; None where there is nothing that could be opened."""
    try:
        return os.open(name, _PEEK, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG):
            return None
        raise


@contextmanager
def _opened(name: str, flags: int, parent: int) -> Iterator[int]:
    with ExitStack() as stack:
        descriptor = os.open(name, flags, dir_fd=parent)
        stack.callback(os.close, descriptor)
        yield descriptor
