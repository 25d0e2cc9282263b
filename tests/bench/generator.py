"""The generator: one session with the API server, raw requests with bodies made before, and watches.

One process and one event loop do all of it, so all times are by one clock; what it cost is measured with the rest.
"""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config

from tests.bench.bodies import LABEL, Item, Kind
from tests.bench.sightings import Sightings
from tests.cluster import ClusterError

AT_ONCE = 32
"""Requests under way at the same time in a burst."""
WATCHES = 4
ATTEMPTS = 20
_JSON = {"Content-Type": "application/json"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


@dataclass
class Sent:
    """What was asked for: when each request left, by its key, and how late that was, in seconds."""

    at: dict[str, float] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """From the first request until the last was answered."""


class Generator:
    """An administrator, who is not held back by the API server's priority and fairness."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._session: aiohttp.ClientSession | None = None
        self._host = ""

    async def __aenter__(self) -> Self:
        settings = client.Configuration()
        await config.load_kube_config(config_file=str(self._kubeconfig), client_configuration=settings)
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        context.load_cert_chain(settings.cert_file, keyfile=settings.key_file)
        connector = aiohttp.TCPConnector(limit=AT_ONCE + WATCHES, ssl=context)
        self._session = aiohttp.ClientSession(connector=connector, read_bufsize=2**20)
        self._host = settings.host
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.close()

    @property
    def _open(self) -> aiohttp.ClientSession:
        assert self._session is not None, "it is a context manager"
        return self._session

    async def create(self, items: Sequence[Item], rate: float | None = None) -> Sent:
        """Create all: AT_ONCE of them at the same time, or so many a second whatever becomes of the earlier ones."""
        return await self._send(items, lambda item: self._ask("POST", item.collection, item.body), rate)

    async def delete(self, items: Sequence[Item]) -> Sent:
        """Delete all, AT_ONCE of them at the same time."""
        return await self._send(items, lambda item: self._ask("DELETE", item.path))

    async def patch(self, path: str, body: dict[str, Any]) -> None:
        """Merge this into an object."""
        await self._ask("PATCH", path, json.dumps(body).encode(), _MERGE_PATCH)

    async def count(self, kind: Kind, selector: str) -> int:
        """How many there are."""
        found = json.loads(await self._ask("GET", _query(kind, labelSelector=selector, limit="1")))
        return len(found["items"] or ()) + int(found["metadata"].get("remainingItemCount") or 0)

    @asynccontextmanager
    async def watching(self, kind: Kind, whose: str) -> AsyncIterator[Sightings]:
        """A watch of one's own objects, from now on."""
        async with self.watching_label(kind, f"{LABEL}={whose}") as found:
            yield found

    @asynccontextmanager
    async def watching_label(self, kind: Kind, selector: str) -> AsyncIterator[Sightings]:
        """A watch of what has this label, from now on."""
        listed = json.loads(await self._ask("GET", _query(kind, labelSelector=selector, limit="1")))
        since = listed["metadata"]["resourceVersion"]
        found = Sightings(since)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._follow(kind, selector, found, begun))
        try:
            await begun
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, kind: Kind, selector: str, found: Sightings, begun: asyncio.Future[None]) -> None:
        endless = aiohttp.ClientTimeout(total=None)
        try:
            while True:
                url = _query(kind, watch="1", labelSelector=selector, resourceVersion=found.since)
                async with self._open.get(self._host + url, timeout=endless) as response:
                    response.raise_for_status()
                    if not begun.done():
                        begun.set_result(None)
                    async for chunk in response.content.iter_any():
                        found.feed(chunk, time.monotonic())
                found.broke()
        except (aiohttp.ClientError, ValueError, OSError) as error:
            found.fail(error)
            if not begun.done():
                begun.set_exception(error)

    async def _send(
        self, items: Sequence[Item], ask: Callable[[Item], Awaitable[bytes]], rate: float | None = None
    ) -> Sent:
        sent = Sent()
        gc.collect()  # not while the clock runs
        begun = time.monotonic()

        async def one(item: Item) -> None:
            sent.at[item.key] = time.monotonic()
            await ask(item)

        async def some(left: Any) -> None:
            for item in left:
                await one(item)

        async with asyncio.TaskGroup() as tasks:
            if rate is None:
                left = iter(items)
                for _ in range(AT_ONCE):
                    tasks.create_task(some(left))
            else:
                for number, item in enumerate(items):
                    due = begun + number / rate
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    sent.late.append(time.monotonic() - due)
                    tasks.create_task(one(item))
        sent.seconds = time.monotonic() - begun
        return sent

    async def _ask(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> bytes:
        sent = headers or (_JSON if body else {})
        for attempt in range(ATTEMPTS):
            async with self._open.request(method, self._host + path, data=body, headers=sent) as response:
                answer = await response.read()
                if response.status < 300:
                    return answer
                if response.status != 429 or attempt + 1 == ATTEMPTS:  # 429: the CRD was only just installed
                    raise ClusterError(f"{method} {path}: {response.status} {answer[:500].decode(errors='replace')}")
                await asyncio.sleep(float(response.headers.get("Retry-After", 1)))
        raise AssertionError("the last attempt returns or raises")


def _query(kind: Kind, **parameters: str) -> str:
    return f"{kind.everywhere}?{urlencode(parameters, quote_via=quote)}"
