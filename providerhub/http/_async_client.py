"""Sends one request to a service under asyncio, with the timeouts and limits of `HttpClient`."""

from __future__ import annotations

import contextlib
import math
import weakref
from typing import TYPE_CHECKING

from providerhub._values.errors import ProviderError
from providerhub._values.provider import CallContext
from providerhub._watchdog import WATCHDOG
from providerhub.http._async_answer import AsyncAnswer, LoopTimer
from providerhub.http._async_connection import Connection
from providerhub.http._base import ERROR_BODY_LIMIT, Client, Sent
from providerhub.http._orders import Blocking, aworked
from providerhub.http._request import HttpAnswer, HttpRequest
from providerhub.http._session import Session, drop_lost

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop


class AsyncHttpClient(Client):
    """Sends requests to one service in event loops. Connections are kept open between calls, separately in each event loop.

    Args:
        config: The instance's configuration. Its url, key, headers, proxies, ca_bundle and client certificate are used.
        headers: Headers to add to every request; default none. The headers of `config` take precedence.
        key_header: The header for the key. `"Authorization"`, the default, has it as a bearer token; any other header has only
            the key.
        body_limit: The limit of decoded bytes of one answer; default 64 MiB.
        wire: The headers, secrets, signature and refusals of the service, in place of `headers` and `key_header`; `None`, the
            default, for a `Wire` with these two.

    Raises:
        ConfigurationError: As `HttpClient`.
    """

    def _begin(self) -> None:
        self._sessions: weakref.WeakKeyDictionary[AbstractEventLoop, Session] = weakref.WeakKeyDictionary()

    async def send(self, request: HttpRequest, call: CallContext) -> AsyncAnswer:
        """Send a request and wait for the headers of the answer; see `Client.send`."""
        from asyncio import get_running_loop  # slow to import; a caller with a running loop has imported it

        sent = self._prepared(request, call)
        session = await self._session(get_running_loop())
        timer = LoopTimer(call, session.loop, stream=request.stream)
        answer = AsyncAnswer(call, timer, session, self.body_limit)
        answer.log = self._logged(sent)
        with self._opening(answer):
            WATCHDOG.start(timer)
            if not session.turns.has_room():
                await session.turns.wait()
            connection = session.take(sent.address.origin) or await self._opened(session, timer, call, sent)
            await answer.take(connection, sent)
            if not 200 <= answer.status < 300:
                self._refuse(sent, answer, b"" if answer.status < 400 else await answer.peek(ERROR_BODY_LIMIT))
        return answer

    async def _opened(self, session: Session, timer: LoopTimer, call: CallContext, sent: Sent) -> Connection:
        """Open a connection within the timeouts of the answer and of the connect phase."""
        from asyncio import timeout  # slow to import; a caller with a running loop has imported it

        timer.check()
        try:
            async with timeout(max(call.remaining(call.timeout.connect), 0.001)) as phase:

                def expire() -> None:
                    with contextlib.suppress(RuntimeError):  # the timeout has already expired
                        phase.reschedule(0.0)

                timer.callback = expire
                origin, proxy = sent.address.origin, sent.proxy
                is_secure = origin.startswith("https:") or (proxy or "").startswith("https:")
                # Reading the certificates here would block the loop.
                tls = (self._tls or await aworked(Blocking(self._secure), call)) if is_secure else None
                return await session.open(origin, proxy, tls, phase.when() or math.inf)
        except TimeoutError:
            timer.check()
            raise

    async def fetch(self, request: HttpRequest, call: CallContext) -> HttpAnswer:
        """Send a request and read its whole answer; see `Client.fetch`."""
        with await self.send(request, call) as answer:
            try:
                return HttpAnswer(answer.status, answer.headers, await answer.read())
            except ProviderError as error:
                self.redacted(error)
                raise

    def close(self) -> None:
        """Close the connections of each event loop when no answer uses them."""
        drop_lost()
        for loop in list(self._sessions):
            session = self._sessions.pop(loop, None)
            if session is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed, and has closed its connections
                    loop.call_soon_threadsafe(session.close_when_unused)

    async def aclose(self) -> None:
        """Close the connections of the running event loop. Other loops close theirs when no answer uses them."""
        from asyncio import get_running_loop  # slow to import; a caller with a running loop has imported it

        found = self._sessions.pop(get_running_loop(), None)
        if found is not None:
            await found.keeper.aclose()
        self.close()

    async def _session(self, loop: AbstractEventLoop) -> Session:
        found = self._sessions.get(loop)
        if found is None or found.is_lost or found.is_closed:  # a loop may run again after it has closed its generators
            drop_lost()
            found = self._sessions[loop] = Session(loop)
            await anext(found.keeper)
        return found
