"""A process is known by more than its id."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.local.processes import TAG, Process, end_all, look, parse_stat, read_record, spawn, tagged

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def start(tmp_path: Path) -> Process:
    """A process that waits."""
    environ = {"PATH": os.environ["PATH"], TAG: str(tmp_path)}
    return spawn(["sleep", "60"], env=environ, log=tmp_path / "log", record=tmp_path / "record.json")


def test_a_command_name_with_brackets_does_not_confuse() -> None:
    stat = "42 (a) R (b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1000 1"
    assert parse_stat(stat) == ("S", 987654)


def test_a_started_process_has_a_record_a_session_and_our_tag(tmp_path: Path) -> None:
    process = start(tmp_path)
    try:
        assert read_record(tmp_path / "record.json") == process
        assert process.is_alive()
        assert os.getsid(process.pid) == process.pid
        deadline = time.monotonic() + 5
        while process not in tagged(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tagged(tmp_path) == [process]
        assert tagged(tmp_path / "other") == []
    finally:
        end_all([process])
    assert not process.is_alive()
    assert tagged(tmp_path) == []


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "an earlier one"}])
def test_a_recycled_id_is_neither_alive_nor_killed(change: dict[str, object]) -> None:
    with subprocess.Popen(["sleep", "60"]) as somebody:
        real = look(somebody.pid)
        assert real is not None
        stale = replace(real, **change)  # type: ignore[arg-type]
        assert not stale.is_alive()
        end_all([stale])
        assert somebody.poll() is None
        somebody.kill()


def test_a_dead_child_is_not_alive_before_it_is_collected() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        process = look(child.pid)
        assert process is not None
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert look(child.pid) is None


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1}', "[]", '{"pid": "x", "started": 1, "boot": "b"}'])
def test_a_broken_record_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    assert read_record(tmp_path / "record.json") is None
    assert read_record(tmp_path / "none.json") is None
