"""Mounts below a folder, and removing a folder without ever reaching through a mount.

A Pod's subPath is a bind mount of somebody's host directory below the kubelet's folder: a deletion that walked through
it would delete their data, and a check by device number would not notice (same filesystem, same number). So every
deletion reads the kernel's list of mounts first, and refuses while it names anything below.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.cluster.base import ClusterError

MOUNTINFO = Path("/proc/self/mountinfo")
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
ROUNDS = 5


def mount_points(mountinfo: str) -> list[Path]:
    """Mount points in the order in which they were made; the kernel's octal escapes are undone."""
    points = []
    for line in mountinfo.splitlines():
        raw = line.split(" ")[4]
        text = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), raw)
        # The kernel removed this directory while it was mounted; the mount itself is still at the path before it.
        points.append(Path(text.removesuffix("//deleted")))
    return points


def below(points: Iterable[Path], folder: Path) -> list[Path]:
    """Those at or below the folder, to be unmounted in this order: the last made and the deepest first."""
    inside = [(len(point.parts), index, point) for index, point in enumerate(points) if point.is_relative_to(folder)]
    return [point for _, _, point in sorted(inside, key=lambda item: (-item[0], -item[1]))]


def mounts_below(folder: Path, mountinfo: Path = MOUNTINFO) -> list[Path]:
    """The same, of this machine right now."""
    return below(mount_points(mountinfo.read_text()), folder.resolve())


def filesystem_of(folder: Path) -> str:
    """Type of the filesystem that the folder is on, such as `ext4` or `overlay`."""
    best, kind = -1, ""
    for line, point in zip(lines := MOUNTINFO.read_text().splitlines(), mount_points("\n".join(lines)), strict=True):
        if folder.resolve().is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), line.split(" - ", 1)[1].split(" ")[0]
    return kind


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below the folder. Raises ClusterError when something stays."""
    for _ in range(ROUNDS):
        points = mounts_below(folder)
        if not points:
            return
        for point in points:
            unmount(point)
    raise ClusterError(f"Still mounted below {folder}: {', '.join(map(str, mounts_below(folder)))}")


def unmount(point: Path) -> None:
    """Detach one mount. An error is not raised: the caller looks at the list of mounts again, which is what counts."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.umount2(os.fsencode(point), MNT_DETACH | UMOUNT_NOFOLLOW)


def remove_folder(folder: Path, mountinfo: Path = MOUNTINFO) -> None:
    """Delete a folder with all that is in it. Refuses, with nothing deleted, while anything is mounted below.

    shutil.rmtree does not follow symbolic links (it works by file descriptors); what it would follow is a mount.
    """
    if not folder.exists():
        return
    if points := mounts_below(folder, mountinfo):
        raise ClusterError(f"Not deleted, because of mounts below it: {folder} ({', '.join(map(str, points))})")
    if not shutil.rmtree.avoids_symlink_attacks:
        raise ClusterError(f"Not deleted: {folder}. This Python cannot delete a folder safely.")
    # On another device there is a mount that the list did not show us, whatever the reason: better to stop.
    refuse_other_devices(folder)
    shutil.rmtree(folder)


def refuse_other_devices(folder: Path) -> None:
    """Raise ClusterError when a folder below is on another filesystem than the folder itself."""
    device = folder.lstat().st_dev
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.lstat().st_dev != device:
                raise ClusterError(f"Not deleted: {folder}. Another filesystem appears at {path}.")
