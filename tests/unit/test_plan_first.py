"""make_plan: what comes before any judgement: deletion, an end, a name in use, and a spec that cannot be read."""

from dataclasses import replace
from typing import Any

import pytest

from sandmount.allowlist import Allowlist
from sandmount.gathered import Gathered
from sandmount.observe import Pod, Sandbox
from sandmount.plan import COLLECTOR_SECONDS, NAME_TAKEN_AGAIN, PREVIOUS_POD_AGAIN, make_plan, plan_without_sandbox
from sandmount.settings import OnRevoke, Settings
from sandmount.status import Stage, State, Verdict
from sandmount.steps import DeletePod, Plan
from tests.unit.builders import NOW, POD_UID, SETTINGS, STAMP, allowlist, condition, host, pod, roots, sandbox, spec

DELETING: dict[str, Any] = {"deletionTimestamp": STAMP}
FOREIGN: dict[str, Any] = {
    "owner_uid": "u",
    "owner": "ReplicaSet web-1",
    "owned_by_namesake": False,
    "labelled": False,
    "made_for": None,
}
LEFTOVER: dict[str, Any] = {"owner_uid": None, "owner": "nobody", "owned_by_namesake": False, "made_for": "earlier-uid"}
INVALID: dict[str, Any] = {"volumes": [host(name="A")]}
(MOUNTED,) = spec(volumes=[host()]).volumes


def plan(
    wanted: Sandbox, found: Pod | None = None, listed: Allowlist | None = None, settings: Settings = SETTINGS
) -> Plan:
    return make_plan(Gathered(wanted, listed or roots("/data"), found, settings, NOW))


def state(made: Plan) -> State:
    assert made.verdict is not None
    return made.verdict.state


@pytest.mark.parametrize("found", [None, pod(), pod(deleting=True), pod(**FOREIGN)])
def test_a_sandbox_that_is_being_deleted_is_left_to_the_garbage_collector(found: Pod | None) -> None:
    assert plan(sandbox(metadata=DELETING), found) == Plan()
    assert plan(sandbox(metadata=DELETING, **INVALID), found, allowlist("none")) == Plan()


def test_the_pod_of_a_sandbox_that_a_finalizer_holds_back_is_deleted_and_the_status_says_so() -> None:
    held = sandbox(metadata={**DELETING, "finalizers": ["example.com/keep"]})
    words = "the Sandbox is being deleted and a finalizer holds it back"
    stopping = State(Stage.MOVING, "Stopping", "SandboxDeleted", words)
    made = plan(held, pod())
    assert isinstance(made.action, DeletePod)
    assert (made.action.uid, made.action.reason) == (POD_UID, "SandboxDeleted")
    assert state(made) == stopping
    for untouched in (None, pod(deleting=True), pod(**FOREIGN)):
        waiting = plan(held, untouched)
        assert waiting.action is None
        assert state(waiting) == stopping


def test_a_finalizer_and_an_orphaning_delete_together_do_not_keep_a_pod() -> None:
    held = sandbox(metadata={**DELETING, "finalizers": ["example.com/keep"]})
    orphan = pod(owner_uid=None, owner="nobody", owned_by_namesake=False)
    made = plan(held, orphan)
    assert isinstance(made.action, DeletePod)
    assert plan(held, replace(orphan, made_for="another")).action is None


FINISHED: dict[str, Any] = {"conditions": [condition("Finished", "True", "Completed", "it ended")]}


@pytest.mark.parametrize("metadata", [{}, {"generation": 9}])
@pytest.mark.parametrize("fields", [{}, {"image": "another"}, INVALID, {"volumes": [host("/not/allowed")]}])
@pytest.mark.parametrize(
    "found", [None, pod(phase="Succeeded"), pod(phase="Failed"), pod(deleting=True), pod(**FOREIGN)]
)
def test_finished_is_final_whatever_the_spec_becomes(metadata: Any, fields: Any, found: Pod | None) -> None:
    made = plan(sandbox(FINISHED, metadata, **fields), found)
    assert made == Plan(None, Verdict(State(Stage.FINISHED, "Succeeded", "Completed", "it ended")))


def test_a_finished_sandbox_runs_no_pod() -> None:
    made = plan(sandbox(FINISHED), pod())
    assert isinstance(made.action, DeletePod)
    assert made.action.uid == POD_UID
    assert state(made).stage is Stage.FINISHED


def test_a_finished_condition_that_is_false_ends_nothing() -> None:
    status = {"conditions": [condition("Finished", "False", "Running", "")]}
    assert state(plan(sandbox(status), pod())).stage is Stage.READY


