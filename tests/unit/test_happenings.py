"""happenings: which transitions of a Sandbox's life are told as Events, and that each is told once."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sandmount.observe import Pod
from sandmount.status import Happening, Loss, Stage, State, Verdict, compute_status, happenings, moving, stuck
from tests.unit.builders import NOW, Json, pod, sandbox

READY = Verdict(State(Stage.READY, "Running", "PodReady", "the container runs", told=True), ())
RESTARTED = replace(READY, state=replace(READY.state, told=False))
CREATED = Verdict(moving("PodCreated", "made"), ())
LOST = Verdict(moving("PodDeleted", "gone, restart 1", told=True), (), Loss(1, NOW))
EVICTED = Verdict(moving("Evicted", "memory, restart 2", told=True), (), Loss(2, NOW))
PULL = Verdict(moving("ErrImagePull", "no such host", told=True), ())
ERROR = Verdict(moving("Error", "exit code 1", told=True), ())
LOOP = Verdict(moving("CrashLoopBackOff", "exit code 1", told=True), ())
LOOP_AGAIN = Verdict(moving("CrashLoopBackOff", "exit code 1 again", told=False), ())
CREATING = Verdict(moving("ContainerCreating", "soon"), ())
LIMIT = Verdict(stuck("RestartLimit", "too often"), (), Loss(11, NOW))
FAILED = Verdict(stuck("PodFailed", "code 1"), ())
PAUSING = Verdict(moving("Pausing", "ends", "Pausing"))
PAUSED = Verdict(State(Stage.PAUSED, "Paused", "Paused", "no Pod"))
COMPLETED = Verdict(State(Stage.FINISHED, "Succeeded", "Completed", "code 0"))
EXPIRING = Verdict(moving("Expired", "its time is over", "Stopping"))
EXPIRED = Verdict(State(Stage.FINISHED, "Terminated", "Expired", "its time is over"))


def told(*verdicts: Verdict, found: Pod | None = None) -> Iterator[list[Happening]]:
    """What is told at each of the verdicts in a row, and at a second look at it."""
    old: Json = {"observedGeneration": -1}
    for verdict in verdicts:
        new = compute_status(sandbox(old), verdict, found, NOW)
        yield happenings(old, new, verdict.state)
        assert happenings(new, compute_status(sandbox(new), verdict, found, NOW), verdict.state) == []
        old = new


def row(*verdicts: Verdict) -> list[Any]:
    """Kind and reason of all that is told."""
    return [(h.kind, h.reason) for at_once in told(*verdicts, found=pod()) for h in at_once]


WARNING, NORMAL = "Warning", "Normal"
RECOVERED = (NORMAL, "Recovered")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([CREATED, CREATING, READY], []),
        ([READY, LOST], [(WARNING, "PodDeleted")]),
        ([READY, LOST, READY], [(WARNING, "PodDeleted"), RECOVERED]),
        ([READY, LOST, EVICTED], [(WARNING, "PodDeleted"), (WARNING, "Evicted")]),
        ([READY, LIMIT], [(WARNING, "RestartLimit")]),
        ([LOST, LIMIT], [(WARNING, "PodDeleted"), (WARNING, "RestartLimit")]),
        ([LIMIT, CREATED, READY], [(WARNING, "RestartLimit"), RECOVERED, RECOVERED]),
        ([CREATED, FAILED], [(WARNING, "PodFailed")]),
        ([CREATED, PULL, PULL], [(WARNING, "ErrImagePull")]),
        ([CREATED, PULL, READY], [(WARNING, "ErrImagePull"), RECOVERED]),
        ([PULL, ERROR], [(WARNING, "ErrImagePull"), (WARNING, "Error")]),
        ([READY, ERROR, LOOP], [(WARNING, "Error"), (WARNING, "CrashLoopBackOff")]),
        ([LOOP, RESTARTED, LOOP_AGAIN, RESTARTED, LOOP_AGAIN], [(WARNING, "CrashLoopBackOff")]),
        ([RESTARTED, LOOP_AGAIN, RESTARTED], []),
        ([READY, PAUSING, PAUSED], [(NORMAL, "Paused")]),
        ([PAUSED, CREATED, READY], [(NORMAL, "Paused"), (NORMAL, "Resumed")]),
        ([PAUSING, CREATED, READY], []),
        ([READY, COMPLETED], [(NORMAL, "Completed")]),
        ([READY, EXPIRING, EXPIRED], [(NORMAL, "Expired")]),
        ([EXPIRED, COMPLETED], [(NORMAL, "Expired")]),
    ],
)
def test_each_transition_is_told_once(verdicts: list[Verdict], expected: list[Any]) -> None:
    assert row(*verdicts) == expected


def test_the_words_of_what_is_told() -> None:
    found = list(told(READY, LOST, READY, LIMIT, PAUSED, CREATED, COMPLETED))
    assert found == [
        [],
        [Happening(WARNING, "PodDeleted", "gone, restart 1")],
        [Happening(NORMAL, "Recovered", "no longer PodDeleted: the container runs")],
        [Happening(WARNING, "RestartLimit", "too often")],
        [
            Happening(NORMAL, "Paused", "no Pod"),
            Happening(NORMAL, "Recovered", "no longer RestartLimit: no Pod"),
        ],
        [Happening(NORMAL, "Resumed", "paused is no longer true")],
        [Happening(NORMAL, "Completed", "code 0")],
    ]


@pytest.mark.parametrize(
    "reason",
    [
        "PodCreated", "PodPending", "PodNotCreated", "PodReplaced", "PodTerminating", "PreviousPodTerminating",
        "ContainerCreating", "PodInitializing", "ContainersNotReady", "Pausing", "Expired", "SandboxDeleted",
    ],
)  # fmt: skip
def test_a_step_on_the_way_is_nothing_to_recover_from(reason: str) -> None:
    assert row(Verdict(moving(reason, "m"), ()), READY) == []
