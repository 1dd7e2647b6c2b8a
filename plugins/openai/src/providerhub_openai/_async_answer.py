"""An answer whose headers have come, read under asyncio: the counterpart of `providerhub.http.Answer`, with the same timeouts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

from providerhub import (
    CallContext,
    CallerError,
    Event,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from providerhub_openai._failures import mapped
from providerhub_openai._timer import LoopTimer

_BLANK = b" \t\r\n"
"""White space, which some services send to keep the connection open until the answer is ready."""

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
        "_byte_idle", "_call", "_complete", "_connection_closed", "_content", "_cut", "_first", "_limit", "_response", "_size",
        "_stream", "_timer", "_token_due", "_unsubscribe", "headers", "status",
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
        self._first = first_timeout(call, stream=stream)
        self._token_due = call.deadline if self._first is None else call.started + self._first
        self._byte_idle = math.inf
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

    def token(self, piece: str | Event | None = None) -> None:
        """Restart the token-idle timeout. Call this after each yielded piece.

        Args:
            piece: The piece that was yielded; `None`, the default, for content that is not reasoning. A piece without content
                does not start the timeout, nor does reasoning where the call expects it.
        """
        call = self._call
        if call.idles or call.came(piece):
            self._byte_idle = call.timeout.byte_idle
            self._token_due = call.clock() + call.timeout.token_idle if self._stream else call.deadline
        elif call.content_at is not None:  # reasoning has come: no timeout holds until the answer itself begins
            self._token_due = call.deadline

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
        timer.move(min(due, now + self._byte_idle))
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
        if not self._stream and not call.idles and data.strip(_BLANK):
            self.token()
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
        self._byte_idle = self._call.timeout.byte_idle
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
        if self._byte_idle < math.inf and call.clock() < self._token_due:
            return ProviderTimeoutError(f"no byte came for {call.timeout.byte_idle:g} s (byte idle timeout)")
        if call.idles:
            return ProviderTimeoutError(f"no content came for {call.timeout.token_idle:g} s (token idle timeout)")
        phase = "first token" if self._stream else "head"
        return ProviderTimeoutError(f"no content came for {self._first:g} s ({phase} timeout)")


def first_timeout(call: CallContext, *, stream: bool) -> float | None:
    """Return the timeout of the wait for the first content, in seconds; `None` for none.

    Args:
        call: The call.
        stream: Whether the answer is a stream. If it is not, the timeout is that of its first byte that is not white space.
    """
    return call.timeout.first_token if stream else call.timeout.head


def _retrieved(closed: Any) -> None:
    if not closed.cancelled():
        closed.exception()
