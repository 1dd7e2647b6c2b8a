"""An HTTP answer after its headers. Its body is read with all timeouts and limits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

from providerhub._rules.status import request_id
from providerhub._values.errors import CallerError, ProtocolError, ProviderConnectionError, ProviderError
from providerhub._values.provider import CallContext, Piece
from providerhub._watchdog import WATCHDOG
from providerhub.http._answer_timer import AnswerTimer
from providerhub.http._connection import ActiveConnection
from providerhub.http._places import mapped
from providerhub.http._response import READ_SIZE, Response
from providerhub.http._wire_log import ExchangeLog

BLANK = b" \t\r\n"
"""White space that some services send to keep the connection open until the answer is ready."""

END_WAIT = 0.02
"""Seconds to wait for the body's end after the protocol's end mark."""

REFUSAL_SILENCE, REFUSAL_WAIT = 1.0, 2.0
"""Seconds to wait for the next byte of a refusal's body, and for the whole body. The status alone is enough to go on."""


class BaseAnswer:
    """The common part of the answers of both transports."""

    __slots__ = (
        "_call", "_complete", "_is_head", "_limit", "_response", "_size", "_timer", "_unsubscribe", "headers", "log", "status",
    )  # fmt: skip

    def __init__(self, call: CallContext, timer: AnswerTimer, unsubscribe: Callable[[], object], limit: int) -> None:
        self._call = call
        self._timer = timer
        self._unsubscribe: Callable[[], object] | None = unsubscribe
        self._limit = limit
        self._is_head = not timer.stream  # whether the first byte of a whole answer is still missing
        self._size = 0
        self._complete = False  # whether the body was read to its end
        self._response = Response()
        self.log: ExchangeLog | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def token(self, piece: Piece | None = None) -> bool:
        """Restart the token-idle timeout. Call this after each yielded piece.

        Args:
            piece: The yielded piece; `None`, the default, for content that is not reasoning. A piece without content does not
                start the timeout. Reasoning does not start it if the call expects reasoning.

        Returns:
            Whether the idle timeouts have started. After that, the argument `piece` may be left out.
        """
        return self._timer.token(piece)

    def linger(self, seconds: float) -> None:
        """Limit the wait for further bytes, because the answer is complete.

        Args:
            seconds: The timeout, from the first call of this method. It replaces the token-idle timeout.
        """
        self._timer.linger(seconds)

    def classed(self, error: Exception) -> Exception:
        """Return the error to raise for a failure of the transport: a timeout, a cancellation, or the failure itself."""
        if self.log is not None:
            self.log.failed(error)
        if isinstance(error, ProviderError | CallerError):
            return error
        if self._is_aborted() or self._call.remaining() == 0:
            return self._timer.error()
        return self._explained(error)

    def refused(self) -> None:
        """Limit the wait for the body of a refusal. Its bytes are not content."""
        self._timer.byte_idle = min(REFUSAL_SILENCE, self._call.timeout.byte_idle)
        self._timer.linger(REFUSAL_WAIT)

    def close(self) -> None:
        """Give the connection back, or close it if the body was not read to its end. A second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _is_aborted(self) -> bool:
        """Return whether the reading was aborted: at a timeout, or by another thread."""
        return self._timer.expired or self._call.cancelled

    def _explained(self, error: Exception) -> Exception:
        return mapped(error, begun=bool(self.status))

    def _take(self, data: bytes) -> None:
        """Take bytes of the head; empty at the connection's end."""
        response = self._response
        if not data:
            response.eof()
        response.feed(data)
        if response.status:
            self.status, self.headers = response.status, response.headers
            self._call.request_id = request_id(response.headers)
            if self.log is not None:
                self.log.answer(self.status, self.headers)

    def _before_read(self) -> None:
        """Set the timeouts of one read; raise if one has expired."""
        call, timer = self._call, self._timer
        now = call.clock()
        if self._is_aborted() or (now > timer.token_due and timer.token_is_late()):
            raise timer.error()
        due = timer.byte_due = now + timer.byte_idle
        timer.move(min(due, timer.token_due) + timer.offset)

    def _body(self, data: bytes | None) -> bytes:
        """Return the part of the body in the bytes of one read. With `None`, return more from the last read."""
        if data == b"":
            self._response.eof()
            return b""
        found = self._response.feed(data or b"")
        if not found:
            return found
        if self.log is not None:
            self.log.read(found)
        self._size += len(found)
        if self._size > self._limit:
            raise ProtocolError(f"the answer is larger than {self._limit} bytes")
        if self._is_head and found.strip(BLANK):
            self._is_head = not self._timer.token()
        # While the caller works on the returned bytes, only the total timeout runs.
        self._timer.deadline = self._call.deadline + self._timer.offset
        return found

    def _forget(self) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()
        if self.log is not None:
            self.log.end()
            self.log = None

    def _is_usable(self) -> bool:
        response = self._response
        return self._complete and not (self._is_aborted() or response.surplus or response.will_close)


