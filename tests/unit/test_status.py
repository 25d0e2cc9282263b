"""compute_status: each stage's conditions exactly, and what else the status says."""

import re
from dataclasses import replace
from typing import Any

import pytest

from sandmount.allowlist import Denial
from sandmount.observe import Pod, Sandbox
from sandmount.status import Stage, State, Verdict, compute_status
from tests.unit.builders import LATER, LATER_STAMP, NOW, STAMP, condition, host, pod, sandbox, spec

READY = State(Stage.READY, "Running", "PodReady", "the container runs")
MOVING = State(Stage.MOVING, "Pending", "ContainerCreating", "the Pod is being started")
STUCK = State(Stage.STUCK, "Failed", "HostPathNotAllowed", "no")
FINISHED = State(Stage.FINISHED, "Succeeded", "Completed", "it ended")
DENIAL = Denial("data", "/data", "HostPathNotAllowed", "not this one")
ALLOWED = condition("VolumesAllowed", "True", "Granted", "every host volume is on the allowlist")
NOT_ALLOWED = condition("VolumesAllowed", "False", "HostPathNotAllowed", "not this one")


def status(verdict: Verdict, of: Sandbox | None = None, found: Pod | None = None) -> dict[str, Any]:
    return compute_status(of or sandbox(), verdict, found, NOW)


