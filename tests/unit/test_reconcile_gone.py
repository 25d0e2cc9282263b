"""The Reconciler when Sandboxes and Pods go: ghosts, orphans, and who may be replaced."""

from typing import Any

from sandmount.answers import Refused
from tests.unit.builders import KEY, host
from tests.unit.world import World, until, world

REFUSED = Refused("forbidden", final=False)


async def running(w: World, **spec: Any) -> None:
    w.apply(**spec)
    await w.settle()
    w.run_pod()
    await w.settle()
    w.api.calls.clear()


async def test_a_replacement_is_told() -> None:
    async with world() as w:
        await running(w)
        w.apply(generation=2, image="another")
        await w.settle()
        assert w.told() == ["PodReplaced"]
        w.remove_pod()
        await w.settle()
        w.run_pod()
        await w.settle()
        assert w.told() == ["PodReplaced"]


async def test_a_pod_of_a_sandbox_that_is_gone_although_no_watch_says_so_is_not_made_again() -> None:
    async with world() as w:
        await running(w)
        w.api.sandboxes.clear()
        w.remove_pod()
        await w.settle()
        assert w.api.calls == [("get_pod", KEY), ("get_sandbox", KEY)]


async def test_a_pod_is_not_made_for_a_sandbox_that_was_replaced_by_another() -> None:
    async with world() as w:
        await running(w)
        w.watching = False
        w.apply(uid="another-uid")
        w.watching = True
        w.remove_pod()
        await w.settle()
        assert w.writes() == []
        w.watch("Sandbox", w.api.sandboxes[KEY])
        await w.settle()
        assert w.api.pods[KEY]["metadata"]["ownerReferences"][0]["uid"] == "another-uid"


async def test_a_pod_is_not_made_again_while_nobody_can_say_whether_its_sandbox_is_gone() -> None:
    async with world() as w:
        await running(w)
        w.api.script["get_sandbox"] = [REFUSED] * 50
        w.remove_pod()
        await w.settle()
        assert w.api.calls == [("get_pod", KEY), ("get_sandbox", KEY)]


async def test_a_pod_that_the_garbage_collector_leaves_behind_is_deleted_after_a_while() -> None:
    async with world() as w:
        await running(w)
        w.remove_sandbox()
        await w.settle()
        assert w.api.calls == []
        await until(lambda: w.asked("delete_pod") == 1)
        assert w.api.calls == [("get_sandbox", KEY), ("delete_pod", KEY)]


async def test_the_address_of_another_ones_pod_is_not_shown() -> None:
    async with world() as w:
        labels = {"sandmount.dev/sandbox": KEY[1]}
        w.foreign_pod(labels=labels)
        w.change_pod(podIP="10.9.9.9", phase="Running")
        w.apply(volumes=[host()])
        await w.settle()
        assert w.conditions()["Stalled"] == ("True", "PodNameTaken")
        assert not {"podName", "podIP", "nodeName", "volumes", "startedAt"} & set(w.status())


def orphaned(w: World) -> None:
    """``kubectl delete --cascade=orphan``: the Sandbox goes, and its Pod loses its owner."""
    w.api.sandboxes.pop(KEY)
    w.change_pod(metadata={"ownerReferences": []})


async def test_a_pod_left_by_an_orphaning_delete_is_deleted_after_a_live_read_says_that_its_sandbox_is_gone() -> None:
    async with world() as w:
        await running(w)
        gone = w.api.sandboxes[KEY]
        orphaned(w)
        w.watch("Sandbox", {**gone, "metadata": {**gone["metadata"], "resourceVersion": "999"}}, "DELETED")
        await w.settle()
        assert w.api.calls == [("get_sandbox", KEY), ("delete_pod", KEY)]


async def test_a_pod_whose_sandbox_no_watch_has_shown_yet_is_left_alone_while_it_has_its_owner() -> None:
    async with world() as w:
        await running(w)
        async with world() as restarted:
            restarted.api.sandboxes |= w.api.sandboxes
            restarted.watch("Pod", w.api.pods[KEY], None)
            await restarted.settle()
            assert restarted.api.calls == []


async def test_an_orphaned_pod_whose_sandbox_turns_out_to_exist_is_decided_on_with_that_sandbox() -> None:
    async with world() as w:
        await running(w)
        async with world() as restarted:
            restarted.api.sandboxes |= w.api.sandboxes
            restarted.api.pods |= w.api.pods
            restarted.change_pod(metadata={"ownerReferences": []})
            await restarted.settle()
            told = [verb for verb, _ in restarted.api.calls if verb != "get_pod"]  # a Pod of nobody is read each time
            assert told == ["get_sandbox", "delete_pod", "create_event"]
            restarted.remove_pod()
            await restarted.settle()
            assert restarted.asked("create_pod") == 1


async def test_a_pod_is_kept_while_nobody_can_say_whether_its_sandbox_is_gone() -> None:
    async with world() as w:
        await running(w)
        gone = w.api.sandboxes[KEY]
        w.api.script["get_sandbox"] = [REFUSED] * 50
        orphaned(w)
        w.watch("Sandbox", {**gone, "metadata": {**gone["metadata"], "resourceVersion": "999"}}, "DELETED")
        await w.settle()
        assert w.asked("delete_pod") == 0


async def test_a_sandbox_made_anew_waits_for_the_pod_that_an_earlier_one_left_and_then_gets_its_own() -> None:
    async with world() as w:
        await running(w)
        w.change_pod(metadata={"ownerReferences": []})
        w.apply(uid="another-uid")
        await w.settle()
        assert w.asked("delete_pod") == 1
        assert w.asked("create_pod") == 0
        w.remove_pod()
        await w.settle()
        assert w.asked("create_pod") == 1
        assert w.api.pods[KEY]["metadata"]["ownerReferences"][0]["uid"] == "another-uid"
