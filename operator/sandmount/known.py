"""What is known of the Sandboxes and Pods of the cluster: told by the watches, and kept true by lists.

Decides nothing and changes nothing in the cluster; it only puts into the queue which Sandbox to look at.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sandmount.answers import Missing, Transient
from sandmount.cache import Cache
from sandmount.cluster import LONGEST_DELAY, ApiServer, Listed, growing
from sandmount.observe import Key, Pod, Sandbox, parse_pod, parse_sandbox
from sandmount.queue import KeyedQueue

log = logging.getLogger(__name__)

FILL_AGAIN = 0.2
"""Seconds until the first look whether the watches have brought all that exists; each further one waits longer."""

GATHER_SECONDS = 1.0
"""Seconds from the first object of a list to the sweep, so that one list leads to one sweep."""


class Known:
    """The caches, and what feeds and sweeps them."""

    def __init__(self, api: ApiServer, queue: KeyedQueue[Key]) -> None:
        self.sandboxes: Cache[Sandbox] = Cache()
        self.pods: Cache[Pod] = Cache()
        self.unwatched: set[Key] = set()
        """Names at which a Pod may stand that the watch does not show, because it does not carry our label."""
        self._api = api
        self._queue = queue
        self._relisted = asyncio.Event()
        self._echoes: dict[str, str] = {}
        """By uid: the version that a write of ours made, and that a watch still has to bring."""

    def saw_sandbox(self, event: str | None, raw: Mapping[str, Any]) -> None:
        """A watch event of a Sandbox; ``event`` is None when it comes from a list."""
        if not self._is_echo(event, raw):
            self._saw(self.sandboxes, event, parse_sandbox(raw, self.sandboxes.get(_key(raw))))

    def saw_pod(self, event: str | None, raw: Mapping[str, Any]) -> None:
        """A watch event of a Pod with our label. One that goes without having been deleted has lost only the label."""
        if self._is_echo(event, raw):
            return
        pod = parse_pod(raw)
        if event == "DELETED" and not pod.deleting:
            self.unwatched.add(pod.key)
        self._saw(self.pods, event, pod)

    def wrote_sandbox(self, answer: Mapping[str, Any]) -> Sandbox:
        """A status was written, and the pass knows what follows from that: no event has to tell it."""
        written = parse_sandbox(answer, self.sandboxes.get(_key(answer)))
        self._expect_echo(self.sandboxes, written)
        self.sandboxes.update(written)
        return written

    def made_pod(self, answer: Mapping[str, Any]) -> None:
        """A Pod was created, and the pass goes on with it."""
        made = parse_pod(answer)
        self._expect_echo(self.pods, made)
        self.pods.put(made)

    def _expect_echo(self, cache: Cache[Any], written: Sandbox | Pod) -> None:
        known = cache.get(written.key)
        if known is None or known.resource_version != written.resource_version:  # or the watch was faster
            self._echoes[written.uid] = written.resource_version

    def _is_echo(self, event: str | None, raw: Mapping[str, Any]) -> bool:
        """Whether it only brings what a write of ours has answered already."""
        uid, version = raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]
        expected = self._echoes.get(uid)
        if expected is None:
            return False
        is_change = event in {"ADDED", "MODIFIED"}
        if not is_change or int(version) >= int(expected):
            del self._echoes[uid]
        return is_change and version == expected

    def _saw(self, cache: Cache[Any], event: str | None, seen: Sandbox | Pod) -> None:
        if event == "DELETED":
            cache.drop(seen)
        else:
            cache.put(seen)
        if event is None:
            self._relisted.set()
        self._queue.add(seen.key)

    async def wait_until_filled(self) -> None:
        """Returns when the watches have brought all that exists, so that nothing is decided on half a picture."""
        looks, failures = growing(FILL_AGAIN, 2.0), growing(1.0, LONGEST_DELAY)
        while True:
            try:
                if await self._is_filled():
                    break
                delay = next(looks)
            except Transient as error:
                delay = next(failures)
                log.warning("%s; asking again in %.0f s", error, delay)
            await asyncio.sleep(delay)
        self._relisted.clear()

    async def _is_filled(self) -> bool:
        for cache, listed in self._kinds():
            found = await listed()
            if isinstance(found, Missing) or any(cache.get(key) is None for key in found[0]):
                return False
        return True

    def _kinds(self) -> tuple[tuple[Cache[Any], Callable[[], Awaitable[Listed | Missing]]], ...]:
        return (self.pods, self._api.list_pods), (self.sandboxes, self._api.list_sandboxes)

    async def keep_swept(self, every: float) -> None:
        """Drops what vanished while a watch was broken: ``every`` so many seconds, and when a watch lists again.

        kopf lists again after a 410 Gone and never says what is no longer there.
        """
        delays = growing(1.0, LONGEST_DELAY)
        while True:
            try:
                async with asyncio.timeout(every):
                    await self._relisted.wait()
                await asyncio.sleep(GATHER_SECONDS)  # one sweep for all that one list brings
            except TimeoutError:
                pass
            self._relisted.clear()
            try:
                await self.sweep()
                delays = growing(1.0, LONGEST_DELAY)
            except Transient as error:
                delay = next(delays)
                log.warning("%s; sweeping again in %.0f s", error, delay)
                await asyncio.sleep(delay)
                self._relisted.set()

    async def sweep(self) -> None:
        """Compares the caches with what exists.

        Both lists are read before either cache is touched: a Pod that is dropped while its Sandbox's ghost is still
        there would be made again.
        """
        found = [(cache, await listed()) for cache, listed in self._kinds()]
        for cache, existing in found:
            if isinstance(existing, Missing):
                continue
            for key in cache.sweep(*existing):
                log.info("%s/%s vanished while no watch was looking", *key)
                if cache is self.pods:
                    self.unwatched.add(key)
                self._queue.add(key)


def _key(raw: Mapping[str, Any]) -> Key:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]
