"""One connection of the fault server: its requests, and the methods that the steps of a script use."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
from typing import Any, Protocol

import attrs

_READ = 65536
_LINGER_ZERO = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
# poll() accepts any descriptor and, unlike epoll, does not use one itself.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class ScriptOver(Exception):  # noqa: N818 -- a signal, not an error
    """Ends a script: the client has gone, the server is closing, or the last step has ended."""


class Latch:
    """An event that a selector can wait for. It stays readable after it is set."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._lock = threading.Lock()
        self.is_set = False

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._reader.fileno()

    def set(self) -> None:
        """Set the event. It cannot be reset."""
        with self._lock:
            if not self.is_set:
                self.is_set = True
                self._writer.send(b"!")

    def release(self) -> None:
        """Close the descriptors."""
        with self._lock:
            self.is_set = True
            self._reader.close()
            self._writer.close()


@attrs.frozen
class RecordedRequest:
    """A request as the client sent it.

    Attributes:
        method: The HTTP method; `""` when the first line does not belong to an HTTP request.
        target: The target as sent, with its query.
        headers: The names, as sent, and the values of the headers, in order.
        body: The body, with its chunks joined.
        raw: Every byte of the request.
        connection: The index of its connection.
        at: The time at which its last byte was read, in seconds of `time.monotonic`.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes
    connection: int
    at: float

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str, default: str = "") -> str:
        """Look a header up.

        Args:
            name: The name of the header, in any case.
            default: The value to return when the header is missing.

        Returns:
            The first value of the header.
        """
        return _find(self.headers, name, default)

    def json(self) -> Any:
        """Parse the body as JSON.

        Returns:
            The parsed value.

        Raises:
            ValueError: The body is not JSON.
        """
        return json.loads(self.body)


class Host(Protocol):
    """The methods of the server that a connection uses."""

    closing: Latch

    def latch(self, name: str) -> Latch: ...

    def mark(self, name: str) -> None: ...

    def changed(self) -> None: ...


class Connection:
    """A client's connection. It is also the `Peer` that steps use.

    Attributes:
        index: The number of the connection, from 0, in the order of acceptance.
        requests: The requests on it so far.
        sent: The number of bytes sent so far, without TLS.
        gone: The client's way to end the connection: `"closed"` or `"reset"`; `None` while it is open, or if the server ended it
            first.
        gone_at: The time at which the server saw this end, in seconds of `time.monotonic`.
        tls_error: The error of the TLS handshake, if it failed.
    """

    def __init__(self, index: int, sock: socket.socket, host: Host) -> None:
        self.index = index
        self.requests: list[RecordedRequest] = []
        self.sent = 0
        self.gone: str | None = None
        self.gone_at: float | None = None
        self.tls_error: Exception | None = None
        self._sock = sock
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._host = host
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # The methods for steps: `Peer`.

    def send(self, data: bytes) -> None:
        """See `Peer.send`."""
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise self._left(error) from error
        self.sent += len(data)

    def pause(self, seconds: float) -> None:
        """See `Peer.pause`."""
        self._wait(None, seconds)

    def mark(self, name: str) -> None:
        """See `Peer.mark`."""
        self._host.mark(name)

    def gate(self, name: str) -> None:
        """See `Peer.gate`."""
        self._host.mark(name)
        self._wait(self._host.latch(name), None)

    def hold(self) -> None:
        """See `Peer.hold`."""
        while True:
            self._receive()
            # No step reads these bytes, and a client may send without end.
            del self._buffer[:-_READ]

    def close(self) -> None:
        """See `Peer.close`."""
        with contextlib.suppress(OSError, ValueError):  # the client may have gone, or TLS may not have begun
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.settimeout(0)
                with contextlib.suppress(OSError):  # sends the end of TLS, and would then wait for the answer
                    self._sock.unwrap()
                self._sock.settimeout(None)
            self._sock.shutdown(socket.SHUT_WR)
        # If the client has sent more, closing now could send RST, and the client would lose our bytes.
        self.hold()

    def reset(self) -> None:
        """See `Peer.reset`."""
        with self._lock, contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self._sock.close()
        raise ScriptOver

    # The methods for the server.

    @property
    def unread(self) -> bytes:
        """The bytes that are not part of a whole request yet."""
        return bytes(self._buffer)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Answer the client's TLS greeting.

        Args:
            context: The server-side context, with certificate and key.
        """
        with self._lock:
            self._sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        try:
            self._sock.do_handshake()
        except OSError as error:
            self.tls_error = error
            raise self._left(error) from error

    def read_request(self) -> RecordedRequest:
        """Wait for the next request, and take it out of the buffer."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._receive()
        method, target, headers = _parse_head(bytes(self._buffer[:end]))
        end += 4
        if _find(headers, "transfer-encoding").lower() == "chunked":
            body, end = self._read_chunks(end)
        else:
            length = _find(headers, "content-length")
            body_end = end + (int(length) if length.isdecimal() else 0)
            self._need(body_end)
            body, end = bytes(self._buffer[end:body_end]), body_end
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        return RecordedRequest(method, target, headers, body, raw, self.index, time.monotonic())

    def interrupt(self) -> None:
        """Wake the threads that wait on this connection. Safe from any thread."""
        with self._lock, contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the socket."""
        with self._lock:
            self._sock.close()

    def _read_chunks(self, at: int) -> tuple[bytes, int]:
        """Read a chunked body that begins at an index; return the body and the index after it."""
        body = bytearray()
        while True:
            while (eol := self._buffer.find(b"\r\n", at)) < 0:
                self._receive()
            size = int(bytes(self._buffer[at:eol]).partition(b";")[0], 16)
            self._need(eol + 2 + size + 2)
            body += self._buffer[eol + 2 : eol + 2 + size]
            at = eol + 2 + size + 2
            if not size:
                return bytes(body), at

    def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            self._receive()

    def _receive(self) -> None:
        """Wait for bytes."""
        try:
            data = self._sock.recv(_READ)
        except OSError as error:
            raise self._left(error) from error
        if not data:
            raise self._left(None)
        self._buffer += data

    def _wait(self, latch: Latch | None, seconds: float | None) -> None:
        """Wait for a latch or for some seconds; end the script when the client goes or the server closes."""
        deadline = None if seconds is None else time.monotonic() + seconds
        with _Selector() as selector:
            for source in (self._sock, self._host.closing, latch):
                if source is not None:
                    selector.register(source, selectors.EVENT_READ)
            while latch is None or not latch.is_set:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return
                ready = {key.fileobj for key, _ in selector.select(left)}
                if self._host.closing in ready:
                    raise ScriptOver
                if self._sock in ready:
                    self._receive()

    def _left(self, error: OSError | None) -> ScriptOver:
        """Record that the client has gone, unless the server closed first."""
        if not self._host.closing.is_set and self.gone is None:
            self.gone = "reset" if isinstance(error, ConnectionResetError) else "closed"
            self.gone_at = time.monotonic()
            self._host.changed()
        return ScriptOver()


def _parse_head(head: bytes) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    method, target = (words[0], words[1]) if len(words) == 3 else ("", first)
    fields = (line.partition(":") for line in rest)
    return method, target, tuple((name.strip(), value.strip()) for name, _, value in fields)


def _find(headers: tuple[tuple[str, str], ...], name: str, default: str = "") -> str:
    return next((value for key, value in headers if key.lower() == name.lower()), default)
