"""urllib3's connections, changed so that the connect timeout covers the whole connect phase and any thread can abort a call."""

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

from providerhub.http._answer_timer import AnswerTimer
from providerhub.http._racing import KEEP_ALIVE, Race, addresses_of

LONGEST_TIMEOUT = 1e6
"""Seconds. The platform limits how long a socket's timeout may be."""


class ActiveConnection:
    """The connection that one call uses, from its connect to its end. Any thread can abort it.

    Args:
        connect_deadline: When the connect timeout ends, in seconds of `time.monotonic`.

    Attributes:
        sock: The socket in use; `None` before the connect and after the call.
        release: Called with `usable=`, gives the connection back or closes it; `None` before there is one.
        timer: The timer of the answer; `None` if none watches the call.
        aborted: `abort` was called.
        failure: Why the connect failed, as a sentence for the error; otherwise empty. urllib3's own text is hard to read.
    """

    __slots__ = ("_pid", "aborted", "connect_deadline", "failure", "release", "sock", "timer")

    def __init__(self, connect_deadline: float) -> None:
        self.timer: AnswerTimer | None = None
        self.connect_deadline = connect_deadline
        self.sock: Any = None
        self.aborted = False
        self.failure = ""
        self.release: Callable[..., None] | None = None
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

    def use(self, sock: socket.socket | None) -> None:
        """Take note of a socket, which is shut down at once if the call is aborted already."""
        if sock is not None:
            self.sock = sock
            if self.aborted:
                self.abort()

    def close(self) -> None:
        """Close what an interrupt such as Ctrl-C has left open inside urllib3."""
        if self.sock is not None:
            self.sock.close()


_thread = threading.local()


def set_active(active: ActiveConnection | None) -> None:
    """Set the `ActiveConnection` that the connections used by this thread report to."""
    _thread.active = active


def _connect(connection: Any, host: str, port: int, options: list[tuple[int, int, int]]) -> socket.socket:
    """Connect to the address of the host that answers first, before the connect deadline."""
    active: ActiveConnection = _thread.active
    place = f"{host}:{port}"
    try:
        addresses = addresses_of(host, port, active.connect_deadline, lambda: active.aborted)
    except socket.gaierror as error:
        active.failure = f"the name {host!r} cannot be resolved: {error.strerror}"
        raise NameResolutionError(host, connection, error) from error
    except Exception as error:
        raise _unreachable(active, connection, place, error) from error
    with Race([*options, *KEEP_ALIVE]) as race:
        sock = race.run(addresses, active.connect_deadline, lambda: active.aborted)
    left = active.connect_deadline - time.monotonic()
    if sock is not None:
        active.sock = sock
        sock.settimeout(min(max(left, 0.001), LONGEST_TIMEOUT))
        return sock
    if race.failure is None or left <= 0:
        msg = active.failure = f"connecting to {place} took longer than the connect timeout"
        raise ConnectTimeoutError(connection, msg)
    raise _unreachable(active, connection, place, race.failure) from race.failure


def _unreachable(active: ActiveConnection, connection: Any, place: str, error: Exception) -> NewConnectionError:
    msg = active.failure = f"cannot connect to {place}: {getattr(error, 'strerror', None) or error}"
    return NewConnectionError(connection, msg)


class PlainConnection(HTTPConnection):
    """A connection without TLS."""

    def _new_conn(self) -> socket.socket:
        return _connect(self, self._dns_host, self.port, self.socket_options or [])  # type: ignore[arg-type]  # a list


class TLSConnection(HTTPSConnection):
    """A connection with TLS. It can be aborted during the handshake too."""

    _duplicate: socket.socket | None = None

    def connect(self) -> None:
        active: ActiveConnection = _thread.active
        timer = active.timer
        if timer is not None:  # a timeout of the socket holds for a single read of a proxy's answer or of the handshake
            timer.connecting(active.connect_deadline)
        try:
            super().connect()
        finally:
            active.use(self.sock)
            if self._duplicate is not None:
                self._duplicate.close()
        if active.aborted:  # a socket that was shut down before the handshake passes for one that needs none
            raise ConnectTimeoutError(self, "the call was aborted while it connected")
        if timer is not None:
            timer.connecting(None)

    def _new_conn(self) -> socket.socket:
        sock = _connect(self, self._dns_host, self.port, self.socket_options or [])  # type: ignore[arg-type]  # a list
        try:
            # The handshake takes the descriptor out of this socket object; a duplicate can still shut the connection down.
            self._duplicate = _thread.active.sock = sock.dup()
        except OSError:  # no descriptor is left
            sock.close()
            raise
        return sock
