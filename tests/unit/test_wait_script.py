"""examples/wait-for-sandbox.sh: its exit codes, beside a kubectl that says what it is told."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.installation import REPOSITORY

SCRIPT = REPOSITORY / "examples" / "wait-for-sandbox.sh"


def wait(folder: Path, conditions: str, *args: str, kubectl: str = "exit 0") -> subprocess.CompletedProcess[str]:
    """Run it beside a kubectl that prints these conditions, then ends as ``kubectl`` says."""
    fake = folder / "kubectl"
    fake.write_text(f"#!/bin/sh\necho '{conditions} '\n{kubectl}\n")
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run([SCRIPT, *args], env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("wanted", "conditions", "code"),
    [
        ("Ready", "Ready=True VolumesAllowed=True", 0),
        ("Ready", "Finished=True,Completed", 0),
        ("Finished", "Finished=True,Completed", 0),
        ("Ready", "Ready=False Stalled=True VolumesAllowed=False", 1),
        ("Finished", "Ready=False Stalled=True", 1),
        ("Ready", "Paused=True", 1),
        ("Ready", "Finished=True,Expired", 1),
        ("Finished", "Finished=True,Expired", 1),
        ("Finished", "Ready=True", 2),
        ("Ready", "Ready=False Reconciling=True", 2),
        ("Ready", "", 2),
    ],
)
def test_the_exit_code_says_how_it_is(wanted: str, conditions: str, code: int, tmp_path: Path) -> None:
    done = wait(tmp_path, conditions, "training", wanted, "0", "-n", "team-a")
    assert done.returncode == code
    assert done.stdout.startswith("training: ")


def test_a_kubectl_that_fails_and_a_wrong_call_are_told_apart_from_a_sandbox_that_does(tmp_path: Path) -> None:
    assert wait(tmp_path, "", "training", "Ready", "0", kubectl="exit 1").returncode == 3
    assert wait(tmp_path, "", "training").returncode == 3


@pytest.mark.parametrize("args", [("ready", "2"), ("Ready", "60s"), ("Ready", ""), ("", "2"), ("Ready", "-1")])
def test_a_wrong_word_or_time_is_a_wrong_call(args: tuple[str, str], tmp_path: Path) -> None:
    assert wait(tmp_path, "Ready=True", "training", *args).returncode == 3


def test_a_message_does_not_write_to_the_terminal(tmp_path: Path) -> None:
    said = "\\033]0;title\\007\\033[2J\\302\\233 \\\\033[31m"
    done = wait(tmp_path, "Stalled=True", "training", "Ready", "0", kubectl=f"printf '{said}'; exit 0")
    assert done.stdout.startswith("training: ") and done.stdout.endswith("\n")
    assert done.stdout.rstrip("\n").isprintable()
