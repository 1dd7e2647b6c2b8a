"""urllib3's connections, changed so that the connect timeout covers all addresses of a host and any thread can abort a call."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from providerhub.http._response import Response

LONGEST_TIMEOUT = 1e6
"""Seconds. The platform limits how long a socket's timeout may be."""


class ActiveConnection:
    """The connection that one call uses, from its connect to its end. Any thread can abort it.

    Args:
        connect_deadline: When the connect timeout ends, in seconds of `time.monotonic`.

    Attributes:
        sock: The socket in use; `None` before the connect and after the call.
        response: The response that came on it; `None` before the headers.
        aborted: `abort` was called.
        failure: Why the connect failed, as a sentence for the error; otherwise empty. urllib3's own text is hard to read.
    """

    __slots__ = ("_pid", "aborted", "connect_deadline", "failure", "response", "sock")

    def __init__(self, connect_deadline: float) -> None:
        self.connect_deadline = connect_deadline
        self.response: Response | None = None
        self.sock: Any = None
        self.aborted = False
        self.failure = ""
        self._pid = os.getpid()

    def abort(self) -> None:
        """Make the thread that reads or writes return at once. `close` would leave it waiting for its timeout."""
        self.aborted = True
        sock = self.sock
        # A forked child shares the socket: a shutdown there would end the parent's call.
        if sock is not None and self._pid == os.getpid():
            # TLS's own `shutdown` first forgets that there is TLS: another thread would go on sending in clear text. TLS within
            # TLS, through a proxy, has no `shutdown`.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)

    def close(self) -> None:
        """Close what an interrupt such as Ctrl-C has left open inside urllib3."""
        for left in (self.response, self.sock):
            if left is not None:
                left.close()


_thread = threading.local()


def set_active(active: ActiveConnection | None) -> None:
    """Set the `ActiveConnection` that the connections used by this thread report to."""
    _thread.active = active


def _connect(connection: Any, host: str, port: int, options: list[tuple[int, int, int]]) -> socket.socket:
    """Connect to the first address of the host that answers before the connect deadline."""
    active: ActiveConnection = _thread.active
    try:
        addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        active.failure = f"the name {host!r} cannot be resolved: {error.strerror}"
        raise NameResolutionError(host, connection, error) from error
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        left = active.connect_deadline - time.monotonic()
        if left <= 0 or active.aborted:
            break
        sock = active.sock = socket.socket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(min(left, LONGEST_TIMEOUT))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    if failure is None or isinstance(failure, TimeoutError):
        msg = f"connecting to {host}:{port} took longer than the connect timeout"
        active.failure = msg
        raise ConnectTimeoutError(connection, msg)
    msg = f"cannot connect to {host}:{port}: {failure.strerror or failure}"
    active.failure = msg
    raise NewConnectionError(connection, msg) from failure


class _ReportingMixin:
    """Reports its socket and its response to the thread's `ActiveConnection`, and sends a request as one piece."""

    sock: socket.socket | None
    port: int
    socket_options: Any
    connect: Callable[[], None]
    _dns_host: str
    _unsent: list[bytes] | None = None

    def response_class(self, *args: Any, **kwargs: Any) -> Response:
        response = Response(*args, **kwargs)
        _thread.active.response = response
        return response

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._report()
        # Head and body go out in one piece: a second piece wakes the server a second time, and costs as much as the first.
        self._unsent = []
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
        finally:
            unsent, self._unsent = self._unsent, None
        if self.sock is None:
            self.connect()
        self._report()
        # The connect timeout is over; the answer's timer runs from here, so a large body may take its time.
        self.sock.settimeout(None)  # type: ignore[union-attr]
        super().send(b"".join(unsent))  # type: ignore[misc]

    def send(self, data: Any) -> None:
        if self._unsent is None:
            super().send(data)  # type: ignore[misc]
        else:
            self._unsent.append(data)

    def getresponse(self) -> Any:
        self._report()
        return super().getresponse()  # type: ignore[misc]

    def _new_conn(self) -> socket.socket:
        return _connect(self, self._dns_host, self.port, self.socket_options or [])

    def _report(self) -> None:
        active: ActiveConnection = _thread.active
        if self.sock is not None:
            active.sock = self.sock
            if active.aborted:
                active.abort()


class PlainConnection(_ReportingMixin, HTTPConnection):  # type: ignore[misc]
    """A connection without TLS."""


class TLSConnection(_ReportingMixin, HTTPSConnection):  # type: ignore[misc]
    """A connection with TLS. It can be aborted during the handshake too."""

    _duplicate: socket.socket | None = None

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            self._report()
            if self._duplicate is not None:
                self._duplicate.close()

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # The handshake takes the descriptor out of this socket object; a duplicate can still shut the connection down.
        self._duplicate = _thread.active.sock = sock.dup()
        return sock
