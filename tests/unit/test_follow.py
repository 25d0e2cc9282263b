"""Follower: a list, then one watch after the other, whatever becomes of each."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from sandmount import follow
from sandmount.answers import Missing, Outdated, Transient
from sandmount.cluster import PODS, SANDBOXES, ApiServer, Kind
from sandmount.follow import Follower, KindRemovedError
from sandmount.observe import Key
from tests.support import Json
from tests.unit.world import until

Step = Json | Exception


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(follow, "LONGEST_DELAY", 0.004)


def thing(name: str, version: int) -> Json:
    return {"metadata": {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


def page(version: int, *names: str) -> Json:
    return {"metadata": {"resourceVersion": str(version)}, "items": [thing(name, version) for name in names]}


def event(kind: str, name: str, version: int) -> Json:
    return {"type": kind, "object": thing(name, version)}


class Scripted(ApiServer):
    """Each list and each watch plays its script; after the last one a watch waits for ever."""

    def __init__(self, lists: list[list[Any]], watches: list[list[Step]]) -> None:
        self._lists, self._watches = iter(lists), iter(watches)
        self.asked: list[str] = []

    async def list_all(self, kind: Kind) -> AsyncGenerator[Json | Missing, None]:
        self.asked.append("list")
        for step in next(self._lists):
            if isinstance(step, Exception):
                raise step
            yield step

    async def watch_all(self, kind: Kind, since: str) -> AsyncGenerator[Json, None]:
        self.asked.append(f"watch {since}")
        steps = next(self._watches, None)
        if steps is None:
            await asyncio.Event().wait()
        for step in steps or ():
            if isinstance(step, Exception):
                raise step
            yield step


class Told:
    """What the follower told."""

    def __init__(self, api: Scripted, kind: Kind = PODS) -> None:
        self.events: list[str] = []
        self.lists: list[tuple[dict[Key, str], str]] = []
        self.follower = Follower(api, kind, self.saw, self.listed)

    def listed(self, existing: Mapping[Key, str], as_of: str) -> None:
        self.lists.append((dict(existing), as_of))

    def saw(self, kind: str | None, raw: Mapping[str, Any]) -> None:
        name = raw["metadata"]["name"]
        if name == "bad":
            raise KeyError(name)
        self.events.append(f"{kind} {name}")


async def followed(api: Scripted, watches: int, kind: Kind = PODS) -> Told:
    """What was told until so many watches were asked for."""
    told = Told(api, kind)
    task = asyncio.create_task(told.follower.run())
    await until(lambda: task.done() or sum(a.startswith("watch") for a in api.asked) >= watches)
    if task.done():
        task.result()
    task.cancel()
    return told


async def test_all_pages_are_told_and_a_watch_goes_on_from_the_first() -> None:
    api = Scripted([[page(10, "a"), page(12, "b")]], [])
    told = await followed(api, 1)
    assert told.events == ["None a", "None b"]
    assert told.lists == [({("ns", "a"): "uid-a", ("ns", "b"): "uid-b"}, "10")]
    assert told.follower.filled.is_set()
    assert api.asked == ["list", "watch 10"]


async def test_a_watch_that_ends_goes_on_where_it_was_and_nothing_is_listed() -> None:
    api = Scripted([[page(10)]], [[event("ADDED", "a", 11), event("BOOKMARK", "", 15)], [event("DELETED", "a", 16)]])
    told = await followed(api, 3)
    assert told.events == ["ADDED a", "DELETED a"]
    assert api.asked == ["list", "watch 10", "watch 15", "watch 16"]


async def test_a_watch_that_breaks_goes_on_where_it_was() -> None:
    api = Scripted([[page(10)]], [[event("ADDED", "a", 11), Transient("cut")], []])
    await followed(api, 2)
    assert api.asked[:3] == ["list", "watch 10", "watch 11"]


async def test_a_version_that_is_too_old_lists_again() -> None:
    api = Scripted([[page(10, "a")], [page(20, "b")]], [[Outdated()]])
    told = await followed(api, 2)
    assert api.asked == ["list", "watch 10", "list", "watch 20"]
    assert told.lists[1] == ({("ns", "b"): "uid-b"}, "20")


async def test_a_list_that_breaks_in_the_middle_tells_nothing_gone_and_begins_anew() -> None:
    api = Scripted([[page(10, "a"), Transient("cut")], [page(20, "a", "b")]], [])
    told = await followed(api, 1)
    assert [as_of for _, as_of in told.lists] == ["20"]
    assert api.asked == ["list", "list", "watch 20"]


async def test_a_crd_that_is_gone_is_said() -> None:
    with pytest.raises(KindRemovedError, match="/sandboxes"):
        await followed(Scripted([[page(10)], [Missing()]], [[Outdated()]]), 2, SANDBOXES)


async def test_pods_cannot_be_gone_whatever_a_proxy_says() -> None:
    api = Scripted([[page(10)], [Missing()], [page(20)]], [[Outdated()]])
    await followed(api, 2)
    assert api.asked == ["list", "watch 10", "list", "list", "watch 20"]


async def test_an_answer_that_is_none_of_kubernetes_is_survived() -> None:
    api = Scripted([[{"html": True}], [page(10)]], [[{"type": "ADDED"}]])
    await followed(api, 2)
    assert api.asked == ["list", "list", "watch 10", "watch 10"]


async def test_a_watch_that_keeps_failing_is_not_trusted() -> None:
    api = Scripted([[page(10)], [page(20)]], [[Transient("broke")]] * 5)
    await followed(api, 6)
    assert api.asked == ["list", *["watch 10"] * 5, "list", "watch 20"]


async def test_an_object_that_cannot_be_read_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    api = Scripted([[page(10, "bad", "a")]], [[event("MODIFIED", "bad", 11), event("MODIFIED", "a", 12)]])
    told = await followed(api, 2)
    assert told.events == ["None a", "MODIFIED a"]
    assert api.asked[-1] == "watch 12"
    assert caplog.text.count("cannot be read") == 2


async def test_the_server_names_the_time_of_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    api = Scripted([[Transient("busy", retry_after=7)], [page(10)]], [[], [], []])
    told = Told(api)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    task = asyncio.create_task(told.follower.run())
    await told.follower.filled.wait()
    task.cancel()
    assert slept[0] == 7


def test_delays_grow_while_watches_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def run() -> None:
        task = asyncio.create_task(Told(Scripted([[page(10)]], [[]] * 6)).follower.run())
        async with asyncio.timeout(5):
            while len(slept) < 6:
                await real(0)
        task.cancel()

    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(run())
    assert slept[:5] == [0.001, 0.002, 0.004, 0.004, 0.004]


async def test_it_gives_a_sign_of_life_before_each_attempt_also_while_the_server_is_away() -> None:
    """Or an API server that is away would get the operator killed."""
    away = Transient("away")
    api = Scripted([[away], [away], [page(10, "a")]], [[event("ADDED", "b", 11)], [away]])
    told = Told(api)
    asked_before: list[int] = []
    told.follower.pulse.beat = lambda: asked_before.append(len(api.asked))  # type: ignore[method-assign]
    task = asyncio.create_task(told.follower.run())
    await until(lambda: len(api.asked) >= 6)
    task.cancel()
    assert api.asked == ["list", "list", "list", "watch 10", "watch 11", "watch 11"]
    assert set(asked_before) >= {0, 1, 2, 4, 5}  # attempts; with 3 requests a page was told, with 4 an event
    assert {3, 4} <= set(asked_before)
