"""An HTTP answer whose head has come, read under all clocks and limits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPException, IncompleteRead
from types import TracebackType
from typing import Any, Self

from providerhub._rules.mapping import map_exception
from providerhub._values.errors import CallerError, ProtocolError, ProviderConnectionError, ProviderError, ProviderTimeoutError
from providerhub._values.provider import CallContext
from providerhub.http._body import READ_SIZE, Body
from providerhub.http._phases import Phases
from providerhub.http._watchdog import WATCHDOG

_log = logging.getLogger("providerhub")

ERROR_BODY_LIMIT = 65536
BODY_LIMIT = 64 * 1024 * 1024
"""Decoded bytes of one answer; more is a protocol error. Guards against compressed bombs and streams without end."""


class Answer:
    """An answer whose headers have come. Iterating yields its body's bytes as they come.

    Use it in a `with` block: leaving it releases the connection, or closes it when the body was not read to its end.
    """

    def __init__(self, call: CallContext, line: Any, guard: Phases, forget: Any, limit: int, *, name: str) -> None:
        self._name = name
        self._call = call
        self._line = line
        self._guard = guard
        self._forget = forget
        self._limit = limit
        self._raw: Any = None
        self._body: Body | None = None
        self._read: Callable[[int], bytes] = _nothing
        self._complete = False
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def take(self, response: Any) -> None:
        """Take over the response that came.

        Args:
            response: urllib3's response, its body unread.
        """
        self._raw, self._body = response, self._line.body
        self.status, self.headers = response.status, response.headers
        # The body is read past urllib3 unless it must decode, which it was asked not to need.
        plain = self._body is not None and self.headers.get("content-encoding", "identity").strip().lower() in {"", "identity"}
        self._read = self._body.read1 if plain else partial(response.read1, decode_content=True)

    def token(self) -> None:
        """Say that content has come, and that the consumer has given control back: the token-idle clock starts again."""
        self._guard.token()

    def __iter__(self) -> Iterator[bytes]:
        call, guard, line, read, body = self._call, self._guard, self._line, self._read, self._body
        clock, idle, ahead = call.clock, call.timeout.byte_idle, guard.ahead
        total = call.deadline + ahead
        size = 0
        try:
            # The guard holds all clocks; a timeout of the socket's own would cost another system call for each read.
            self._read_timeout(None)
            while True:
                due = guard.byte_due = clock() + idle
                guard.move(min(due, guard.token_due) + ahead)
                data = read(READ_SIZE)
                if line.ended:
                    raise guard.ended()  # noqa: TRY301 -- one place below classes every end
                if not data:
                    break
                size += len(data)
                if size > self._limit:
                    msg = f"the answer is larger than {self._limit} bytes"
                    raise ProtocolError(msg)  # noqa: TRY301 -- as above
                # While the consumer holds what is yielded, only the whole call's clock runs.
                guard.deadline = total
                yield data
                if clock() > guard.token_due and guard.late():
                    raise guard.ended()  # noqa: TRY301 -- as above
                if body is not None and body.ended:
                    break
        except Exception as error:
            raise self.classed(error) from error
        self._complete = True

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self)

    def peek(self, limit: int) -> bytes:
        """The body's beginning; failures end it early, since it only explains another failure.

        Args:
            limit: The most bytes to give.

        Returns:
            What came of it.
        """
        found = bytearray()
        try:
            for data in self:
                found += data
                if len(found) >= limit:
                    break
        except ProviderError:
            _log.debug("the body of a refusal could not be read to its end")
        return bytes(found[:limit])

    def finished(self) -> None:
        """Say that the protocol's own end mark has come, so that the connection can serve again if the body ends here too."""
        try:
            self._read_timeout(0.02)
            self._complete = (self._body is not None and self._body.ended) or not self._read(READ_SIZE)
        except Exception:  # noqa: BLE001 -- the answer is whole; without a proper end the connection is merely closed
            self._complete = False

    def classed(self, error: Exception) -> Exception:
        """The error of the tree that a transport failure means: a clock run out or a cancellation explains it first.

        Args:
            error: What the transport raised.

        Returns:
            The error to raise in its place.
        """
        if isinstance(error, ProviderError | CallerError):
            return error
        if self._line.ended or self._guard.expired or self._call.cancelled:
            return self._guard.ended()
        if self._call.remaining() == 0:
            return ProviderTimeoutError("the call's total time is over")
        mapped = map_exception(error, provider=self._name, model="")
        if not self.status and _is_garbage(error):
            return ProtocolError("what answered does not speak HTTP; check the configured address")
        if self._line.failure:
            mapped.args = (self._line.failure,)
        elif isinstance(mapped, ProtocolError):
            if not self.status:
                return ProviderConnectionError(f"the connection broke before the answer began: {error}")
            if isinstance(error, IncompleteRead):
                mapped.args = ("the connection ended before the answer did",)
        if self.status and isinstance(mapped, ProviderConnectionError):
            mapped.retryable = False
        return mapped

    def close(self) -> None:
        """Release the connection. A second call does nothing."""
        WATCHDOG.release(self._guard)
        self._forget()
        raw, self._raw = self._raw, None
        if raw is None:
            return
        # Whoever ends this call from now on must not end the next one on the same connection.
        self._line.sock = None
        if not self._complete or self._line.ended or (self._body is not None and self._body.surplus):
            raw.close()
        raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read_timeout(self, seconds: float | None) -> None:
        sock = self._line.sock
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(seconds)


def _nothing(_size: int) -> bytes:
    """What there is to read before the head has come."""
    return b""


def _is_garbage(error: BaseException) -> bool:
    """Whether something other than HTTP answered. The layers below tell a broken connection and a strange banner by one class."""
    return any(isinstance(link, HTTPException) and not isinstance(link, ConnectionError) for link in chained(error))


def chained(error: BaseException | None) -> list[BaseException]:
    """An error and what led to it. Chains may run in a circle."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
