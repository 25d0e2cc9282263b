"""What processes have used of the machine, with their children, from /proc."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from tests.scale.process import TICKS

PROC = Path("/proc")
SAMPLE_SECONDS = 0.1
QUIET_SECONDS = 1.5
BUSY_SHARE = 0.15
"""Share of one processor from which on a sample counts as busy: two ticks of the kernel's clock."""


def tree(pid: int) -> list[int]:
    """The process and all that descend from it. Whoever ends meanwhile is left out."""
    found, waiting = [], [pid]
    while waiting:
        found.append(one := waiting.pop())
        for task in _listed(PROC / str(one) / "task"):
            waiting += [int(child) for child in _text(task / "children").split()]
    return found


def ticks_in(stat: str) -> int:
    """Clock ticks in /proc/PID/stat: its own and those of children that it has waited for."""
    return sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its descendants since each was started."""
    stats = (_text(PROC / str(one) / "stat") for one in tree(pid))
    return sum(ticks_in(stat) for stat in stats if stat) / TICKS


def all_busy_seconds() -> float:
    """Processor time of all processes of the machine since it was started, without idling and waiting for disks."""
    return busy_in(_text(PROC / "stat"))


def busy_in(stat: str) -> float:
    """That, from the text of /proc/stat."""
    user, nice, system, _, _, irq, softirq, *_ = (int(field) for field in stat.partition("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / TICKS


def memory_in(status: str, field: str) -> float:
    """A field of /proc/PID/status in MiB: VmRSS is now, VmHWM the peak. 0 when it is not there."""
    lines = (line.split() for line in status.splitlines() if line.startswith(f"{field}:"))
    return next((int(words[1]) / 1024 for words in lines), 0.0)


def memory_mib(pid: int, field: str) -> float:
    """Memory of a process and its descendants."""
    return sum(memory_in(_text(PROC / str(one) / "status"), field) for one in tree(pid))


def reset_peak(pid: int) -> None:
    """Let VmHWM begin anew at what is resident now."""
    for one in tree(pid):
        (PROC / str(one) / "clear_refs").write_text("5")


async def last_busy(pid: int, seconds: float) -> float:
    """Wait until it has done next to nothing for QUIET_SECONDS. Returns when it was busy last, by time.monotonic."""
    begun = busy = time.monotonic()
    used = cpu_seconds(pid)
    while (now := time.monotonic()) - busy < QUIET_SECONDS:
        if now - begun > seconds:
            raise TimeoutError(f"process {pid} is still busy after {seconds:g} s")
        await asyncio.sleep(SAMPLE_SECONDS)
        after, at = cpu_seconds(pid), time.monotonic()
        if (after - used) / (at - now) >= BUSY_SHARE:
            busy = at
        used = after
    return busy


def _listed(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return ()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
