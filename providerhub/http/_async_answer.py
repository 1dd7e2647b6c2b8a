"""An answer whose headers have come, read under asyncio, with the timeouts and limits of `Answer`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Self

from providerhub._values.errors import ProtocolError, ProviderConnectionError, ProviderError
from providerhub._values.provider import CallContext
from providerhub.http._aiohttp_errors import mapped
from providerhub.http._answer import BLANK, CUT, END_WAIT, BaseAnswer
from providerhub.http._loop_timer import LoopTimer
from providerhub.http._session import Session


class AsyncAnswer(BaseAnswer):
    """An answer that is read in an event loop. Iterating yields the body's bytes as they come.

    Use it in a `with` block. Leaving the block gives the connection back, or closes it if the body was not read to its end.

    Attributes:
        status: The HTTP status; 0 before the headers.
        headers: The headers; their names are looked up without regard to case.
    """

    __slots__ = ("_connection", "_content", "_cut", "_session", "_stream", "_turns", "_unsubscribe")

    _timer: LoopTimer

    def __init__(
        self, call: CallContext, timer: LoopTimer, session: Session, unsubscribe: Callable[[], None], limit: int, *, stream: bool
    ) -> None:
        super().__init__(call, timer, limit)
        self._session, self._turns = session, session.turns
        self._unsubscribe: Callable[[], None] | None = unsubscribe
        self._stream = stream
        self._connection: Any = None
        self._content: Any = None
        self._cut = False

    def take(self, connection: Any, head: Any, body: Any) -> None:
        """Begin with the answer that came.

        Args:
            connection: The connection of aiohttp.
            head: The status and the headers.
            body: The reader of the body.
        """
        self._connection, self._content = connection, body
        self._begin(head.code, head.headers)
        self._timer.callback = connection.close
        if connection.protocol is not None and not self._call.cancelled:
            connection.protocol.on_lost = self._lost
        else:  # the timer has closed it already
            connection.close()
            self._lost()

    def _lost(self) -> None:
        """End the body when the connection ends: aiohttp does not, if the last bytes were not a complete chunk."""
        content = self._content
        if not content.is_eof() and content.exception() is None:
            self._cut = True
            content.feed_eof()

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
            The bytes as they come; empty at the body's end.

        Raises:
            ProtocolError: The body is larger than the limit, or was cut.
            ProviderError: A timeout expired, or the connection broke.
        """
        call, timer, content = self._call, self._timer, self._content
        if content.at_eof() and content.exception() is None and not self._cut:
            self._complete = True
            return b""
        now, offset = call.clock(), timer.offset
        if timer.expired or call.cancelled or (now > timer.token_due and timer.token_is_late()):
            raise timer.error()
        due = timer.byte_due = now + timer.byte_idle
        timer.move(min(due, timer.token_due) + offset)
        failure: Exception | None = None
        try:
            data = await _all_read(content)
        except Exception as error:  # every exception of aiohttp is translated
            # Raised below, outside of this block: as its context, aiohttp's error would show the request's headers.
            data, failure = self._left(), self.classed(error)
        if timer.expired or call.cancelled:
            raise timer.error()
        self._check(data, failure)
        if not self._stream and not call.idles and data.strip(BLANK):
            timer.token()
        # While the caller holds what is returned, only the total timeout runs.
        timer.move(call.deadline + offset)
        if not self._turns.has_room():
            await self._turns.wait()
        return data

    def _check(self, data: bytes, failure: Exception | None) -> None:
        """Raise if the body has ended with a failure, or is too large."""
        if not data and (failure is not None or self._cut):
            raise failure or (self._hub_closed() if self._session.is_closed else ProtocolError(CUT))
        self._complete = not data
        if data:
            self._count(data)

    def _left(self) -> bytes:
        """Return the bytes that came before a failure. aiohttp would raise and drop them."""
        content = self._content
        failure = content.exception()
        if failure is None:
            return b""
        content.set_exception(None)
        data: bytes = content.read_nowait()
        content.set_exception(failure)
        return data

    async def read(self) -> bytes:
        """Return the whole body."""
        found = bytearray()
        while data := await self.next():
            found += data
        return bytes(found)

    async def peek(self, limit: int) -> bytes:
        """Return the beginning of the body, under the rules of `Answer.peek`.

        Args:
            limit: The most bytes to return.

        Returns:
            The bytes that came; may be empty.
        """
        found = bytearray()
        self.refused()
        with contextlib.suppress(ProviderError):
            while len(found) < limit and (data := await self.next()):
                found += data
        return bytes(found[:limit])

    async def finished(self) -> None:
        """Call this when the protocol's end mark has come. The connection is kept if the body ends there too."""
        from asyncio import timeout  # slow to import; a caller with a running loop has imported it

        if self._content.at_eof():
            self._complete = self._content.exception() is None and not self._cut
            return
        # The answer is whole; a body that does not end properly only closes the connection.
        with contextlib.suppress(Exception):
            async with timeout(END_WAIT):
                self._complete = not await self._content.readany() and not self._cut

    def close(self) -> None:
        """Give the connection back, or close it; see `BaseAnswer.close`."""
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is None:
            return
        self._timer.stop()
        unsubscribe()
        if self.log is not None:
            self.log.end()
        connection, self._connection = self._connection, None
        if connection is not None:
            if connection.protocol is not None:
                connection.protocol.on_lost = None
            if self._complete and self.status != HTTPStatus.SWITCHING_PROTOCOLS:  # what follows is not HTTP
                connection.release()
            else:
                connection.close()

    def _explained(self, error: Exception) -> Exception:
        return self._hub_closed() if self._session.is_closed else mapped(error, begun=bool(self.status))

    def _hub_closed(self) -> ProviderError:
        return ProviderConnectionError("the hub was closed while the answer came; close it after its calls", retryable=False)


async def _all_read(content: Any) -> bytes:
    """Wait for bytes of a body, and return all that have come.

    `content.readany()` does the same, but does the work of a read for each HTTP chunk. A stream has a chunk for each token.
    """
    buffer = getattr(content, "_buffer", None)
    if buffer is not None:
        wait = getattr(content, "_wait", None)
        if wait is not None and not buffer and not content.is_eof() and content.exception() is None:
            await wait("readany")
        if len(buffer) > 1:
            joined = b"".join(buffer)
            buffer.clear()
            buffer.append(joined)
    data: bytes = await content.readany()
    return data
