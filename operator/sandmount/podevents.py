"""What the kubelet tells only in Events: that a volume cannot be set up, or that there is no network for a Pod.

Read for Pods that do not start, all of a namespace at once and at most once a second: they are shown, never decided on.
"""

import asyncio
import logging

from sandmount.cluster import ApiServer, Transient
from sandmount.observe import Key, parse_pod_events
from sandmount.trouble import Trouble

log = logging.getLogger(__name__)

ASK_AGAIN = 1.0
"""Seconds for which what was read of a namespace serves all its Pods."""


class PodEvents:
    """The warnings about Pods, by namespace, as they were read last."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._reading: dict[str, tuple[float, asyncio.Task[dict[str, Trouble]]]] = {}

    async def about(self, key: Key, uid: str) -> Trouble | None:
        """The newest warning about the Pod with this uid; None also when Events cannot be read."""
        now = asyncio.get_running_loop().time()
        self._reading = {n: (at, task) for n, (at, task) in self._reading.items() if now - at < ASK_AGAIN}
        if key[0] not in self._reading:
            self._reading[key[0]] = now, asyncio.create_task(self._read(key[0]))
        return (await self._reading[key[0]][1]).get(uid)

    async def _read(self, namespace: str) -> dict[str, Trouble]:
        try:
            return parse_pod_events(await self._api.list_pod_warnings(namespace))
        except Transient as error:  # they only explain: nothing else may wait for them
            log.warning("%s", error)
            return {}
