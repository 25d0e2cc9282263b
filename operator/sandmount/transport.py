"""Requests and watches as they go over the wire. Who asks for what is cluster.py's matter."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
import orjson

from sandmount.answers import Json, Outdated, Transient, Unanswered, seconds_in, unanswered
from sandmount.login import Login, Session

REQUEST_SECONDS = 30
CONNECT_SECONDS = 10
SHORT_WAIT = 1.0
"""Seconds that a request waits by itself. What has to wait longer is decided anew then."""
_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
_JSON = "application/json"

Count = Callable[[str, str, int], None]
"""What is told of each request: HTTP's method or WATCH, the path, and HTTP's status, 0 when there was no answer."""


class Transport:
    """The one client of the process; made once, closed at the end.

    When the API server's priority and fairness answers 429, nobody asks anything before the time that it names: that is
    about us as a whole, and a request of another worker would only be refused too. A 429 that is a Status is about one
    object (a webhook's, an eviction's, a kind that is being installed), and only its own request waits.
    """

    def __init__(self, login: Login, count: Count = lambda *_: None) -> None:
        self._login = login
        self._count = count
        self._closed_until = 0.0

    async def close(self) -> None:
        """Closes all connections."""
        await self._login.session.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = _JSON,
    ) -> Json | Unanswered:
        """One request. Raises Transient for what may succeed later."""
        url = path + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": content_type, "Accept": _JSON}
        await self._opened()
        session = self._login.session
        response, data = await self._asked(session, method, url, headers, body)
        if response.status == 401:
            await self._login.again(session)
            response, data = await self._asked(self._login.session, method, url, headers, body)
        answer = _decoded(data)
        if response.status < 400:
            return answer
        retry_after = response.getheader("Retry-After")
        if not answer:
            self._close_if_asked_to(response.status, retry_after)
        return unanswered(f"{method} {path}", response.status, answer, response.reason, retry_after)

    async def watch(self, path: str, query: Mapping[str, str], seconds: int) -> AsyncGenerator[Json, None]:
        """The events of one watch (``type`` and ``object``), until the server or the time ends it.

        Raises Outdated when its version is too old, and Transient when it is refused or breaks.
        """
        url = f"{path}?{urlencode({**query, 'watch': 'true', 'timeoutSeconds': str(seconds)})}"
        within = aiohttp.ClientTimeout(total=seconds + REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        await self._opened()
        session, begun = self._login.session, False
        try:
            async with session.used() as api_client:
                answer = await _send(api_client, "GET", url, {"Accept": _JSON}, None, within)
                async with answer.response as stream:
                    begun = True
                    self._count("WATCH", path, stream.status)
                    await self._begun(path, stream, session)
                    async for line in stream.content:
                        yield _event(path, line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if not begun:
                self._count("WATCH", path, 0)
            raise Transient(f"the watch of {path} broke: {_words(error)}") from error

    async def _begun(self, path: str, stream: aiohttp.ClientResponse, session: Session) -> None:
        """Raises Outdated or Transient unless the watch was granted."""
        if stream.status < 400:
            return
        if stream.status in {HTTPStatus.GONE, HTTPStatus.NOT_FOUND}:
            raise Outdated
        retry_after = stream.headers.get("Retry-After")
        answer = _decoded(await stream.read())
        if not answer:
            self._close_if_asked_to(stream.status, retry_after)
        if stream.status == HTTPStatus.UNAUTHORIZED:
            await self._login.again(session)
        words = f"a watch of {path} was refused: {stream.status} {answer.get('message') or stream.reason}"
        raise Transient(words, seconds_in(retry_after))

    async def _asked(
        self, session: Session, method: str, url: str, headers: Mapping[str, str], body: Json | None
    ) -> tuple[Any, bytes]:
        """One request: the response, and its content."""
        path = url.partition("?")[0]
        async with session.used() as api_client:
            try:
                response = await _send(api_client, method, url, headers, body, _TIMEOUT)
                data = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._count(method, path, 0)
                raise Transient(f"{method} {url}: {_words(error)}") from error
        self._count(method, path, response.status)
        return response, data

    def _close_if_asked_to(self, status: int, retry_after: str | None) -> None:
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            until = asyncio.get_running_loop().time() + seconds_in(retry_after)
            self._closed_until = max(self._closed_until, until)

    async def _opened(self) -> None:
        """Returns when the API server is ready to be asked; raises Transient when that takes long."""
        while (wait := self._closed_until - asyncio.get_running_loop().time()) > 0:
            if wait > SHORT_WAIT:
                raise Transient("the API server has asked us to wait", wait)
            await asyncio.sleep(wait)


async def _send(
    api_client: Any,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Json | None,
    within: aiohttp.ClientTimeout,
) -> Any:
    """The response, not read yet."""
    sent = {**headers, **api_client.default_headers}
    await api_client.update_params_for_auth(sent, [], ["BearerToken"], url, method, body)
    return await api_client.rest_client.request(
        method, api_client.configuration.host + url, headers=sent, body=body, _request_timeout=within
    )


def _words(error: Exception) -> str:
    """For people; a time that is over has none of its own."""
    return str(error) or type(error).__name__


def _event(path: str, line: bytes) -> Json:
    """The event, unless it tells the end of the watch."""
    event = orjson.loads(line)
    about = event.get("object") if isinstance(event, dict) else None
    if not isinstance(about, dict) or "type" not in event:
        raise Transient(f"the watch of {path} brought what is no event: {line[:200]!r}")
    if event["type"] != "ERROR":
        return cast(Json, event)
    if about.get("code") == HTTPStatus.GONE:
        raise Outdated
    raise Transient(f"the watch of {path} ended: {about.get('message')}")


def _decoded(data: bytes) -> Json:
    try:
        found = orjson.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
