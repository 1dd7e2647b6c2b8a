"""An answer after its headers, read under asyncio, with the timeouts and limits of `Answer`."""

from __future__ import annotations

import contextlib
from typing import Any, Self

from providerhub._values.errors import ProviderConnectionError, ProviderError
from providerhub._values.provider import CallContext
from providerhub._watchdog import WATCHDOG
from providerhub.http._answer import END_WAIT, BaseAnswer
from providerhub.http._answer_timer import AnswerTimer
from providerhub.http._async_connection import Connection
from providerhub.http._base import Sent
from providerhub.http._response import Response
from providerhub.http._session import Session


class LoopTimer(AnswerTimer):
    """The timer of one answer that an event loop reads. Any thread may call `fire`; the callback is called in the loop."""

    __slots__ = ("_loop",)

    def __init__(self, call: CallContext, loop: Any, *, stream: bool) -> None:
        super().__init__(call, _nothing, stream=stream)
        self._loop = loop

    def fire(self) -> None:
        """Call the callback as soon as the event loop runs."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, with all its tasks
            self._loop.call_soon_threadsafe(self._fired)

    def _fired(self) -> None:
        self.callback()


def _nothing() -> None:
    """Serve as the callback before and after the reading."""


class AsyncAnswer(BaseAnswer):
    """An answer that is read in an event loop. Iterating yields the body's bytes as they come.

    Use the answer in a `with` block. The end of the block gives the connection back, or closes it if the body was not read to its
    end.

    Attributes:
        status: The HTTP status; 0 before the headers.
        headers: The headers; their names are looked up without regard to case.
    """

    __slots__ = ("_connection", "_session")

    def __init__(self, call: CallContext, timer: LoopTimer, session: Session, limit: int) -> None:
        super().__init__(call, timer, call.on_cancel(timer.fire), limit)
        self._session = session
        self._connection: Connection | None = None
        session.users += 1

    async def take(self, connection: Connection, request: Sent) -> None:
        """Send a request and read the head of its answer.

        Args:
            connection: The connection.
            request: The request.
        """
        self._connection, self._timer.callback = connection, connection.abort
        self._response = Response(request.method)
        self._timer.check()
        connection.transport.write(request.written())
        while not self.status:
            data = await connection.read()
            self._timer.check()
            self._take(data)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.next()
        if not data:
            raise StopAsyncIteration
        return data

    async def next(self) -> bytes:
        """Wait for the next bytes of the body.

        Returns:
            The next bytes; empty at the body's end.

        Raises:
            ProtocolError: The body is larger than the limit, or was cut.
            ProviderError: A timeout expired, or the connection broke.
        """
        response, connection = self._response, self._connection
        assert connection is not None  # noqa: S101 -- there are headers
        found = b""
        while not (found or response.ended):
            self._before_read()
            try:
                data = None if response.ready else await connection.read()
                self._timer.check()
                found = self._body(data)
            except Exception as error:  # every exception of a connection is translated
                raised = self.classed(error)
                if raised is error:
                    raise
                raise raised from error
        self._complete = not found
        if found and not self._session.turns.has_room():
            await self._session.turns.wait()
        return found

    async def read(self) -> bytes:
        """Return the whole body."""
        found = bytearray()
        while data := await self.next():
            found += data
        return bytes(found)

    async def peek(self, limit: int) -> bytes:
        """Return the beginning of the body, under the rules of `Answer.peek`.

        Args:
            limit: The maximum number of bytes.

        Returns:
            The received bytes; may be empty.
        """
        found = bytearray()
        self.refused()
        with contextlib.suppress(ProviderError):
            while len(found) < limit and (data := await self.next()):
                found += data
        return bytes(found[:limit])

    async def finished(self) -> None:
        """Call this after the protocol's end mark. The connection is kept if the body ends here too."""
        response, connection = self._response, self._connection
        if not response.ended and connection is not None:
            from asyncio import timeout  # slow to import; a caller with a running loop has imported it

            # The answer is whole; a body that does not end properly only closes the connection.
            with contextlib.suppress(Exception):
                async with timeout(END_WAIT):
                    while not response.ended:
                        data = b"" if response.ready else await connection.read()
                        if response.feed(data) or not (data or response.ended):
                            return
        self._complete = response.ended

    def close(self) -> None:
        """Give the connection back, or close it; see `BaseAnswer.close`."""
        if self._unsubscribe is None:
            return
        WATCHDOG.stop(self._timer)
        self._timer.callback = _nothing
        self._forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            (self._session.keep if self._is_usable() else self._session.discard)(connection)
        self._session.release()

    def classed(self, error: Exception) -> Exception:
        """Return the error to raise for a failure of the transport; see `BaseAnswer.classed`."""
        if self._session.is_closed and isinstance(error, OSError | ProviderError):
            return ProviderConnectionError("the hub was closed while the answer came; close it after its calls", retryable=False)
        return super().classed(error)
