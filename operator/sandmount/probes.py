"""/healthz, /readyz and /metrics over HTTP, for kubelet and Prometheus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import exposition

from sandmount.health import Health
from sandmount.metrics import Metrics

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

SAME_SECONDS = 1.0
"""A scrape within this time of another gets the same: whoever asks all the time must not keep the event loop busy."""


class AddressError(Exception):
    """Nothing can listen there; the message is for a person."""


@asynccontextmanager
async def serving(address: str, port: int, health: Health, metrics: Metrics) -> AsyncIterator[None]:
    """Inside, the probes are answered at that address (empty: all) and port; 0 for no port.

    Raises AddressError.
    """
    if not port:
        yield
        return
    runner = web.AppRunner(application(health, metrics), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address or None, port).start()
        except OSError as error:
            raise AddressError(f"--http-port: cannot listen on {address or 'all addresses'}:{port}: {error}") from error
        yield
    finally:
        await runner.cleanup()


def application(health: Health, metrics: Metrics) -> web.Application:
    """What answers."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.hanging())

    async def readyz(_: web.Request) -> web.Response:
        return _answer([f"waiting for {what}" for what in health.missing()])

    made: dict[str, tuple[float, bytes]] = {}

    async def scrape(request: web.Request) -> web.Response:
        accepted = OPENMETRICS if "application/openmetrics-text" in request.headers.get("Accept", "") else ""
        encode, content_type = exposition.choose_encoder(accepted)  # never of what the client wrote: it is kept
        now = asyncio.get_running_loop().time()
        begun, body = made.get(accepted, (-SAME_SECONDS, b""))
        if now - begun >= SAME_SECONDS:
            body = encode(metrics.registry)
            made[accepted] = now, body
        return web.Response(body=body, headers={"Content-Type": content_type})

    found = web.Application()
    found.router.add_get("/healthz", healthz)
    found.router.add_get("/readyz", readyz)
    found.router.add_get("/metrics", scrape)
    return found


def _answer(wrong: list[str]) -> web.Response:
    """``ok``, or 503 with a line for each thing that is wrong."""
    return web.Response(text="\n".join(wrong or ["ok"]) + "\n", status=503 if wrong else 200)
