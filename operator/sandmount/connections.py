"""What our servers have in common: connections of strangers, which must not take the operator's memory or its time.

Any Pod that a NetworkPolicy lets through can open as many as it likes, and send what it likes, or nothing.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

READ_AT_ONCE = 2**14
"""Bytes, of 256 KiB that asyncio takes otherwise, and a parser keeps what it could not use of them. Not with TLS."""

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class GuardedServer(web.Server):
    """Closes a connection of which nothing has come in time, and of too many one of whoever has most.

    ``most`` connections at once, each for ``seconds`` unless a request on it was `welcome`. What aiohttp leaves of a
    connection on which something went wrong is in cycles, and the collector rarely runs (cli.py): so it is asked to
    after every ``sweep`` that were closed.
    """

    def __init__(self, answering: Answering, *, most: int, seconds: float, sweep: int, **options: Any) -> None:
        super().__init__(answering, access_log=None, **options)
        self._most, self._seconds, self._sweep = most, seconds, sweep
        self._strangers: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}
        self._closed = 0

    def welcome(self, request: web.BaseRequest) -> None:
        """The connection of this request is of use: it is neither counted nor timed any longer."""
        if (found := self._strangers.pop(request.protocol, None)) is not None:
            found[1].cancel()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Makes room for it, and sets its deadline."""
        super().connection_made(handler, transport)
        if len(self._strangers) >= self._most:
            self._end(self._one_of_the_largest_crowd())
        if isinstance(getattr(transport, "max_size", None), int):
            transport.max_size = READ_AT_ONCE  # type: ignore[attr-defined]
        timer = asyncio.get_running_loop().call_later(self._seconds, self._end, handler)
        self._strangers[handler] = transport, timer

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Whoever closed it."""
        super().connection_lost(handler, exc)
        self._end(handler)
        self._closed += 1
        if self._closed % self._sweep == 0:
            gc.collect()

    def _one_of_the_largest_crowd(self) -> web.RequestHandler:
        """The oldest of the address that has most, so that a flood pushes out its own and no kubelet's."""
        addresses = {h: (t.get_extra_info("peername") or [""])[0] for h, (t, _) in self._strangers.items()}
        [(largest, _)] = Counter(addresses.values()).most_common(1)
        return next(handler for handler, address in addresses.items() if address == largest)

    def _end(self, handler: web.RequestHandler) -> None:
        """At once, without what is still to be sent; nothing when it has ended or is welcome."""
        if handler in self._strangers:
            transport, timer = self._strangers.pop(handler)
            timer.cancel()
            transport.abort()
