"""The admission webhook's server and its certificate: from the Secret to requests that are answered.

kopf makes the answers; its own server is not used, because it refuses reviews above 1 MiB (a changed Sandbox can have
4 MB), keeps its certificate in files, and ends the operator when it cannot listen. Nothing that goes wrong here may do
that: the webhook is a courtesy, the operator decides again.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from sandmount.admission import UNCHECKED, Answer, review
from sandmount.allowlist import Allowlist
from sandmount.answers import Conflict, Json, Transient, words
from sandmount.certificates import CA_CERTIFICATE, Serving, look
from sandmount.cluster import LONGEST_DELAY, WEBHOOK_SECRET, ApiServer, growing
from sandmount.connections import Answering, GuardedServer
from sandmount.settings import Settings

log = logging.getLogger(__name__)

MAX_REVIEW = 8 * 1024**2
"""Bytes of a review: two Sandboxes of the largest size that the schema lets through, and room for escapes."""

READ_AT_ONCE = 4
"""Reviews that are held in memory at the same time."""

MAX_CONNECTIONS = 256
"""That shake hands at the same time, and as many that have asked nothing yet: each has 280 KB (measured). The API
server opens one for each request of a burst; what it holds open is not counted."""

SWEEP = 256
"""Closed connections until the garbage collector runs, as each may leave its 280 KB."""

HANDSHAKE_SECONDS = 5.0
REVIEW_SECONDS = 10.0
IDLE_SECONDS = 30.0
LINGER_SECONDS = 1.0
"""For what a client still sends after it got its answer, and for answers under way at the end."""

LISTEN_AGAIN = 1.0
"""Seconds until the first attempt to listen after a failed one; each further one waits longer."""


class _Server(GuardedServer):
    """Bounds the handshakes too, of which asyncio tells only the beginning and the success."""

    def __init__(self, answering: Answering) -> None:
        super().__init__(
            answering,
            most=MAX_CONNECTIONS,
            seconds=REVIEW_SECONDS,
            sweep=SWEEP,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
        )
        self._begun: dict[web.RequestHandler, float] = {}

    def __call__(self) -> web.RequestHandler:
        """For a connection that was accepted. Raises ConnectionRefusedError, which closes it, if there are too many."""
        now = asyncio.get_running_loop().time()
        self._begun = {h: since for h, since in self._begun.items() if now - since < HANDSHAKE_SECONDS}
        if len(self._begun) >= MAX_CONNECTIONS:
            raise ConnectionRefusedError
        handler = super().__call__()
        self._begun[handler] = now
        return handler

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """The handshake has succeeded."""
        self._begun.pop(handler, None)
        super().connection_made(handler, transport)


class Webhook:
    """The server, what it serves with, and the allowlist that it answers by. One of a process."""

    def __init__(self, settings: Settings) -> None:
        self.allowlist: Allowlist | None = None
        """The list that was loaded last; None until there is one."""
        self._settings = settings
        self._serving: Serving | None = None
        self._context: ssl.SSLContext | None = None
        self._ready = asyncio.Event()
        self._reading = asyncio.Semaphore(READ_AT_ONCE)

    async def follow_secret(self, api: ApiServer) -> None:
        """Serves with what its Secret holds, for ever."""
        await follow_secret(api, self._settings, self)

    def answer(self, operation: str, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> Answer:
        """What is said to a request. A mistake of ours lets it pass: the operator decides again."""
        try:
            answer = review(operation, new, old, self.allowlist, self._settings)
            if not answer.allowed:
                about = new["metadata"]
                log.info("%s/%s: refused before it was stored: %s", about["namespace"], about["name"], answer.message)
        except Exception:
            log.exception("a request for admission could not be judged; it passes")
            return Answer(allowed=True, warnings=(UNCHECKED,))
        return answer

    def use(self, serving: Serving) -> None:
        """Serves with this from the next connection on. Raises ssl.SSLError when certificate and key do not fit."""
        if serving != self._serving:
            self._context = _context(serving)  # a new one: a context keeps its certificates of other kinds of keys
            self._serving = serving
            log.info("the admission webhook has a certificate")
            self._ready.set()

    async def serve(self, make_answer: Any) -> AsyncIterator[Any]:
        """kopf's protocol of a webhook server: listens until it is cancelled, and gives reviews to ``make_answer``."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if self._is_for_us(request):
                server.welcome(request)
                return await self._handle(request, make_answer)
            stranger = web.Response(status=404)
            stranger.force_close()  # whoever does not know the path keeps no connection
            return stranger

        await self._ready.wait()
        server = _Server(handle)
        listening = await self._listen(server)
        try:
            yield {}  # nothing that kopf would put into a webhook configuration: that is the admin's
            await asyncio.Event().wait()
        finally:
            listening.close()
            server.pre_shutdown()
            await server.shutdown(LINGER_SECONDS)

    async def _listen(self, server: _Server) -> asyncio.Server:
        """Listens as soon as that can be done: another process may still have the port."""
        address, port = self._settings.admission_address, self._settings.admission_port
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.sni_callback = self._choose
        for delay in growing(LISTEN_AGAIN, LONGEST_DELAY):
            try:
                listening = await asyncio.get_running_loop().create_server(
                    server,
                    address or None,
                    port,
                    ssl=context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                    reuse_address=True,
                )
            except OSError as error:
                log.error("the admission webhook cannot listen: %s; trying again in %.0f s", error, delay)
                await asyncio.sleep(delay)
            else:
                log.info("the admission webhook listens at %s, port %d", address or "all addresses", port)
                return listening
        raise AssertionError("delays have no end")

    def _choose(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in each handshake, with or without a server name: the certificate of this moment."""
        connection.context = self._context

    def _is_for_us(self, request: web.BaseRequest) -> bool:
        """Whether it knows the path, which only the API server was told; none of it is read for that."""
        asked_for = request.path.encode(errors="replace")
        return self._serving is not None and hmac.compare_digest(asked_for, self._serving.path.encode())

    async def _handle(self, request: web.BaseRequest, make_answer: Any) -> web.StreamResponse:
        """One request of the API server's."""
        if request.method != "POST":
            return web.Response(status=405)
        try:
            async with asyncio.timeout(REVIEW_SECONDS), self._reading:
                asked = json.loads(await _content(request))
                return web.json_response(await make_answer(asked))
        except TimeoutError:
            return web.Response(status=408)
        except _TooLargeError:
            return web.Response(status=413)
        except ValueError:
            return web.Response(status=400)


class _TooLargeError(Exception):
    """A request has more than MAX_REVIEW bytes."""


async def _content(request: web.BaseRequest) -> bytearray:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_REVIEW:
            raise _TooLargeError
    return body


async def follow_secret(api: ApiServer, settings: Settings, webhook: Webhook) -> None:
    """Serves with what the Secret holds, now and after each change, and fills and renews it where that is ours."""
    host = f"{settings.admission_service}.{settings.namespace}.svc"
    said = ""
    async for secret in api.watch_named(WEBHOOK_SECRET, settings.namespace, settings.admission_secret):
        try:
            problem = await _look_at_secret(api, settings.namespace, secret, host, webhook)
        except Exception as error:
            log.exception("unexpected error about the certificate of the admission webhook")
            problem = repr(error)
        if problem and problem != said:
            log.error("Secret %s/%s: %s", settings.namespace, settings.admission_secret, problem)
        said = problem


async def _look_at_secret(api: ApiServer, namespace: str, secret: Json | None, host: str, webhook: Webhook) -> str:
    """One look; the problem that a person should solve, or nothing. It is looked at again within a minute or so."""
    if secret is None:
        return "it is not there, so there is no admission webhook; apply manifests/webhook"
    found = look(secret, host, datetime.now(UTC))
    problem = found.problem
    if found.serving is not None:
        try:
            webhook.use(found.serving)
        except (ssl.SSLError, OSError, ValueError) as error:
            problem = f"tls.crt and tls.key cannot be used: {error}"
    if not found.to_store:
        return problem
    metadata = secret["metadata"]
    try:
        stored = await api.write_secret(
            namespace, metadata["name"], metadata["uid"], metadata["resourceVersion"], found.to_store
        )
    except Transient as error:
        return f"a certificate cannot be stored now: {error}"
    if isinstance(stored, dict):
        log.info("Secret %s/%s: a certificate was stored", namespace, metadata["name"])
        if CA_CERTIFICATE in found.to_store:
            log.warning("the API server must be told of a new CA, or it will not ask us: docs/admission.md says how")
    elif not isinstance(stored, Conflict):  # that is another operator that was faster; the watch brings what it stored
        return f"a certificate cannot be stored: {words(stored)}"
    return problem


def _context(serving: Serving) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with _file(serving.certificate) as certificate, _file(serving.key) as key:
        context.load_cert_chain(certificate, key, password="")  # or OpenSSL asks a person for it
    return context


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[Path]:
    """A file with this content, for OpenSSL; in memory where that is possible: a container's disk is read-only."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("sandmount")
        try:
            os.write(descriptor, content)
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield Path(file.name)
