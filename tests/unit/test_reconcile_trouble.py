"""The Reconciler when the API server says no, names are taken, and facts are stale."""

from typing import Any

import pytest

from sandmount.answers import Conflict, Missing, Refused, Transient
from tests.unit.builders import KEY, host
from tests.unit.world import World, until, world

REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": True}
WANTED = [host()]
REFUSED = Refused("forbidden", final=False)


async def running(w: World) -> None:
    w.apply()
    await w.settle()
    w.run_pod()
    await w.settle()
    w.api.calls.clear()


async def test_another_ones_pod_of_the_name_is_never_touched_and_looked_at_with_a_get() -> None:
    async with world() as w:
        w.foreign_pod(ownerReferences=[REPLICA_SET])
        w.apply(volumes=WANTED)
        await w.settle()
        looks = w.asked("get_pod")
        assert (w.asked("create_pod"), looks > 0) == (1, True)
        assert w.conditions()["Stalled"] == ("True", "PodNameTaken")
        assert "ReplicaSet web-1" in w.status()["conditions"][0]["message"]
        assert w.told() == ["PodNameTaken"]
        for more in (1, 2):
            w.watch("Sandbox", w.api.sandboxes[KEY])
            await w.settle()
            assert (w.asked("create_pod"), w.asked("get_pod")) == (1, looks + more)
        assert {"delete_pod", "label_pod"}.isdisjoint(w.writes())
        assert w.told() == ["PodNameTaken"]


async def test_a_name_that_becomes_free_is_used() -> None:
    async with world() as w:
        w.foreign_pod()
        w.apply()
        await w.settle()
        w.remove_pod()
        w.watch("Sandbox", w.api.sandboxes[KEY])
        await w.settle()
        assert w.asked("create_pod") == 2
        w.run_pod()
        await w.settle()
        assert w.conditions()["Ready"] == ("True", "PodReady")


async def test_our_own_pod_without_its_label_is_labelled_again_and_not_made_twice() -> None:
    async with world() as w:
        await running(w)
        labels = w.api.pods[KEY]["metadata"]["labels"]
        w.remove_label(labels)
        await w.settle()
        assert w.api.calls == [(verb, KEY) for verb in ("get_pod", "label_pod")]
        assert w.api.pods[KEY]["metadata"]["labels"] == labels
        w.watch("Sandbox", w.api.sandboxes[KEY])
        await w.settle()
        assert len(w.api.calls) == 2
        assert w.conditions()["Ready"] == ("True", "PodReady")


async def test_a_label_that_was_taken_off_while_nobody_looked_does_not_hide_a_pod_from_a_narrowed_list() -> None:
    async with world() as w:
        w.apply(volumes=WANTED)
        await w.settle()
        w.run_pod()
        await w.settle()
        w.api.calls.clear()
        w.watching = False
        w.change_pod(metadata={"labels": {}})
        w.watching = True
        w.reconciler.known.pods.drop(w.reconciler.known.pods.values()[0])  # as in an operator that has just begun
        await w.allow("- /srv", version=2)
        await w.settle()
        assert w.writes()[0] == "delete_pod"
        assert "deletionTimestamp" in w.api.pods[KEY]["metadata"]


async def test_a_pod_without_its_label_that_a_list_with_a_mistake_leaves_running_is_not_lost_sight_of() -> None:
    async with world() as w:
        w.apply(volumes=WANTED)
        await w.settle()
        w.run_pod()
        await w.settle()
        w.remove_label(w.api.pods[KEY]["metadata"]["labels"])
        await w.allow("- /srv\n- relative", version=2)
        await w.settle()
        assert w.asked("delete_pod") == 0
        assert w.status()["podName"] == KEY[1]
        assert w.status()["volumes"][0]["root"] == "/data"
        await w.allow("- /srv", version=3)
        await w.settle()
        assert w.asked("delete_pod") == 1


async def test_a_label_that_is_taken_off_before_the_status_names_the_pod_does_not_hide_it() -> None:
    async with world() as w:
        w.apply(volumes=WANTED)
        await w.settle()
        assert "podName" not in w.status()
        w.remove_label(w.api.pods[KEY]["metadata"]["labels"])
        await w.allow("- /srv", version=2)
        await w.settle()
        assert "delete_pod" in w.writes()


@pytest.mark.parametrize("answer", [Missing(), Conflict()])
async def test_a_pod_that_went_while_it_was_to_be_labelled_is_read_before_anything_else(answer: object) -> None:
    async with world() as w:
        await running(w)
        w.api.script["label_pod"] = [answer] * 50
        w.watching = False
        w.remove_pod()
        w.watching = True
        w.reconciler.known.saw_pod("MODIFIED", stale_pod(w))
        await w.settle()
        assert [verb for verb, _ in w.api.calls][:4] == ["label_pod", "get_pod", "get_sandbox", "patch_status"]
        assert w.asked("label_pod") == 1
        assert (w.asked("create_pod"), w.told()) == (1, ["PodDeleted"])


def stale_pod(w: World) -> dict[str, Any]:
    """Our Pod as a watch that is behind shows it: with one of our labels changed."""
    raw = w.api.last_pod
    labels = raw["metadata"]["labels"] | {"sandmount.dev/sandbox-uid": "changed"}
    return {**raw, "metadata": {**raw["metadata"], "labels": labels, "resourceVersion": str(w.api.version)}}


