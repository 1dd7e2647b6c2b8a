"""Opens a TCP connection to a host with several addresses, within one deadline for the look-up and all connects.

RFC 8305, "Happy Eyeballs": the addresses are tried in turns of the families, with a short delay between them, and the first
connection wins. So an address that drops packets costs a short time, not the whole phase.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from providerhub._threads import PromptThread

Address = tuple[Any, ...]
"""One entry of `socket.getaddrinfo`."""

NEXT_ADDRESS = 0.25
"""Seconds until the next address is tried in parallel (RFC 8305, section 8)."""

_LOOK = 0.05
"""Seconds between two checks whether the call is aborted."""

KEEP_ALIVE: tuple[tuple[int, int, int], ...] = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        # TCP_KEEPALIVE is the name of TCP_KEEPIDLE on macOS.
        for name, value in (("TCP_KEEPIDLE", 45), ("TCP_KEEPALIVE", 45), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
        if hasattr(socket, name)
    ),
)
"""Socket options. A gateway drops a silent connection after a minute or more, and a model may think for longer. A probe after 45
s keeps the connection open, and detects a dead connection within two minutes."""


def turn(seconds: float, addresses: int) -> float:
    """Return the seconds until the next address is tried. The rest of a short connect phase is shared by the addresses left.

    Args:
        seconds: The rest of the phase; a phase that is over has none.
        addresses: The number of addresses that have not had a turn, 1 or more, with the next one.
    """
    return min(NEXT_ADDRESS, max(0.0, seconds) / addresses)


class Lookup(PromptThread):
    """One look-up in a separate thread, since the system's function has no timeout. Calls for the same host share it."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(self._look_up, "providerhub-lookup")
        self._place = host, port
        self._then: list[Callable[[], object]] = []
        self.done = threading.Event()
        self.error: Exception | None = None
        self._found: list[Address] = []

    def _look_up(self) -> None:
        try:
            self._found = looked_up(*self._place)
        except Exception as error:  # also `UnicodeError`, for a name that cannot be encoded
            self.error = error
        _lookups.pop(self._place, None)
        self.done.set()
        for call in self._then:
            call()

    def then(self, call: Callable[[], object]) -> None:
        """Let the thread call a function at the end of the look-up; after the end, call it here. It may be called twice."""
        self._then.append(call)
        if self.done.is_set():
            call()

    def result(self) -> list[Address]:
        """Return the addresses. Raises `OSError` or `UnicodeError` for a host without one."""
        if self.error is not None:
            raise self.error
        return self._found


_lookups: dict[tuple[str, int], Lookup] = {}
"""The running look-ups. So a silent name server blocks one thread for each host, not one for each call."""

if hasattr(os, "register_at_fork"):  # absent on Windows
    os.register_at_fork(after_in_child=_lookups.clear)  # their threads do not run in the child


def addresses_of(host: str, port: int, deadline: float, aborted: Callable[[], bool]) -> list[Address]:
    """Look up a host, until `deadline` in seconds of `time.monotonic` or until `aborted` returns true.

    The families of the addresses take turns; empty after the deadline. Raises `OSError` for an unknown host.
    """
    if is_numeric(host):
        return looked_up(host.encode(), port)  # as bytes: for a text, Python would import the codec for names
    running = lookup_of(host, port)
    while not running.done.wait(max(0.0, min(_LOOK, deadline - time.monotonic()))):
        if aborted() or time.monotonic() >= deadline:
            return []
    return running.result()


def lookup_of(host: str, port: int) -> Lookup:
    """Return the look-up of a host that runs, or begin one. Raises `RuntimeError` if no thread can be started."""
    running = _lookups.get((host, port))
    if running is None:
        running = Lookup(host, port)
        running.start()
        _lookups[host, port] = running
        if running.done.is_set():
            _lookups.pop((host, port), None)
    return running


def is_numeric(host: str) -> bool:
    """Return whether a host is an address, which needs no look-up."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def looked_up(host: str | bytes, port: int) -> list[Address]:
    """Look a host up without a timeout; the families of the addresses take turns."""
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    families = list(dict.fromkeys(entry[0] for entry in found))
    turns = itertools.zip_longest(*([entry for entry in found if entry[0] == family] for family in families))
    return [entry for turn in turns for entry in turn if entry is not None]


class Race:
    """Connects to several addresses at once. The end of its `with` block closes all sockets except the winner.

    Its `failure` is the error of the last address that failed.
    """

    def __init__(self, options: list[tuple[int, int, int]]) -> None:
        self._options = options
        # `poll` uses no file descriptor, and accepts descriptors of any number.
        self._selector = selectors.PollSelector() if hasattr(selectors, "PollSelector") else selectors.SelectSelector()
        self.failure: OSError | None = None

    def run(self, addresses: list[Address], deadline: float, aborted: Callable[[], bool]) -> socket.socket | None:
        """Return the first socket that connects, in non-blocking mode. Return `None` at the deadline, or after an abort."""
        left = addresses[::-1]
        following = time.monotonic()
        while not aborted():
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= following or not self._selector.get_map():
                if not (left or self._selector.get_map()):
                    break
                following = now + turn(deadline - now, len(left)) if left else deadline
                winner = self._begun(left.pop()) if left else None
            else:
                failed = self.failure
                winner = self._ready(min(_LOOK, deadline - now, following - now))
                following = following if self.failure is failed else now  # after a failure, try the next address at once
            if winner is not None:
                return winner
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # always a socket
        self._selector.close()

    def _begun(self, entry: Address) -> socket.socket | None:
        """Begin to connect. Return the socket if it connects at once, as on loopback."""
        sock = None
        try:
            sock = socket.socket(*entry[:3])
            for option in self._options:
                sock.setsockopt(*option)
            sock.settimeout(0)
            sock.connect(entry[4])
        except BlockingIOError:
            self._selector.register(sock, selectors.EVENT_WRITE)  # type: ignore[arg-type]  # a socket that connects exists
        except OSError as error:
            self.failure = error
            if sock is not None:
                sock.close()
        else:
            return sock
        return None

    def _ready(self, seconds: float) -> socket.socket | None:
        for key, _ in self._selector.select(seconds):
            sock: socket.socket = key.fileobj  # type: ignore[assignment]  # always a socket
            self._selector.unregister(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return sock
            self.failure = OSError(code, os.strerror(code))
            sock.close()
        return None
