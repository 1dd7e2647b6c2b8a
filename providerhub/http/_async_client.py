"""Sends one request to a service under asyncio, over aiohttp (extra `async`), with the timeouts and limits of `HttpClient`.

aiohttp is well maintained, and its parser is compiled: a streamed piece costs a tenth of the time that a client in pure Python
takes. The first asynchronous call imports it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Any

import certifi

from providerhub._values.errors import ConfigurationError, ProviderError
from providerhub._values.provider import CallContext
from providerhub.http._async_answer import AsyncAnswer
from providerhub.http._base import ERROR_BODY_LIMIT, Client, Sent
from providerhub.http._loop_timer import LoopTimer
from providerhub.http._orders import Blocking, aworked
from providerhub.http._request import HttpAnswer, HttpRequest
from providerhub.http._session import Session, drop_lost
from providerhub.http._transport import IDLE_LIMIT

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop

_HEAD_LIMIT = 65536
"""The most bytes of one header line."""

CONNECTIONS = 4096
"""The most connections to one host in each event loop. A further request waits for one, within the connect timeout."""


def is_installed() -> bool:
    """Return whether the extra `async` is installed."""
    from importlib.util import find_spec  # a program that has loaded plugins has imported it

    return "aiohttp" in sys.modules or find_spec("aiohttp") is not None


class AsyncHttpClient(Client):
    """Sends requests to one service in event loops. Connections are kept open between calls, separately in each event loop.

    Args:
        config: The instance's configuration. Its url, key, headers, proxies, ca_bundle and client certificate are used.
        headers: Headers to add to every request; default none. The headers of `config` outrank them.
        key_header: The header that carries the key. `"Authorization"`, the default, carries it as a bearer token; any other
            header carries the key alone.
        body_limit: The most decoded bytes of one answer; default 64 MiB.
        wire: The headers, secrets, signature and refusals of the service, in place of `headers` and `key_header`; `None`, the
            default, for a `Wire` with these two.

    Raises:
        ConfigurationError: The extra `async` is not installed; otherwise as `HttpClient`.
    """

    def _begin(self) -> None:
        if not is_installed():
            msg = f"provider {self.config.name!r}: asynchronous requests need aiohttp; pip install 'providerhub[async]'"
            raise ConfigurationError(msg)
        self._tls: Any = None
        self._proxy_of: dict[str, str | None] = {}
        self._sessions: weakref.WeakKeyDictionary[AbstractEventLoop, Session] = weakref.WeakKeyDictionary()

    async def send(self, request: HttpRequest, call: CallContext) -> AsyncAnswer:
        """Send a request and wait for the headers of the answer; see `Client.send`."""
        import asyncio  # slow to import; a caller with a running loop has imported it

        sent = self._prepared(request, call)
        loop = asyncio.get_running_loop()
        session = await self._session(loop, call, secure=bool(self._proxies) or sent.address.url.startswith("https:"))
        session.users += 1
        phase = asyncio.timeout(None)

        def expire() -> None:
            with contextlib.suppress(RuntimeError):  # it expires already
                phase.reschedule(loop.time())

        timer = LoopTimer(call, session.timers, expire, stream=request.stream)
        unsubscribe = call.on_cancel(timer.cancel)

        def closed() -> None:
            unsubscribe()
            session.release()

        answer = AsyncAnswer(call, timer, session, closed, self.body_limit, stream=request.stream)
        answer.log = self._logged(sent)
        failure: Exception | None = None
        try:
            async with phase:
                if not session.turns.has_room():
                    await session.turns.wait()
                answer.take(*await self._send(session, sent, call))
            if not 200 <= answer.status < 300:
                failure = await self._refusal(answer, sent)
        except Exception as error:  # every exception of aiohttp is translated
            # Raised below, outside of this block: as its context, aiohttp's error would show the request's headers.
            failure = answer.classed(error)
        except BaseException:
            answer.close()
            raise
        if failure is not None:
            answer.close()
            raise self.redacted(failure) if isinstance(failure, ProviderError) else failure
        return answer

    async def fetch(self, request: HttpRequest, call: CallContext) -> HttpAnswer:
        """Send a request and read its whole answer; see `Client.fetch`."""
        with await self.send(request, call) as answer:
            try:
                return HttpAnswer(answer.status, answer.headers, await answer.read())
            except ProviderError as error:
                self.redacted(error)
                raise

    def close(self) -> None:
        """Make each event loop close its connections, as soon as no answer uses them."""
        drop_lost()
        for loop in list(self._sessions):
            session = self._sessions.pop(loop, None)
            if session is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed, and has closed its connections
                    loop.call_soon_threadsafe(session.close_when_unused)

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and make other loops close theirs."""
        from asyncio import get_running_loop  # slow to import; a caller with a running loop has imported it

        found = self._sessions.pop(get_running_loop(), None)
        if found is not None:
            await found.keeper.aclose()
        self.close()

    async def _session(self, loop: AbstractEventLoop, call: CallContext, *, secure: bool) -> Session:
        found = self._sessions.get(loop)
        if secure and self._tls is None:  # beside the event loop, which it would hold up
            self._tls = await aworked(Blocking(self._context), call)
        if found is None or found.is_lost or found.client.closed:  # a loop may close its generators and run again
            drop_lost()
            if "aiohttp" not in sys.modules:
                await aworked(Blocking(_imported), call)
            found = self._sessions.get(loop)  # another call may have opened it meanwhile
        if found is None or found.is_lost or found.client.closed:
            from providerhub.http._aiohttp import Connector  # imports aiohttp

            connector = Connector(limit=0, limit_per_host=CONNECTIONS, keepalive_timeout=IDLE_LIMIT)
            found = self._sessions[loop] = Session(connector, loop)
            await anext(found.keeper)
        return found

    def _context(self) -> Any:
        import ssl  # slow to import; only https needs it

        trusted = certifi.where() if isinstance(self._verify, bool) else self._verify
        folder = os.path.isdir(trusted)
        context = ssl.create_default_context(cafile=None if folder else trusted, capath=trusted if folder else None)
        if self._certificate is not None:
            context.load_cert_chain(*self._certificate)
        return context

    async def _send(self, session: Session, sent: Sent, call: CallContext) -> tuple[Any, Any, Any]:
        """Send a request; return the connection, and the head and the body of the answer.

        Of aiohttp, the connections and the parser are used. Its client would cost more than both: it makes ten objects for each
        request, for features that are not wanted here.
        """
        template = session.templates.get(sent.address.origin)
        if template is None:
            proxy = self._proxy(sent.address.origin) if self._proxies else None
            template = session.templates[sent.address.origin] = session.client.template(sent.address.origin, proxy, self._tls)
        connect = max(call.remaining(call.timeout.connect), 0.001)
        if session.timeout is None or session.timeout.connect != connect:
            session.timeout = session.client.timeout(connect)
        connection = await session.client.connect(template, [], session.timeout)
        try:
            protocol = connection.protocol
            protocol.set_response_params(read_until_eof=True, max_line_size=_HEAD_LIMIT, max_field_size=_HEAD_LIMIT)
            is_proxied = template.proxy is not None and not template.is_ssl()
            connection.transport.write(sent.written(template.headers if is_proxied else None))
            head, body = await protocol.read()
            while 100 <= head.code < 200 and head.code != 101:  # the answer follows
                head, body = await protocol.read()
        except BaseException:
            connection.close()
            raise
        return connection, head, body

    async def _refusal(self, answer: AsyncAnswer, sent: Sent) -> ProviderError:
        body = b"" if 300 <= answer.status < 400 else await answer.peek(ERROR_BODY_LIMIT)
        return self.refusal(sent.method, sent.path, answer.status, answer.headers, body)

    def _proxy(self, origin: str) -> str | None:
        """Return the proxy for an address, chosen as in `HttpClient`; `None` for a direct connection."""
        if origin not in self._proxy_of:
            from requests.utils import select_proxy  # slow to import; only proxies need it

            proxy = select_proxy(origin, self._proxies)
            self._proxy_of[origin] = f"http://{proxy}" if proxy and "://" not in proxy else proxy
        return self._proxy_of[origin]


def _imported() -> None:
    """Import aiohttp, which takes some tenths of a second. By name: a linter takes an unused import statement away."""
    import_module("providerhub.http._aiohttp")
