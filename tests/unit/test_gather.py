"""Gatherer: what one pass reads beyond what the watches have brought; what cannot be read is never taken for absent."""

from typing import Any

import pytest

from sandmount.answers import Conflict, Refused, Transient
from sandmount.gather import Gatherer
from sandmount.known import Known
from sandmount.observe import Node, parse_pod, parse_sandbox
from sandmount.queue import KeyedQueue
from sandmount.trouble import Trouble
from tests.unit.builders import KEY, NAME, NAMESPACE, NOW, UID, Json, pod, raw_sandbox, sandbox
from tests.unit.lives import at, node
from tests.unit.world import FakeApiServer

HAD: Json = {"podName": NAME}
REFUSED = Refused("forbidden", final=False)


class Parts:
    """A Gatherer, and what it reads from."""

    def __init__(self) -> None:
        self.api = FakeApiServer()
        self.known = Known(self.api, KeyedQueue())
        self.gatherer = Gatherer(self.api, self.known)

    def asked(self) -> list[str]:
        return [verb for verb, _ in self.api.calls]


def raw_pod(labels: Json | None = None, owner: str | None = UID, version: str = "20") -> Json:
    found: Json = {"namespace": NAMESPACE, "name": NAME, "uid": "pod-uid", "resourceVersion": version}
    found["labels"] = {"sandmount.dev/sandbox": NAME} if labels is None else labels
    if owner:
        found["ownerReferences"] = [
            {"kind": "Sandbox", "name": NAME, "apiVersion": "x", "uid": owner, "controller": True}
        ]
    return {"metadata": found}


async def test_a_pod_of_ours_that_the_watch_shows_is_not_read() -> None:
    parts = Parts()
    parts.known.pods.put(pod())
    assert await parts.gatherer.pod_at(KEY, sandbox(HAD)) == pod()
    assert await Parts().gatherer.pod_at(KEY, sandbox()) is None
    assert parts.asked() == []


@pytest.mark.parametrize("shown", [pod(labelled=False), pod(owner_uid="another"), pod(owner_uid=None)])
async def test_a_pod_that_is_not_ours_is_read_each_time_and_forgotten_when_it_is_gone(shown: Any) -> None:
    parts = Parts()
    parts.known.pods.put(shown)
    assert await parts.gatherer.pod_at(KEY, sandbox()) is None
    assert parts.asked() == ["get_pod"]
    assert parts.known.pods.get(KEY) is None


async def test_where_there_was_a_pod_and_the_watch_shows_none_it_is_read() -> None:
    parts = Parts()
    parts.api.pods[KEY] = raw_pod(labels={})
    found = await parts.gatherer.pod_at(KEY, sandbox(HAD))
    assert found == parse_pod(raw_pod(labels={})) == parts.known.pods.get(KEY)


async def test_a_name_that_the_watch_cannot_show_is_read_until_it_can_or_nothing_is_there() -> None:
    parts = Parts()
    parts.known.unwatched.add(KEY)
    parts.api.pods[KEY] = raw_pod(labels={})
    assert await parts.gatherer.pod_at(KEY, sandbox()) == parse_pod(raw_pod(labels={}))
    assert parts.known.unwatched == {KEY}
    parts.api.pods[KEY] = raw_pod(version="30")
    assert await parts.gatherer.pod_at(KEY, sandbox()) == parse_pod(raw_pod(version="30"))
    assert parts.known.unwatched == set()
    gone = Parts()
    gone.known.unwatched.add(KEY)
    assert await gone.gatherer.pod_at(KEY, sandbox()) is None
    assert gone.known.unwatched == set()


async def test_another_ones_pod_is_seen_and_not_kept() -> None:
    parts = Parts()
    parts.known.unwatched.add(KEY)
    parts.api.pods[KEY] = raw_pod(labels={}, owner="another")
    found = await parts.gatherer.pod_at(KEY, sandbox())
    assert found is not None
    assert found.owner_uid == "another"
    assert parts.known.pods.get(KEY) is None


@pytest.mark.parametrize("answer", [REFUSED, Conflict()])
async def test_what_cannot_be_read_is_never_taken_for_absent(answer: object) -> None:
    parts = Parts()
    parts.known.sandboxes.put(sandbox())
    parts.api.script = {verb: [answer] for verb in ("get_pod", "get_node", "get_sandbox")}
    words = "forbidden" if answer is REFUSED else "conflict"
    for reading, about, wait in [
        (parts.gatherer.pod_at(KEY, sandbox(HAD)), "the Pod cannot be read", 30),
        (parts.gatherer.node("node-1"), 'node "node-1" cannot be read', 0),
        (parts.gatherer.is_ghost(sandbox()), "the Sandbox cannot be read", 30),
    ]:
        with pytest.raises(Transient, match=f"{about}: {words}") as caught:
            await reading
        assert caught.value.retry_after == wait
    assert parts.known.sandboxes.get(KEY) is not None


async def test_a_sandbox_that_is_there_is_no_ghost() -> None:
    parts = Parts()
    parts.api.sandboxes[KEY] = raw_sandbox()
    parts.known.sandboxes.put(sandbox())
    assert not await parts.gatherer.is_ghost(sandbox())
    assert parts.known.sandboxes.get(KEY) == sandbox()


@pytest.mark.parametrize("there", [None, raw_sandbox(metadata={"uid": "another"})])
async def test_a_sandbox_that_is_gone_or_another_one_is_a_ghost_and_forgotten(there: Json | None) -> None:
    parts = Parts()
    if there:
        parts.api.sandboxes[KEY] = there
    parts.known.sandboxes.put(sandbox())
    assert await parts.gatherer.is_ghost(parse_sandbox(raw_sandbox()))
    assert parts.known.sandboxes.get(KEY) is None


async def test_a_node_is_read_by_its_name_and_may_be_gone() -> None:
    parts = Parts()
    assert await parts.gatherer.node(None) is None
    assert parts.asked() == []
    assert await parts.gatherer.node("node-1") == Node("node-1", found=False)
    parts.api.nodes["node-1"] = node(ready="False")
    labels = {"kubernetes.io/os": "linux"}
    assert await parts.gatherer.node("node-1") == Node("node-1", True, False, "kubelet says so", labels)
    assert parts.api.calls == [("get_node", ("", "node-1"))] * 2


async def test_events_are_read_for_a_pod_that_is_silent_for_two_seconds_and_only_explain_it() -> None:
    parts = Parts()
    parts.api.warnings = [{"involvedObject": {"uid": "pod-uid"}, "reason": "FailedMount", "message": "no"}]
    silent = pod(phase="Pending", ready=False, scheduled_at=NOW)
    assert await parts.gatherer.with_events(None, at(9)) is None
    assert await parts.gatherer.with_events(silent, at(1.9)) is silent
    assert await parts.gatherer.with_events(pod(), at(9)) == pod()
    assert parts.asked() == []
    told = Trouble("FailedMount", "no")
    assert await parts.gatherer.with_events(silent, at(2)) == pod(
        phase="Pending", ready=False, scheduled_at=NOW, trouble=told
    )
    other = pod(phase="Pending", ready=False, scheduled_at=NOW, uid="another")
    assert await parts.gatherer.with_events(other, at(2)) is other
