"""healing: how long a lost Pod is waited for, how often, and where the next one goes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.allowlist import Grant
from sandmount.healing import MOST_RESTARTS, lost, same_node, wait_before, waiting, words_of
from sandmount.memory import Condition, Memory
from sandmount.observe import Node
from sandmount.status import Loss, Stage, State, Verdict
from sandmount.steps import Plan
from sandmount.trouble import Trouble
from tests.unit.builders import NOW, host, pod, spec
from tests.unit.lives import at

DELETED = ("PodDeleted", "the Pod was deleted")


def test_the_first_new_pod_comes_at_once_and_each_further_one_later_up_to_five_minutes() -> None:
    assert [wait_before(n) for n in range(13)] == [0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert sum(wait_before(n) for n in range(MOST_RESTARTS + 1)) == 810


@pytest.mark.parametrize(("before", "count", "when"), [(0, 1, "now"), (1, 2, "in 2 s"), (9, 10, "in 300 s")])
def test_a_loss_is_counted_and_dated_and_written_down_at_once(before: int, count: int, when: str) -> None:
    words = f"the Pod was deleted; a new Pod is made {when} (restart {count} of at most 10 in a row)"
    found = lost(Memory(restarts=before), *DELETED, NOW)
    state = State(Stage.MOVING, "Pending", "PodDeleted", words)
    assert found == Plan(None, Verdict(state, (), Loss(count, NOW)), at_once=True)
    assert found.verdict is not None
    assert found.verdict.state.told


@pytest.mark.parametrize("before", [10, 11, 500])
def test_after_ten_in_a_row_somebody_has_to_look(before: int) -> None:
    words = (
        "its Pod was lost 11 times in a row, the last time as PodDeleted: the Pod was deleted; no new one "
        "is made until the spec changes, or paused is set to true and back"
    )
    state = State(Stage.STUCK, "Failed", "RestartLimit", words)
    assert lost(Memory(restarts=before), *DELETED, NOW) == Plan(None, Verdict(state, (), Loss(11, NOW)))


def test_a_loss_after_ten_good_minutes_is_the_first_one() -> None:
    for restarts in (1, 10, 500):
        well = Memory(restarts=restarts, ready=Condition("True", "PodReady", "", at(-600)))
        assert lost(well, *DELETED, NOW) == lost(Memory(), *DELETED, NOW)


SAID = Condition("False", "Evicted", "low on memory; a new Pod is made in 4 s", NOW)


@pytest.mark.parametrize(("seconds", "left"), [(0, 4), (1, 3), (3.5, 0.5), (4, None), (4.1, None), (10**6, None)])
def test_until_the_next_pod_is_due_the_status_says_what_it_said(seconds: float, left: float | None) -> None:
    found = waiting(Memory(restarts=3, lost_at=NOW, ready=SAID), NOW, at(seconds))
    state = State(Stage.MOVING, "Pending", "Evicted", "low on memory; a new Pod is made in 4 s")
    assert found == (None if left is None else Plan(None, Verdict(state, (), Loss(3, NOW)), left))


def test_who_was_told_nothing_is_told_that_the_pod_is_gone() -> None:
    state = State(Stage.MOVING, "Pending", "PodLost", "the Pod is gone")
    assert waiting(Memory(restarts=2), NOW, NOW) == Plan(None, Verdict(state, (), Loss(2, NOW)), 2)


@pytest.mark.parametrize("restarts", [0, 1])
def test_the_first_new_pod_is_never_waited_for(restarts: int) -> None:
    assert waiting(Memory(restarts=restarts), NOW, NOW) is None


@given(st.integers(0, 20), st.floats(0, 400))
def test_a_new_pod_is_due_exactly_when_its_wait_is_over(restarts: int, seconds: float) -> None:
    found = waiting(Memory(restarts=restarts), NOW, at(seconds))
    left = (at(wait_before(restarts)) - at(seconds)).total_seconds()
    assert (None if found is None else found.look_again) == (left if left > 0 else None)


# ---- where

LINUX = {"kubernetes.io/os": "linux"}
GRANTS = (Grant("data", "/data", "shared", False),)
ON_FAST = (Grant("data", "/data", "shared", False, (("disk", "fast"), ("zone", "1"))),)


@pytest.mark.parametrize(
    ("grants", "fields", "labels", "kept"),
    [
        (GRANTS, {}, LINUX, True),
        (GRANTS, {}, {}, False),
        (GRANTS, {}, {"kubernetes.io/os": "windows"}, False),
        (ON_FAST, {}, LINUX, False),
        (ON_FAST, {}, {**LINUX, "disk": "fast"}, False),
        (ON_FAST, {}, {**LINUX, "disk": "slow", "zone": "1"}, False),
        (ON_FAST, {}, {**LINUX, "disk": "fast", "zone": "1", "more": "x"}, True),
        (GRANTS, {"nodeSelector": {"gpu": ""}}, LINUX, False),
        (GRANTS, {"nodeSelector": {"gpu": ""}}, {**LINUX, "gpu": ""}, True),
        (ON_FAST, {"nodeSelector": {"disk": "other"}}, {**LINUX, "disk": "fast", "zone": "1"}, False),
    ],
)
def test_a_new_pod_goes_where_its_host_directories_are_while_it_may_go_there(
    grants: tuple[Grant, ...], fields: dict[str, Any], labels: dict[str, str], kept: bool
) -> None:
    wanted = spec(volumes=[host()], **fields)
    for ready in (True, False):
        node = Node("node-1", True, ready, "", labels)
        assert same_node(wanted, grants, node) == ("node-1" if kept else None)


def test_a_new_pod_goes_anywhere_when_the_node_is_gone_or_nothing_is_kept_there() -> None:
    assert same_node(spec(volumes=[host()]), GRANTS, Node("node-1", found=False, labels=LINUX)) is None
    assert same_node(spec(volumes=[host()]), GRANTS, None) is None
    scratch = {"name": "e", "mountPath": "/e", "emptyDir": {}}
    for without in (spec(), spec(volumes=[scratch])):
        assert same_node(without, (), Node("node-1", True, True, "", LINUX)) is None


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (None, ("PodDisrupted", "the Pod was ended from outside")),
        (Trouble("Evicted", "low on memory"), ("Evicted", "low on memory")),
        (Trouble("NodeShutdown", ""), ("NodeShutdown", "the Pod ended: NodeShutdown")),
    ],
)
def test_a_disruption_is_told_in_the_pods_own_words(trouble: Trouble | None, words: tuple[str, str]) -> None:
    assert words_of(pod(phase="Failed", disrupted=True, trouble=trouble)) == words
