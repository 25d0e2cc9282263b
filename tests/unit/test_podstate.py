"""podstate: what a Pod and its node say about a Sandbox, and when the Pod's Events are worth a read."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.allowlist import Grant
from sandmount.observe import Node, parse_node, parse_pod
from sandmount.podstate import events_again, events_due, is_overdue, is_step_to_start, state_of, state_of_ending
from sandmount.status import Stage, State
from sandmount.trouble import Trouble
from tests.unit.builders import NOW, Json, pod
from tests.unit.lives import at, container, node, scheduled, stamp

UP = Node("node-1", True, True, "kubelet is posting ready status")
DOWN = Node("node-1", True, False, "Kubelet stopped posting node status.")
GONE = Node("node-1", found=False)
PENDING: dict[str, Any] = {"phase": "Pending", "ready": False, "started": False}
CUT_OFF: dict[str, Any] = {"ready": False, "cut_off": True}


def moving(reason: str, message: str) -> State:
    return State(Stage.MOVING, "Pending", reason, message)


def same(found: State, expected: State, *, told: bool) -> None:
    """Equal, and told or not, which does not count when States are compared."""
    assert (found, found.told) == (expected, told)


@pytest.mark.parametrize("node", [None, UP, DOWN, GONE])
def test_a_ready_pod_is_ready_whatever_its_node_says(node: Node | None) -> None:
    ready = State(Stage.READY, "Running", "PodReady", "the container runs")
    same(state_of(pod(), node), ready, told=True)
    same(state_of(pod(restarted=True), node), ready, told=False)


@pytest.mark.parametrize("node", [None, DOWN])
def test_a_pod_that_ended_has_ended_whatever_its_node_says(node: Node | None) -> None:
    done = State(Stage.FINISHED, "Succeeded", "Completed", "the container ended with exit code 0")
    assert state_of(pod(phase="Succeeded", **CUT_OFF), node) == done
    failed = State(Stage.STUCK, "Failed", "PodFailed", "the Pod failed: Error: code 1")
    assert state_of(pod(phase="Failed", trouble=Trouble("Error", "code 1"), **CUT_OFF), node) == failed


@pytest.mark.parametrize(
    ("node", "about"),
    [(DOWN, 'node "node-1" is not ready: Kubelet stopped posting node status'), (GONE, 'node "node-1" is gone')],
)
def test_a_pod_that_is_cut_off_on_a_lost_node_says_so(node: Node, about: str) -> None:
    expected = moving("NodeNotReady", f"{about}; the Pod may still run there")
    same(state_of(pod(**CUT_OFF), node), expected, told=True)
    same(state_of(pod(**CUT_OFF, trouble=Trouble("ContainersNotReady", "x")), node), expected, told=True)


def test_a_pod_is_not_blamed_on_a_node_that_is_up_or_that_nobody_asked_about() -> None:
    for known in (UP, None):
        assert state_of(pod(**CUT_OFF), known) == moving("PodPending", "the Pod is being started")
    unready = pod(ready=False, trouble=Trouble("ContainersNotReady", "unready"))
    assert state_of(unready, DOWN) == moving("ContainersNotReady", "unready")


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Unschedulable", True),
        ("ErrImagePull", True),
        ("CrashLoopBackOff", True),
        ("ContainerCreating", False),
        ("PodInitializing", False),
        ("ContainersNotReady", False),
    ],
)
def test_trouble_is_told_and_a_step_on_the_way_is_not(reason: str, told: bool) -> None:
    same(state_of(pod(**PENDING, trouble=Trouble(reason, "why")), None), moving(reason, "why"), told=told)
    quiet = Trouble(reason, "why", told=False)
    same(state_of(pod(**PENDING, trouble=quiet), None), moving(reason, "why"), told=False)


def test_a_pod_that_says_nothing_is_being_started() -> None:
    same(state_of(pod(**PENDING), None), moving("PodPending", "the Pod is being started"), told=False)


def test_a_pod_that_finds_no_room_names_the_node_that_it_is_kept_to() -> None:
    room = Trouble("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")
    kept = state_of(pod(**PENDING, node_name="", kept_to="node-1", trouble=room), UP)
    words = f'{room.message.rstrip(".")}; it waits for node "node-1", where its host directories are'
    same(kept, moving("Unschedulable", words), told=True)
    free = state_of(pod(**PENDING, node_name="", trouble=room), UP)
    same(free, moving("Unschedulable", room.message), told=True)
    other = Trouble("ErrImagePull", "no such host")
    assert state_of(pod(**PENDING, kept_to="node-1", trouble=other), UP).message == "no such host"


def test_a_container_that_is_being_created_names_the_roots_that_may_be_missing() -> None:
    grants = (Grant("a", "/data", "", False), Grant("b", "/srv", "x", True))
    creating = pod(grants=grants, **PENDING, trouble=Trouble("ContainerCreating", ""))
    words = 'the container is being created; if it stays so: is "/data", "/srv" a directory on node "node-1"?'
    assert state_of(creating, None) == moving("ContainerCreating", words)


# ---- a Pod that is to end


@pytest.mark.parametrize(
    ("ends", "seconds", "overdue"), [(None, 10**6, False), (10, 10, False), (10, 14.9, False), (10, 15, True)]
)
def test_a_pod_is_overdue_five_seconds_after_its_time(ends: float | None, seconds: float, overdue: bool) -> None:
    found = pod(deleting=True, ends_at=None if ends is None else at(ends))
    assert is_overdue(found, at(seconds)) is overdue


@pytest.mark.parametrize("node", [None, UP, DOWN, GONE])
def test_a_pod_that_ends_in_time_is_waited_for(node: Node | None) -> None:
    waiting = moving("PodTerminating", "waiting for the previous Pod to end")
    same(state_of_ending(pod(deleting=True, ends_at=at(10)), node, at(14)), waiting, told=False)


@pytest.mark.parametrize(
    ("node", "about"),
    [(DOWN, 'node "node-1" is not ready: Kubelet stopped posting node status'), (GONE, 'node "node-1" is gone')],
)
def test_a_pod_that_cannot_end_because_its_node_is_lost_says_so(node: Node, about: str) -> None:
    words = f"{about}; its Pod cannot be told to end, and no other is made as long as it may still run"
    found = state_of_ending(pod(deleting=True, ends_at=at(10)), node, at(15))
    same(found, moving("NodeLost", words), told=True)


@pytest.mark.parametrize("node", [None, UP])
def test_a_pod_that_is_late_on_a_node_that_stands_may_be_held(node: Node | None) -> None:
    words = "the previous Pod should have ended and is still there; a finalizer may hold it, or its node is slow"
    found = state_of_ending(pod(deleting=True, ends_at=at(10)), node, at(15))
    same(found, moving("PodTerminating", words), told=False)


# ---- when its Events are read

SILENT = [None, Trouble("ContainerCreating", ""), Trouble("PodInitializing", ""), Trouble("ContainersNotReady", "x")]


@pytest.mark.parametrize("trouble", SILENT)
@pytest.mark.parametrize(("age", "due"), [(0, 2.0), (0.5, 1.5), (2, 0.0), (3600, 0.0), (-5, 0.0)])
def test_events_are_due_two_seconds_after_a_silent_pod_got_its_node(
    trouble: Trouble | None, age: float, due: float
) -> None:
    assert events_due(pod(**PENDING, trouble=trouble, scheduled_at=NOW), at(age)) == due


@pytest.mark.parametrize(
    "changes",
    [
        {"scheduled_at": None},
        {"deleting": True},
        {"phase": "Running"},
        {"phase": "Failed"},
        {"phase": "Succeeded"},
        {"trouble": Trouble("ErrImagePull", "x")},
        {"trouble": Trouble("CreateContainerConfigError", "x")},
        {"trouble": Trouble("Unschedulable", "x")},
    ],
)
def test_events_are_never_due_of_a_pod_whose_status_says_all_there_is(changes: dict[str, Any]) -> None:
    found = pod(**{**PENDING, "scheduled_at": NOW, **changes})
    assert [events_due(found, at(age)) for age in (0, 2, 3600)] == [None, None, None]


STARTING = pod(**PENDING, node_name="", pod_ip="", ready_since=None)


@pytest.mark.parametrize("trouble", SILENT)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"node_name": "node-1", "scheduled_at": NOW},
        {"node_name": "node-1", "scheduled_at": NOW, "pod_ip": "10.0.0.7", "ready_since": stamp(0)},
    ],
)
def test_a_pod_that_gets_its_node_and_its_address_is_on_its_way(
    trouble: Trouble | None, changes: dict[str, Any]
) -> None:
    assert is_step_to_start(STARTING, replace(STARTING, resource_version="21", trouble=trouble, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"ready": True},
        {"phase": "Running"},
        {"phase": "Failed"},
        {"phase": "Succeeded"},
        {"deleting": True},
        {"uid": "another"},
        {"owner_uid": None},
        {"labelled": False},
        {"started": True},
        {"host_mounts": pod(grants=(Grant("data", "/srv/data", "", False),)).host_mounts},
        {"trouble": Trouble("Unschedulable", "x")},
        {"trouble": Trouble("ErrImagePull", "x")},
    ],
)
def test_whatever_else_a_pod_does_is_more_than_a_step(changes: dict[str, Any]) -> None:
    assert not is_step_to_start(STARTING, replace(STARTING, **changes))


def test_the_end_of_trouble_is_more_than_a_step() -> None:
    assert not is_step_to_start(replace(STARTING, trouble=Trouble("Unschedulable", "x")), STARTING)


@pytest.mark.parametrize(
    ("age", "again"), [(-5, 2), (0, 2), (2, 2), (4, 2), (6, 3), (60, 30), (120, 60), (121, 60), (10**6, 60)]
)
def test_events_are_read_ever_more_seldom(age: float, again: float) -> None:
    assert events_again(pod(**PENDING, scheduled_at=NOW), at(age)) == again


@given(st.floats(0, 10**6))
def test_an_hour_of_a_pod_that_does_not_start_costs_few_reads(start: float) -> None:
    found, now, reads = pod(**PENDING, scheduled_at=NOW), start, 0
    while now < start + 3600:
        reads += events_due(found, at(now)) == 0
        now += events_due(found, at(now)) or events_again(found, at(now))
    assert reads <= 70


# ---- what is kept of Nodes and Pods for this


@pytest.mark.parametrize(
    ("status", "ready", "message"),
    [
        ({"conditions": [{"type": "Ready", "status": "True", "message": "posting"}]}, True, "posting"),
        ({"conditions": [{"type": "Ready", "status": "Unknown", "message": "stopped"}]}, False, "stopped"),
        ({"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]}, False, "KubeletNotReady"),
        ({"conditions": [{"type": "MemoryPressure", "status": "True"}]}, False, "it has not reported yet"),
        ({}, False, "it has not reported yet"),
        (None, False, "it has not reported yet"),
    ],
)
def test_a_node_is_ready_when_it_says_so(status: Json | None, ready: bool, message: str) -> None:
    raw = {"metadata": {"name": "node-1", "labels": {"a": "b"}}, "status": status}
    assert parse_node(raw) == Node("node-1", True, ready, message, {"a": "b"})


def test_a_node_is_read_with_its_labels() -> None:
    labels = {"kubernetes.io/os": "linux", "disk": "fast"}
    assert parse_node(node(disk="fast")) == Node("node-1", True, True, "kubelet says so", labels)
    assert parse_node({"metadata": {"name": "n", "labels": None}}).labels == {}


def raw_pod(spec: Json | None = None, metadata: Json | None = None, **status: Any) -> Json:
    named = {"namespace": "team-a", "name": "training", "uid": "x", "resourceVersion": "1", **(metadata or {})}
    return {"metadata": named, "spec": spec or {}, "status": status}


def test_a_pod_is_cut_off_when_its_container_is_ready_and_it_is_not() -> None:
    def cut_off(ready: bool, condition: str | None) -> bool:
        conditions = [{"type": "Ready", "status": condition}] if condition else []
        return parse_pod(raw_pod(conditions=conditions, containerStatuses=container(ready=ready))).cut_off

    assert [cut_off(True, c) for c in ("True", "False", "Unknown", None)] == [False, True, True, True]
    assert [cut_off(False, c) for c in ("True", "False", None)] == [False, False, False]


def test_the_times_of_a_pod_are_read() -> None:
    found = parse_pod(raw_pod(metadata={"deletionTimestamp": stamp(9)}, conditions=[scheduled(3)]))
    assert (found.ends_at, found.scheduled_at, found.deleting) == (at(9), at(3), True)
    waits = {**scheduled(3), "status": "False"}
    for conditions in ([waits], [], None, [{"type": "PodScheduled", "status": "True"}]):
        without = parse_pod(raw_pod(conditions=conditions))
        assert (without.ends_at, without.scheduled_at, without.deleting) == (None, None, False)


@pytest.mark.parametrize(
    ("fields", "kept_to"),
    [
        ([{"key": "metadata.name", "operator": "In", "values": ["node-1"]}], "node-1"),
        ([], ""),
        (None, ""),
        ([{"key": "metadata.name", "operator": "In"}], ""),
    ],
)
def test_the_node_that_a_pod_is_kept_to_is_read_from_its_affinity(fields: Any, kept_to: str) -> None:
    terms = [{"matchExpressions": [], "matchFields": fields}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    assert parse_pod(raw_pod({"affinity": {"nodeAffinity": required}})).kept_to == kept_to
    nothing: list[Json] = [{}, {"affinity": None}, {"affinity": {"nodeAffinity": {}}}]
    assert [parse_pod(raw_pod(without)).kept_to for without in nothing] == ["", "", ""]


@pytest.mark.parametrize(("count", "restarted"), [(0, False), (1, True), (9, True)])
def test_a_container_that_was_started_again_is_known(count: int, restarted: bool) -> None:
    assert parse_pod(raw_pod(containerStatuses=container(count=count))).restarted is restarted
