"""make_plan: deadlines, work that is done, and pauses; what comes before what, and what is final."""

from typing import Any

import pytest

from sandmount.allowlist import Allowlist
from sandmount.gathered import Gathered
from sandmount.observe import Node, Pod, Sandbox
from sandmount.plan import NAME_TAKEN_AGAIN, make_plan
from sandmount.status import Stage, State, Verdict
from sandmount.steps import NODE_AGAIN, CreatePod, DeletePod, DeleteSandbox, Plan
from tests.unit.builders import POD_UID, SETTINGS, STAMP, UID, Json, condition, host, pod, roots, sandbox
from tests.unit.lives import at, stamp

PAST: dict[str, Any] = {"expiresAt": stamp(0)}
DELETE: dict[str, Any] = {**PAST, "expiryPolicy": "Delete"}
INVALID: dict[str, Any] = {"image": ""}
DENIED: dict[str, Any] = {"volumes": [host("/not/allowed")]}
FOREIGN: dict[str, Any] = {
    "owner_uid": "u",
    "owner": "ReplicaSet web-1",
    "owned_by_namesake": False,
    "labelled": False,
    "made_for": None,
}
ORPHAN: dict[str, Any] = {"owner_uid": None, "owner": "nobody", "owned_by_namesake": False}
WORDS = "expiresAt, 2026-01-02T03:04:05Z, has passed"
EXPIRED = State(Stage.FINISHED, "Terminated", "Expired", WORDS)
STOPPING = State(Stage.MOVING, "Stopping", "Expired", WORDS)
DONE = State(Stage.FINISHED, "Succeeded", "Completed", "the container ended with exit code 0")
REMOVED = DeleteSandbox(UID, "10", "Expired", WORDS)


def plan(
    of: Sandbox,
    found: Pod | None = None,
    *,
    seconds: float = 0,
    listed: Allowlist | None = None,
    node: Node | None = None,
) -> Plan:
    return make_plan(Gathered(of, listed or roots("/data"), found, SETTINGS, at(seconds), node))


# ---- a deadline passes

SEEN: Json = {"observedGeneration": 1, "conditions": [condition("Ready", "False", "Expired", WORDS)]}
"""The status in which the end was written down."""


def ends(made: Plan) -> bool:
    """Whether the plan is the beginning of the end."""
    return made.at_once and made.verdict is not None and made.verdict.state.reason == "Expired"


@pytest.mark.parametrize("fields", [{}, DENIED, {"paused": True}, {"timeoutSeconds": 60}, {"expiryPolicy": "Retain"}])
def test_when_the_deadline_has_passed_the_pod_goes_and_then_the_sandbox_is_finished(fields: Json) -> None:
    of = sandbox(**PAST, **fields)
    written_first = Plan(None, Verdict(STOPPING), at_once=True)
    assert plan(of, pod()) == plan(of, pod(deleting=True)) == written_first
    seen = sandbox(SEEN, **PAST, **fields)
    assert plan(seen, pod()) == Plan(DeletePod(POD_UID, None, "Expired", WORDS, told=False), Verdict(STOPPING))
    assert plan(seen, pod(deleting=True)) == Plan(None, Verdict(STOPPING))
    assert plan(of) == plan(seen) == Plan(None, Verdict(EXPIRED))


def test_a_deadline_passes_exactly_at_its_time() -> None:
    assert not ends(plan(sandbox(**PAST), pod(), seconds=-0.001))
    assert ends(plan(sandbox(**PAST), pod(), seconds=0))


def test_a_timeout_counts_from_the_first_time_ready_and_from_the_pod_that_just_became_it() -> None:
    of = sandbox(timeoutSeconds=60)
    words = "timeoutSeconds is 60, and ended at 2026-01-02T03:05:05Z"
    assert not ends(plan(of, pod(), seconds=59.9))
    assert plan(of, pod(), seconds=60) == Plan(
        None, Verdict(State(Stage.MOVING, "Stopping", "Expired", words)), at_once=True
    )
    assert not ends(plan(of, pod(ready=False), seconds=10**6))
    assert isinstance(plan(of, seconds=10**6).action, CreatePod)
    started = sandbox({"startedAt": STAMP}, timeoutSeconds=60)
    assert ends(plan(started, pod(ready_since=stamp(50)), seconds=60))


@pytest.mark.parametrize("seconds", [0, 10**8])
@pytest.mark.parametrize("found", [None, pod(), pod(deleting=True), pod(phase="Succeeded"), pod(**FOREIGN)])
def test_with_the_policy_delete_the_sandbox_itself_goes(found: Pod | None, seconds: float) -> None:
    for fields in ({}, DENIED, {"paused": True}):
        assert plan(sandbox(**DELETE, **fields), found, seconds=seconds) == Plan(REMOVED)


def test_a_sandbox_that_is_done_is_deleted_at_its_deadline_all_the_same() -> None:
    done = {"conditions": [condition("Finished", "True", "Completed", "it ended")]}
    assert plan(sandbox(done, **DELETE)) == Plan(REMOVED)
    assert plan(sandbox(done, **DELETE), seconds=-1).action is None


