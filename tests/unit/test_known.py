"""Known: what a write of ours has answered already is not looked at again when the watch brings it."""

from typing import Any

import pytest

from sandmount.known import Known
from sandmount.observe import Key
from sandmount.queue import KeyedQueue
from tests.support import Json
from tests.unit.builders import KEY, raw_sandbox
from tests.unit.test_gather import raw_pod
from tests.unit.world import FakeApiServer


class Adds(KeyedQueue[Key]):
    """Only notes what was added."""

    def __init__(self) -> None:
        super().__init__()
        self.added: list[Key] = []
        self.due: set[Key] = set()

    def add(self, key: Key) -> None:
        self.added.append(key)

    def add_unless_due(self, key: Key, within: float) -> None:
        if key not in self.due:
            self.add(key)


@pytest.fixture
def known() -> Known:
    return Known(FakeApiServer(), Adds())


def added(known: Known) -> int:
    """How often a look was asked for."""
    queue: Any = known._queue  # noqa: SLF001
    return len(queue.added)


def look_is_due(known: Known) -> None:
    """Soon, whatever is seen until then."""
    queue: Any = known._queue  # noqa: SLF001
    queue.due.add(KEY)


def sandbox(version: str, generation: int = 1, **spec: Any) -> Json:
    return raw_sandbox(None, {"resourceVersion": version, "generation": generation}, **spec)


def pod(version: str) -> Json:
    return raw_pod(version=version)


def test_the_echo_of_a_status_that_was_written_is_not_looked_at(known: Known) -> None:
    known.saw_sandbox("ADDED", sandbox("5"))
    known.wrote_sandbox(sandbox("6"))
    known.saw_sandbox("MODIFIED", sandbox("6"))
    assert added(known) == 1
    assert [s.resource_version for s in known.sandboxes.values()] == ["6"]


def test_the_echo_of_a_pod_that_was_made_is_not_looked_at(known: Known) -> None:
    known.made_pod(pod("6"))
    known.saw_pod("ADDED", pod("6"))
    assert added(known) == 0
    assert [p.resource_version for p in known.pods.values()] == ["6"]


def test_what_happened_before_and_after_a_write_is_looked_at(known: Known) -> None:
    known.saw_sandbox("ADDED", sandbox("4"))
    known.wrote_sandbox(sandbox("6"))
    for version in ("5", "6", "7"):
        known.saw_sandbox("MODIFIED", sandbox(version))
    assert added(known) == 3
    assert [s.resource_version for s in known.sandboxes.values()] == ["7"]


def test_an_echo_is_swallowed_once(known: Known) -> None:
    known.made_pod(pod("6"))
    for _ in range(2):
        known.saw_pod("ADDED", pod("6"))
    assert added(known) == 1


async def test_a_watch_that_is_faster_than_the_answer_leaves_no_echo_behind(known: Known) -> None:
    known.saw_pod("ADDED", pod("6"))
    known.made_pod(pod("6"))
    known.saw_pod("MODIFIED", pod("6"))
    assert added(known) == 2


async def test_a_step_on_the_way_waits_for_the_look_that_is_due_and_is_known_meanwhile(known: Known) -> None:
    known.made_pod(pod("6"))
    look_is_due(known)
    placed = pod("7") | {"spec": {"nodeName": "node-1"}}
    known.saw_pod("MODIFIED", placed)
    assert added(known) == 0
    assert [(p.resource_version, p.node_name) for p in known.pods.values()] == [("7", "node-1")]


async def test_a_step_on_the_way_is_looked_at_when_no_look_is_due(known: Known) -> None:
    known.made_pod(pod("6"))
    known.saw_pod("MODIFIED", pod("7"))
    assert added(known) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
        {"status": {"phase": "Running"}},
        {"status": {"phase": "Pending", "reason": "Evicted"}},
    ],
)
def test_what_is_more_than_a_step_is_looked_at_at_once(known: Known, changes: Json) -> None:
    known.made_pod(pod("6"))
    look_is_due(known)
    known.saw_pod("MODIFIED", pod("7") | changes)
    assert added(known) == 1


@pytest.mark.parametrize("event", [None, "ADDED", "DELETED"])
def test_only_a_change_of_a_pod_is_a_step(known: Known, event: str | None) -> None:
    known.made_pod(pod("6"))
    look_is_due(known)
    known.saw_pod(event, pod("7"))
    assert added(known) == 1


@pytest.mark.parametrize("event", [None, "DELETED"])
def test_a_list_and_an_end_are_never_an_echo(known: Known, event: str | None) -> None:
    known.made_pod(pod("6"))
    known.saw_pod(event, pod("6"))
    assert added(known) == 1


def test_a_spec_of_the_same_generation_is_not_read_again_and_a_new_one_is(known: Known) -> None:
    known.saw_sandbox("ADDED", sandbox("5", image="one"))
    (first,) = known.sandboxes.values()
    known.saw_sandbox("MODIFIED", sandbox("6", image="one"))
    (second,) = known.sandboxes.values()
    assert second.spec is first.spec
    known.saw_sandbox("MODIFIED", sandbox("7", generation=2, image="two"))
    (third,) = known.sandboxes.values()
    assert getattr(third.spec, "image", "") == "two"


def test_an_answer_that_comes_after_the_end_leaves_neither_a_ghost_nor_an_echo(known: Known) -> None:
    gone = pod("7")
    gone["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    known.saw_pod("ADDED", pod("6"))
    known.saw_pod("DELETED", gone)
    known.made_pod(pod("6"))
    assert len(known.pods) == 0
    assert not known._echoes  # noqa: SLF001
