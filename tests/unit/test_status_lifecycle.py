"""compute_status over a Sandbox's life: rests, phases, deadlines, losses, and words that only seem to change."""

from typing import Any

import pytest

from sandmount.observe import Pod, Sandbox
from sandmount.status import Loss, Stage, State, Verdict, compute_status, merge_patch
from tests.unit.builders import NOW, STAMP, Json, condition, pod, sandbox
from tests.unit.lives import at, stamp

READY = State(Stage.READY, "Running", "PodReady", "the container runs")
MOVING = State(Stage.MOVING, "Pending", "PodPending", "the Pod is being started")
PAUSING = State(Stage.MOVING, "Pausing", "Pausing", "the Pod is ending")
STOPPING = State(Stage.MOVING, "Stopping", "Expired", "its time is over")
STUCK = State(Stage.STUCK, "Failed", "PodFailed", "code 1")
PAUSED = State(Stage.PAUSED, "Paused", "Paused", "no Pod")
DONE = State(Stage.FINISHED, "Succeeded", "Completed", "code 0")
EXPIRED = State(Stage.FINISHED, "Terminated", "Expired", "its time is over")
ALL = [READY, MOVING, PAUSING, STOPPING, STUCK, PAUSED, DONE, EXPIRED]


def status(
    state: State, old: Json | None = None, found: Pod | None = None, loss: Loss | None = None, **fields: Any
) -> Json:
    of: Sandbox = sandbox({"observedGeneration": 1, **(old or {})}, **fields)
    return compute_status(of, Verdict(state, loss=loss), found, NOW)


@pytest.mark.parametrize(
    ("state", "phase", "kind", "reason", "message"),
    [
        (PAUSED, "Paused", "Paused", "Paused", "no Pod"),
        (DONE, "Succeeded", "Finished", "Completed", "code 0"),
        (EXPIRED, "Terminated", "Finished", "Expired", "its time is over"),
    ],
)
def test_at_rest_there_is_one_condition_and_no_ready(
    state: State, phase: str, kind: str, reason: str, message: str
) -> None:
    old = {"conditions": [condition("Ready", "True", "PodReady", "runs"), condition("Reconciling", "True", "x", "y")]}
    assert status(state, old) == {
        "observedGeneration": 1,
        "phase": phase,
        "conditions": [condition(kind, "True", reason, message)],
    }


def test_an_expiring_sandbox_says_so_from_the_beginning() -> None:
    assert status(STOPPING) == {
        "observedGeneration": 1,
        "phase": "Stopping",
        "conditions": [
            condition("Ready", "False", "Expired", "its time is over"),
            condition("Reconciling", "True", "Expired", "its time is over"),
        ],
    }


@pytest.mark.parametrize("before", ["Paused", "Pausing", "Resuming"])
def test_a_start_after_a_pause_is_a_resumption(before: str) -> None:
    assert status(MOVING, {"phase": before})["phase"] == "Resuming"
    for state in (READY, PAUSING, STOPPING, STUCK, PAUSED, DONE, EXPIRED):
        assert status(state, {"phase": before})["phase"] == state.phase


@pytest.mark.parametrize("before", ["", "Pending", "Running", "Failed", "Stopping", "Terminated", 5])
def test_any_other_start_is_pending(before: object) -> None:
    assert status(MOVING, {"phase": before})["phase"] == "Pending"


@pytest.mark.parametrize("state", ALL)
def test_the_node_stays_known_when_the_pod_is_gone_and_follows_the_next_one(state: State) -> None:
    assert "nodeName" not in status(state)
    assert status(state, {"nodeName": "node-1"})["nodeName"] == "node-1"
    assert status(state, {"nodeName": "node-1"}, pod(node_name=""))["nodeName"] == "node-1"
    assert status(state, {"nodeName": "node-1"}, pod(node_name="node-2"))["nodeName"] == "node-2"


@pytest.mark.parametrize("state", ALL)
def test_the_deadline_is_told_in_every_state(state: State) -> None:
    assert "expiresAt" not in status(state, {"expiresAt": stamp(5)})
    assert status(state, expiresAt=stamp(5))["expiresAt"] == stamp(5)
    told = status(state, {"startedAt": stamp(-10)}, timeoutSeconds=60, expiresAt=stamp(55))
    assert (told["startedAt"], told["expiresAt"]) == (stamp(-10), stamp(50))