def test_a_sandbox_that_was_created_late_is_kept_whatever_its_policy() -> None:
    late = sandbox(metadata={"creationTimestamp": stamp(5)}, **DELETE)
    words = f"{WORDS} before it was created; move expiresAt and create it again"
    assert plan(late, seconds=5) == Plan(None, Verdict(State(Stage.FINISHED, "Terminated", "Expired", words)))


def test_a_spec_that_cannot_be_read_ends_as_it_was_last_told_and_is_kept() -> None:
    of = sandbox({"expiresAt": STAMP}, **INVALID, **{**DELETE, "expiresAt": stamp(10**6)})
    words = "its deadline, 2026-01-02T03:04:05Z, has passed"
    assert plan(of) == Plan(None, Verdict(State(Stage.FINISHED, "Terminated", "Expired", words)))
    assert plan(of, pod()) == Plan(None, Verdict(State(Stage.MOVING, "Stopping", "Expired", words)), at_once=True)


def test_a_deadline_that_is_moved_before_it_passes_renews_the_sandbox() -> None:
    told = {"expiresAt": STAMP, "startedAt": stamp(-60), "conditions": [condition("Ready", "True", "PodReady", "runs")]}
    for fields in ({"expiresAt": stamp(60)}, {"timeoutSeconds": 120}, {}):
        made = plan(sandbox(told, {"generation": 2}, **fields), pod())
        assert made.action is None
        assert made.verdict is not None
        assert made.verdict.state.stage is Stage.READY


# ---- what is final

SEEN_TO_PASS: list[Json] = [
    {"observedGeneration": 1, "conditions": [condition("Ready", "False", "Expired", WORDS)]},
    {"observedGeneration": 1, "conditions": [condition("Finished", "True", "Expired", WORDS)]},
]
CHANGES: list[Json] = [
    {},
    {"expiresAt": stamp(10**6)},
    {"timeoutSeconds": 315_360_000},
    {"image": "another"},
    {"paused": True},
    DENIED,
    INVALID,
    {"expiryPolicy": "Retain"},
]


@pytest.mark.parametrize("status", SEEN_TO_PASS)
@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("fields", CHANGES)
def test_an_end_is_final_whatever_the_spec_becomes(status: Json, generation: int, fields: Json) -> None:
    of = sandbox(status, {"generation": generation}, **fields)
    assert plan(of) == Plan(None, Verdict(EXPIRED))
    running = plan(of, pod())
    assert isinstance(running.action, DeletePod)
    assert running.verdict is not None
    assert (running.verdict.state.reason, running.verdict.state.message) == ("Expired", WORDS)


@pytest.mark.parametrize("status", SEEN_TO_PASS)
def test_an_end_with_the_policy_delete_deletes_whenever_that_is_written(status: Json) -> None:
    of = sandbox(status, {"generation": 2}, expiresAt=stamp(10**6), expiryPolicy="Delete")
    assert plan(of) == Plan(REMOVED)


COMPLETED: Json = {"conditions": [condition("Finished", "True", "Completed", "it ended")]}


@pytest.mark.parametrize("fields", CHANGES)
def test_what_is_done_is_never_done_again(fields: Json) -> None:
    of = sandbox(COMPLETED, {"generation": 2}, **fields)
    said = State(Stage.FINISHED, "Succeeded", "Completed", "it ended")
    for found in (None, pod(phase="Succeeded"), pod(phase="Failed"), pod(deleting=True), pod(**FOREIGN)):
        assert plan(of, found) == Plan(None, Verdict(said))
    assert plan(of, pod(grace=300)) == Plan(
        DeletePod(POD_UID, 30, "Finished", "its Sandbox is finished"), Verdict(said)
    )


@pytest.mark.parametrize("fields", [*CHANGES, PAST])
def test_a_pod_that_succeeded_finishes_before_anything_else_is_asked(fields: Json) -> None:
    assert plan(sandbox(**fields), pod(phase="Succeeded", ready=False)) == Plan(None, Verdict(DONE))


def test_a_success_of_a_pod_that_was_told_to_end_says_nothing_about_its_work() -> None:
    ending = pod(phase="Succeeded", ready=False, deleting=True, ends_at=at(10))
    assert plan(sandbox(), ending).verdict == Verdict(
        State(Stage.MOVING, "Pending", "PodTerminating", "waiting for the previous Pod to end"), ()
    )
    assert plan(sandbox(**PAST), ending) == Plan(None, Verdict(STOPPING), at_once=True)


def test_the_success_of_another_ones_pod_is_not_ours() -> None:
    made = plan(sandbox(), pod(**FOREIGN, phase="Succeeded"))
    assert (made.action, made.look_again) == (None, NAME_TAKEN_AGAIN)


def test_a_sandbox_that_is_being_deleted_is_asked_nothing_else() -> None:
    deleting = {"deletionTimestamp": STAMP}
    for fields in (DELETE, PAST, {"paused": True}, INVALID):
        assert plan(sandbox(COMPLETED, deleting, **fields), pod()) == Plan()
        held = plan(sandbox(metadata={**deleting, "finalizers": ["example.com/keep"]}, **fields), pod())
        assert isinstance(held.action, DeletePod)
        assert held.action.reason == "SandboxDeleted"


