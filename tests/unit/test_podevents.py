"""The Events of Pods that do not start: when they are read, how seldom, and that they only explain."""

import asyncio
from datetime import datetime

from sandmount.answers import Transient
from sandmount.podevents import ASK_AGAIN, PodEvents
from sandmount.trouble import Trouble
from tests.unit.builders import KEY, NAMESPACE, Json
from tests.unit.clock import Clock, on_clock
from tests.unit.lives import at, container, look, place, scheduled
from tests.unit.world import FakeApiServer, World, until, world

MISSING = 'MountVolume.SetUp failed for volume "data" : hostPath type check failed: /data is not a directory'


def warning(uid: str, message: str = MISSING, reason: str = "FailedMount") -> Json:
    return {"involvedObject": {"kind": "Pod", "uid": uid}, "reason": reason, "message": message}


def creating(w: World, scheduled_at: float, name: str = KEY[1]) -> None:
    """The kubelet has the Pod since then, and says nothing about it in its status."""
    key = KEY[0], name
    w.api.pods[key]["spec"]["nodeName"] = "node-1"
    waits = container(waiting={"reason": "ContainerCreating"})
    w.change_pod(key, phase="Pending", conditions=[scheduled(scheduled_at)], containerStatuses=waits)


async def made(w: World, name: str = KEY[1]) -> str:
    """A Sandbox with its Pod; the Pod's uid."""
    w.apply(name, f"uid-{name}")
    await w.settle()
    uid: str = w.api.pods[KEY[0], name]["metadata"]["uid"]
    return uid


async def test_a_volume_that_cannot_be_set_up_is_told_in_the_kubelets_words() -> None:
    async with world() as w:
        w.api.warnings = [warning(await made(w))]
        creating(w, -5)
        await until(lambda: bool(w.conditions()))
        assert w.conditions()["Reconciling"] == ("True", "FailedMount")
        assert w.status()["conditions"][0]["message"] == MISSING
        assert [(e["type"], e["reason"], e["note"]) for e in w.api.events] == [("Warning", "FailedMount", MISSING)]
        w.run_pod()
        await w.settle()
        assert w.told() == ["FailedMount", "Recovered"]


async def test_events_of_other_pods_are_not_told() -> None:
    async with world() as w:
        uid = await made(w)
        w.api.warnings = [warning(f"not-{uid}"), {}]
        creating(w, -5)
        await until(lambda: bool(w.conditions()))
        assert w.conditions()["Reconciling"] == ("True", "ContainerCreating")
        assert w.told() == []


async def test_nothing_is_read_of_a_pod_that_starts_in_time() -> None:
    async with world() as w:
        await made(w)
        creating(w, 0)
        await w.settle()
        w.now = at(1.9)
        await look(w)
        w.run_pod()
        await w.settle()
        assert w.asked("list_pod_warnings") == 0


async def test_they_are_read_two_seconds_after_a_pod_got_its_node_without_any_event() -> None:
    async with world() as w:
        w.api.warnings = [warning(await made(w))]
        w.now = at(1.9)
        creating(w, 0)
        await w.settle()
        assert w.asked("list_pod_warnings") == 0
        w.now = at(2)
        await until(lambda: w.asked("list_pod_warnings") == 1)


async def test_nothing_is_read_of_a_pod_whose_status_says_why() -> None:
    async with world() as w:
        await made(w)
        place(w)
        for waits in ({"reason": "ErrImagePull", "message": "no"}, {"reason": "CreateContainerConfigError"}):
            w.change_pod(phase="Pending", conditions=[scheduled(-60)], containerStatuses=container(waiting=waits))
            await look(w)
        assert w.asked("list_pod_warnings") == 0


async def test_all_pods_of_a_namespace_are_served_by_one_read_a_second() -> None:
    async with world(workers=8) as w:
        names = [f"s{i}" for i in range(30)]
        for name in names:
            w.api.warnings.append(warning(await made(w, name), f"about {name}"))
        for name in names:
            creating(w, -60, name)
        await until(lambda: all(w.conditions((KEY[0], n)) for n in names))
        told = {n: w.status((KEY[0], n))["conditions"][0]["message"] for n in names}
        assert told == {n: f"about {n}" for n in names}
        assert w.asked("list_pod_warnings") <= 3


async def test_a_pod_that_is_looked_at_often_is_no_reason_to_read_often() -> None:
    async with world() as w:
        w.api.warnings = [warning(await made(w))]
        creating(w, -60)
        for _ in range(20):
            await look(w)
        assert w.asked("list_pod_warnings") == 1


async def test_events_that_cannot_be_read_hold_nothing_up() -> None:
    async with world() as w:
        await made(w)
        w.api.script["list_pod_warnings"] = [Transient("forbidden")] * 50
        creating(w, -60)
        await until(lambda: bool(w.conditions()))
        assert w.conditions()["Reconciling"] == ("True", "ContainerCreating")


# ---- PodEvents by itself


def parts() -> tuple[FakeApiServer, PodEvents]:
    api = FakeApiServer()
    return api, PodEvents(api)


def reads(api: FakeApiServer) -> list[str]:
    return [key[0] for verb, key in api.calls if verb == "list_pod_warnings"]


def test_what_was_read_serves_its_namespace_for_a_second_and_no_other() -> None:
    async def test(loop: Clock) -> None:
        api, events = parts()
        api.warnings = [warning("p", "first")]
        assert await events.about(KEY, "p") == Trouble("FailedMount", "first")
        api.warnings = [warning("p", "second")]
        loop.moved = ASK_AGAIN - 0.1
        assert await events.about((NAMESPACE, "another"), "p") == Trouble("FailedMount", "first")
        assert await events.about(("elsewhere", "n"), "q") is None
        loop.moved = ASK_AGAIN + 0.5
        assert await events.about(KEY, "p") == Trouble("FailedMount", "second")
        assert reads(api) == [NAMESPACE, "elsewhere", NAMESPACE]

    on_clock(test)


def test_all_who_ask_at_the_same_time_wait_for_the_same_read() -> None:
    async def test(_loop: Clock) -> None:
        api, events = parts()
        api.warnings = [warning("p")]
        found = await asyncio.gather(*(events.about(KEY, "p") for _ in range(50)))
        assert found == [Trouble("FailedMount", MISSING)] * 50
        assert reads(api) == [NAMESPACE]

    on_clock(test)


def test_a_read_that_failed_is_not_repeated_within_the_second_either() -> None:
    async def test(loop: Clock) -> None:
        api, events = parts()
        api.warnings = [warning("p")]
        api.script["list_pod_warnings"] = [Transient("busy")]
        assert [await events.about(KEY, "p") for _ in range(3)] == [None] * 3
        loop.moved = ASK_AGAIN
        assert await events.about(KEY, "p") == Trouble("FailedMount", MISSING)
        assert reads(api) == [NAMESPACE] * 2

    on_clock(test)


class Counted(World):
    """A World that counts how often its clock is looked at, so how many passes there were at most."""

    looks = 0

    @property
    def now(self) -> datetime:  # type: ignore[override]
        self.looks += 1
        return at(0)


async def test_a_pod_that_does_not_start_is_no_hot_loop_between_two_reads() -> None:
    async with world() as w:
        w.api.warnings = [warning(await made(w))]
        creating(w, -60)
        await until(lambda: bool(w.conditions()))
        w.__class__ = Counted
        assert isinstance(w, Counted)
        await asyncio.sleep(0.2)
        assert w.looks < 10
