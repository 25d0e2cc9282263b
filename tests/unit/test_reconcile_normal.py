"""The Reconciler in a cluster where all goes well: what is written, and how seldom."""

import asyncio

from sandmount.known import QUIET_SECONDS
from tests.unit.builders import KEY, host
from tests.unit.world import until, world

WANTED = [host()]


async def test_a_sandbox_that_is_ready_at_once_costs_exactly_two_writes() -> None:
    async with world() as w:
        w.apply(volumes=WANTED)
        await w.settle()
        assert w.writes() == ["create_pod"]
        w.run_pod()
        await w.settle()
        assert w.api.calls == [("create_pod", KEY), ("patch_status", KEY)]
        assert w.conditions() == {"Ready": ("True", "PodReady"), "VolumesAllowed": ("True", "Granted")}
        assert w.status()["volumes"] == [{"name": "data", "root": "/data", "readOnly": False, "subPath": "shared"}]
        assert w.told() == []


async def test_many_sandboxes_cost_two_writes_each_with_many_workers() -> None:
    async with world(workers=8) as w:
        keys = [(KEY[0], f"s{i}") for i in range(50)]
        for _, name in keys:
            w.apply(name, f"uid-{name}")
        await until(lambda: len(w.api.pods) == 50)
        for key in keys:
            w.run_pod(key)
        await until(lambda: all(w.conditions(key) for key in keys))
        await w.settle()
        assert len(w.api.calls) == 100
        assert all(w.conditions(key)["Ready"] == ("True", "PodReady") for key in keys)


async def test_in_a_burst_a_pod_that_runs_is_told_before_all_others_are_made() -> None:
    async with world() as w:
        keys = [(KEY[0], f"s{i}") for i in range(20)]
        for _, name in keys:
            w.apply(name, f"uid-{name}")
        while not w.api.pods:  # noqa: ASYNC110 - step by step, so that the others are still waiting
            await asyncio.sleep(0)
        w.run_pod(keys[0])
        await w.settle()
        assert w.api.calls.index(("patch_status", keys[0])) < w.api.calls.index(("create_pod", keys[3]))
        assert w.asked("create_pod") == 20


async def test_one_that_lost_its_pod_does_not_wait_for_a_burst() -> None:
    async with world() as w:
        w.apply()
        await w.settle()
        w.run_pod()
        await w.settle()
        for number in range(20):
            w.apply(f"s{number}", f"uid-{number}")
        w.remove_pod()
        seen = len(w.api.calls)
        await w.settle()
        later = w.api.calls[seen:]
        assert later.index(("patch_status", KEY)) < later.index(("create_pod", (KEY[0], "s3")))


async def test_an_in_between_status_waits_and_is_then_written_once() -> None:
    async with world() as w:
        w.apply(volumes=WANTED)
        await w.settle()
        waits = {"waiting": {"reason": "PodInitializing"}}
        w.change_pod(phase="Pending", containerStatuses=[{"name": "sandbox", "state": waits}])
        await w.settle()
        assert w.writes() == ["create_pod"]
        await until(lambda: w.asked("patch_status") > 0)
        await w.settle()
        assert w.writes() == ["create_pod", "patch_status"]
        assert w.conditions()["Reconciling"] == ("True", "PodInitializing")
        w.run_pod()
        await w.settle()
        assert w.writes() == ["create_pod", "patch_status", "patch_status"]
        assert "Reconciling" not in w.conditions()
        assert w.told() == []


async def test_an_in_between_status_waits_from_the_step_that_it_tells_and_not_from_the_look_at_it() -> None:
    async with world() as w:
        w.apply(volumes=WANTED)
        await w.settle()
        await until(lambda: w.asked("patch_status") > 0)
        await w.settle()
        w.reconciler.known.untold[KEY] = asyncio.get_running_loop().time() - QUIET_SECONDS
        waits = {"waiting": {"reason": "PodInitializing"}}
        w.change_pod(phase="Pending", containerStatuses=[{"name": "sandbox", "state": waits}])
        await w.settle()
        assert w.asked("patch_status") == 2
        assert KEY not in w.reconciler.known.untold


