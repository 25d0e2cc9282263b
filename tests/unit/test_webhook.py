"""The webhook's server, on a port of this machine."""

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from sandmount import webhook as module
from sandmount.admission import UNCHECKED, Answer
from sandmount.certificates import Serving
from sandmount.webhook import MAX_CONNECTIONS, MAX_REVIEW, READ_AT_ONCE, Webhook
from tests.support.ports import free_port
from tests.unit.builders import Json, host, raw_sandbox, roots
from tests.unit.webhooks import HOST, of_rsa, serving, settings, stored

SECONDS = 20
"""More than anything here takes."""


async def echo(review: Any) -> dict[str, Any]:
    """An answer that says what was asked."""
    return {"asked": review}


@asynccontextmanager
async def served(hook: Webhook, answer: Any = echo) -> AsyncIterator[asyncio.Task[None]]:
    """The webhook at work, as kopf keeps it."""

    async def keep() -> None:
        async for _ in hook.serve(answer):
            pass

    task = asyncio.create_task(keep())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


class Client:
    """One TLS connection, which believes the CA of ``data``."""

    def __init__(self, port: int, data: Mapping[str, bytes]) -> None:
        self.port = port
        self.context = ssl.create_default_context(cadata=data["ca.crt"].decode())

    async def open(self, *, patiently: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects, as soon as somebody listens."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context, server_hostname=HOST)
                except ConnectionRefusedError:
                    if not patiently:
                        raise
                    await asyncio.sleep(0.02)

    async def ask(self, path: str, body: bytes = b"{}", method: str = "POST") -> tuple[int, str]:
        """Status and content of the answer."""
        reader, writer = await self.open()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        text = (await asyncio.wait_for(reader.read(), SECONDS)).decode()
        writer.close()
        return int(text.split()[1]), text.partition("\r\n\r\n")[2]

    async def shown(self) -> bytes:
        """The certificate, DER."""
        _, writer = await self.open()
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return found


@pytest.fixture
async def at_work() -> AsyncIterator[tuple[Webhook, Client, str]]:
    """A webhook that listens, a client, and the path."""
    data, port = stored(), free_port()
    hook = Webhook(settings(port))
    hook.use(serving(data))
    async with served(hook):
        client = Client(port, data)
        await client.shown()  # it listens
        yield hook, client, data["path"].decode()


At = tuple[Webhook, Client, str]


async def test_a_request_at_the_path_is_given_to_kopf_and_answered(at_work: At) -> None:
    _, client, path = at_work
    assert await client.ask(path, b'{"a": 1}') == (200, '{"asked": {"a": 1}}')


async def test_elsewhere_nothing_is_read_or_answered(at_work: At) -> None:
    _, client, path = at_work
    for other in ("/", "/validate", path[:-1], f"{path}/", f"/x{path}", "/%00"):
        assert (await client.ask(other))[0] == 404
    assert (await client.ask(path, b"", "GET"))[0] == 405


async def test_what_is_no_json_is_a_bad_request(at_work: At) -> None:
    _, client, path = at_work
    assert (await client.ask(path, b"{"))[0] == 400


async def test_a_review_of_some_megabytes_is_taken_and_one_above_the_limit_is_not(at_work: At) -> None:
    _, client, path = at_work
    assert (await client.ask(path, json.dumps("x" * (MAX_REVIEW - 100)).encode()))[0] == 200
    assert (await client.ask(path, json.dumps("x" * MAX_REVIEW).encode()))[0] == 413


async def test_a_review_that_does_not_end_is_given_up(at_work: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REVIEW_SECONDS", 0.1)
    _, client, path = at_work
    reader, writer = await client.open()
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
    assert (await asyncio.wait_for(reader.readline(), SECONDS)).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_an_error_behind_one_request_is_that_request_s_alone(caplog: pytest.LogCaptureFixture) -> None:
    data, port = stored(), free_port()
    hook = Webhook(settings(port))
    hook.use(serving(data))

    async def broken(_: Any) -> None:
        raise KeyError("operation")

    async with served(hook, broken) as task:
        client = Client(port, data)
        assert (await client.ask(data["path"].decode()))[0] == 500
        assert (await client.ask(data["path"].decode()))[0] == 500
        assert not task.done()
    assert "KeyError" in caplog.text


async def test_only_a_few_reviews_are_held_in_memory_at_the_same_time() -> None:
    data, port = stored(), free_port()
    hook, path = Webhook(settings(port)), data["path"].decode()
    hook.use(serving(data))
    under_way, most, seen = 0, 0, 0
    go_on = asyncio.Event()

    async def slow(_: Any) -> dict[str, Any]:
        nonlocal under_way, most, seen
        under_way, seen = under_way + 1, seen + 1
        most = max(most, under_way)
        if seen == READ_AT_ONCE:
            asyncio.get_running_loop().call_later(0.3, go_on.set)  # by when others would have come in, if they could
        await go_on.wait()
        under_way -= 1
        return {}

    async with served(hook, slow):
        client = Client(port, data)
        answers = await asyncio.gather(*(client.ask(path) for _ in range(2 * READ_AT_ONCE)))
    assert [status for status, _ in answers] == [200] * 2 * READ_AT_ONCE
    assert most == READ_AT_ONCE


async def test_another_certificate_and_path_are_used_from_the_next_connection_on(at_work: At) -> None:
    hook, client, path = at_work
    before = await client.shown()
    other = stored()
    hook.use(serving(other))
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.shown()
    successor = Client(client.port, other)
    assert await successor.shown() != before
    assert (await successor.ask(path))[0] == 404
    assert (await successor.ask(other["path"].decode()))[0] == 200


async def test_a_certificate_with_another_kind_of_key_takes_the_place_of_the_first(at_work: At) -> None:
    hook, client, _ = at_work
    given = of_rsa()
    hook.use(Serving(given["ca.crt"], given["tls.key"]))
    assert await Client(client.port, given).shown() == ssl.PEM_cert_to_DER_cert(given["ca.crt"].decode())


@pytest.mark.parametrize("what", ["another key", "an encrypted key", "no PEM"])
async def test_a_pair_that_cannot_be_used_leaves_the_one_that_is(at_work: At, what: str) -> None:
    hook, client, path = at_work
    given = of_rsa(password=b"word" if what == "an encrypted key" else b"")
    key = {"another key": stored()["tls.key"], "an encrypted key": given["tls.key"], "no PEM": b"x"}[what]
    with pytest.raises(ssl.SSLError):
        hook.use(Serving(given["ca.crt"], key))
    assert (await client.ask(path))[0] == 200


async def test_connections_that_say_nothing_are_not_taken_without_end(
    at_work: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client, path = at_work
    taken = []
    make = web.Server.__call__

    def count(server: web.Server) -> web.RequestHandler:
        taken.append(server)
        return make(server)

    monkeypatch.setattr(web.Server, "__call__", count)
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 3600.0)
    opened = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(MAX_CONNECTIONS + 9)]
    for reader, _ in opened[-9:]:
        assert await asyncio.wait_for(reader.read(), SECONDS) == b""
    assert len(taken) == MAX_CONNECTIONS
    for _, writer in opened:
        writer.close()
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.0)
    assert await eventually(client, path) == 200


