"""How often a key may come: some looks in a row are free, after that each has to wait for its time.

So a loop of edits costs no more than a few looks a second, however fast it is. Pure; times are seconds of any clock.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

IN_A_ROW = 20
"""Looks that are not delayed; a life from first to last takes half of them."""
PER_SECOND = 5.0

SLACK = 64
"""Keys that may be remembered although they have paid for nothing ahead, beyond as many as have."""


class Pace(Generic[K]):
    """Each look pays for a part of a second; who has paid too far ahead waits (the generic cell rate algorithm)."""

    def __init__(self, in_a_row: int = IN_A_ROW, per_second: float = PER_SECOND) -> None:
        self._each = 1 / per_second
        self._ahead = in_a_row * self._each
        self._paid_until: dict[K, float] = {}
        self._clean_at = SLACK

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._paid_until)

    def not_before(self, key: K) -> float:
        """The time of its next look, which may be past."""
        return self._paid_until.get(key, 0.0) - self._ahead

    def pay(self, key: K, now: float) -> None:
        """It is looked at now."""
        self._paid_until[key] = max(now, self._paid_until.get(key, 0.0)) + self._each
        if len(self._paid_until) > self._clean_at:
            self._paid_until = {k: until for k, until in self._paid_until.items() if until > now}
            self._clean_at = 2 * len(self._paid_until) + SLACK
