"""make_plan: a Pod that went although nobody asked us for that, and one that failed by itself."""

from dataclasses import replace
from typing import Any

import pytest

from sandmount.allowlist import Allowlist, Grant
from sandmount.gathered import Gathered, node_wanted
from sandmount.observe import Node, Pod, Sandbox
from sandmount.plan import make_plan
from sandmount.pod import build_pod
from sandmount.settings import OnRevoke, Settings
from sandmount.status import Loss, Stage, State, Verdict
from sandmount.steps import NODE_AGAIN, CreatePod, DeletePod, Plan
from sandmount.trouble import Trouble
from tests.unit.builders import (
    NAME,
    NAMESPACE,
    NOW,
    POD_UID,
    SETTINGS,
    STAMP,
    UID,
    Json,
    condition,
    host,
    pod,
    roots,
    spec,
)
from tests.unit.builders import sandbox as made_sandbox
from tests.unit.lives import at, stamp

WANTED: dict[str, Any] = {"volumes": [host()]}
GRANTS = (Grant("data", "/data", "shared", False),)
EVICTED = Trouble("Evicted", "low on memory")
DISRUPTED: dict[str, Any] = {"phase": "Failed", "ready": False, "disrupted": True, "trouble": EVICTED}
UP = Node("node-1", True, True, "", {"kubernetes.io/os": "linux"})
CREATED = Verdict(State(Stage.MOVING, "Pending", "PodCreated", "the Pod has been created"), ())


def sandbox(status: Json | None = None, generation: int = 1, **fields: Any) -> Sandbox:
    """An allowed Sandbox with that status, about generation 1 of its spec."""
    return made_sandbox({"observedGeneration": 1, **(status or {})}, {"generation": generation}, **WANTED, **fields)


def plan(
    of: Sandbox,
    found: Pod | None = None,
    *,
    seconds: float = 0,
    node: Node | None = None,
    ended: bool = False,
    listed: Allowlist | None = None,
    settings: Settings = SETTINGS,
) -> Plan:
    return make_plan(Gathered(of, listed or roots("/data"), found, settings, at(seconds), node, ended))


def ours(**changes: Any) -> Pod:
    return pod(spec(**WANTED), GRANTS, **changes)


def created(node_name: str | None = None, **fields: Any) -> Plan:
    wanted = spec(**WANTED, **fields)
    return Plan(CreatePod(build_pod(NAMESPACE, NAME, UID, wanted, GRANTS, node_name), GRANTS), CREATED)


def lost(reason: str, message: str, count: int, when: str) -> Plan:
    words = f"{message}; a new Pod is made {when} (restart {count} of at most 10 in a row)"
    verdict = Verdict(State(Stage.MOVING, "Pending", reason, words), (), Loss(count, NOW))
    return Plan(None, verdict, at_once=True)


HAD: Json = {"podName": NAME, "nodeName": "node-1", "conditions": [condition("Ready", "True", "PodReady", "runs")]}


def test_a_pod_that_is_gone_is_a_loss_that_is_written_down_before_another_is_made() -> None:
    assert plan(sandbox(HAD)) == lost("PodDeleted", "the Pod was deleted", 1, "now")
    assert plan(sandbox({**HAD, "restarts": 1})) == lost("PodDeleted", "the Pod was deleted", 2, "in 2 s")


def test_a_pod_that_we_ended_is_no_loss() -> None:
    assert plan(sandbox({**HAD, "restarts": 4}), ended=True) == created()


def test_a_pod_of_another_spec_is_no_loss() -> None:
    assert plan(sandbox({**HAD, "restarts": 4}, generation=2)) == created()


def test_a_sandbox_that_had_no_pod_has_lost_none() -> None:
    without = {k: v for k, v in HAD.items() if k != "podName"}
    assert plan(sandbox(without)) == created()


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_a_loss_counts_under_every_restart_policy(policy: str) -> None:
    assert plan(sandbox(HAD, restartPolicy=policy)) == lost("PodDeleted", "the Pod was deleted", 1, "now")


LOST: Json = {
    "restarts": 3,
    "lostAt": stamp(0),
    "nodeName": "node-1",
    "conditions": [condition("Ready", "False", "PodDeleted", "words")],
}
SAID = State(Stage.MOVING, "Pending", "PodDeleted", "words")


@pytest.mark.parametrize(("seconds", "left"), [(0, 4.0), (3, 1.0)])
def test_the_next_pod_is_waited_for(seconds: float, left: float) -> None:
    assert plan(sandbox(LOST), seconds=seconds) == Plan(None, Verdict(SAID, (), Loss(3, NOW)), left)


