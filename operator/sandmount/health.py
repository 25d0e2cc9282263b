"""Whether the process is alive and ready, for the probes of a kubelet. Pure, but for the clock.

Alive: each task that goes on for ever has tried something lately. An API server that is away makes nobody dead, as a
restart would not bring it back. Ready: all that is decided on is known.
"""

import time
from collections.abc import Callable, Iterable

SILENT_SECONDS = 300.0
"""Longer than the longest watch, the request before it and the delay after it together: a task that has tried nothing
for so long hangs."""


class Pulse:
    """Signs of life of one task."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``name`` is for people; ``clock`` counts seconds."""
        self.name = name
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """It does something."""
        self._last = self._clock()

    def silent_seconds(self) -> float:
        """Seconds since it did something."""
        return self._clock() - self._last


class Health:
    """What the probes answer."""

    def __init__(self, missing: Callable[[], Iterable[str]]) -> None:
        """``missing`` says what the process still waits for; nothing means that it is ready."""
        self.pulses: list[Pulse] = []
        self.missing = missing

    def hanging(self) -> list[str]:
        """What is no longer alive."""
        return [
            f"{pulse.name}: nothing for {pulse.silent_seconds():.0f} s"
            for pulse in self.pulses
            if pulse.silent_seconds() > SILENT_SECONDS
        ]