@pytest.mark.parametrize(
    "found",
    [
        pod(**FOREIGN),
        pod(**{**FOREIGN, "labelled": True, "made_for": "sandbox-uid"}),
        pod(**{**FOREIGN, "owner_uid": None, "owner": "nobody"}),
        pod(**{**LEFTOVER, "labelled": False}),
        pod(**{**LEFTOVER, "built_from": ""}),
        pod(**{**LEFTOVER, "made_for": None}),
    ],
)
def test_another_ones_pod_of_the_name_is_never_touched_and_looked_at_again(found: Pod) -> None:
    for fields in ({}, INVALID, {"volumes": [host("/not/allowed")]}):
        made = plan(sandbox(**fields), found)
        assert made.action is None
        assert made.look_again == NAME_TAKEN_AGAIN
        assert state(made) == State(
            Stage.STUCK,
            "Failed",
            "PodNameTaken",
            f'a Pod named "training" exists and belongs to {found.owner}; rename the Sandbox or remove that Pod',
        )


PREVIOUS = State(
    Stage.MOVING, "Pending", "PreviousPodTerminating", 'the Pod of an earlier Sandbox named "training" is being removed'
)


def test_an_orphaned_pod_of_an_earlier_sandbox_or_of_this_one_is_deleted() -> None:
    for found in (pod(**LEFTOVER), pod(**{**LEFTOVER, "made_for": "sandbox-uid"})):
        made = plan(sandbox(), found)
        assert isinstance(made.action, DeletePod)
        assert (made.action.uid, made.action.reason) == (POD_UID, "PodOrphaned")
        assert state(made) == PREVIOUS


@pytest.mark.parametrize(
    "found",
    [
        pod(owner_uid="earlier-uid", made_for="earlier-uid"),
        pod(owner_uid="earlier-uid", made_for="earlier-uid", deleting=True),
        pod(**LEFTOVER, deleting=True),
    ],
)
def test_a_pod_of_an_earlier_sandbox_that_is_going_anyway_is_waited_for(found: Pod) -> None:
    made = plan(sandbox(), found)
    assert made.action is None
    assert made.look_again == PREVIOUS_POD_AGAIN
    assert state(made) == PREVIOUS


def test_without_a_sandbox_a_pod_that_lost_its_owner_is_deleted_and_nobody_elses() -> None:
    assert isinstance(plan_without_sandbox(pod(**LEFTOVER), 0.0).action, DeletePod)
    for found in (pod(**FOREIGN), pod(**LEFTOVER, deleting=True), pod(**{**LEFTOVER, "labelled": False})):
        for waited in (0.0, 1000.0):
            assert plan_without_sandbox(found, waited) == Plan()


@pytest.mark.parametrize(("waited", "left"), [(0.0, 15.0), (14.0, 1.0)])
def test_a_pod_that_has_its_owner_is_left_to_the_garbage_collector_for_a_while(waited: float, left: float) -> None:
    assert plan_without_sandbox(pod(), waited) == Plan(look_again=left)


def test_a_pod_that_has_its_owner_is_deleted_when_the_garbage_collector_is_late() -> None:
    made = plan_without_sandbox(pod(), COLLECTOR_SECONDS)
    assert made.action == DeletePod(POD_UID, None, "PodOrphaned", "no Sandbox owns this Pod any more")
    assert plan_without_sandbox(pod(deleting=True), 1000.0) == Plan()


def test_an_invalid_spec_makes_no_pod_and_names_its_problems() -> None:
    made = plan(sandbox(image="", **INVALID))
    assert made.action is None
    assert state(made).stage is Stage.STUCK
    assert state(made).reason == "InvalidSpec"
    assert "spec.image" in state(made).message
    assert "spec.volumes[0].name" in state(made).message
    assert made.verdict is not None
    assert made.verdict.denials is None


def test_a_pod_stays_when_its_sandbox_becomes_invalid_while_what_it_mounts_is_allowed() -> None:
    made = plan(sandbox(**INVALID), pod(host_mounts=(MOUNTED,)))
    assert made.action is None
    assert state(made).reason == "InvalidSpec"


def test_an_invalid_spec_does_not_keep_a_pod_whose_mounts_are_no_longer_allowed() -> None:
    made = plan(sandbox(**INVALID), pod(host_mounts=(MOUNTED,), grace=300), roots("/srv"))
    assert isinstance(made.action, DeletePod)
    assert (made.action.grace, made.action.reason) == (30, "HostPathNotAllowed")
    assert made.verdict is not None
    assert made.verdict.denials


@pytest.mark.parametrize(
    ("listed", "settings"),
    [
        (roots("/srv"), Settings(on_revoke=OnRevoke.WARN)),
        (allowlist("{}"), SETTINGS),
        (allowlist("- /srv\n- x"), SETTINGS),
    ],
)
def test_an_invalid_sandbox_that_runs_survives_what_a_valid_one_survives(listed: Allowlist, settings: Settings) -> None:
    assert plan(sandbox(**INVALID), pod(host_mounts=(MOUNTED,)), listed, settings).action is None
    never_ran = pod(host_mounts=(MOUNTED,), started=False)
    assert isinstance(plan(sandbox(**INVALID), never_ran, listed, settings).action, DeletePod)
    assert plan(sandbox(**INVALID), pod(host_mounts=(MOUNTED,), deleting=True), listed, settings).action is None