class Answer(BaseAnswer):
    """An answer after its headers. Iterating yields the body's bytes as they come.

    Use the answer in a `with` block. The end of the block gives the connection back, or closes it if the body was not read to its
    end.

    Attributes:
        status: The HTTP status; 0 before the headers.
        headers: The headers; their names are looked up without regard to case.
    """

    def __init__(self, call: CallContext, active: ActiveConnection, timer: AnswerTimer, limit: int) -> None:
        super().__init__(call, timer, call.on_cancel(active.abort), limit)
        self._active = active

    def take(self, received: Iterator[bytes], method: str) -> None:
        """Read the head.

        Args:
            received: A function that waits for bytes and returns them; empty at the connection's end.
            method: The method of the request.
        """
        self._response = Response(method)
        while not self.status:
            data = next(received)
            if self._is_aborted():
                raise self._timer.error()
            self._take(data)

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._reads()
        except Exception as error:
            found = self.classed(error)
            if found is error:  # `raise error from error` would make it its own cause
                raise
            raise found from error
        self._complete = True

    def _reads(self) -> Iterator[bytes]:
        call, timer, active, response = self._call, self._timer, self._active, self._response
        process, sock, body, before = WATCHDOG.process, active.sock, self._body, self._before_read
        # The timer applies all timeouts. A timeout of the socket itself would cost another system call for each read.
        self._set_socket_timeout(None)
        while not response.ended:
            before()
            if WATCHDOG.process is not process:
                msg = "the process was forked while the answer came, and the parent reads it; make a new call in the child"
                raise ProviderConnectionError(msg, retryable=False)
            data = None if response.ready else sock.recv(READ_SIZE)
            if active.aborted:
                raise timer.error()
            if found := body(data):
                yield found
                if call.clock() > timer.token_due and timer.token_is_late():
                    raise timer.error()

    def read(self) -> bytes:
        """Return the whole body. Its first byte that is not white space starts the byte-idle timeout."""
        self._is_head = True
        return b"".join(self)

    def peek(self, limit: int) -> bytes:
        """Return the beginning of the body, to explain a refusal.

        A failure, a pause of `REFUSAL_SILENCE`, or the end of `REFUSAL_WAIT` ends it early.

        Args:
            limit: The maximum number of bytes.

        Returns:
            The received bytes; may be empty.
        """
        found = bytearray()
        self.refused()
        with contextlib.suppress(ProviderError):
            for data in self:
                found += data
                if len(found) >= limit:
                    break
        return bytes(found[:limit])

    def finished(self) -> None:
        """Call this after the protocol's end mark. The connection is kept if the body ends here too."""
        response = self._response
        with contextlib.suppress(Exception):  # the answer is whole; a body that does not end properly only closes the connection
            self._set_socket_timeout(END_WAIT)
            while not response.ended:
                data = b"" if response.ready else self._active.sock.recv(READ_SIZE)
                if response.feed(data) or not (data or response.ended):
                    return
            self._complete = True

    def _explained(self, error: Exception) -> Exception:
        # The timeout of the socket came first, and its text does not name the phase.
        return self._timer.error() if isinstance(error, TimeoutError) else super()._explained(error)

    def close(self) -> None:
        """Give the connection back, or close it; see `BaseAnswer.close`."""
        WATCHDOG.stop(self._timer)
        self._forget()
        active = self._active
        release, active.release = active.release, None
        if release is None or not (self._is_usable() and active.is_whole):
            active.close()
            release = None
        # If a thread aborts this call later, it must not abort the next call on the same connection.
        sock, active.sock = active.sock, None
        if release is not None:
            release(sock)

    def __del__(self) -> None:
        # An interrupt such as Ctrl-C may come before the `with` block is entered.
        active = getattr(self, "_active", None)
        if active is not None and active.release is not None:
            self.close()

    def _set_socket_timeout(self, seconds: float | None) -> None:
        sock = self._active.sock
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(seconds)
