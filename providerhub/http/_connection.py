"""The connections of threads. The connect timeout covers the whole connect phase, and any thread can abort a call."""

from __future__ import annotations

import contextlib
import os
import re
import select
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from providerhub._values.errors import ProviderTimeoutError
from providerhub.http._answer_timer import AnswerTimer
from providerhub.http._places import check_tunnel, mapped, place_of, tunnel_request
from providerhub.http._racing import KEEP_ALIVE, Race, addresses_of
from providerhub.http._response import READ_SIZE, Response

LONGEST_TIMEOUT = 1e6
"""Seconds. The platform limits a socket's timeout."""

EARLY_WAIT = 1.0
"""Seconds to wait for an answer if the service has closed during the sending of the request. It may have refused the request
after the head (RFC 9112, section 9.5)."""

_AT_ONCE = 65536
"""Bytes of a request that are written before a look for an answer: the system's buffers hold them."""

_REFUSED = re.compile(rb"HTTP/1\.[01] [3-5]")
"""The beginning of an answer that is not a success."""

_ABORTED = "the call was aborted while it connected"
_OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *KEEP_ALIVE]


class ActiveConnection:
    """The connection of one call, from its connect to its end. Any thread can abort it.

    `connect_deadline` is in seconds of `time.monotonic`. `is_whole`: the request was written to its end. `release` gives the
    socket back for another call.
    """

    __slots__ = ("_pid", "aborted", "connect_deadline", "is_whole", "release", "sock", "timer")

    def __init__(self, connect_deadline: float) -> None:
        self.timer: AnswerTimer | None = None
        self.connect_deadline = connect_deadline
        self.sock: Any = None
        self.aborted = False
        self.is_whole = True
        self.release: Callable[[Any], None] | None = None
        self._pid = os.getpid()

    def abort(self) -> None:
        """Make the thread that reads or writes return at once. With `close` alone, it would wait for its timeout."""
        self.aborted = True
        sock = self.sock
        # A forked child shares the socket: a shutdown there would end the parent's call.
        if sock is not None and self._pid == os.getpid():
            # The `shutdown` of a TLS socket first drops TLS, so another thread would go on sending in clear text. TLS within TLS,
            # through a proxy, has no `shutdown`.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)

    def use(self, sock: Any) -> Any:
        """Store and return a socket. Shut it down at once if the call is already aborted."""
        self.sock = sock
        if self.aborted:
            self.abort()
        return sock

    def close(self) -> None:
        """Close a socket that an interrupt such as Ctrl-C has left open."""
        if self.sock is not None:
            self.sock.close()

    def left(self) -> float:
        """Return the remaining seconds to connect, as a timeout of a socket."""
        return min(max(self.connect_deadline - time.monotonic(), 0.001), LONGEST_TIMEOUT)

    def connect(self, origin: str, proxy: str | None, secure: Callable[[], Any]) -> None:
        """Connect to a service, through a proxy or directly; `secure` returns the certificates."""
        first = urlsplit(proxy or origin)
        place = place_of(first)
        timer = self.timer if proxy or first.scheme == "https" else None
        if timer is not None:  # the timeout of a socket is for a single read, not for a proxy's answer or the handshake
            timer.connecting(self.connect_deadline)
        try:
            self._race(*place)
            if first.scheme == "https":
                self._secured(secure(), place[0])
            if proxy and origin.startswith("https:"):
                self._tunnel(tunnel_request(origin, proxy))
                self._secured(secure(), place_of(urlsplit(origin))[0])
        except Exception as error:
            self.close()
            if self.aborted:
                raise OSError(_ABORTED) from error
            raise mapped(error, "{}:{}".format(*place)) from error
        if timer is not None:
            timer.connecting(None)

    def _race(self, host: str, port: int) -> None:
        addresses = addresses_of(host, port, self.connect_deadline, lambda: self.aborted)
        with Race(_OPTIONS) as race:
            sock = race.run(addresses, self.connect_deadline, lambda: self.aborted)
        if sock is not None:
            self.use(sock).settimeout(self.left())
        elif race.failure is None or self.connect_deadline <= time.monotonic():
            raise ProviderTimeoutError(f"connecting to {host}:{port} took longer than the connect timeout")
        else:
            raise race.failure

    def _secured(self, context: Any, host: str) -> None:
        import ssl  # slow to import; only https needs it

        self.sock.settimeout(self.left())
        if isinstance(self.sock, ssl.SSLSocket):  # TLS within TLS
            from urllib3.util.ssltransport import SSLTransport

            self.use(SSLTransport(self.sock, context, server_hostname=host))
            return
        self.sock.getpeername()  # if the connection is broken, some Pythons leave the socket of TLS open
        # A thread that aborts during the handshake needs the TLS socket.
        self.use(context.wrap_socket(self.sock, server_hostname=host, do_handshake_on_connect=False)).do_handshake()
        if self.aborted:  # on a socket that was shut down, `do_handshake` does nothing
            raise OSError(_ABORTED)

    def _tunnel(self, request: bytes) -> None:
        self.sock.sendall(request)
        response = Response("CONNECT")
        while not response.status:
            self.sock.settimeout(self.left())
            data = self.sock.recv(READ_SIZE)
            response.feed(data) if data else response.eof()
        check_tunnel(response.status)

    def exchange(self, request: bytes, read: float) -> Iterator[bytes]:
        """Send a request, and yield the received bytes; empty at the end. Each wait takes at most `read` seconds."""
        sock, broken, early = self.sock, None, b""
        # The connect timeout is over; the answer's timer runs from here, so a large body may take its time.
        sock.settimeout(None)
        try:
            early, self.is_whole = _written(sock, request)
        except OSError as error:
            if self.aborted:
                raise
            self.is_whole, broken, read = False, error, min(read, EARLY_WAIT)
        if early:
            yield early
        sock.settimeout(min(max(read, 0.001), LONGEST_TIMEOUT))
        while True:
            try:
                data = sock.recv(READ_SIZE)
            except OSError:
                if broken is None:
                    raise
                data = b""
            if not data and broken is not None:
                raise broken
            yield data


def is_quiet(sock: Any) -> bool:
    """Return whether an idle connection is open and has received nothing."""
    try:
        if not hasattr(select, "poll"):  # absent on Windows
            return not select.select([sock], [], [], 0)[0]
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return not poll.poll(0)
    except (OSError, ValueError):
        return False


def _written(sock: Any, data: bytes) -> tuple[bytes, bool]:
    """Write a request. Return the beginning of an early answer, and whether the whole request was written.

    A service may refuse a request after its head and read no more (RFC 9112, section 9.3). So a refusal ends the writing.
    """
    if len(data) <= _AT_ONCE or not isinstance(sock, socket.socket):  # TLS in TLS is not a `socket`
        sock.sendall(data)
        return b"", True
    from ssl import SSLWantReadError, SSLWantWriteError  # slow to import; a large request pays for it

    left, early = memoryview(data), b""
    sock.settimeout(0)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as after:
        after.callback(sock.settimeout, None)
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while left:
            for _, events in selector.select():
                with contextlib.suppress(BlockingIOError, SSLWantReadError, SSLWantWriteError):  # a message of TLS comes first
                    if events & selectors.EVENT_READ:
                        came = sock.recv(READ_SIZE)
                        early += came
                        if _REFUSED.match(early):
                            return early, False
                        if not came or len(early) > READ_SIZE:
                            selector.modify(sock, selectors.EVENT_WRITE)
                    if events & selectors.EVENT_WRITE:
                        left = left[sock.send(left[:_AT_ONCE]) :]
    return early, True
