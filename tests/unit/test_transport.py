"""Transport, against a real HTTP server: what is asked, what answers mean, and how a watch ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from sandmount.answers import Json, Missing, Outdated, Transient
from sandmount.login import Login
from sandmount.transport import Transport

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[Transport]]

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: secret}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


@pytest.fixture
async def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Starts a server with one handler, and returns the transport to it."""
    runners: list[web.AppRunner] = []
    transports: list[Transport] = []

    async def start(handler: Handler) -> Transport:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runners.append(web.AppRunner(app, shutdown_timeout=0.1))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG.format(port=runners[-1].addresses[0][1]))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        transports.append(Transport(await Login.now(connections=4)))
        return transports[-1]

    yield start
    for transport in transports:
        await transport.close()
    for runner in runners:
        await runner.cleanup()


def lines(*events: Json) -> Handler:
    """A watch that sends these, and ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    return answer


def refusing(status: int) -> Handler:
    """Every request gets this status."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, status=status)

    return answer


def event(kind: str, **about: object) -> Json:
    return {"type": kind, "object": about}


async def watched(transport: Transport) -> list[Json]:
    return [found async for found in transport.watch("/things", {"resourceVersion": "5"}, 60)]


async def test_a_request_carries_body_query_and_credentials(serve: Serve) -> None:
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.json_response({"you": await request.json()})

    transport = await serve(answer)
    assert await transport.ask("POST", "/things", query={"a": "b c"}, body={"x": 1}) == {"you": {"x": 1}}
    assert asked[0].query == {"a": "b c"}
    assert asked[0].headers["Authorization"] == "Bearer secret"
    assert asked[0].headers["User-Agent"].startswith("sandmount/")


async def test_a_server_that_is_away_is_a_transient(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    with pytest.raises(Transient, match="GET /things"):
        await (await serve(answer)).ask("GET", "/things")


async def test_a_watch_brings_its_events_until_the_server_ends_it(serve: Serve) -> None:
    transport = await serve(lines(event("ADDED", a=1), event("DELETED", a=1)))
    assert await watched(transport) == [event("ADDED", a=1), event("DELETED", a=1)]


async def test_a_watch_whose_version_is_too_old_says_so_in_its_stream(serve: Serve) -> None:
    with pytest.raises(Outdated):
        await watched(await serve(lines(event("ADDED", a=1), event("ERROR", code=410, message="too old"))))


@pytest.mark.parametrize("status", [404, 410])
async def test_a_watch_whose_version_or_kind_is_gone_says_so_at_once(serve: Serve, status: int) -> None:
    with pytest.raises(Outdated):
        await watched(await serve(refusing(status)))


async def test_a_watch_that_is_refused_for_its_credentials_has_them_read_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    async def again(_: Login, refused: object) -> None:
        read.append(refused)

    transport = await serve(refusing(401))
    monkeypatch.setattr(Login, "again", again)
    with pytest.raises(Transient, match="401"):
        await watched(transport)
    assert len(read) == 1


async def test_an_event_may_be_as_long_as_json_can_make_an_object(serve: Serve) -> None:
    found = event("ADDED", text="<" * 10_000_000)
    assert await watched(await serve(lines(found))) == [found]


@pytest.mark.parametrize("line", [b"null\n", b'{"kind": "Status"}\n', b'{"type": "ERROR", "object": null}\n', b"{\n"])
async def test_what_is_no_event_is_a_transient(serve: Serve, line: bytes) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(line)
        return response

    with pytest.raises(Transient):
        await watched(await serve(answer))


async def test_a_watch_that_the_server_cannot_go_on_with_is_a_transient(serve: Serve) -> None:
    with pytest.raises(Transient, match="etcd is away"):
        await watched(await serve(lines(event("ERROR", code=500, message="etcd is away"))))


async def test_a_watch_that_is_cut_in_the_middle_of_a_line_is_a_transient(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type": "ADD')
        return response

    with pytest.raises(Transient, match="the watch of /things broke"):
        await watched(await serve(answer))


async def test_a_watch_that_is_refused_says_so_and_how_long_to_wait(serve: Serve) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"message": "too many"}, status=429, headers={"Retry-After": "7"})

    with pytest.raises(Transient, match="429") as found:
        await watched(await serve(answer))
    assert found.value.retry_after == 7


def busy_once(seconds: float, body: bytes) -> tuple[Handler, list[float]]:
    """The first request is answered 429, the others 404; and when they came."""
    times: list[float] = []

    async def answer(_: web.Request) -> web.Response:
        times.append(asyncio.get_running_loop().time())
        if len(times) > 1:
            return web.json_response({}, status=404)
        return web.Response(status=429, body=body, headers={"Retry-After": str(seconds)})

    return answer, times


async def test_after_429_nobody_asks_until_the_server_allows_it(serve: Serve) -> None:
    answer, times = busy_once(0.2, b"Too many requests, please try again later.")
    transport = await serve(answer)
    with pytest.raises(Transient) as found:
        await transport.ask("GET", "/things")
    assert found.value.retry_after == 0.2
    assert await asyncio.gather(*(transport.ask("GET", f"/things/{n}") for n in range(5))) == [Missing()] * 5
    assert min(times[1:]) - times[0] >= 0.2


async def test_nothing_that_was_decided_is_held_back_for_long(serve: Serve) -> None:
    answer, times = busy_once(30, b"Too many requests, please try again later.")
    transport = await serve(answer)
    for _ in range(2):
        with pytest.raises(Transient) as found:
            await transport.ask("GET", "/things")
        assert found.value.retry_after > 29
    assert len(times) == 1


async def test_a_429_about_one_object_holds_nobody_else_back(serve: Serve) -> None:
    answer, times = busy_once(30, b'{"kind": "Status", "message": "admission webhook \\"quota\\" denied the request"}')
    transport = await serve(answer)
    with pytest.raises(Transient):
        await transport.ask("POST", "/things")
    assert await transport.ask("GET", "/others") == Missing()
    assert len(times) == 2


async def test_it_is_not_told_to_wait_for_ever(serve: Serve) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, status=429, headers={"Retry-After": "86400"})

    with pytest.raises(Transient) as found:
        await (await serve(answer)).ask("GET", "/things")
    assert found.value.retry_after == 60
