"""An HTTP answer whose headers have come. Its body is read under all timeouts and limits."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPException, IncompleteRead
from types import TracebackType
from typing import Self

from urllib3.exceptions import DecodeError
from urllib3.response import HTTPResponse

from providerhub._rules.mapping import chained, map_exception
from providerhub._rules.status import request_id
from providerhub._values.errors import (
    AttemptError,
    CallerError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from providerhub._values.provider import CallContext, Piece
from providerhub._watchdog import WATCHDOG
from providerhub.http._answer_timer import AnswerTimer
from providerhub.http._connection import ActiveConnection
from providerhub.http._response import READ_SIZE, ChunkError, Response
from providerhub.http._wire_log import ExchangeLog

_log = logging.getLogger("providerhub")

BLANK = b" \t\r\n"
"""White space, which some services send to keep the connection open until the answer is ready."""

_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
"""The text of `http.client` for a proxy that does not connect to the service."""

CUT = "the connection ended before the answer did"
UNPACKED = "the answer cannot be unpacked as its Content-Encoding says"

END_WAIT = 0.02
"""Seconds to wait for the body's end after the protocol's end mark."""

REFUSAL_SILENCE, REFUSAL_WAIT = 1.0, 2.0
"""Seconds to wait for the next byte of a refusal's body, and for all of it. The status says enough to ask the next provider."""


class BaseAnswer:
    """The common part of the answers of both transports."""

    __slots__ = ("_call", "_complete", "_limit", "_size", "_timer", "headers", "log", "status")

    def __init__(self, call: CallContext, timer: AnswerTimer, limit: int) -> None:
        self._call = call
        self._timer = timer
        self._limit = limit
        self._size = 0
        self._complete = False  # the body was read to its end
        self.log: ExchangeLog | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def token(self, piece: Piece | None = None) -> bool:
        """Restart the token-idle timeout. Call this after each yielded piece.

        Args:
            piece: The piece that was yielded; `None`, the default, for content that is not reasoning. A piece without content
                does not start the timeout, nor does reasoning where the call expects it.

        Returns:
            Whether the idle timeouts hold from now on. Then the piece need not be given any more.
        """
        return self._timer.token(piece)

    def linger(self, seconds: float) -> None:
        """Wait for further bytes only for so long: the answer is complete, and little may follow.

        Args:
            seconds: The timeout from the first call of this method on. It replaces the token-idle timeout.
        """
        self._timer.linger(seconds)

    def classed(self, error: Exception) -> Exception:
        """Return the error to raise for a failure of the transport. A timeout or a cancellation explains it first."""
        if self.log is not None:
            self.log.failed(error)
        if isinstance(error, ProviderError | CallerError):
            return error
        if self._timer.expired or self._call.cancelled or self._is_aborted():
            return self._timer.error()
        if self._call.remaining() == 0:
            return ProviderTimeoutError("the call's total timeout expired")
        return self._explained(error)

    def refused(self) -> None:
        """Wait only shortly for the body, which explains a refusal. Its bytes are not content."""
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
        """Return whether another thread has aborted the connection."""
        return False

    def _explained(self, error: Exception) -> Exception:
        """Return the error for an exception of the transport."""
        raise NotImplementedError

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers
        self._call.request_id = request_id(headers)
        if self.log is not None:
            self.log.answer(status, headers)

    def _count(self, data: bytes) -> None:
        """Log the bytes of a read, and raise if the body is too large."""
        if self.log is not None:
            self.log.read(data)
        self._size += len(data)
        if self._size > self._limit:
            msg = f"the answer is larger than {self._limit} bytes"
            raise ProtocolError(msg)


