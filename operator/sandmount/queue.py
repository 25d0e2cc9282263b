"""A queue of keys: each key at one worker at a time, coalesced, with growing delays and "look again at".

Knows nothing of what a key stands for, but for the group that it is in, as groups take turns, and whether it was begun.
All methods are called from one event loop.
"""

import asyncio
import heapq
import random
import sys
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from sandmount.pace import Pace
from sandmount.turns import Turns

K = TypeVar("K", bound=Hashable)

FIRST_DELAY = 0.5
"""Seconds until the first retry; each further one waits twice as long."""
LONGEST_DELAY = 60.0

SLACK = 64
"""Times on the heap that may be out of date before it is cleaned, beyond as many as are not."""


class KeyedQueue(Generic[K]):
    """Keys to look at, now or later.

    A key that is added while a worker has it comes again after that worker is done: nothing that was seen during
    a pass is lost, and no key is ever at two workers.
    """

    def __init__(
        self,
        group_of: Callable[[K], Hashable] = lambda _: None,
        at_once: int = sys.maxsize,
        pace: Pace[K] | None = None,
        jitter: Callable[[], float] = random.random,
        is_begun: Callable[[K], bool] = lambda _: True,
    ) -> None:
        """``at_once`` is how many keys of one group may be at workers at the same time; without a pace none waits.

        Of a group's keys three that were begun, when they were added, come before one that is new.
        """
        self._is_begun = is_begun
        self._turns: Turns[K] = Turns(group_of, at_once)
        self._getters: deque[asyncio.Future[None]] = deque()
        self._pace = pace
        self._waiting: dict[K, float] = {}
        """With the time since when, in that order."""
        self.retries = 0
        """Since the start."""
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._not_before: dict[K, float] = {}
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None
        self._jitter = jitter

    def __len__(self) -> int:
        """Keys that are waiting to be looked at now."""
        return len(self._waiting)

    def oldest_seconds(self) -> float:
        """How long the first of those that are waiting has waited; 0 when none is."""
        first = next(iter(self._waiting.values()), None)
        return 0.0 if first is None else asyncio.get_running_loop().time() - first

    def add(self, key: K) -> None:
        """Look at ``key`` when it is its turn; not before a server allows it (see ``retry``), nor all the time."""
        not_before = max(self._not_before.get(key, 0.0), self._pace.not_before(key) if self._pace is not None else 0.0)
        if not_before > 0 and (wait := not_before - asyncio.get_running_loop().time()) > 0:
            self.add_in(key, wait)
            return
        self._due.pop(key, None)
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().time()
            self._turns.put(key, self._is_begun(key))
            self._wake_one()

    def add_in(self, key: K, seconds: float) -> None:
        """Look at ``key`` in that many seconds, unless something asks for it earlier; the earliest time wins."""
        when = asyncio.get_running_loop().time() + max(0.0, seconds)
        if when >= self._due.get(key, float("inf")):
            return
        self._due[key] = when
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, key))
        if len(self._heap) > 2 * len(self._due) + SLACK:
            self._drop_stale()
        if self._heap[0][2] == key:
            self._arm()

    def add_unless_due(self, key: K, within: float) -> None:
        """Look at ``key`` now, unless it is going to be looked at within so many seconds anyway."""
        if self._due.get(key, float("inf")) > asyncio.get_running_loop().time() + within:
            self.add(key)

    async def get(self) -> K:
        """The next key; the worker must call ``done`` or ``retry`` with it."""
        while not self._turns:
            await self._woken()
        key = self._turns.take()
        del self._waiting[key]
        self._active.add(key)
        if self._pace is not None:
            self._pace.pay(key, asyncio.get_running_loop().time())
        return key

    async def _woken(self) -> None:
        """Returns when there may be a key to take."""
        getter = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            await getter
        except asyncio.CancelledError:
            if getter.done() and not getter.cancelled():
                self._wake_one()  # it was for us, and somebody else can take it
            elif getter in self._getters:
                self._getters.remove(getter)
            raise

    def _wake_one(self) -> None:
        while self._turns and self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def done(self, key: K) -> None:
        """The worker is through with ``key``; its failures are forgotten."""
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        self._release(key)

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """The worker failed: ``key`` comes again after a growing delay, which is returned, in seconds.

        ``at_least`` is what a server asked for (Retry-After): nothing makes the key come earlier than that. The rest of
        the delay is ours, and an ``add`` in the meantime ends it: what failed may have been mended.
        """
        self.retries += 1
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(FIRST_DELAY * 2.0 ** min(count, 10), LONGEST_DELAY)
        if key in self._again:  # what failed may have been mended meanwhile; not at once, or it could loop
            delay = FIRST_DELAY
        delay = max(at_least, delay * (0.75 + 0.5 * self._jitter()))
        self._again.discard(key)
        self._release(key)
        if at_least > 0:
            self._not_before[key] = asyncio.get_running_loop().time() + at_least
        self.add_in(key, delay)
        return delay

    def _release(self, key: K) -> None:
        self._active.discard(key)
        self._turns.release(key)
        self._wake_one()
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _drop_stale(self) -> None:
        """Forgets times that were put off: a key that is looked at often with a far deadline leaves one each time."""
        self._heap = [(when, order, key) for when, order, key in self._heap if self._due.get(key) == when]
        heapq.heapify(self._heap)

    def _arm(self) -> None:
        """One timer, for the earliest time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._on_time)

    def _on_time(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            when, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == when:
                del self._due[key]
                self.add(key)
        self._timer = None
        self._arm()
