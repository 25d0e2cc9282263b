"""What a shell is told that completes a word, as kubectl asks for it and as click does; kubectl is a script here."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandmount.people.completion import candidates
from tests.support.programs import put_programs

COMMANDS = ["ls", "paths", "shell", "why"]
PATIENCE = 15.0
"""Seconds that a busy machine may take, and less than a kubectl that hangs would."""

Typed = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], COMMANDS),
        ([""], COMMANDS),
        (["w"], ["why"]),
        (["x"], []),
        (["-"], ["--version", "-h", "--help"]),
        (["ls", "--all"], ["--all-namespaces"]),
        (["ls", "-A", "--n"], ["--namespace"]),
        (["paths", "--empty-allowlist", ""], ["allow", "deny"]),
        (["paths", "--empty-allowlist=d"], ["deny"]),
        (["why", "-n", ""], []),
        (["why", "training", ""], []),
        (["why", "--unknown", ""], []),
        (["why", "--", "-"], []),
        (["unknown", "w"], ["why"]),
    ],
)
def test_commands_options_and_their_values_are_completed(words: list[str], expected: list[str]) -> None:
    assert [line.partition("\t")[0] for line in candidates(words)] == expected


def test_a_candidate_stands_before_a_tab_and_what_it_means() -> None:
    assert candidates(["l"]) == ["ls\tList Sandboxes."]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with Sandmount's programs, and nothing else on the PATH but what a shell has."""
    put_programs(tmp_path)
    return tmp_path


def run(programs: Path, *command: str, **variables: str) -> list[str]:
    """The lines that it prints; nothing about an error, and soon."""
    begun = time.monotonic()
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - begun < PATIENCE
    return done.stdout.splitlines()


@pytest.fixture
def typed(programs: Path) -> Typed:
    """What kubectl is told when these words were typed, while ``kubectl`` itself is this script."""

    def answer(*words: str, kubectl: str = "") -> list[str]:
        if kubectl:
            (programs / "kubectl").write_text(f"#!/bin/sh\n{kubectl}\n")
            (programs / "kubectl").chmod(0o755)
        return run(programs, str(programs / "kubectl_complete-sandbox"), *words)

    return answer


TWO = "echo sandbox.sandmount.dev/training; echo sandbox.sandmount.dev/other"


@pytest.mark.parametrize("command", ["why", "shell"])
def test_names_come_from_kubectl_with_the_options_that_were_typed(typed: Typed, programs: Path, command: str) -> None:
    kubectl = f'echo "$@" > {programs}/asked; {TWO}'
    assert typed(command, "-n", "team-a", "--context", "there", "t", kubectl=kubectl) == ["training", ":4"]
    asked = (programs / "asked").read_text()
    assert asked.startswith("get sandboxes.sandmount.dev --namespace=team-a --context=there -o name ")


def test_without_options_kubectl_s_own_namespace_and_context_hold(typed: Typed, programs: Path) -> None:
    assert typed("why", "", kubectl=f'echo "$@" > {programs}/asked; {TWO}') == ["training", "other", ":4"]
    assert "--namespace" not in (programs / "asked").read_text()


@pytest.mark.parametrize(
    "kubectl",
    ["", "echo no such server >&2; exit 1", "sleep 30 & wait", "printf '\\377\\n'", "kill -9 $$"],
    ids=["is not there", "fails", "hangs", "prints what is no text", "dies"],
)
def test_where_kubectl_does_not_answer_there_are_no_names_and_no_files(typed: Typed, kubectl: str) -> None:
    assert typed("why", "", kubectl=kubectl) == [":4"]


@pytest.mark.parametrize(
    ("name", "word", "expected"), [("sandmount", "c", ["check", "crd"]), ("kubectl-sandbox", "w", ["why"])]
)
def test_bash_completes_with_what_click_prints(programs: Path, name: str, word: str, expected: list[str]) -> None:
    variable = name.replace("-", "_")
    lines = (
        f'eval "$(_{variable.upper()}_COMPLETE=bash_source {name})"',
        f"complete -p {name} >/dev/null && COMP_WORDS=({name} {word}) COMP_CWORD=1",
        f"_{variable}_completion {name} {word} {name}",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    )
    assert run(programs, "bash", "-c", "\n".join(lines)) == expected