def test_the_next_pod_is_made_when_it_is_due_on_the_same_node() -> None:
    for node, name in ((UP, "node-1"), (Node("node-1", found=False), None), (replace(UP, labels={}), None)):
        made, expected = plan(sandbox(LOST), seconds=4, node=node), created(name)
        assert (made.action, made.verdict) == (expected.action, expected.verdict)


def test_a_changed_spec_is_not_waited_for() -> None:
    assert plan(sandbox(LOST, generation=2)) == created()


def test_a_disrupted_pod_is_a_loss_first_and_then_makes_room() -> None:
    assert plan(sandbox(HAD), ours(**DISRUPTED)) == lost("Evicted", "low on memory", 1, "now")
    written = {**LOST, "podName": NAME}
    assert plan(sandbox(written), ours(**DISRUPTED)) == Plan(
        DeletePod(POD_UID, None, "Evicted", "low on memory", told=False), Verdict(SAID, (), Loss(3, NOW))
    )
    assert plan(sandbox({**written, "conditions": []}), ours(**DISRUPTED)).verdict == Verdict(
        State(Stage.MOVING, "Pending", "Evicted", "low on memory"), (), Loss(3, NOW)
    )


def test_a_disrupted_pod_of_another_spec_is_replaced_and_no_loss() -> None:
    made = plan(sandbox(HAD, generation=2, image="another"), ours(**DISRUPTED))
    assert isinstance(made.action, DeletePod)
    assert made.action.reason == "PodReplaced"
    assert made.verdict is not None
    assert made.verdict.loss is None


def test_a_disrupted_pod_that_goes_already_is_waited_for() -> None:
    made = plan(sandbox(HAD), ours(**DISRUPTED, deleting=True, ends_at=at(1)))
    assert made == Plan(
        None, Verdict(State(Stage.MOVING, "Pending", "PodTerminating", "waiting for the previous Pod to end"), ()), 6.0
    )


LIMIT: Json = {
    "restarts": 11,
    "lostAt": stamp(0),
    "conditions": [
        condition("Ready", "False", "RestartLimit", "too often"),
        condition("Stalled", "True", "RestartLimit", "too often"),
    ],
}
STUCK = Verdict(State(Stage.STUCK, "Failed", "RestartLimit", "too often"), (), Loss(11, NOW))


@pytest.mark.parametrize("found", [None, ours(**DISRUPTED)])
def test_after_too_many_losses_nothing_is_made_however_long_it_is_waited(found: Pod | None) -> None:
    for seconds in (0, 300, 10**8):
        assert plan(sandbox(LIMIT), found, seconds=seconds) == Plan(None, STUCK)


def test_after_too_many_losses_a_changed_spec_is_another_try() -> None:
    assert plan(sandbox(LIMIT, generation=2)) == created()
    made = plan(sandbox(LIMIT, generation=2), ours(**DISRUPTED))
    assert made == lost("Evicted", "low on memory", 1, "now")


def test_a_pause_is_another_try_too() -> None:
    paused = {"conditions": [condition("Paused", "True", "Paused", "no Pod")], "phase": "Paused"}
    assert plan(sandbox(paused)) == created()


FAILED: Json = {
    "podName": NAME,
    "conditions": [
        condition("Ready", "False", "PodFailed", "the Pod failed: Error: code 1"),
        condition("Stalled", "True", "PodFailed", "the Pod failed: Error: code 1"),
    ],
}
GAVE_UP = Verdict(State(Stage.STUCK, "Failed", "PodFailed", "the Pod failed: Error: code 1"), ())


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_a_failure_of_its_own_is_final_also_when_its_pod_vanishes(policy: str) -> None:
    own = pod(
        spec(**WANTED, restartPolicy=policy), GRANTS, phase="Failed", ready=False, trouble=Trouble("Error", "code 1")
    )
    first = sandbox(HAD, restartPolicy=policy)
    later = sandbox(FAILED, restartPolicy=policy)
    gone = sandbox({k: v for k, v in FAILED.items() if k != "podName"}, restartPolicy=policy)
    assert plan(first, own) == plan(later, own) == plan(later) == plan(gone) == Plan(None, GAVE_UP)


def test_a_failure_of_its_own_is_tried_again_with_a_changed_spec() -> None:
    assert plan(sandbox(FAILED, generation=2)) == created()


