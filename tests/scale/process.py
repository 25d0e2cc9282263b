"""What a process has used of the machine, from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
IDLE_SHARE = 0.05
"""Share of one processor below which a process counts as idle."""


def cpu_seconds(pid: int) -> float:
    """Processor time since it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid: int) -> float:
    """Memory that it has now, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def wait_until_idle(pid: int, seconds: float) -> float:
    """Wait for a second in which it did next to nothing. Returns its processor time up to then."""

    def idle() -> float | None:
        before = cpu_seconds(pid)
        time.sleep(1)
        after = cpu_seconds(pid)
        return after if after - before < IDLE_SHARE else None

    return wait_until(f"process {pid} is idle", idle, seconds)
