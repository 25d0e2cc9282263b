"""What is known of the Sandboxes and Pods of the cluster, as lists and watches tell it.

Decides nothing and changes nothing in the cluster; it only puts into the queue which Sandbox to look at.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from sandmount.cache import Cache
from sandmount.cluster import PODS, SANDBOXES, ApiServer
from sandmount.follow import Follower
from sandmount.health import Pulse
from sandmount.observe import Key, Pod, Sandbox, parse_pod, parse_sandbox
from sandmount.podstate import is_step_to_start
from sandmount.queue import KeyedQueue

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
"""An in-between status waits this long: a Sandbox that is Ready sooner gets one status write in all."""


class Known:
    """The caches, and what feeds them."""

    def __init__(self, api: ApiServer, queue: KeyedQueue[Key]) -> None:
        self.sandboxes: Cache[Sandbox] = Cache()
        self.pods: Cache[Pod] = Cache()
        self.unwatched: set[Key] = set()
        """Names at which a Pod may stand that the watch does not show, because it does not carry our label."""
        self.untold: dict[Key, float] = {}
        """Since when an in-between state of a Sandbox waits to be told, by the event loop's clock."""
        self._queue = queue
        self._followers = (
            Follower(api, SANDBOXES, self.saw_sandbox, partial(self._vanished, self.sandboxes)),
            Follower(api, PODS, self.saw_pod, partial(self._vanished, self.pods)),
        )
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
        known = self.pods.get(pod.key)
        if event == "MODIFIED" and known is not None and is_step_to_start(known, pod):
            self.pods.put(pod)
            self.untold.setdefault(pod.key, asyncio.get_running_loop().time())
            self._queue.add_unless_due(pod.key, QUIET_SECONDS)
        else:
            self._saw(self.pods, event, pod)

    def wrote_sandbox(self, answer: Mapping[str, Any]) -> Sandbox:
        """A status was written, and the pass knows what follows from that: no event has to tell it."""
        written = parse_sandbox(answer, self.sandboxes.get(_key(answer)))
        self._keep(self.sandboxes, self.sandboxes.update, written)
        return written

    def made_pod(self, answer: Mapping[str, Any]) -> None:
        """A Pod was created, and the pass goes on with it."""
        self._keep(self.pods, self.pods.put, parse_pod(answer))

    def _keep(self, cache: Cache[Any], keep: Callable[[Any], None], written: Sandbox | Pod) -> None:
        """Its event is an echo, unless the watch was faster: it told this version already, a later one, or the end."""

        def is_known() -> bool:
            known = cache.get(written.key)
            return known is not None and (known.uid, known.resource_version) == (written.uid, written.resource_version)

        told = is_known()
        keep(written)
        if not told and is_known():
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
        self._queue.add(seen.key)

    def _vanished(self, cache: Cache[Any], existing: Mapping[Key, str], as_of: str) -> None:
        """Drops what a list no longer had: it went while no watch was looking."""
        for gone in cache.sweep(existing, as_of):
            log.info("%s/%s vanished while no watch was looking", *gone.key)
            self._echoes.pop(gone.uid, None)
            if cache is self.pods:
                self.unwatched.add(gone.key)
            self._queue.add(gone.key)

    async def follow(self) -> None:
        """Keeps all of it true, for ever. Raises an ExceptionGroup with KindRemovedError when the CRD is removed."""
        async with asyncio.TaskGroup() as tasks:
            for follower in self._followers:
                tasks.create_task(follower.run(), name="follower")

    @property
    def pulses(self) -> list[Pulse]:
        """Signs of life of the watches."""
        return [follower.pulse for follower in self._followers]

    def missing(self) -> Iterator[str]:
        """What has not been listed yet."""
        return (f"the list of {follower.path}" for follower in self._followers if not follower.filled.is_set())

    async def wait_until_filled(self) -> None:
        """Returns when everything that exists is known, so that nothing is decided on half a picture."""
        for follower in self._followers:
            await follower.filled.wait()


def _key(raw: Mapping[str, Any]) -> Key:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]