@pytest.mark.parametrize("answer", [Missing(), Conflict()])
async def test_a_pod_that_went_while_it_was_to_be_deleted_is_read_and_made_anew(answer: object) -> None:
    async with world() as w:
        await running(w)
        w.watching = False
        w.remove_pod()
        w.watching = True
        w.api.script["delete_pod"] = [answer]
        w.apply(generation=2, image="another")
        await w.settle()
        assert [verb for verb, _ in w.api.calls][:4] == ["delete_pod", "get_pod", "get_sandbox", "create_pod"]
        assert w.asked("delete_pod") == w.asked("create_pod") == 1


async def test_a_pod_that_cannot_be_read_is_not_taken_for_absent() -> None:
    async with world() as w:
        w.foreign_pod()
        w.api.script["get_pod"] = [REFUSED] * 50
        w.apply()
        await w.settle()
        assert w.api.calls == [("create_pod", KEY), ("get_pod", KEY)]


async def test_a_pod_that_is_refused_for_good_stalls_the_sandbox_with_the_servers_words() -> None:
    async with world() as w:
        w.api.script["create_pod"] = [Refused("spec.containers[0].image: Invalid value", final=True)]
        w.apply(volumes=WANTED)
        await w.settle()
        assert w.conditions() == {
            "Ready": ("False", "PodRefused"),
            "Stalled": ("True", "PodRefused"),
            "VolumesAllowed": ("True", "Granted"),
        }
        assert w.status()["conditions"][0]["message"] == "spec.containers[0].image: Invalid value"
        assert w.told() == ["PodRefused"]


async def test_a_pod_that_is_refused_for_now_is_told_and_not_tried_again_at_once() -> None:
    async with world() as w:
        w.api.script["create_pod"] = [Refused("exceeded quota", final=False)] * 50
        w.apply()
        await until(lambda: "Reconciling" in w.conditions())
        await w.settle()
        assert w.conditions() == {
            "Ready": ("False", "PodRefused"),
            "Reconciling": ("True", "PodRefused"),
            "VolumesAllowed": ("True", "Granted"),
        }
        assert w.asked("create_pod") < 5
        assert w.told() == []


async def test_nothing_more_is_done_when_the_namespace_is_going() -> None:
    async with world() as w:
        w.api.script["create_pod"] = [Missing()]
        w.apply()
        await w.settle()
        assert w.api.calls == [("create_pod", KEY)]


async def test_a_status_that_was_outdated_is_written_when_the_newer_sandbox_is_seen() -> None:
    async with world("none") as w:
        w.api.script["patch_status"] = [Conflict()]
        w.apply(volumes=WANTED)
        await w.settle()
        assert w.writes() == ["patch_status"]
        assert w.told() == []
        w.apply(generation=2, volumes=WANTED)
        await w.settle()
        assert w.writes() == ["patch_status", "patch_status", "create_event"]
        assert w.status()["observedGeneration"] == 2


async def test_a_status_that_was_outdated_is_tried_again_without_any_event() -> None:
    async with world("none") as w:
        w.api.script["patch_status"] = [Conflict()]
        w.apply(volumes=WANTED)
        await until(lambda: "Stalled" in w.conditions())
        assert w.asked("patch_status") == 2
        assert w.conditions()["Stalled"] == ("True", "HostPathNotAllowed")


@pytest.mark.parametrize("answer", [REFUSED, Missing()])
async def test_a_status_that_cannot_be_written_is_not_tried_again_and_again(answer: object) -> None:
    async with world("none") as w:
        w.api.script["patch_status"] = [answer] * 50
        w.apply(volumes=WANTED)
        await w.settle()
        assert w.writes() == ["patch_status"]


@pytest.mark.parametrize(("verb", "first"), [("create_pod", []), ("patch_status", ["create_pod"])])
async def test_what_failed_for_now_is_tried_again(verb: str, first: list[str]) -> None:
    async with world() as w:
        w.api.script[verb] = [Transient("the server is busy")]
        w.apply()
        await w.settle()
        if first:
            w.run_pod()
            await w.settle()
        assert w.writes() == [*first, verb]
        await until(lambda: w.asked(verb) == 2)
        await w.settle()
        if not first:
            w.run_pod()
            await w.settle()
        assert w.conditions()["Ready"] == ("True", "PodReady")


async def test_an_event_that_cannot_be_written_fails_nothing() -> None:
    for answer in (Transient("busy"), REFUSED, Missing()):
        async with world("none") as w:
            w.api.script["create_event"] = [answer]
            w.apply(volumes=WANTED)
            await w.settle()
            assert w.writes() == ["patch_status", "create_event"]
            assert w.conditions()["Stalled"] == ("True", "HostPathNotAllowed")


async def test_a_mistake_of_ours_in_one_pass_stops_neither_the_worker_nor_that_sandbox(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as w:
        w.api.script["create_pod"] = [RuntimeError("a bug")]
        w.apply("first", "uid-1")
        w.apply("second", "uid-2")
        await w.settle()
        assert [key[1] for _, key in w.api.calls] == ["first", "second"]
        assert "unexpected error" in caplog.text
        await until(lambda: (KEY[0], "first") in w.api.pods)


async def test_a_pod_that_cannot_be_created_for_now_is_told_while_it_is_tried_again() -> None:
    async with world() as w:
        w.api.script["create_pod"] = [Transient("500 failed calling webhook")] * 4
        w.apply()
        await until(lambda: w.asked("patch_status") == 1)
        await w.settle()
        assert w.conditions()["Ready"] == ("False", "PodNotCreated")