def conditions(verdict: Verdict, of: Sandbox | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(verdict, of)["conditions"]
    return found


def test_ready_says_only_that() -> None:
    assert conditions(Verdict(READY)) == [condition("Ready", "True", "PodReady", "the container runs")]


def test_under_way_is_not_ready_and_reconciling() -> None:
    words = ("ContainerCreating", "the Pod is being started")
    assert conditions(Verdict(MOVING)) == [
        condition("Ready", "False", *words),
        condition("Reconciling", "True", *words),
    ]


def test_stuck_is_not_ready_and_stalled() -> None:
    assert conditions(Verdict(STUCK)) == [
        condition("Ready", "False", "HostPathNotAllowed", "no"),
        condition("Stalled", "True", "HostPathNotAllowed", "no"),
    ]


def test_finished_has_no_ready_at_all() -> None:
    assert conditions(Verdict(FINISHED)) == [condition("Finished", "True", "Completed", "it ended")]


@pytest.mark.parametrize("state", [READY, MOVING, STUCK, FINISHED])
def test_volumes_allowed_follows_the_denials_at_every_stage(state: State) -> None:
    base = conditions(Verdict(state))
    assert conditions(Verdict(state, ())) == [*base, ALLOWED]
    assert conditions(Verdict(state, (DENIAL,))) == [*base, NOT_ALLOWED]
    assert conditions(Verdict(state, None)) == base


def test_all_denials_are_told_together() -> None:
    both = Verdict(STUCK, (DENIAL, replace(DENIAL, volume="b", message="nor this")))
    assert conditions(both)[-1]["message"] == "not this one; nor this"


@pytest.mark.parametrize("state", [READY, MOVING, STUCK, FINISHED])
def test_everything_says_which_generation_it_is_about(state: State) -> None:
    found = status(Verdict(state, ()), sandbox(metadata={"generation": 42}))
    assert found["observedGeneration"] == 42
    assert [c["observedGeneration"] for c in found["conditions"]] == [42] * len(found["conditions"])


def test_the_phase_is_for_printing_and_comes_from_the_state() -> None:
    assert status(Verdict(replace(STUCK, phase="Stopping")))["phase"] == "Stopping"


def stored(*found: dict[str, Any], **more: Any) -> Sandbox:
    return sandbox({"conditions": list(found), **more})


def test_the_transition_time_stays_while_the_condition_status_stays() -> None:
    before = stored(condition("Ready", "True", "Another", "reason"), ALLOWED)
    found = compute_status(before, Verdict(READY, ()), None, LATER)["conditions"]
    assert found == [condition("Ready", "True", "PodReady", "the container runs"), ALLOWED]


def test_the_transition_time_moves_with_the_condition_status() -> None:
    before = stored(condition("Ready", "False", "PodReady", "the container runs"), NOT_ALLOWED)
    found = compute_status(before, Verdict(READY, ()), None, LATER)["conditions"]
    assert [c["lastTransitionTime"] for c in found] == [LATER_STAMP, LATER_STAMP]


def test_a_condition_that_was_absent_is_dated_anew() -> None:
    before = stored(condition("Ready", "False", "x", "y"))
    found = compute_status(before, Verdict(MOVING), None, LATER)["conditions"]
    assert [(c["type"], c["lastTransitionTime"]) for c in found] == [("Ready", STAMP), ("Reconciling", LATER_STAMP)]


def test_conditions_that_no_longer_hold_are_gone() -> None:
    before = stored(condition("Stalled", "True", "x", "y"), condition("Reconciling", "True", "x", "y"))
    assert [c["type"] for c in conditions(Verdict(READY), before)] == ["Ready"]


@pytest.mark.parametrize(
    "reason", ["", "1Leading", "with space", "with-dash", "dot.ted", "trailing:", "é", "a\n", "x" * 1025, "_x"]
)
def test_a_reason_that_the_api_does_not_take_is_replaced(reason: str) -> None:
    found = conditions(Verdict(replace(MOVING, reason=reason)))
    assert [c["reason"] for c in found] == ["PodNotReady", "PodNotReady"]


@pytest.mark.parametrize("reason", ["A", "OOMKilled", "a_b,c:d", "x" * 1024])
def test_a_reason_that_the_api_takes_is_kept(reason: str) -> None:
    assert conditions(Verdict(replace(READY, reason=reason)))[0]["reason"] == reason


@pytest.mark.parametrize(("length", "kept"), [(4096, 4096), (4097, 4096), (100_000, 4096)])
def test_a_long_message_is_cut(length: int, kept: int) -> None:
    found = conditions(Verdict(replace(READY, message="é" * length)))[0]["message"]
    assert len(found) == kept
    assert found.endswith("...") is (length > kept)
    assert all(len(c["message"]) <= 4096 for c in conditions(Verdict(STUCK, (replace(DENIAL, message="x" * 9000),))))


def test_every_reason_of_a_condition_fits_the_schema() -> None:
    pattern = re.compile(r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    for state in (READY, MOVING, STUCK, FINISHED, replace(STUCK, reason="!")):
        assert all(pattern.match(c["reason"]) for c in conditions(Verdict(state, (DENIAL,))))


def test_the_pod_is_named_with_its_address_and_node() -> None:
    found = status(Verdict(MOVING), found=pod())
    assert (found["podName"], found["podIP"], found["nodeName"]) == ("training", "10.0.0.7", "node-1")


def test_what_is_not_known_of_a_pod_is_left_out() -> None:
    found = status(Verdict(MOVING), found=pod(pod_ip="", node_name=""))
    assert found["podName"] == "training"
    assert not {"podIP", "nodeName"} & set(found)
    assert not {"podName", "podIP", "nodeName", "startedAt", "volumes"} & set(status(Verdict(MOVING)))


def test_started_is_the_first_time_that_it_was_ready_and_stays() -> None:
    assert status(Verdict(READY), found=pod())["startedAt"] == STAMP
    assert "startedAt" not in status(Verdict(MOVING), found=pod(ready=False))
    first = "2020-01-01T00:00:00Z"
    for state in (READY, MOVING, STUCK, FINISHED):
        assert status(Verdict(state), stored(startedAt=first), pod())["startedAt"] == first


def mounts(*volumes: dict[str, Any]) -> Pod:
    """A Pod with these host volumes, mounted as they were asked for."""
    return pod(host_mounts=spec(volumes=list(volumes)).volumes)


def test_the_volumes_are_those_that_the_pod_has_of_the_host() -> None:
    found = mounts(host("/data", readOnly=True, subPath="shared"), host("/srv", "all"))
    for verdict in (Verdict(READY, ()), Verdict(READY, (DENIAL,)), Verdict(STUCK, None), Verdict(FINISHED)):
        assert status(verdict, found=found)["volumes"] == [
            {"name": "data", "root": "/data", "readOnly": True, "subPath": "shared"},
            {"name": "all", "root": "/srv", "readOnly": False},
        ]


@pytest.mark.parametrize("word", ["Enabled", "Disabled"])
def test_the_kubelets_word_on_recursive_read_only_is_shown(word: str) -> None:
    found = mounts(host(readOnly=True), host("/srv", "all", readOnly=True))
    told = status(Verdict(READY, ()), found=replace(found, recursive_read_only={"/mnt/data": word}))["volumes"]
    assert [v.get("recursiveReadOnly") for v in told] == [word, None]


def test_a_finished_sandbox_keeps_the_record_of_its_volumes() -> None:
    record = [{"name": "data", "root": "/data", "readOnly": True}]
    assert status(Verdict(FINISHED), stored(volumes=record))["volumes"] == record
    assert "volumes" not in status(Verdict(STUCK), stored(volumes=record))
