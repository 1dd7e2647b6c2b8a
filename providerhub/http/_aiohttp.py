"""Changes to aiohttp's connector and protocol. The first asynchronous call imports this module and aiohttp.

Each class overrides a private step of aiohttp. If a release of aiohttp moves the step, its own behaviour remains, and the tests
of rows 23 and 27 of the fault matrix fail.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import ClientRequest, ClientTimeout, TCPConnector, ThreadedResolver
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from providerhub._threads import PromptThread
from providerhub.http._racing import KEEP_ALIVE

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop, Future

_END_OF_HEAD = b"\r\n\r\n"


class Connector(TCPConnector):
    """A `TCPConnector` whose connections pass the head on by itself, and are kept alive."""

    def __init__(self, **options: Any) -> None:
        resolver = ThreadedResolver(_Lookups())  # type: ignore[arg-type]  # it needs two methods of a loop
        super().__init__(**options, resolver=resolver)
        self._transports: set[Any] = set()
        self._factory = partial(_Handler, self._transports, loop=self._loop)  # type: ignore[assignment]  # a `partial`

    def template(self, origin: str, proxy: str | None, tls: Any) -> ClientRequest:
        """Return a request that tells `connect` the place, the proxy and the certificates."""
        secure = True if tls is None else tls
        return ClientRequest("GET", URL(origin), loop=self._loop, proxy=URL(proxy) if proxy else None, ssl=secure)

    def timeout(self, connect: float) -> ClientTimeout:
        """Return a connect timeout, in seconds, in the form that `connect` wants."""
        return ClientTimeout(connect=connect, ceil_threshold=math.inf)

    def drop(self) -> None:
        """Close the sockets. Call this after the event loop has ended: the transports' own `close` needs it."""
        for transport in tuple(self._transports):
            with contextlib.suppress(RuntimeError):  # the loop is closed
                transport.abort()
            # Under TLS, the socket belongs to another transport. Those of uvloop end with their loop, and have no such step.
            base = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
            lost = getattr(base, "_call_connection_lost", None)
            with contextlib.suppress(Exception):
                if lost is not None:
                    lost(None)
        self._transports.clear()


class _Lookups:
    """The part of an event loop that a resolver uses, with a thread for each look-up.

    The system's function has no timeout. In the loop's own threads a look-up that hangs would hold up their other work, and the
    end of the loop.
    """

    async def getaddrinfo(self, *place: Any, **options: Any) -> Any:
        from asyncio import get_running_loop  # slow to import; a caller with a running loop has imported it

        loop = get_running_loop()
        found: Future[Any] = loop.create_future()
        look = partial(_look_up, loop, found, partial(socket.getaddrinfo, *place, **options))
        PromptThread(look, "providerhub-lookup").start()
        return await found

    async def getnameinfo(self, *place: Any) -> Any:
        return socket.getnameinfo(*place)  # of a numeric address, which needs no look-up


def _look_up(loop: AbstractEventLoop, found: Future[Any], look: Any) -> None:
    try:
        answer, failure = look(), None
    except Exception as error:
        answer, failure = None, error

    def tell() -> None:
        if not found.done():  # the call may have ended before
            found.set_result(answer) if failure is None else found.set_exception(failure)

    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(tell)


class _Handler(ResponseHandler):
    """Passes a head to the parser before the body of the same read, since a broken chunk in the body would lose the head too."""

    _in_head = True
    on_lost: Callable[[], object] | None = None
    """Called when the connection has ended."""

    def __init__(self, transports: set[Any], **options: Any) -> None:
        super().__init__(**options)
        self._transports = transports

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._transports.add(transport)
        sock = transport.get_extra_info("socket")
        for option in KEEP_ALIVE if sock is not None else ():
            with contextlib.suppress(OSError):  # a transport without TCP
                sock.setsockopt(*option)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._transports.discard(self.transport)
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def set_response_params(self, **options: Any) -> None:
        self._in_head = True
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            head, end, body = data.partition(_END_OF_HEAD)
            self._in_head = not end
            if body:
                super().data_received(head + end)
                data = body
        super().data_received(data)
