"""The attacker of a race: exchanges directories and links without a pause, with a Sandbox's own user id.

A process of the host does what a process in a container may do with the same files, only faster: one system call,
renameat2 with RENAME_EXCHANGE, so that each name is always there and is now the one thing and now the other.
"""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import c_char_p, c_int, c_uint
from pathlib import Path

from tests.cluster import ClusterError

RENAME_EXCHANGE = 2
LINK = ".link"
"""What the name of a link ends with that is exchanged with the name before it."""

MISSING = "missing"
"""The directory in which the kubelet finds nothing: what it makes there is moved to TRASH now and then."""
TRASH = "trash"
TURN = 500
"""Exchanges of every name before the trash is seen to and the count is told."""

_FORK = multiprocessing.get_context("fork")
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def exchanging(folder: Path, names: Sequence[str], user: int) -> Iterator[Exchanges]:
    """While inside, each of the names in the folder is exchanged with its link, over and over."""
    running = Exchanges(folder, names, user)
    running.process.start()
    try:
        yield running
    finally:
        alive = running.process.is_alive()
        running.process.terminate()
        running.process.join()
    if not alive:
        raise ClusterError(f"the process that exchanges {', '.join(names)} ended by itself")


class Exchanges:
    """A process that exchanges names with links, and how often it did."""

    def __init__(self, folder: Path, names: Sequence[str], user: int) -> None:
        self._done = _FORK.Value("Q", 0)
        self.process = _FORK.Process(target=self._run, args=(folder, names, user), daemon=True)

    @property
    def done(self) -> int:
        """How many exchanges there have been."""
        return int(self._done.value)

    def _run(self, folder: Path, names: Sequence[str], user: int) -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        missing = os.open(folder / MISSING, os.O_RDONLY | os.O_DIRECTORY)
        pairs = [(name.encode(), (name + LINK).encode()) for name in names]
        for turn in itertools.count():
            for _ in range(TURN):
                for one, other in pairs:
                    exchange(here, one, other)
            self._done.value += TURN * len(pairs)
            for each in os.listdir(missing):  # noqa: PTH208 - of a descriptor
                with suppress(PermissionError):  # the kubelet has made it and not yet opened it to all: next time
                    os.rename(each, f"{TRASH}/{turn}-{each}", src_dir_fd=missing, dst_dir_fd=here)


def exchange(folder: int, one: bytes, other: bytes) -> None:
    """Exchange two names in the directory with that descriptor. Raises OSError."""
    if _renameat2(folder, one, folder, other, RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), f"renameat2 of {one!r} and {other!r}")


_renameat2 = _libc.renameat2
_renameat2.argtypes = [c_int, c_char_p, c_int, c_char_p, c_uint]
