"""probes: what a kubelet and Prometheus are answered, over a real socket."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from sandmount import probes
from sandmount.health import SILENT_SECONDS, Health, Pulse
from sandmount.metrics import Metrics, Snapshot
from sandmount.probes import AddressError, serving
from tests.support.ports import LOCAL, free_port


@asynccontextmanager
async def asking(health: Health, metrics: Metrics) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the probes of these."""
    port = free_port()
    async with serving(LOCAL, port, health, metrics), aiohttp.ClientSession(f"http://{LOCAL}:{port}") as session:
        yield session


async def answer(session: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    """Status and text."""
    async with session.get(path) as response:
        return response.status, await response.text()


async def test_the_probes_say_ok_or_what_is_wrong() -> None:
    now, missing = 0.0, ["the allowlist", "the list of /api/v1/pods"]
    health = Health(lambda: missing)
    health.pulses.append(Pulse("the watch of pods", lambda: now))
    async with asking(health, Metrics()) as session:
        assert await answer(session, "/healthz") == (200, "ok\n")
        words = "waiting for the allowlist\nwaiting for the list of /api/v1/pods\n"
        assert await answer(session, "/readyz") == (503, words)
        missing.clear()
        now = SILENT_SECONDS + 1
        assert await answer(session, "/readyz") == (200, "ok\n")
        assert await answer(session, "/healthz") == (503, f"the watch of pods: nothing for {now:.0f} s\n")


async def test_a_scrape_gets_text_or_openmetrics_as_it_asks() -> None:
    metrics = Metrics()
    metrics.became_ready(1)
    async with asking(Health(list), metrics) as session:
        async with session.get("/metrics") as plain:
            assert plain.headers["Content-Type"].startswith("text/plain; version=")
            assert "sandmount_sandbox_ready_seconds_count 1.0" in await plain.text()
        wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with session.get("/metrics", headers=wanted) as modern:
            assert modern.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await modern.text()).endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/x"])
async def test_nothing_else_is_answered(path: str) -> None:
    async with asking(Health(list), Metrics()) as session:
        assert (await answer(session, path))[0] == 404


async def test_without_a_port_nothing_listens() -> None:
    async with serving(LOCAL, 0, Health(list), Metrics()):
        pass


async def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    with socket.socket() as taken:
        taken.bind((LOCAL, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"--http-port: cannot listen on {LOCAL}:{port}"):
            async with serving(LOCAL, port, Health(list), Metrics()):
                pass


async def test_scrapes_in_a_row_are_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    counted = []
    metrics.show(lambda: counted.append(1) or Snapshot())  # type: ignore[func-returns-value]
    async with asking(Health(list), metrics) as session:
        counted.clear()
        for _ in range(5):
            assert (await answer(session, "/metrics"))[0] == 200
        assert len(counted) == 1
        for number in range(20):
            accepted = {"Accept": f"application/openmetrics-text; version=2.{number}x"}
            async with session.get("/metrics", headers=accepted) as response:
                assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert len(counted) == 2, "whatever a client writes, there are two formats"
        counted.clear()
        counted.append(1)
        monkeypatch.setattr(probes, "SAME_SECONDS", 0.0)
        await answer(session, "/metrics")
        assert len(counted) == 2
