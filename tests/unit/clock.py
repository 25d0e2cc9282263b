"""An event loop whose time is moved by hand, so that nobody waits for a day to pass."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any


class Clock(asyncio.SelectorEventLoop):
    """The loop; it also counts the timers that are set in it."""

    moved = 0.0
    """Seconds by which its time is ahead."""
    timers = 0

    def time(self) -> float:
        return super().time() + self.moved

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)

    def pending(self) -> int:
        """Timers that are neither run nor cancelled."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return sum(not handle.cancelled() for handle in scheduled)


def on_clock(test: Callable[[Clock], Coroutine[Any, Any, None]]) -> None:
    """Runs a test in such a loop."""
    loop = Clock()
    try:
        loop.run_until_complete(test(loop))
    finally:
        loop.close()