def test_a_sandbox_that_is_denied_is_neither_waited_for_nor_counted() -> None:
    said = {"HostPathNotAllowed": (HAD, LOST), "RestartLimit": (LIMIT,), "PodFailed": (FAILED,)}
    for reason, statuses in said.items():
        for status in statuses:
            made = plan(sandbox(status), listed=roots("/srv"))
            assert made.action is None
            assert made.look_again is None
            assert made.verdict is not None
            assert (made.verdict.state.reason, made.verdict.loss) == (reason, None)
            assert made.verdict.denials


def test_a_pod_that_failed_and_is_denied_stays_as_the_record_of_its_failure() -> None:
    made = plan(sandbox(HAD), ours(phase="Failed", ready=False), listed=roots("/srv"))
    assert made.action is None
    assert made.verdict is not None
    assert made.verdict.state.reason == "PodFailed"
    assert made.verdict.denials


def test_a_disrupted_pod_is_not_kept_by_leniency_with_what_runs() -> None:
    made = plan(sandbox(HAD), ours(**DISRUPTED), listed=roots("/srv"), settings=Settings(on_revoke=OnRevoke.WARN))
    assert isinstance(made.action, DeletePod)
    assert made.action.reason == "HostPathNotAllowed"


@pytest.mark.parametrize(
    ("ends", "again"), [(10, 15.0), (0, 5.0), (-4.5, 0.5), (-5, NODE_AGAIN), (-600, NODE_AGAIN), (None, NODE_AGAIN)]
)
def test_a_pod_that_ends_is_looked_into_when_it_is_late_and_then_seldom(ends: float | None, again: float) -> None:
    ending = ours(deleting=True, ends_at=None if ends is None else at(ends))
    for of in (sandbox(HAD), made_sandbox(HAD, paused=True)):
        assert plan(of, ending).look_again == again


# ---- nodes


def test_a_pod_that_is_kept_to_a_node_that_is_gone_is_replaced() -> None:
    kept = ours(phase="Pending", ready=False, started=False, node_name="", kept_to="node-1")
    words = 'node "node-1", which it was kept to, is gone; the Pod is replaced'
    assert plan(sandbox(HAD), kept, node=Node("node-1", found=False)) == Plan(
        DeletePod(POD_UID, None, "PodReplaced", words),
        Verdict(State(Stage.MOVING, "Pending", "PodReplaced", words), ()),
    )
    for node in (None, UP, replace(UP, ready=False)):
        waits = plan(sandbox(HAD), kept, node=node)
        assert (waits.action, waits.look_again) == (None, NODE_AGAIN)
    on_it = replace(kept, node_name="node-1")
    made = plan(sandbox(HAD), on_it, node=Node("node-1", found=False))
    assert (made.action, made.look_again) == (None, None)


KEPT: Json = {"nodeName": "node-1", "startedAt": STAMP}


@pytest.mark.parametrize(
    ("of", "found", "wanted"),
    [
        (sandbox(KEPT), None, "node-1"),
        (sandbox(), None, None),
        (sandbox({"nodeName": "node-1"}), None, None),
        (sandbox({"nodeName": "../../secrets", "startedAt": STAMP}), None, None),
        (made_sandbox(KEPT), None, None),
        (made_sandbox(KEPT, image=""), None, None),
        (sandbox(KEPT, paused=True), None, None),
        (sandbox({**KEPT, "conditions": [condition("Finished", "True", "Completed", "m")]}), None, None),
        (sandbox(KEPT), ours(), None),
        (sandbox(KEPT), ours(node_name="", kept_to="node-2"), "node-2"),
        (sandbox(KEPT), ours(kept_to="node-2"), None),
        (sandbox(KEPT), ours(cut_off=True, ready=False), "node-1"),
        (sandbox(KEPT), ours(cut_off=True, ready=False, deleting=True, ends_at=at(0)), None),
        (sandbox(KEPT), ours(deleting=True, ends_at=at(-4)), None),
        (sandbox(KEPT), ours(deleting=True, ends_at=at(-5)), "node-1"),
        (sandbox(KEPT), ours(deleting=True, ends_at=at(-5), node_name=""), None),
        (sandbox(KEPT), ours(deleting=True, ends_at=at(-5), owner_uid="another"), None),
        (sandbox(KEPT), ours(cut_off=True, ready=False, owner_uid=None), None),
    ],
)
def test_a_node_is_read_only_where_something_depends_on_it(of: Sandbox, found: Pod | None, wanted: str | None) -> None:
    assert node_wanted(of, found, NOW) == wanted
