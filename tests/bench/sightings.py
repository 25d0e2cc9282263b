"""What a watch has shown: when each object was Ready first, how it is now, and when it went. No I/O is here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any


class Sightings:
    """Fed with what comes from a watch, as it comes; times are those at which it came, by the caller's clock."""

    def __init__(self, since: str = "") -> None:
        """`since` is the resource version that the watch begins after."""
        self.ready: dict[str, float] = {}
        """When each was seen Ready first."""
        self.now: dict[str, tuple[bool, float]] = {}
        """Whether each was Ready when it was seen last, and since when that is so."""
        self.gone: dict[str, float] = {}
        """When each was seen to go."""
        self.bytes = 0
        self.broken = 0
        """How often the API server ended the watch, and it went on after what had come last."""
        self.error: BaseException | None = None
        """Why nothing more will come."""
        self._since = since
        self._rest = b""
        self._last = b""
        self._changed = asyncio.Event()

    def feed(self, chunk: bytes, at: float) -> None:
        """Some bytes came. Raises ValueError when the API server ends the watch with an error."""
        self.bytes += len(chunk)
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._saw(line, at)
        self._last = lines[-1] if lines else self._last
        self._changed.set()

    @property
    def since(self) -> str:
        """The resource version after which a watch that was ended has to go on."""
        return str(json.loads(self._last)["object"]["metadata"]["resourceVersion"]) if self._last else self._since

    def broke(self) -> None:
        """The API server ended the watch; it does that to one that does not read fast enough."""
        self.broken += 1
        self._rest = b""

    def fail(self, error: BaseException) -> None:
        """Nothing more will come."""
        self.error = error
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when it holds; asked again after whatever comes. Raises what ended the watch."""
        while not holds():
            if self.error is not None:
                raise self.error
            self._changed.clear()
            await self._changed.wait()

    async def until_ready(self, keys: Iterable[str]) -> None:
        """Return when all these were seen Ready."""
        await self._until_all_in(self.ready, keys)

    async def until_gone(self, keys: Iterable[str]) -> None:
        """Return when all these were seen to go."""
        await self._until_all_in(self.gone, keys)

    async def _until_all_in(self, seen: dict[str, float], keys: Iterable[str]) -> None:
        missing = set(keys)

        def none_is_missing() -> bool:
            # A set is only compared anew when there is enough to make it empty.
            if len(seen) >= len(missing):
                missing.difference_update(seen.keys())
            return not missing

        wanted = len(missing)
        await self.until(lambda: len(seen) >= wanted and none_is_missing())

    def _saw(self, line: bytes, at: float) -> None:
        deleted = line.startswith(b'{"type":"DELETED"')
        if not deleted and b'"Ready"' not in line and b'"type":"ERROR"' not in line:
            return  # not Ready yet: most of what comes, and not worth being parsed
        event = json.loads(line)
        if event["type"] == "ERROR":
            raise ValueError(f"the watch ended: {event['object'].get('message')}")
        key = key_of(event["object"])
        if deleted:
            self.gone[key] = at
            self.now.pop(key, None)
            return
        is_ready = ready(event["object"])
        if is_ready:
            self.ready.setdefault(key, at)
        if key not in self.now or self.now[key][0] is not is_ready:
            self.now[key] = is_ready, at


def key_of(found: dict[str, Any]) -> str:
    """Namespace and name."""
    return f"{found['metadata']['namespace']}/{found['metadata']['name']}"


def ready(found: dict[str, Any]) -> bool:
    """Whether its condition Ready is True; Pods and Sandboxes have the same."""
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
