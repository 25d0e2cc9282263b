"""probes: what a kubelet and Prometheus are answered, over a real socket."""

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from sandmount import probes
from sandmount.health import SILENT_SECONDS, Health, Pulse
from sandmount.logs import LogFormat, configure
from sandmount.metrics import Metrics, Snapshot
from sandmount.probes import AddressError, serving
from tests.support.ports import LOCAL, free_port

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ROOM = 8
PATIENCE = 10.0
"""Seconds that a busy machine may take."""


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


async def test_only_reading_is_answered_and_each_answer_is_the_last_of_its_connection() -> None:
    async with asking(Health(list), Metrics()) as session:
        async with session.post("/metrics") as response:
            assert (response.status, await response.text()) == (405, "")
        for path in ("/healthz", "/metrics", "/nothing"):
            async with session.get(path) as response, session.head(path) as head:
                assert response.headers["Connection"] == head.headers["Connection"] == "close"
                assert (head.status, await head.read()) == (response.status, b"")


@asynccontextmanager
async def connections(
    count: int, body: bytes = b"", *, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[aiohttp.ClientSession, list[Connection]]]:
    """That many, to probes whose metrics are this; and a session beside them. There is room for eight."""
    monkeypatch.setattr(probes, "MAX_CONNECTIONS", ROOM)
    monkeypatch.setattr("sandmount.probes.exposition.choose_encoder", lambda _: (lambda _: body, "text/plain"))
    async with asking(Health(list), Metrics()) as session:
        port = session._base_url.port  # type: ignore[union-attr]  # noqa: SLF001
        opened = [await asyncio.open_connection(LOCAL, port) for _ in range(count)]
        yield session, opened
        for _, writer in opened:
            writer.close()


async def received(connection: Connection) -> bytes:
    """All that comes before the server closes it."""
    found = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := await asyncio.wait_for(connection[0].read(2**16), PATIENCE):
            found += data
    return bytes(found)


async def test_whoever_only_opens_connections_keeps_nobody_from_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connections(3 * ROOM, monkeypatch=monkeypatch) as (session, opened):
        for _ in range(3):
            assert await answer(session, "/healthz") == (200, "ok\n")
        assert [await received(old) for old in opened[: 2 * ROOM + 1]] == [b""] * (2 * ROOM + 1)
        assert not any(reader.at_eof() for reader, _ in opened[2 * ROOM + 1 :]), "more were closed than had to be"


async def test_a_connection_that_has_ended_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connections(1, monkeypatch=monkeypatch) as (session, [waiting]):
        for _ in range(3 * ROOM):
            assert await answer(session, "/healthz") == (200, "ok\n")
        waiting[1].write(b"GET /healthz HTTP/1.1\r\nHost: probes\r\n\r\n")
        assert (await received(waiting)).endswith(b"\r\n\r\nok\n")


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nHost: "], ids=["nothing", "a request with no end"])
async def test_a_request_has_so_long_to_arrive(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "CONNECTION_SECONDS", 0.5)
    begun = time.monotonic()
    async with connections(1, monkeypatch=monkeypatch) as (_, [slow]):
        slow[1].write(sent)
        ended = asyncio.create_task(received(slow))
        while not ended.done():
            await asyncio.sleep(0.05)
            if sent:
                slow[1].write(b"a")  # time and again
        assert await ended == b""
    assert 0.5 <= time.monotonic() - begun < PATIENCE


async def test_an_answer_has_so_long_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "CONNECTION_SECONDS", 0.5)
    large = bytes(2**26)
    async with connections(1, large, monkeypatch=monkeypatch) as (_, [slow]):
        slow[1].write(b"GET /metrics HTTP/1.1\r\nHost: probes\r\n\r\n")
        await asyncio.sleep(1)
        found = await received(slow)
        assert found.startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(found) < len(large)


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


NO_HTTP = (b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nX\0: y\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + 9_000 * b"a")


@pytest.mark.parametrize("sent", NO_HTTP, ids=["no version", "bad name", "long line"])
async def test_bytes_that_are_no_http_leave_nothing_in_the_log(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    configure(LogFormat.TEXT, verbose=False)
    port = free_port()
    async with serving(LOCAL, port, Health(list), Metrics()):
        reader, writer = await asyncio.open_connection(LOCAL, port)
        writer.write(sent)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    assert caplog.records == []


async def test_what_broken_connections_leave_is_swept_although_the_collector_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What aiohttp keeps of each is in cycles: without the sweep, all of these are there at the end."""
    monkeypatch.setattr(probes, "SWEEP", ROOM)
    port = free_port()
    async with serving(LOCAL, port, Health(list), Metrics()):
        gc.collect()
        gc.disable()
        try:
            for _ in range(5 * ROOM):
                reader, writer = await asyncio.open_connection(LOCAL, port)
                writer.write(NO_HTTP[0])
                await asyncio.wait_for(reader.read(), PATIENCE)
                writer.close()
                await writer.wait_closed()
            left = sum(isinstance(o, web.RequestHandler) for o in gc.get_objects())
        finally:
            gc.enable()
    assert left <= 2 * ROOM


async def test_a_crowd_pushes_out_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MAX_CONNECTIONS", ROOM)
    port = free_port()
    async with serving(LOCAL, port, Health(list), Metrics()):
        reader, writer = await asyncio.open_connection(LOCAL, port)  # a kubelet's, which is slow
        crowd = [await asyncio.open_connection(LOCAL, port, local_addr=("127.0.0.2", 0)) for _ in range(2 * ROOM)]
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 200 ")
        for _, each in [*crowd, (reader, writer)]:
            each.close()
