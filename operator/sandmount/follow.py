"""Keeps what is known of one kind true: a list of all, and from there on one watch after the other.

As client-go's reflector does it (https://kubernetes.io/docs/reference/using-api/api-concepts/): a watch goes on where
the last one ended, also when it broke; only when that is too long ago all are listed again, and what is no longer there
is told as gone.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

from sandmount.answers import Missing, Outdated, Transient
from sandmount.cluster import SANDBOXES, ApiServer, Kind, growing
from sandmount.health import Pulse
from sandmount.observe import Key

log = logging.getLogger(__name__)

FIRST_DELAY = 0.2
"""Seconds until the next attempt; each further one waits twice as long."""
LONGEST_DELAY = 5.0

LIST_AFTER = 5
"""Watches that fail in a row before all are listed again."""

WORTHWHILE = 1.0
"""Seconds that a watch has to last, or the next one begins with a delay: a server may end each of them at once."""

Saw = Callable[[str | None, Mapping[str, Any]], None]
"""Type of the event, None in a list; and the object."""

Listed = Callable[[Mapping[Key, str], str], None]
"""Key and uid of everything that there was, and the list's resource version."""


class KindRemovedError(Exception):
    """There is no such kind any more, so nothing of it."""


class Follower:
    """One kind, from the first list on."""

    def __init__(self, api: ApiServer, kind: Kind, saw: Saw, listed: Listed) -> None:
        self._api, self._kind = api, kind
        self._saw, self._listed = saw, listed
        self.path = kind.path
        self._since = ""
        self._failures = 0
        """In a row, until an event comes."""
        self.pulse = Pulse(f"the watch of {kind.path}")
        self.filled = asyncio.Event()
        """Set when everything that exists was told once."""

    async def run(self) -> None:
        """Goes on for ever. Raises KindRemovedError."""
        loop = asyncio.get_running_loop()
        delays = growing(FIRST_DELAY, LONGEST_DELAY)
        while True:
            self.pulse.beat()
            asked = 0.0
            try:
                if not self._since:
                    await self._list()
                begun = loop.time()
                await self._watch()
                if loop.time() - begun > WORTHWHILE:
                    delays = growing(FIRST_DELAY, LONGEST_DELAY)
            except Outdated:
                self._since = ""
            except Transient as error:
                asked = error.retry_after
                self._failed(str(error))
            except KindRemovedError:
                raise
            except Exception as error:  # a proxy's answer, say, that is none of Kubernetes', must not end the operator
                log.debug("unexpected answer", exc_info=True)
                self._failed(repr(error))
            await asyncio.sleep(max(asked, next(delays)))

    def _failed(self, words: str) -> None:
        """After some failures in a row it is not trusted that the watch only broke: all are listed again."""
        self._failures += 1
        if self._failures % LIST_AFTER == 0:
            self._since = ""
        log.warning("%s: %s; trying again", self._kind.path, words)

    async def _list(self) -> None:
        existing: dict[Key, str] = {}
        as_of = ""
        async with aclosing(self._api.list_all(self._kind)) as pages:
            async for page in pages:
                self.pulse.beat()
                if isinstance(page, Missing):
                    raise KindRemovedError(self._kind.path) if self._kind is SANDBOXES else Transient("404")
                as_of = as_of or page["metadata"]["resourceVersion"]
                for raw in page["items"] or ():
                    metadata = raw["metadata"]
                    existing[metadata["namespace"], metadata["name"]] = metadata["uid"]
                    self._tell(None, raw)
        self._listed(existing, as_of)
        self._since = as_of
        self.filled.set()

    async def _watch(self) -> None:
        async with aclosing(self._api.watch_all(self._kind, self._since)) as events:
            async for event in events:
                self._failures = 0
                self.pulse.beat()
                if event["type"] != "BOOKMARK":
                    self._tell(event["type"], event["object"])
                self._since = event["object"]["metadata"]["resourceVersion"]

    def _tell(self, event: str | None, raw: Mapping[str, Any]) -> None:
        try:
            self._saw(event, raw)
        except Exception:  # a mistake of ours about one object must not end the watch of all others
            log.exception("%s cannot be read: %s", self._kind.path, raw.get("metadata"))
