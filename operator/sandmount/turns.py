"""Who is next: keys wait in groups, and the groups take turns.

However many keys one group has waiting, a key of another waits for at most one of each group; and a group never holds
all workers, so that none of them waits for what is slow in one (say, an admission webhook of one namespace).

Within a group what was begun goes before what is new, three to one: or in a burst nobody would be told of a Pod that
runs before all Pods were made.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BEGUN_IN_A_ROW = 3
"""Keys that were begun, until it is the turn of a new one."""


class Turns(Generic[K]):
    """Keys that wait. What a group has begun, and what is new in it, is each served first come, first served."""

    def __init__(self, group_of: Callable[[K], Hashable], at_once: int) -> None:
        """``at_once`` is how many keys of one group may be taken and not yet released."""
        self._group_of = group_of
        self._at_once = at_once
        self._waiting: dict[Hashable, _Line[K]] = {}
        self._taken: Counter[Hashable] = Counter()
        self._next: deque[Hashable] = deque()
        """Groups that have a key waiting and may have another one taken, in the order of their turns."""

    def __bool__(self) -> bool:
        """Whether there is one to take."""
        return bool(self._next)

    def put(self, key: K, begun: bool) -> None:
        """It waits from now on."""
        group = self._group_of(key)
        waiting = self._waiting.get(group)
        if waiting is None:
            waiting = self._waiting[group] = _Line()
        waiting.put(key, begun)
        if len(waiting) == 1 and self._taken[group] < self._at_once:
            self._next.append(group)

    def take(self) -> K:
        """The next one; only while there is one."""
        group = self._next.popleft()
        waiting = self._waiting[group]
        key = waiting.take()
        self._taken[group] += 1
        if not waiting:
            del self._waiting[group]
        elif self._taken[group] < self._at_once:
            self._next.append(group)
        return key

    def release(self, key: K) -> None:
        """Whoever took it is done with it."""
        group = self._group_of(key)
        self._taken[group] -= 1
        if group in self._waiting and self._taken[group] == self._at_once - 1:
            self._next.append(group)
        if not self._taken[group]:
            del self._taken[group]


class _Line(Generic[K]):
    """The keys of one group."""

    def __init__(self) -> None:
        self._begun: deque[K] = deque()
        self._new: deque[K] = deque()
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._begun) + len(self._new)

    def put(self, key: K, begun: bool) -> None:
        (self._begun if begun else self._new).append(key)

    def take(self) -> K:
        if self._begun and (self._in_a_row < BEGUN_IN_A_ROW or not self._new):
            self._in_a_row += 1
            return self._begun.popleft()
        self._in_a_row = 0
        return self._new.popleft()
