"""An answer whose headers have come, read under asyncio: the counterpart of `providerhub.http.Answer`, with the same timeouts."""

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
from providerhub_openai._timer import LoopTimer

_END_WAIT = 0.02
"""Seconds to wait for the body's end after the protocol's end mark."""


class AsyncAnswer:
    """An answer that is being read. Close it in a `finally`; that closes the connection if the body was not read to its end.

    Args:
        call: The call: its timeouts and whether it is cancelled.
        timer: Ends the answer when a timeout expires or the call is cancelled. It runs already.
        unsubscribe: Called once when the answer is closed; removes the timer from the call.
        limit: The most decoded bytes of the body.
        stream: Whether the first-token and token-idle timeouts apply.

    Attributes:
        status: The HTTP status; 0 before the headers.
        headers: The headers, their names in lower case.
    """

    __slots__ = (
        "_call", "_complete", "_connection_closed", "_content", "_cut", "_limit", "_phase", "_response", "_size", "_stream",
        "_timer", "_token_due", "_unsubscribe", "headers", "status",
    )  # fmt: skip

    def __init__(self, call: CallContext, timer: LoopTimer, unsubscribe: Callable[[], None], limit: int, *, stream: bool) -> None:
        self._call = call
        self._timer = timer
        self._unsubscribe: Callable[[], None] | None = unsubscribe
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
        """Begin with the response that came.

        Args:
            response: aiohttp's response, its body unread.
        """
        self._response, self._content = response, response.content
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._timer.set_callback(response.close)
        if response.connection is not None:  # the timer has not closed it at once
            self._watch(response.connection.protocol.closed)

    def _watch(self, closed: Any) -> None:
        """End the body when the connection ends: aiohttp does not, if the last bytes were not a complete chunk."""
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
        """Restart the token-idle timeout. Call this after each yielded piece of content."""
        if self._stream:
            self._phase = "token idle"
            self._token_due = self._call.clock() + self._call.timeout.token_idle

    async def next(self) -> bytes:
        """Return the body's next bytes as they come; empty at its end.

        Raises:
            ProviderError: A timeout expired, the body is larger than the limit, or the connection broke.
        """
        call, timer = self._call, self._timer
        now, total = call.clock(), call.deadline
        due = min(self._token_due, total)
        timer.expired = timer.expired or now > due
        if timer.is_over():
            raise self._ended()
        timer.move(min(due, now + call.timeout.byte_idle))
        failure: Exception | None = None
        try:
            data: bytes = await self._content.readany()
        except Exception as error:  # every exception of aiohttp is translated
            # Raised below, outside of this block: as its context, aiohttp's error would show the request's headers.
            data, failure = self._left(), self.classed(error)
        if timer.is_over():
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
        # While the caller holds what is returned, only the total timeout runs.
        timer.move(total)
        return data

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
        """Return the beginning of the body. A failure ends it early instead of raising, since it only explains a refusal.

        Args:
            limit: The most bytes to return.
        """
        found = bytearray()
        with contextlib.suppress(ProviderError):
            while len(found) < limit and (data := await self.next()):
                found += data
        return bytes(found[:limit])

    async def finished(self) -> None:
        """Call this when the protocol's end mark has come. The connection is kept if the body ends there too."""
        from asyncio import timeout  # slow to import; a caller with a running loop has imported it

        # The answer is whole; a body that does not end properly only closes the connection.
        with contextlib.suppress(Exception):
            async with timeout(_END_WAIT):
                self._complete = not await self._content.readany() and not self._cut

    def close(self) -> None:
        """Give the connection back, or close it if the body was not read to its end. A second call does nothing."""
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is None:
            return
        self._timer.stop()
        unsubscribe()
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
            # The future lives as long as the connection, and asyncio logs its exception unless that is retrieved.
            closed.remove_done_callback(self._lost)
            closed.add_done_callback(_retrieved)

    def classed(self, error: Exception) -> Exception:
        """Return the error to raise for a failure of aiohttp. An expired timeout or a cancellation explains it first.

        Args:
            error: The exception that was caught.

        Returns:
            A `ProviderError`; `error` itself if it is a `ProviderError` or `CallerError` already, or unknown.
        """
        if isinstance(error, ProviderError | CallerError):
            return error
        if self._timer.is_over() or self._call.cancelled or self._call.remaining() == 0:
            return self._ended()
        return mapped(error, begun=bool(self.status))

    def _ended(self) -> ProviderError:
        call = self._call
        if call.cancelled:
            return ProviderConnectionError("the call was cancelled", retryable=False)
        if call.remaining() == 0:
            return ProviderTimeoutError("the call's total timeout expired")
        if call.clock() < self._token_due and self.status:
            return ProviderTimeoutError(f"no byte came for {call.timeout.byte_idle:g} s (byte idle timeout)")
        seconds = call.timeout.first_token if self._phase == "first token" else call.timeout.token_idle
        return ProviderTimeoutError(f"no content came for {seconds:g} s ({self._phase} timeout)")


def _retrieved(closed: Any) -> None:
    if not closed.cancelled():
        closed.exception()
