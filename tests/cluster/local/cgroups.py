"""The cgroup below which all Pods of the local cluster are, in every hierarchy (v1, v2 and both at once).

Only the cluster's own cgroup is ever created, read or removed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.cluster.base import ClusterError
from tests.cluster.local.mounts import MOUNTINFO
from tests.cluster.local.processes import Process, end_all, look

NEEDED = ("cpuset", "cpu", "memory", "pids", "io", "hugetlb")  # what the kubelet insists on, where there is any
REMOVE_SECONDS = 10.0


def hierarchies(mountinfo: str) -> list[tuple[Path, bool]]:
    """Mount points of cgroup hierarchies, each with whether it is version 2."""
    found = []
    for line in mountinfo.splitlines():
        kind = line.split(" - ", 1)[1].split(" ")[0]
        if kind in ("cgroup", "cgroup2"):
            found.append((Path(line.split(" ")[4]), kind == "cgroup2"))
    return found


def folders(name: str) -> list[Path]:
    """The cgroup's folder in each hierarchy, whether it is there or not."""
    return [root / name for root, _ in hierarchies(MOUNTINFO.read_text())]


def create(name: str) -> None:
    """Make the cgroup everywhere. The kubelet does not make its own root."""
    found = hierarchies(MOUNTINFO.read_text())
    if not found:
        raise ClusterError("No cgroup filesystem is mounted below /sys/fs/cgroup: the kubelet cannot run here.")
    for root, is_v2 in found:
        folder = root / name
        folder.mkdir(exist_ok=True)
        if is_v2:
            delegate(root)
            delegate(folder)
        elif (cpus := folder / "cpuset.cpus").exists():
            copy_cpuset(root, cpus)


def copy_cpuset(root: Path, cpus: Path) -> None:
    """Give a new v1 cpuset the processors and memory of its parent; it starts with none."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        target = cpus.with_name(name)
        if not target.read_text().strip():
            target.write_text((root / name).read_text())


def delegate(folder: Path) -> None:
    """Let the children of a v2 cgroup use its controllers."""
    offered = (folder / "cgroup.controllers").read_text().split()
    for controller in NEEDED:
        if controller in offered:
            try:
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                raise ClusterError(
                    f"The cgroup {folder} cannot hand the {controller} controller to Pods ({error.strerror}). In a "
                    "container, give it a cgroup namespace of its own, with no process in its root."
                ) from error


def members(name: str) -> list[Process]:
    """All processes in the cgroup: the containers of Pods."""
    found = {}
    for folder in folders(name):
        for below in deepest_first(folder):
            try:
                pids = [int(pid) for pid in (below / "cgroup.procs").read_text().split()]
            except OSError:
                continue  # the cgroup went away, or is a threaded one: its processes are listed elsewhere too
            found.update({pid: process for pid in pids if (process := look(pid)) is not None})
    return list(found.values())


def deepest_first(folder: Path) -> list[Path]:
    """A cgroup and those below it; none when it is not there. Some may go while this looks: os.walk does not mind."""
    return [Path(path) for path, _, _ in os.walk(folder, topdown=False)]


def remove(name: str) -> None:
    """End what runs in the cgroup, then remove it, deepest folder first."""
    end_all(members(name))
    deadline = time.monotonic() + REMOVE_SECONDS
    while left := [folder for folder in folders(name) if not remove_tree(folder)]:
        if time.monotonic() > deadline:
            raise ClusterError(f"These cgroups cannot be removed: {', '.join(map(str, left))}")
        time.sleep(0.05)


def remove_tree(folder: Path) -> bool:
    """Remove a cgroup and those below. True when it is gone; the kernel needs a moment after the last process."""
    for path in deepest_first(folder):
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
