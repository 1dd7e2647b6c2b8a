"""An answer whose headers have come, read asynchronously: the counterpart of `providerhub.http.Answer`, with the same clocks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from providerhub import (
    CallContext,
    CallerError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from providerhub_openai._failures import mapped
from providerhub_openai._guard import Guard

_AFTER_THE_END = 0.02
"""Seconds that the end of the body may come after the protocol's own end mark, so that the connection can serve again."""


class AsyncAnswer:
    """An answer under way. Close it in a `finally`: what was not read to its end closes the connection.

    Args:
        call: How long there is, and whether the answer is still wanted.
        guard: Ends the answer when a clock has run out, or when the call is cancelled.
        forget: Takes the guard back from the call.
        limit: The most decoded bytes.
        stream: Whether the clocks of a stream apply.
    """

    __slots__ = (
        "_call", "_complete", "_connection_closed", "_content", "_cut", "_forget", "_guard", "_limit", "_phase", "_response",
        "_size", "_stream", "_token_due", "headers", "status",
    )  # fmt: skip

    def __init__(self, call: CallContext, guard: Guard, forget: Callable[[], None], limit: int, *, stream: bool) -> None:
        self._call = call
        self._guard = guard
        self._forget: Callable[[], None] | None = forget
        self._limit = limit
        self._stream = stream
        self._response: Any = None
        self._content: Any = None
        self._connection_closed: Any = None
        self._cut = False
        self._complete = False
        self._size = 0
        self._token_due = call.started + call.timeout.first_token if stream else call.deadline
        self._phase = "first token"
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def take(self, response: Any) -> None:
        """Take aiohttp's response over."""
        self._response, self._content = response, response.content
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._guard.end_by(response.close)
        if response.connection is not None:  # the guard has not closed it at once
            self._watch(response.connection.protocol.closed)

    def _watch(self, closed: Any) -> None:
        """Have the connection's end end the body: aiohttp forgets to, when what came last was no chunk."""
        self._connection_closed = closed
        if closed is None:
            self._lost()
        else:
            closed.remove_done_callback(_retrieved)
            closed.add_done_callback(self._lost)

    def _lost(self, closed: Any = None) -> None:
        if closed is not None:
            _retrieved(closed)
        content = self._content
        if content is not None and not content.is_eof() and content.exception() is None:
            self._cut = True
            content.feed_eof()

    def token(self) -> None:
        """Say that content has come, and that the consumer has given control back: the token-idle clock starts again."""
        if self._stream:
            self._phase = "token idle"
            self._token_due = self._call.clock() + self._call.timeout.token_idle

    async def next(self) -> bytes:
        """The body's next bytes, as they come; empty at its end.

        Raises:
            ProviderError: A clock ran out, the body is too large, or the connection broke.
        """
        call, guard = self._call, self._guard
        now, total = call.clock(), call.deadline
        due = min(self._token_due, total)
        guard.expired = guard.expired or now > due
        if guard.over():
            raise self._ended()
        guard.move(min(due, now + call.timeout.byte_idle))
        failure: Exception | None = None
        try:
            data: bytes = await self._content.readany()
        except Exception as error:  # noqa: BLE001 -- whatever the layers below raise is classed
            # Raised below: aiohttp's errors carry the request's headers, and what is raised here would carry aiohttp's.
            data, failure = self._left(), self.classed(error)
        if guard.over():
            raise self._ended()
        if not data and self._cut:
            failure = failure or ProtocolError("the connection ended before the answer did")
        if not data and failure is not None:
            raise failure
        self._complete = not data
        self._size += len(data)
        if self._size > self._limit:
            msg = f"the answer is larger than {self._limit} bytes"
            raise ProtocolError(msg)
        # While the consumer holds what is returned, only the whole call's clock runs.
        guard.move(total)
        return data

    def _left(self) -> bytes:
        """What came whole before a failure, which is told when that has been read; aiohttp would tell it at once."""
        content = self._content
        failure = content.exception()
        if failure is None:
            return b""
        content.set_exception(None)
        data: bytes = content.read_nowait()
        content.set_exception(failure)
        return data

    async def read(self) -> bytes:
        """The whole body."""
        found = bytearray()
        while data := await self.next():
            found += data
        return bytes(found)

    async def peek(self, limit: int) -> bytes:
        """The body's beginning, at most `limit` bytes; failures end it early, since it only explains another failure."""
        found = bytearray()
        with contextlib.suppress(ProviderError):
            while len(found) < limit and (data := await self.next()):
                found += data
        return bytes(found[:limit])

    async def finished(self) -> None:
        """Say that the protocol's own end mark has come, so that the connection can serve again if the body ends here too."""
        from asyncio import timeout  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

        # The answer is whole: without a proper end the connection is merely closed.
        with contextlib.suppress(Exception):
            async with timeout(_AFTER_THE_END):
                self._complete = not await self._content.readany() and not self._cut

    def close(self) -> None:
        """Release the connection; it is closed unless the body was read to its end. A second call does nothing."""
        forget, self._forget = self._forget, None
        if forget is None:
            return
        self._guard.release()
        forget()
        response, self._response = self._response, None
        if response is not None:
            self._unwatch()
            if self._complete:
                response.release()
            else:
                response.close()

    def _unwatch(self) -> None:
        closed, self._connection_closed = self._connection_closed, None
        if closed is not None and not closed.done():
            # It lives as long as the connection does, and complains of an exception that nobody has looked at.
            closed.remove_done_callback(self._lost)
            closed.add_done_callback(_retrieved)

    def classed(self, error: Exception) -> Exception:
        """The error of the tree that a failure means: a clock run out or a cancellation explains it first."""
        if isinstance(error, ProviderError | CallerError):
            return error
        if self._guard.over() or self._call.cancelled or self._call.remaining() == 0:
            return self._ended()
        return mapped(error, begun=bool(self.status))

    def _ended(self) -> ProviderError:
        call = self._call
        if call.cancelled:
            return ProviderConnectionError("the call was cancelled", retryable=False)
        if call.remaining() == 0:
            return ProviderTimeoutError("the call's total time is over")
        if call.clock() < self._token_due and self.status:
            return ProviderTimeoutError(f"no byte for {call.timeout.byte_idle:g} s (byte idle)")
        seconds = call.timeout.first_token if self._phase == "first token" else call.timeout.token_idle
        return ProviderTimeoutError(f"nothing came for {seconds:g} s ({self._phase})")


def _retrieved(closed: Any) -> None:
    if not closed.cancelled():
        closed.exception()