async def test_looking_again_at_what_is_settled_asks_and_writes_nothing() -> None:
    async with world() as w:
        w.apply(volumes=WANTED)
        await w.settle()
        w.run_pod()
        await w.settle()
        w.api.calls.clear()
        for _ in range(3):
            w.watch("Sandbox", w.api.sandboxes[KEY])
            w.watch("Pod", w.api.pods[KEY], None)
            await w.settle()
        assert w.api.calls == []


async def test_a_changed_spec_replaces_the_pod_once_the_old_one_is_gone() -> None:
    async with world() as w:
        w.apply()
        await w.settle()
        w.run_pod()
        await w.settle()
        w.apply(generation=2, image="another")
        await w.settle()
        assert w.asked("delete_pod") == 1
        assert w.api.graces == [None]
        assert w.asked("create_pod") == 1
        w.remove_pod()
        await w.settle()
        assert w.asked("create_pod") == 2
        w.run_pod()
        await w.settle()
        assert w.status()["observedGeneration"] == 2
        assert w.conditions()["Ready"] == ("True", "PodReady")
        assert w.api.pods[KEY]["spec"]["containers"][0]["image"] == "another"


async def test_a_pod_that_somebody_deleted_is_made_again() -> None:
    async with world() as w:
        w.apply()
        await w.settle()
        w.run_pod()
        await w.settle()
        w.remove_pod()
        await w.settle()
        assert w.asked("create_pod") == 2


async def test_a_sandbox_that_ended_is_written_once_and_stays_finished() -> None:
    async with world() as w:
        w.apply(volumes=WANTED, restartPolicy="Never")
        await w.settle()
        w.run_pod()
        await w.settle()
        w.change_pod(phase="Succeeded", conditions=[])
        await w.settle()
        written = w.writes()
        assert written == ["create_pod", "patch_status", "patch_status", "create_event"]
        assert w.told() == ["Completed"]
        assert w.conditions() == {"Finished": ("True", "Completed")}
        assert [v["name"] for v in w.status()["volumes"]] == ["data"]
        w.watch("Sandbox", w.api.sandboxes[KEY])
        await w.settle()
        assert w.writes() == written
        w.remove_pod()
        await w.settle()
        assert w.asked("create_pod") == 1
        assert w.conditions() == {"Finished": ("True", "Completed")}


async def test_a_sandbox_that_is_gone_is_left_to_the_garbage_collector() -> None:
    async with world() as w:
        w.apply()
        await w.settle()
        w.run_pod()
        await w.settle()
        w.api.calls.clear()
        w.remove_sandbox()
        await w.settle()
        w.remove_pod()
        await w.settle()
        assert w.api.calls == []


async def test_nothing_is_decided_before_an_allowlist_was_loaded() -> None:
    async with world(None) as w:
        w.apply(volumes=WANTED)
        await w.settle()
        assert w.api.calls == []
        await w.allow("- /data")
        await until(lambda: w.asked("create_pod") == 1)


async def test_workers_wait_until_all_that_exists_was_listed() -> None:
    async with world(None) as w:
        w.watching = False
        w.apply()
        begun = asyncio.create_task(w.reconciler.begin())
        await w.allow("- /data")
        await w.settle()
        assert not begun.done()
        following = asyncio.create_task(w.reconciler.known.follow())
        await begun
        assert [s.key for s in w.reconciler.known.sandboxes.values()] == [KEY]
        following.cancel()


async def test_a_list_tells_what_vanished_while_no_watch_was_looking() -> None:
    async with world() as w:
        w.apply()
        await w.settle()
        w.run_pod()
        await w.settle()
        w.watching = False
        w.remove_pod()
        w.watching = True
        following = asyncio.create_task(w.reconciler.known.follow())
        await until(lambda: w.asked("create_pod") == 2)
        following.cancel()
