"""/healthz, /readyz and /metrics over HTTP, for kubelet and Prometheus."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import exposition

from sandmount.connections import GuardedServer
from sandmount.health import Health
from sandmount.metrics import Metrics

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

SAME_SECONDS = 1.0
"""A scrape within this time of another gets the same: whoever asks all the time must not keep the event loop busy."""


MAX_CONNECTIONS = 64
"""At the same time. Any Pod that the NetworkPolicy lets through can open them, and each costs memory and a file."""

CONNECTION_SECONDS = 15.0
"""From a connection to the end of its one answer, whatever is slow; more than the 10 s that a Prometheus waits."""


SWEEP = 1024
"""Closed connections until the garbage collector runs; each may leave 50 KB (measured)."""


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
    answering = _answering(health, metrics)
    server = GuardedServer(answering, most=MAX_CONNECTIONS, seconds=CONNECTION_SECONDS, sweep=SWEEP)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address or None, port).start()
        except OSError as error:
            raise AddressError(f"--http-port: cannot listen on {address or 'all addresses'}:{port}: {error}") from error
        yield
    finally:
        await runner.cleanup()


def _answering(health: Health, metrics: Metrics) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    """What answers a request, the only one of its connection."""
    pages = {
        "/healthz": lambda _: _answer(health.hanging()),
        "/readyz": lambda _: _answer([f"waiting for {what}" for what in health.missing()]),
        "/metrics": _scraping(metrics),
    }

    async def answer(request: web.BaseRequest) -> web.Response:
        page = pages.get(request.path)
        if request.method not in {"GET", "HEAD"}:
            response = web.Response(status=405)
        else:
            response = page(request) if page else web.Response(status=404)
        response.force_close()
        return response

    return answer


def _scraping(metrics: Metrics) -> Callable[[web.BaseRequest], web.Response]:
    """What answers a scrape."""
    made: dict[str, tuple[float, bytes]] = {}

    def scrape(request: web.BaseRequest) -> web.Response:
        accepted = OPENMETRICS if "application/openmetrics-text" in request.headers.get("Accept", "") else ""
        encode, content_type = exposition.choose_encoder(accepted)  # never of what the client wrote: it is kept
        now = asyncio.get_running_loop().time()
        begun, body = made.get(accepted, (-SAME_SECONDS, b""))
        if now - begun >= SAME_SECONDS:
            body = encode(metrics.registry)
            made[accepted] = now, body
        return web.Response(body=body, headers={"Content-Type": content_type})

    return scrape


def _answer(wrong: list[str]) -> web.Response:
    """``ok``, or 503 with a line for each thing that is wrong."""
    return web.Response(text="\n".join(wrong or ["ok"]) + "\n", status=503 if wrong else 200)
