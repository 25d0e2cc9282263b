"""A tree that nothing inside a Sandbox may read or change, and what tells that something did.

Changes are seen on the host's own files: names, kinds, modes, owners, sizes, contents, link targets, extended
attributes, times. Reads are seen twice: every file's text and one file's name hold a word that occurs nowhere else, and
access times stand at zero, which the first read of a file or directory changes where the file system keeps such times.
"""

from __future__ import annotations

import hashlib
import os
import stat
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Facts = dict[str, dict[str, object]]
"""Path to what there is to see of it."""

SECRET = "secret.txt"  # noqa: S105 - a name
"""Name of a file that each directory of the canary has; a decoy has one of the same name."""


@dataclass(frozen=True)
class Canary:
    """A tree that Sandboxes could read and write if they ever got there."""

    path: Path
    word: str
    """Stands in the text of its files and in the name of one, and nowhere else."""

    @classmethod
    def plant(cls, path: Path, owner: int) -> Canary:
        """Make the tree. All that USER needs to read and change it, it has: only the mount stands before it."""
        canary = cls(path, f"canary-{uuid.uuid4().hex}")
        for folder in (path, path / "deeper", path / "deeper" / "deepest", path / "shut", path / "open"):
            folder.mkdir()
            (folder / SECRET).write_text(f"{canary.word}\n")
        (path / canary.word).write_text("its name is the secret\n")
        (path / "empty").mkdir()
        (path / "to-a-file").symlink_to(SECRET)
        (path / "to-nowhere").symlink_to("nowhere")
        os.mkfifo(path / "fifo")
        with suppress(OSError):  # not every file system has them
            os.setxattr(path / SECRET, "user.note", canary.word.encode())
        for each in [path, *path.rglob("*")]:
            os.chown(each, owner, owner, follow_symlinks=False)
        os.chmod(path / "shut" / SECRET, 0o600)  # noqa: PTH101 - next to its kind
        (path / "shut").chmod(0o700)
        (path / "open" / SECRET).chmod(0o666)
        (path / "open").chmod(0o777)
        if os.getuid() == 0:
            os.chown(path / "open", 0, 0)
        for each in [*path.rglob("*"), path]:
            os.utime(each, ns=(0, each.lstat().st_mtime_ns), follow_symlinks=False)
        return canary


def facts(top: Path, without: Collection[Path] = ()) -> Facts:
    """What there is at and below `top`, but not at or below the directories `without`."""
    return {str(path): _facts(path) for path in _walk(top, frozenset(without))}


def differences(before: Facts, after: Facts) -> list[str]:
    """What changed, a line each, with the path: new, gone, or which fact of it became what."""
    found = [f"gone: {path}" for path in before.keys() - after.keys()]
    found += [f"new: {path}: {after[path]['kind']}" for path in after.keys() - before.keys()]
    for path in before.keys() & after.keys():
        for fact, value in before[path].items():
            if after[path].get(fact) != value:
                found.append(f"changed: {path}: {fact} was {value}, is {after[path].get(fact)}")
    return sorted(found)


def _walk(path: Path, without: frozenset[Path]) -> Iterator[Path]:
    if path in without:
        return
    yield path
    if stat.S_ISDIR(path.lstat().st_mode):
        folder = _open_unnoticed(path)
        try:
            names = os.listdir(folder)  # noqa: PTH208 - of a descriptor
        finally:
            os.close(folder)
        for name in sorted(names):
            yield from _walk(path / name, without)


def _facts(path: Path) -> dict[str, object]:
    found = path.lstat()
    kind = stat.S_IFMT(found.st_mode)
    facts: dict[str, object] = {
        "kind": stat.filemode(found.st_mode)[0],
        "mode": oct(stat.S_IMODE(found.st_mode)),
        "owner": (found.st_uid, found.st_gid),
        "size": found.st_size,
        "links": found.st_nlink,
        "inode": (found.st_dev, found.st_ino),
        "device": found.st_rdev,
        "modified": found.st_mtime_ns,
        "status changed": found.st_ctime_ns,
        "attributes": {
            n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)
        },
    }
    if kind == stat.S_IFLNK:
        facts["target"] = os.readlink(path)  # noqa: PTH115 - as text; its access time changes by that
    else:
        facts["accessed"] = found.st_atime_ns
    if kind == stat.S_IFREG:
        facts["content"] = _digest(path)
    return facts


def _digest(path: Path) -> str:
    with os.fdopen(_open_unnoticed(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_unnoticed(path: Path) -> int:
    """A descriptor for reading that leaves the access time as it is."""
    return os.open(path, os.O_RDONLY | os.O_NOATIME | os.O_NOFOLLOW)
