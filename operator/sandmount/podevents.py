"""What the kubelet tells only in Events: that a volume cannot be set up, or that there is no network for a Pod.

Read for Pods that do not start, all of a namespace at once and at most once a second: they are shown, never decided on.
A pass waits a moment for them and goes on without.
"""

import asyncio
import logging
from dataclasses import dataclass

from sandmount.answers import Transient
from sandmount.cluster import ApiServer
from sandmount.observe import Key, parse_pod_events
from sandmount.trouble import Trouble

log = logging.getLogger(__name__)

ASK_AGAIN = 1.0
"""Seconds for which what was read of a namespace serves all its Pods."""


PATIENCE = 0.25
"""Seconds that a pass waits for them at most: a namespace may have very many."""

KEPT = 300.0
"""Seconds for which what was read last stands in for what cannot be read."""


@dataclass(frozen=True, slots=True)
class _Reading:
    since: float
    before: dict[str, Trouble]
    task: asyncio.Task[dict[str, Trouble]]


class PodEvents:
    """The warnings about Pods, by namespace, as they were read last."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._reading: dict[str, _Reading] = {}

    async def about(self, key: Key, uid: str) -> Trouble | None:
        """The newest warning about the Pod with this uid; None also when Events cannot be read."""
        now, namespace = asyncio.get_running_loop().time(), key[0]
        self._reading = {n: r for n, r in self._reading.items() if now - r.since < KEPT or not r.task.done()}
        known = self._reading.get(namespace)
        if known is None or (known.task.done() and now - known.since >= ASK_AGAIN):
            before = known.task.result() if known else {}
            known = _Reading(now, before, asyncio.create_task(self._read(namespace, before)))
            self._reading[namespace] = known
        await asyncio.wait((known.task,), timeout=PATIENCE)
        return (known.task.result() if known.task.done() else known.before).get(uid)

    async def _read(self, namespace: str, before: dict[str, Trouble]) -> dict[str, Trouble]:
        try:
            return parse_pod_events(await self._api.list_pod_warnings(namespace))
        except Transient as error:  # they only explain: nothing else may wait for them; not read is not gone
            log.warning("%s", error)
            return before