async def test_any_number_of_connections_may_follow_one_another(at_work: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 3600.0)
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 8)
    _, client, path = at_work
    for _ in range(3 * 8):
        assert await eventually(client, path) == 200


async def test_connections_that_ask_nothing_keep_nobody_out(at_work: At) -> None:
    _, client, path = at_work
    silent = [await client.open() for _ in range(MAX_CONNECTIONS)]
    assert await eventually(client, path) == 200
    first, _ = silent[0]
    assert await asyncio.wait_for(first.read(), SECONDS) == b""
    for _, writer in silent:
        writer.close()


async def test_whoever_does_not_know_the_path_keeps_no_connection(at_work: At) -> None:
    _, client, _ = at_work
    reader, writer = await client.open()
    writer.write(b"POST /validate HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), SECONDS)
    assert answer.startswith(b"HTTP/1.1 404 ")
    writer.close()


async def eventually(client: Client, path: str) -> int:
    """The status of the first answer that is no closed connection: the server may not have noticed those that ended."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return (await client.ask(path))[0]
            except ConnectionError:
                await asyncio.sleep(0.05)


async def test_a_port_that_is_in_use_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LISTEN_AGAIN", 0.05)
    data, port = stored(), free_port()
    hook = Webhook(settings(port))
    hook.use(serving(data))
    with socket.create_server(("127.0.0.1", port)):
        async with served(hook) as task:
            async with asyncio.timeout(SECONDS):
                while "cannot listen" not in caplog.text:
                    await asyncio.wait([task], timeout=0.05)
            assert not task.done()
    async with served(hook):
        assert (await Client(port, data).ask(data["path"].decode()))[0] == 200


async def test_without_a_certificate_it_does_not_listen() -> None:
    data, port = stored(), free_port()
    hook = Webhook(settings(port))
    async with served(hook):
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            await Client(port, data).open(patiently=False)
        hook.use(serving(data))
        assert (await Client(port, data).ask(data["path"].decode()))[0] == 200


def denied() -> Json:
    """A Sandbox that an allowlist of /data denies."""
    return raw_sandbox(image="ubuntu:24.04", volumes=[host("/srv")])


async def test_a_refusal_is_logged_with_its_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hook = Webhook(settings())
    hook.allowlist = roots("/data")
    answer = hook.answer("CREATE", denied(), None)
    assert not answer.allowed
    assert f"team-a/training: refused before it was stored: {answer.message}" in caplog.text


async def test_a_mistake_of_ours_lets_the_request_pass_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Answer:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(module, "review", broken)
    assert Webhook(settings()).answer("CREATE", denied(), None) == Answer(allowed=True, warnings=(UNCHECKED,))
    assert "a mistake" in caplog.text


async def test_where_there_is_no_memory_for_files_a_file_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    Webhook(settings()).use(serving(stored()))