# ---- pauses

PAUSED = Plan(
    None,
    Verdict(
        State(
            Stage.PAUSED,
            "Paused",
            "Paused",
            "paused is true: there is no Pod, and the Sandbox and its data stay; set paused to false to go on",
        )
    ),
)
PAUSING = Verdict(State(Stage.MOVING, "Pausing", "Pausing", "paused is true: the Pod is ending"))


@pytest.mark.parametrize("fields", [{}, DENIED, {"timeoutSeconds": 60}, {"expiresAt": stamp(1)}])
@pytest.mark.parametrize("found", [None, pod(**FOREIGN)])
def test_a_paused_sandbox_has_no_pod_and_is_asked_for_nothing(found: Pod | None, fields: Json) -> None:
    assert plan(sandbox(paused=True, **fields), found) == PAUSED


@pytest.mark.parametrize("found", [pod(), pod(ready=False, phase="Pending"), pod(phase="Failed", disrupted=True)])
def test_a_pause_ends_the_pod_within_its_own_time(found: Pod) -> None:
    ends = DeletePod(POD_UID, None, "Paused", "paused is true", told=False)
    assert plan(sandbox(paused=True), found) == Plan(ends, PAUSING)


def test_a_pod_that_ends_for_a_pause_is_waited_for_and_looked_into_when_it_is_late() -> None:
    ending = pod(deleting=True, ends_at=at(10))
    assert plan(sandbox(paused=True), ending) == Plan(None, PAUSING, look_again=15.0)
    lost = plan(sandbox(paused=True), ending, seconds=15, node=Node("node-1", found=False))
    words = 'node "node-1" is gone; its Pod cannot be told to end, and no other is made as long as it may still run'
    assert lost == Plan(None, Verdict(State(Stage.MOVING, "Pausing", "NodeLost", words)), look_again=NODE_AGAIN)
    held = plan(sandbox(paused=True), ending, seconds=15, node=Node("node-1", True, True))
    words = "the previous Pod should have ended and is still there; a finalizer may hold it, or its node is slow"
    assert held == Plan(None, Verdict(State(Stage.MOVING, "Pausing", "PodTerminating", words)), look_again=NODE_AGAIN)


def test_a_pod_of_ours_that_lost_its_owner_goes_before_a_pause() -> None:
    made = plan(sandbox(paused=True), pod(**ORPHAN))
    assert made.action == DeletePod(POD_UID, None, "PodOrphaned", "no Sandbox owns this Pod any more")


@pytest.mark.parametrize("fields", [PAST, {**PAST, "paused": True}])
def test_a_pod_of_ours_that_lost_its_owner_goes_at_the_end(fields: Json) -> None:
    assert ends(plan(sandbox(**fields), pod(**ORPHAN)))
    made = plan(sandbox(SEEN, **fields), pod(**ORPHAN))
    assert isinstance(made.action, DeletePod)
    assert (made.action.uid, made.action.reason) == (POD_UID, "Expired")
    assert made.verdict is not None
    assert (made.verdict.state.stage, made.verdict.state.reason) == (Stage.MOVING, "Expired")


def test_an_end_does_not_wait_for_another_ones_pod_of_the_name() -> None:
    assert plan(sandbox(**PAST), pod(**FOREIGN)) == Plan(None, Verdict(EXPIRED))


def test_a_spec_that_cannot_be_read_pauses_nothing() -> None:
    made = plan(sandbox(paused=True, **INVALID), pod())
    assert made.action is None
    assert made.verdict is not None
    assert made.verdict.state.reason == "InvalidSpec"


def test_a_sandbox_that_goes_on_is_asked_for_everything_again() -> None:
    before = {"phase": "Paused", "conditions": [condition("Paused", "True", "Paused", "no Pod")]}
    assert isinstance(plan(sandbox(before)).action, CreatePod)
    denied = plan(sandbox(before, **DENIED))
    assert denied.action is None
    assert denied.verdict is not None
    assert denied.verdict.state.reason == "HostPathNotAllowed"


@pytest.mark.parametrize("fields", [{"paused": True}, PAST])
def test_the_pod_of_an_earlier_sandbox_of_that_name_goes_although_the_new_one_wants_none(fields: Json) -> None:
    left = pod(**{**ORPHAN, "made_for": "earlier-uid"})
    made = plan(sandbox(**fields), left) if "paused" in fields else plan(sandbox(SEEN, **fields), left)
    assert isinstance(made.action, DeletePod)
    assert made.action.uid == POD_UID
    assert made.verdict is not None
    assert made.verdict.state.stage is Stage.MOVING


def test_a_paused_sandbox_waits_for_the_pod_of_an_earlier_one_that_the_garbage_collector_takes() -> None:
    made = plan(sandbox(paused=True), pod(owner_uid="earlier", made_for="earlier"))
    assert made.action is None
    assert made.verdict is not None
    assert made.verdict.state.reason == "PreviousPodTerminating"
