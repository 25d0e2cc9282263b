"""Processes that outlive the command which started them, and ending exactly those.

A process is known by its id *and* the moment it started, so that an id which the kernel gave to somebody else is never
signalled; signals go through a pidfd, so that it cannot change hands in between. Nothing is ever ended by name.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.base import ClusterError
from tests.cluster.local.files import write_atomically

TAG = "SANDMOUNT_RUN"
"""Environment variable that all our processes carry, and those they start (shims): the value is our run folder."""

PROC = Path("/proc")
KILL_SECONDS = 60.0


@dataclass(frozen=True)
class Process:
    """A process of this boot: `started` is in clock ticks since the boot named by `boot`."""

    pid: int
    started: int
    boot: str

    def is_alive(self) -> bool:
        """True when this very process runs; a zombie does not."""
        reap(self.pid)
        return self == look(self.pid)

    def kill(self) -> None:
        """End it at once, and nobody else. Does not wait."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # Looked at only now: the descriptor keeps meaning the same process from here on.
            if self == look(self.pid):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(fd)


def boot_id() -> str:
    """Names this boot of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def parse_stat(stat: str) -> tuple[str, int]:
    """State letter and start time from /proc/PID/stat; the command in it may hold spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def look(pid: int) -> Process | None:
    """The process of that id, None when there is none that runs."""
    try:
        state, started = parse_stat((PROC / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else Process(pid, started, boot_id())


def reap(pid: int) -> None:
    """Collect a child of ours that has ended; others are collected by init."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def end_all(processes: Iterable[Process], seconds: float = KILL_SECONDS) -> None:
    """End them and wait until they are gone: only then are their ports, locks and mounts free."""
    waiting = list(processes)
    for process in waiting:
        process.kill()
    deadline = time.monotonic() + seconds
    while waiting := [process for process in waiting if process.is_alive()]:
        if time.monotonic() > deadline:
            raise ClusterError(f"Still there {seconds:g} s after SIGKILL: {', '.join(str(p.pid) for p in waiting)}")
        time.sleep(0.02)


def all_pids() -> Iterator[int]:
    """Ids of all processes."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def tagged(run: Path) -> list[Process]:
    """All that we started, or that what we started has started, even when its record was never written."""
    wanted = f"{TAG}={run}".encode()
    found = []
    for pid in all_pids():
        # First the identity, then the evidence: a process that is replaced in between does not match `kill`.
        process = look(pid)
        try:
            environ = (PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue
        if process is not None and wanted in environ.split(b"\0"):
            found.append(process)
    return found


def read_record(path: Path) -> Process | None:
    """The process that a record names, whether it lives or not; None when there is no usable record."""
    try:
        fields = json.loads(path.read_text())
        return Process(int(fields["pid"]), int(fields["started"]), str(fields["boot"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def spawn(argv: Sequence[str], *, env: Mapping[str, str], log: Path, record: Path) -> Process:
    """Start a process in a session of its own and write its record. Raises OSError when it cannot be started.

    Signals are held back meanwhile: an interrupt between the start and the record would leave a process without one.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        # `env` only changes the directory, and becomes the component: same id, same start time.
        pid = os.posix_spawn(
            "/usr/bin/env",
            ["env", "--chdir=/", *argv],
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
        )
        process = look(pid)
        if process is None:
            reap(pid)
            raise ClusterError(f"{argv[0]} ended at once; see {log}")
        write_atomically(record, json.dumps(asdict(process)))
        return process
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
