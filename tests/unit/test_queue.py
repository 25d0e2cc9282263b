"""KeyedQueue: one key at one worker at a time, coalesced, and later looks in their order."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from sandmount.queue import FIRST_DELAY, LONGEST_DELAY, SLACK, KeyedQueue
from tests.unit.clock import Clock, on_clock


def queue() -> KeyedQueue[str]:
    return KeyedQueue(jitter=lambda: 0.5)  # the middle: delays are neither shortened nor lengthened


async def drained(keys: KeyedQueue[str], count: int) -> list[str]:
    """The next ``count`` keys, each done at once."""
    found = []
    async with asyncio.timeout(20):  # a key that is lost fails the test and does not hang it
        for _ in range(count):
            found.append(await keys.get())
            keys.done(found[-1])
    return found


async def test_keys_come_in_the_order_in_which_they_were_added() -> None:
    keys = queue()
    for key in "cab":
        keys.add(key)
    assert len(keys) == 3
    assert await drained(keys, 3) == ["c", "a", "b"]
    assert len(keys) == 0


async def test_a_key_that_waits_already_is_not_added_twice() -> None:
    keys = queue()
    for key in "aabab":
        keys.add(key)
    assert await drained(keys, 2) == ["a", "b"]
    assert len(keys) == 0


async def test_a_key_added_while_a_worker_has_it_comes_again_once_and_not_before_it_is_done() -> None:
    keys = queue()
    keys.add("a")
    assert await keys.get() == "a"
    keys.add("a")
    keys.add("a")
    keys.add("b")
    assert len(keys) == 1
    assert await keys.get() == "b"
    assert len(keys) == 0
    keys.done("a")
    assert len(keys) == 1
    assert await drained(keys, 1) == ["a"]
    assert len(keys) == 0


async def test_a_worker_that_waits_gets_a_key_that_is_added_later() -> None:
    keys = queue()
    waiting = asyncio.create_task(keys.get())
    await asyncio.sleep(0)
    keys.add("a")
    assert await waiting == "a"


async def test_no_key_is_ever_at_two_workers_and_nothing_that_was_added_is_lost() -> None:
    keys: KeyedQueue[int] = KeyedQueue()
    chance = random.Random(7)  # noqa: S311
    active: Counter[int] = Counter()
    wanted: Counter[int] = Counter()
    seen: dict[int, int] = {}

    async def work() -> None:
        while True:
            key = await keys.get()
            active[key] += 1
            assert active[key] == 1
            seen[key] = wanted[key]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            active[key] -= 1
            if chance.random() < 0.2:
                keys.add_in(key, 0)
            keys.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for _ in range(2000):
        key = chance.randrange(20)
        wanted[key] += 1
        keys.add(key)
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    while any(seen.get(key) != count for key, count in wanted.items()):
        await asyncio.sleep(0.001)
        assert not any(w.done() for w in workers)
    for worker in workers:
        worker.cancel()
    assert await asyncio.gather(*workers, return_exceptions=True)
    assert all(w.cancelled() for w in workers)


async def test_later_looks_come_in_the_order_of_their_times_and_not_at_once() -> None:
    keys = queue()
    keys.add_in("last", 0.06)
    keys.add_in("first", 0.02)
    keys.add_in("middle", 0.04)
    assert len(keys) == 0
    assert await drained(keys, 3) == ["first", "middle", "last"]


async def test_of_several_later_looks_at_a_key_the_earliest_wins_and_the_others_are_forgotten() -> None:
    keys = queue()
    keys.add_in("a", 0.05)
    keys.add_in("a", 0.01)
    keys.add_in("a", 0.03)
    keys.add_in("b", 0.02)
    keys.add_in("end", 0.07)
    assert await drained(keys, 3) == ["a", "b", "end"]
    assert len(keys) == 0


async def test_a_look_now_replaces_one_that_was_due_later() -> None:
    keys = queue()
    keys.add_in("a", 0.02)
    keys.add("a")
    keys.add_in("end", 0.04)
    assert await drained(keys, 2) == ["a", "end"]


async def test_a_look_that_may_wait_comes_with_one_that_is_due_soon_and_else_now() -> None:
    keys = queue()
    for key, seconds in (("soon", 0.02), ("late", 30)):
        keys.add_in(key, seconds)
    for key in ("soon", "late", "never"):
        keys.add_unless_due(key, within=1.0)
    assert len(keys) == 2
    assert await drained(keys, 3) == ["late", "never", "soon"]
    keys.add_unless_due("soon", within=1.0)
    assert len(keys) == 1


async def test_a_time_that_has_passed_is_now() -> None:
    keys = queue()
    keys.add_in("a", -5)
    assert await drained(keys, 1) == ["a"]


async def test_a_key_that_becomes_due_while_a_worker_has_it_comes_after_it_is_done() -> None:
    keys = queue()
    keys.add("a")
    await keys.get()
    keys.add_in("a", 0)
    keys.add_in("b", 0.01)
    assert await keys.get() == "b"
    assert len(keys) == 0
    keys.done("a")
    assert await drained(keys, 1) == ["a"]


async def failed(keys: KeyedQueue[str], times: int, at_least: float = 0.0) -> list[float]:
    """The delays of that many failures in a row, without waiting for them."""
    delays = []
    for _ in range(times):
        keys.add("a")
        delays.append(keys.retry(await keys.get(), at_least))
    return delays


async def test_delays_grow_twofold_up_to_a_bound() -> None:
    assert await failed(queue(), 9) == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


async def test_the_bound_holds_after_any_number_of_failures() -> None:
    assert (await failed(queue(), 2000))[-1] == LONGEST_DELAY


@pytest.mark.parametrize(("jitter", "factor"), [(0.0, 0.75), (0.5, 1.0), (1.0, 1.25)])
async def test_delays_are_spread_by_a_quarter_to_both_sides(jitter: float, factor: float) -> None:
    keys: KeyedQueue[str] = KeyedQueue(jitter=lambda: jitter)
    assert await failed(keys, 3) == [d * factor for d in (FIRST_DELAY, 1.0, 2.0)]


async def test_the_servers_wish_is_the_least_that_is_waited() -> None:
    for failures, delay in [(0, 5), (3, 5), (4, 8), (9, 60)]:
        keys = queue()
        await failed(keys, failures)
        assert (await failed(keys, 1, at_least=5))[0] == delay


async def test_an_event_ends_the_delay_of_our_own_but_not_the_one_that_a_server_asked_for() -> None:
    keys = queue()
    await failed(keys, 5)
    keys.add("a")
    assert len(keys) == 1
    asked = queue()
    await failed(asked, 1, at_least=30)
    asked.add("a")
    assert len(asked) == 0


async def test_a_key_that_was_added_before_the_server_allows_it_comes_once_it_is_allowed() -> None:
    keys: KeyedQueue[str] = KeyedQueue(jitter=lambda: -1.5)  # no delay of our own
    await failed(keys, 1, at_least=0.03)
    keys.add("a")
    keys.add_in("a", 0)
    keys.add_in("b", 0.01)
    keys.add_in("end", 0.2)
    assert await drained(keys, 3) == ["b", "a", "end"]


async def test_a_look_that_was_due_earlier_than_the_server_allows_is_not_lost() -> None:
    keys: KeyedQueue[str] = KeyedQueue(jitter=lambda: -1.5)
    keys.add("a")
    await keys.get()
    keys.add_in("a", 0.01)
    keys.retry("a", at_least=0.03)
    assert await drained(keys, 1) == ["a"]


async def test_a_key_that_was_served_may_come_at_any_time_again() -> None:
    keys: KeyedQueue[str] = KeyedQueue(jitter=lambda: -1.5)
    await failed(keys, 1, at_least=0.01)
    assert await drained(keys, 1) == ["a"]
    keys.add("a")
    assert len(keys) == 1


async def test_done_forgets_the_failures_of_that_key_only() -> None:
    keys = queue()
    await failed(keys, 4)
    keys.add("a")
    keys.add("b")
    assert [await keys.get(), await keys.get()] == ["a", "b"]
    keys.done("a")
    assert keys.retry("b") == 0.5
    assert await failed(keys, 1) == [0.5]
    keys.add("b")
    assert keys.retry(await keys.get()) == 1


async def test_a_key_that_failed_comes_again_and_not_at_once() -> None:
    keys: KeyedQueue[str] = KeyedQueue(jitter=lambda: -1.4)  # 25 ms
    keys.add("a")
    keys.add("b")
    keys.retry(await keys.get())
    assert await drained(keys, 2) == ["b", "a"]


async def test_an_event_during_a_pass_that_fails_does_not_shorten_the_delay() -> None:
    keys = queue()
    keys.add("a")
    await keys.get()
    keys.add("a")
    keys.retry("a")
    assert len(keys) == 0


def remembered(keys: KeyedQueue[int]) -> int:
    """Later looks that the queue holds in memory, out of date or not."""
    return len(keys._heap)  # noqa: SLF001


async def look_at_all(keys: KeyedQueue[int], count: int, seconds: Callable[[int], float]) -> None:
    """Every key is looked at now, and has a later look after that."""
    for key in range(count):
        keys.add(key)
    for _ in range(count):
        key = await keys.get()
        keys.add_in(key, seconds(key))
        keys.done(key)


def test_ten_thousand_far_deadlines_that_are_looked_at_often_stay_ten_thousand_and_come_once_in_their_order() -> None:
    count, day = 10_000, 86_400.0

    async def test(loop: Clock) -> None:
        keys: KeyedQueue[int] = KeyedQueue()
        order = list(range(count))
        random.Random(3).shuffle(order)  # noqa: S311
        most = 0
        for _ in range(20):
            await look_at_all(keys, count, lambda key: day + 60 * order[key])
            most = max(most, remembered(keys))
            assert loop.pending() == 1
        assert most <= 2 * count + SLACK + 1
        loop.moved = day / 2
        await asyncio.sleep(0.001)
        assert len(keys) == 0
        loop.moved = day + 60 * count + 60
        found = [await keys.get() for _ in range(count)]
        assert [order[key] for key in found] == list(range(count))
        for key in found:
            keys.done(key)
        await asyncio.sleep(0.001)
        assert (len(keys), remembered(keys), loop.pending()) == (0, 0, 0)

    on_clock(test)


def test_few_keys_are_cleaned_up_seldom_and_still_bounded() -> None:
    async def test(loop: Clock) -> None:
        keys: KeyedQueue[int] = KeyedQueue()
        for _ in range(2000):
            await look_at_all(keys, 3, lambda key: 3600.0 + key)
            assert remembered(keys) <= 2 * 3 + SLACK + 1
        loop.moved = 3700
        assert [await keys.get() for _ in range(3)] == [0, 1, 2]

    on_clock(test)


def test_a_far_deadline_sets_no_new_timer_at_each_look() -> None:
    async def test(loop: Clock) -> None:
        keys: KeyedQueue[int] = KeyedQueue()
        keys.add_in(-1, 60)  # something that is due earlier
        before = loop.timers
        for _ in range(10):
            await look_at_all(keys, 50, lambda _key: 3600.0)
        assert loop.timers == before

    on_clock(test)


@pytest.mark.parametrize("seconds", [1e7, 1e10, 2.5e11, float("inf")])
def test_a_look_in_ten_thousand_years_harms_nobody(seconds: float) -> None:
    async def test(loop: Clock) -> None:
        keys: KeyedQueue[int] = KeyedQueue()
        keys.add_in(1, seconds)
        keys.add_in(2, 0.01)
        assert await keys.get() == 2
        keys.done(2)
        await asyncio.sleep(0.01)
        assert len(keys) == 0
        keys.add(1)
        assert await keys.get() == 1

    on_clock(test)


def test_a_deadline_that_was_moved_comes_once_at_its_new_time() -> None:
    async def test(loop: Clock) -> None:
        keys: KeyedQueue[int] = KeyedQueue()
        await look_at_all(keys, 1, lambda _key: 60.0)
        await look_at_all(keys, 1, lambda _key: 600.0)
        loop.moved = 100
        await asyncio.sleep(0.001)
        assert len(keys) == 0
        loop.moved = 601
        await asyncio.sleep(0.001)
        assert await keys.get() == 0
        keys.done(0)
        loop.moved = 10**6
        await asyncio.sleep(0.001)
        assert len(keys) == 0

    on_clock(test)
