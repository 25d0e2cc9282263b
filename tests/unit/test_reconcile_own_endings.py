"""The Reconciler and the ends that it brings about itself: Pods that it ends are not lost, and clocks that are set."""

import asyncio

from tests.unit.builders import KEY, host
from tests.unit.lives import at, look, running, stamp
from tests.unit.world import World, until, world

WANTED = [host()]


async def ends_slowly(w: World) -> None:
    """The Pod that we deleted goes only after the status was written about the spec as it is."""
    assert w.asked("delete_pod") == 1
    generation = w.api.sandboxes[KEY]["metadata"]["generation"]
    await until(lambda: w.conditions()["Ready"][0] == "False" and w.status()["observedGeneration"] == generation)
    await w.settle()
    assert w.status()["podName"] == "training"
    w.remove_pod()
    await w.settle()


async def test_a_pod_that_we_replace_is_not_lost_however_long_it_takes_to_end() -> None:
    async with world() as w:
        await running(w)
        w.apply(generation=2, image="another")
        await w.settle()
        await ends_slowly(w)
        w.run_pod()
        await w.settle()
        assert w.asked("create_pod") == 1
        assert "restarts" not in w.status()
        assert w.told() == ["PodReplaced"]


async def test_a_pod_that_is_lost_after_one_of_ours_was_ended_is_a_loss_again() -> None:
    async with world() as w:
        await running(w)
        w.apply(generation=2, image="another")
        await w.settle()
        await ends_slowly(w)
        w.run_pod()
        await w.settle()
        w.remove_pod()
        await w.settle()
        assert w.status()["restarts"] == 1
        assert w.told() == ["PodReplaced", "PodDeleted"]


async def test_a_pod_that_we_revoked_is_not_lost_when_it_is_allowed_again_while_it_ends() -> None:
    async with world() as w:
        await running(w, volumes=WANTED)
        await w.allow("- /srv", version=2)
        await w.settle()
        assert w.conditions()["Stalled"] == ("True", "HostPathNotAllowed")
        await w.allow("- /data", version=3)
        await w.settle()
        await ends_slowly(w)
        assert w.asked("create_pod") == 1
        assert "restarts" not in w.status()
        assert "PodDeleted" not in w.told()


async def test_a_loss_that_was_written_down_leads_on_without_any_event_of_a_watch() -> None:
    async with world() as w:
        await running(w)
        w.remove_pod()
        w.watching = False
        await w.settle()
        assert w.writes() == ["patch_status", "create_event", "create_pod", "patch_status"]


async def test_a_held_sandbox_that_we_deleted_loses_its_pod_without_any_event_of_a_watch() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60, expiryPolicy="Delete")
        w.api.sandboxes[KEY]["metadata"]["finalizers"] = ["example.com/keep"]
        w.api.keep("Sandbox", w.api.sandboxes[KEY])
        w.now = at(60)
        w.watching = False
        w.reconciler.known.saw_sandbox("MODIFIED", w.api.sandboxes[KEY])
        await w.settle()
        known = w.reconciler.known.sandboxes.get(KEY)
        assert known is not None
        assert known.deleting
        w.watching = True
        await look(w)
        assert w.asked("delete_sandbox") == 1
        assert "delete_pod" in w.writes()


async def test_when_the_clock_is_set_all_deadlines_are_looked_at_again() -> None:
    async with world() as w:
        await running(w, expiresAt=stamp(3600))
        watching = asyncio.create_task(w.reconciler.watch_clock(every=0.01))
        await asyncio.sleep(0.05)
        assert w.asked("delete_pod") == 0
        w.now = at(3601)
        await until(lambda: w.asked("delete_pod") == 1)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_a_pod_that_is_gone_at_once_when_we_delete_it_is_followed_by_the_next() -> None:
    async with world() as w:
        await running(w)
        gone = {"kind": "Pod", "metadata": {"namespace": KEY[0], "name": KEY[1], "uid": "pod-101"}}
        w.api.script["delete_pod"] = [gone]
        w.watching = False
        w.remove_pod()
        w.watching = True
        w.apply(generation=2, image="another")
        await until(lambda: w.asked("create_pod") == 1)
        assert w.told() == ["PodReplaced"]