def test_a_timeout_has_a_deadline_from_when_the_sandbox_is_ready() -> None:
    assert status(READY, found=pod(ready_since=stamp(-3)), timeoutSeconds=60)["expiresAt"] == stamp(57)
    for state in (MOVING, STUCK, PAUSED):
        assert "expiresAt" not in status(state, found=pod(ready_since=stamp(-3)), timeoutSeconds=60)


def test_a_deadline_of_a_spec_that_can_no_longer_be_read_stays_told() -> None:
    assert status(STUCK, {"expiresAt": stamp(5)}, image="")["expiresAt"] == stamp(5)


@pytest.mark.parametrize("state", [MOVING, STUCK])
def test_a_loss_is_told_with_its_count_and_its_time(state: State) -> None:
    told = status(state, loss=Loss(3, at(-7)))
    assert (told["restarts"], told["lostAt"]) == (3, stamp(-7))


@pytest.mark.parametrize(
    ("state", "since", "kept"),
    [
        (READY, 0, 4),
        (READY, -600, 4),
        (READY, -(10**6), 4),
        (MOVING, 0, 4),
        (MOVING, -599, 4),
        (MOVING, -600, None),
        (STUCK, -599, 4),
        (STUCK, -600, None),
        (PAUSED, 0, None),
        (DONE, 0, None),
        (EXPIRED, 0, None),
    ],
)
def test_the_count_is_kept_until_it_is_forgiven_and_the_loss_only_until_the_next_pod(
    state: State, since: float, kept: int | None
) -> None:
    old: Json = {
        "restarts": 4,
        "conditions": [condition("Ready", "True", "PodReady", "r", lastTransitionTime=stamp(since))],
    }
    told = status(state, {**old, "lostAt": STAMP})
    assert told.get("restarts") == kept
    assert "lostAt" not in told


def test_a_count_of_another_spec_is_not_kept() -> None:
    of = sandbox({"observedGeneration": 1, "restarts": 4, "lostAt": STAMP}, {"generation": 2})
    told = compute_status(of, Verdict(MOVING), None, NOW)
    assert not {"restarts", "lostAt"} & set(told)


@pytest.mark.parametrize("state", [DONE, EXPIRED])
def test_a_finished_sandbox_keeps_the_record_of_what_it_had(state: State) -> None:
    record = [{"name": "data", "root": "/data", "readOnly": True}]
    assert status(state, {"volumes": record})["volumes"] == record
    assert "volumes" not in status(PAUSED, {"volumes": record})


SANDBOX_ID = (
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "
    '"{}": plugin type="bridge" failed'
)


@pytest.mark.parametrize(
    ("before", "after", "written"),
    [
        (SANDBOX_ID.format("a1" * 32), SANDBOX_ID.format("b2" * 32), False),
        (SANDBOX_ID.format("a1" * 32), SANDBOX_ID.format("a1" * 6), False),
        ("container 0123456789ab and 0123456789ac", "container 0123456789ad and 0123456789ae", False),
        ("container 0123456789ab", "container 0123456789a", True),
        ("exit code 1", "exit code 2", True),
        ("the limit is 12345678901 bytes", "the limit is 12345678902 bytes", True),
        ("id 0123456789AB", "id 0123456789AC", True),
    ],
)
def test_a_message_that_differs_only_in_an_id_is_not_written_again(before: str, after: str, written: bool) -> None:
    first = status(State(Stage.MOVING, "Pending", "FailedCreatePodSandBox", before))
    second = status(State(Stage.MOVING, "Pending", "FailedCreatePodSandBox", after), first)
    assert merge_patch(first, second) == ({} if not written else {"conditions": second["conditions"]})
    assert second["conditions"][0]["message"] == (after if written else before)


def test_a_reason_that_changes_is_written_with_the_message_that_stands() -> None:
    first = status(State(Stage.MOVING, "Pending", "A", SANDBOX_ID.format("a1" * 32)))
    second = status(State(Stage.MOVING, "Pending", "B", SANDBOX_ID.format("b2" * 32)), first)
    assert [(c["reason"], c["message"]) for c in second["conditions"]] == [("B", SANDBOX_ID.format("a1" * 32))] * 2


def test_a_long_message_that_differs_only_beyond_its_end_is_not_written_again() -> None:
    texts = ["x" * 5000 + end for end in ("a", "b")]
    first = status(State(Stage.MOVING, "Pending", "A", texts[0]))
    assert merge_patch(first, status(State(Stage.MOVING, "Pending", "A", texts[1]), first)) == {}
