"""The Reconciler when the allowlist changes: both directions, at once."""

from sandmount.settings import OnRevoke, Settings
from tests.unit.builders import KEY, host
from tests.unit.world import World, world

WANTED = [host()]


async def running(w: World, name: str = KEY[1]) -> None:
    w.apply(name, f"uid-{name}", volumes=WANTED)
    await w.settle()
    w.run_pod((KEY[0], name))
    await w.settle()
    w.api.calls.clear()


async def test_a_denied_sandbox_is_told_and_starts_when_the_list_allows_it() -> None:
    async with world("- /srv") as w:
        w.apply(volumes=WANTED)
        await w.settle()
        assert w.writes() == ["patch_status", "create_event"]
        assert w.conditions()["Stalled"] == ("True", "HostPathNotAllowed")
        assert w.told() == ["HostPathNotAllowed"]
        await w.allow("- /data", version=2)
        await w.settle()
        assert w.asked("create_pod") == 1
        w.run_pod()
        await w.settle()
        assert w.conditions() == {"Ready": ("True", "PodReady"), "VolumesAllowed": ("True", "Granted")}
        assert w.told() == ["HostPathNotAllowed", "Recovered"]


async def test_a_change_of_the_list_is_a_look_at_every_sandbox() -> None:
    async with world("none") as w:
        for i in range(10):
            w.apply(f"s{i}", f"uid-{i}", volumes=WANTED)
        await w.settle()
        assert w.asked("patch_status") == 10
        await w.allow("- /data", version=2)
        await w.settle()
        assert {key for verb, key in w.api.calls if verb == "create_pod"} == {(KEY[0], f"s{i}") for i in range(10)}


async def test_the_same_list_again_is_no_change() -> None:
    async with world() as w:
        await running(w)
        await w.allow("- /data")
        await w.settle()
        assert w.api.calls == []


async def test_a_running_sandbox_that_the_list_no_longer_allows_is_stopped_with_the_reason() -> None:
    async with world() as w:
        await running(w)
        await w.allow("- /srv", version=2)
        await w.settle()
        assert w.writes() == ["delete_pod", "patch_status", "create_event"]
        assert w.api.graces == [10]
        assert w.status()["phase"] == "Stopping"
        assert w.conditions()["Stalled"] == ("True", "HostPathNotAllowed")
        w.remove_pod()
        await w.settle()
        assert w.status()["phase"] == "Failed"
        assert w.asked("create_pod") == 0
        assert w.told() == ["HostPathNotAllowed"]


async def test_a_running_sandbox_stays_and_says_so_when_revocations_warn() -> None:
    async with world(settings=Settings(on_revoke=OnRevoke.WARN)) as w:
        await running(w)
        await w.allow("- /srv", version=2)
        await w.settle()
        assert w.writes() == ["patch_status", "create_event"]
        assert w.conditions() == {"Ready": ("True", "PodReady"), "VolumesAllowed": ("False", "HostPathNotAllowed")}


async def test_a_list_that_breaks_stops_nothing_that_runs() -> None:
    for broken in ("- /srv\n- relative", "{}", "["):
        async with world() as w:
            await running(w)
            await w.allow(broken, version=2)
            await w.settle()
            assert "delete_pod" not in w.writes()
            assert w.conditions()["Ready"] == ("True", "PodReady")
            assert w.conditions()["VolumesAllowed"][0] == "False"


async def test_a_list_that_is_loaded_while_a_pod_is_being_created_decides_on_that_pod_at_once() -> None:
    for settings in (Settings(), Settings(on_revoke=OnRevoke.WARN)):
        async with world(settings=settings) as w:

            async def narrowed(w: World = w) -> None:
                await w.allow("- /srv", version=2)

            w.api.meanwhile["create_pod"] = narrowed
            w.apply(volumes=WANTED)
            await w.settle()
            assert w.writes()[:2] == ["create_pod", "delete_pod"]
            assert w.conditions()["Stalled"] == ("True", "HostPathNotAllowed")


async def test_mistakes_of_a_list_are_told_when_it_is_loaded() -> None:
    async with world("none") as w:
        await w.allow("- relative\n- /data\n- /data", version=2)
        assert w.told() == ["AllowlistBadItem", "AllowlistRepeatedItem"]
        await w.allow("[]", version=3)
        assert w.told()[2:] == ["AllowlistAllowsAll"]
        await w.allow(None, version=4)
        assert w.told()[3:] == ["AllowlistKeyMissing"]
