"""Sessions: an exchange of credentials ends no request that is under way."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sandmount import login
from sandmount.answers import Missing
from sandmount.cluster import ApiServer
from sandmount.login import Login, Session, proxy_for
from sandmount.transport import Transport

REQUESTS = 24
OLD, NEW = "old", "new"

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: {token}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


class Client:
    """Notes when it is closed."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1


async def test_a_session_is_closed_when_it_was_given_up_and_its_last_request_ended() -> None:
    client = Client()
    session = Session(client)
    async with session.used():
        async with session.used():
            await session.give_up()
        assert client.closed == 0
    assert client.closed == 1


async def test_a_session_that_nobody_uses_is_closed_when_it_is_given_up() -> None:
    client = Client()
    await Session(client).give_up()
    assert client.closed == 1


@pytest.fixture
async def server() -> AsyncIterator[tuple[int, set[str]]]:
    """A port where only requests with one of these tokens are served, each after a moment."""
    accepted = {OLD}

    async def answer(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        welcome = token in accepted
        await asyncio.sleep(0.05)
        return web.json_response({"message": "x"}, status=404 if welcome else 401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1], accepted
    await runner.cleanup()


async def test_requests_that_are_under_way_survive_an_exchange_of_credentials(
    server: tuple[int, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, accepted = server
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.format(port=port, token=OLD))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    api = ApiServer(Transport(await Login.now(connections=4)))

    async def ask(number: int) -> object:
        await asyncio.sleep(number * 0.01)
        return await api.get_pod(("ns", f"p{number}"))

    asked = [asyncio.create_task(ask(number)) for number in range(REQUESTS)]
    await asyncio.sleep(0.1)
    kubeconfig.write_text(KUBECONFIG.format(port=port, token=NEW))
    accepted.clear()
    accepted.add(NEW)
    answers = await asyncio.gather(*asked)
    await api.close()
    assert answers == [Missing()] * REQUESTS


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, "http://proxy.example:3128"),
        ({"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "api.example"}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "other.example"}, "http://proxy.example:3128"),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, None),
    ],
)
def test_the_proxy_of_the_environment_is_looked_for_once(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        for spelled in (name, name.lower()):
            monkeypatch.delenv(spelled, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for("https://api.example:6443") == proxy


TWO_CONTEXTS = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts:
- {name: here, context: {cluster: c, user: u, namespace: team-a}}
- {name: there, context: {cluster: c, user: u, namespace: team-b}}
- {name: bare, context: {cluster: c, user: u}}
current-context: here
"""


@pytest.mark.parametrize(
    ("files", "asked", "found"),
    [
        ([TWO_CONTEXTS], "", ("here", "team-a")),
        ([TWO_CONTEXTS], "there", ("there", "team-b")),
        ([TWO_CONTEXTS], "bare", ("bare", "default")),
        ([TWO_CONTEXTS], "nowhere", ("nowhere", "default")),
        ([TWO_CONTEXTS.replace("current-context: here", "")], "there", ("there", "team-b")),
        ([TWO_CONTEXTS.replace("current-context: here", "")], "", ("", "default")),
        (["current-context: there", TWO_CONTEXTS], "", ("there", "team-b")),
        ([TWO_CONTEXTS, TWO_CONTEXTS.replace("team-a", "late").replace("t: here", "t: there")], "", ("here", "team-a")),
        (["{", "", TWO_CONTEXTS], "", ("here", "team-a")),
        (["a: ["], "", ("", "default")),
        ([], "", ("", "default")),
    ],
)
def test_a_person_s_context_and_namespace_are_kubectl_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], asked: str, found: tuple[str, str]
) -> None:
    paths = [tmp_path / f"config-{number}" for number in range(len(files))]
    for path, text in zip(paths, files, strict=True):
        path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, [tmp_path / "missing", *paths])))
    monkeypatch.setattr(login, "_OWN_NAMESPACE", tmp_path / "no-pod")
    assert login.chosen(asked) == found


async def test_a_named_context_is_kubeconfig_s_and_else_a_pod_is_its_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def account(client_configuration: Any) -> None:
        client_configuration.host = "https://the-pod-s"

    monkeypatch.setattr("kubernetes.aio.config.load_incluster_config", account)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(TWO_CONTEXTS)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    async def host(context: str | None) -> str:
        session = (await Login.now(1, context)).session
        async with session.used() as client:
            found = str(client.configuration.host)
        await session.close()
        return found

    assert await host(None) == "https://the-pod-s"
    assert await host(login.chosen()[0]) == await host("there") == "http://127.0.0.1:1"
    kubeconfig.unlink()
    assert await host(login.chosen()[0]) == "https://the-pod-s"
    monkeypatch.setattr(login, "_OWN_NAMESPACE", tmp_path / "namespace")
    (tmp_path / "namespace").write_text("of-the-pod\n")
    assert login.chosen() == ("", "of-the-pod")