class Answer(BaseAnswer):
    """An answer whose headers have come. Iterating yields the body's bytes as they come.

    Use it in a `with` block. Leaving the block gives the connection back, or closes it if the body was not read to its end.

    Attributes:
        status: The HTTP status; 0 before the headers.
        headers: The headers; their names are looked up without regard to case.
    """

    def __init__(
        self,
        call: CallContext,
        active: ActiveConnection,
        timer: AnswerTimer,
        unsubscribe: Callable[[], object],
        *,
        limit: int,
        name: str,
        stream: bool,
    ) -> None:
        super().__init__(call, timer, limit)
        self._is_read_whole = not stream
        self._name = name
        self._active = active
        self._unsubscribe = unsubscribe
        self._response: Response | None = None
        self._read: Callable[[int], bytes] = _nothing
        self._is_encoded = False

    def take(self, response: Response) -> None:
        """Begin with the response that came.

        Args:
            response: The response, whose body is not read yet.
        """
        self._response = response
        self._begin(response.status, response.headers)  # type: ignore[arg-type]  # see `Response.begin`
        if self.headers.get("content-encoding", "identity").strip().lower() in {"", "identity"}:
            self._read = response.read1
        else:  # although the request asked for no encoding
            decoding = HTTPResponse(response, self.headers, response.status, preload_content=False, original_response=response)
            self._read, self._is_encoded = partial(decoding.read1, decode_content=True), True

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
        call, timer, active, read, response = self._call, self._timer, self._active, self._read, self._response
        clock, offset, is_head = call.clock, timer.offset, self._is_read_whole
        total = call.deadline + offset
        process = WATCHDOG.process
        # The timer holds all timeouts; a timeout of the socket's own would cost another system call for each read.
        self._set_socket_timeout(None)
        # A decoder may still hold a part of the body when its last byte has been read.
        while self._is_encoded or response is None or not response.ended:
            due = timer.byte_due = clock() + timer.byte_idle
            timer.move(min(due, timer.token_due) + offset)
            if WATCHDOG.process is not process:
                msg = "the process was forked while the answer came, and the parent reads it; make a call of its own in the child"
                raise ProviderConnectionError(msg, retryable=False)
            data = read(READ_SIZE)
            if active.aborted:
                raise timer.error()
            if not data:
                break
            self._count(data)
            if is_head and data.strip(BLANK):
                is_head = not timer.token()
            # While the caller holds what is yielded, only the total timeout runs.
            timer.deadline = total
            yield data
            if clock() > timer.token_due and timer.token_is_late():
                raise timer.error()

    def read(self) -> bytes:
        """Return the whole body. Its first byte that is not white space starts the byte-idle timeout."""
        self._is_read_whole = True
        return b"".join(self)

    def peek(self, limit: int) -> bytes:
        """Return the beginning of the body. A failure ends it early instead of raising, since it only explains a refusal.

        So does a pause of `REFUSAL_SILENCE`, and the end of `REFUSAL_WAIT`.

        Args:
            limit: The most bytes to return.

        Returns:
            The bytes that came; may be empty.
        """
        found = bytearray()
        self.refused()
        try:
            for data in self:
                found += data
                if len(found) >= limit:
                    break
        except ProviderError:
            _log.debug("the body of a refusal could not be read to its end")
        return bytes(found[:limit])

    def finished(self) -> None:
        """Call this when the protocol's end mark has come. The connection is kept if the body ends there too."""
        try:
            self._set_socket_timeout(END_WAIT)
            self._complete = (self._response is not None and self._response.ended) or not self._read(READ_SIZE)
        except Exception:  # the answer is whole; a body that does not end properly only closes the connection
            self._complete = False

    def _is_aborted(self) -> bool:
        return self._active.aborted

    def _explained(self, error: Exception) -> Exception:
        mapped = map_exception(error, provider=self._name, model="")
        if isinstance(mapped, ProviderTimeoutError) and not self._active.failure:
            return self._timer.error()  # the socket's own timeout was faster; its text does not name the phase
        return self._in_plain_words(error, mapped)

    def _in_plain_words(self, error: Exception, mapped: AttemptError) -> AttemptError:
        refused = next((found for link in chained(error) if (found := _REFUSED_TUNNEL.search(str(link)))), None)
        if refused is not None and not self.status:
            fix = ": check the user name and the password in `proxies`" if refused[1] == "407" else ""
            return ProviderConnectionError(
                f"HTTP {refused[1]}: the proxy refuses the request{fix}", status=int(refused[1]), retryable=False
            )
        if not self.status and (garbage := _found(error, HTTPException)):
            is_framing = isinstance(garbage, ChunkError)
            return ProtocolError(str(garbage) if is_framing else "the server does not speak HTTP; check the configured url")
        if self._active.failure:
            mapped.args = (self._active.failure,)
        elif isinstance(mapped, ProtocolError):
            if not self.status:
                return ProviderConnectionError(f"the connection broke before the answer began: {error}")
            if _found(error, IncompleteRead):
                mapped.args = (CUT,)
            elif _found(error, DecodeError):
                mapped.args = (UNPACKED,)
        if self.status and isinstance(mapped, ProviderConnectionError):
            mapped.retryable = False
        return mapped

    def close(self) -> None:
        """Give the connection back, or close it; see `BaseAnswer.close`."""
        WATCHDOG.stop(self._timer)
        if self.log is not None:
            self.log.end()
            self.log = None
        self._unsubscribe()
        active, response = self._active, self._active.response
        release, active.release = active.release, None
        usable = self._complete and response is not None and not (active.aborted or response.surplus or response.will_close)
        if not usable:
            active.close()
        # A thread that aborts this call from now on must not abort the next call on the same connection.
        active.sock = None
        if release is not None:
            release(usable=usable)

    def __del__(self) -> None:
        # An interrupt such as Ctrl-C may come before the `with` block is entered.
        active = getattr(self, "_active", None)
        if active is not None and active.release is not None:
            self.close()

    def _set_socket_timeout(self, seconds: float | None) -> None:
        sock = self._active.sock
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(seconds)


def _nothing(_size: int) -> bytes:
    """Reads the body before the headers have come."""
    return b""


def _found(error: BaseException, kind: type[Exception]) -> BaseException | None:
    """Return the first exception of a class that led to an error. One class of `http.client` stands for garbage and for a cut."""
    return next((one for one in chained(error) if isinstance(one, kind) and not isinstance(one, ConnectionError)), None)
