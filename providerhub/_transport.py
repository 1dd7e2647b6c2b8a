"""The connections under `providerhub.http`: requests' adapter with a connect phase that holds, and a way to end a call.

Imports requests, as `providerhub.http` does: a plugin's provider module brings both in when it is first used.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError


class Line:
    """The connection that one call uses, from its first connect on; it can be ended from any thread."""

    __slots__ = ("_pid", "connect_deadline", "ended", "failure", "sock")

    def __init__(self, connect_deadline: float) -> None:
        self.connect_deadline = connect_deadline
        self.sock: socket.socket | None = None
        self.ended = False
        self.failure = ""
        self._pid = os.getpid()

    def end(self) -> None:
        """Wake whoever reads or writes. `shutdown` does so at once; `close` would wait for the read's own timeout."""
        self.ended = True
        sock = self.sock
        # A forked child shares the socket: shutting it down there would end the parent's call.
        if sock is not None and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


_current = threading.local()


def use_line(line: Line | None) -> None:
    """Make the connections that this thread uses next report to a line."""
    _current.line = line


def _connect(connection: Any, host: str, port: int, options: list[tuple[int, int, int]]) -> socket.socket:
    """Connect within the connect phase, which spans all addresses of the name."""
    line: Line | None = getattr(_current, "line", None)
    deadline = line.connect_deadline if line is not None else time.monotonic() + 5.0
    try:
        addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        _tell(line, f"the name {host!r} cannot be resolved: {error.strerror}")
        raise NameResolutionError(host, connection, error) from error
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        left = deadline - time.monotonic()
        if left <= 0 or (line is not None and line.ended):
            break
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(left)
            if line is not None:
                line.sock = sock
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    if failure is None or isinstance(failure, TimeoutError):
        msg = f"connecting to {host}:{port} took longer than the connect timeout"
        _tell(line, msg)
        raise ConnectTimeoutError(connection, msg)
    msg = f"cannot connect to {host}:{port}: {failure.strerror or failure}"
    _tell(line, msg)
    raise NewConnectionError(connection, msg) from failure


def _tell(line: Line | None, failure: str) -> None:
    """Keep a sentence for the error: what the layers between make of it is hard to read."""
    if line is not None:
        line.failure = failure


def _reporting(base: type[Any]) -> type[Any]:
    """A connection class that tells the current line which socket is in use."""

    class Reporting(base):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            return _connect(self, self._dns_host, self.port, self.socket_options or [])

        def request(self, *args: Any, **kwargs: Any) -> None:
            line: Line | None = getattr(_current, "line", None)
            if line is not None and self.sock is not None:
                line.sock = self.sock
                if line.ended:
                    line.end()
            super().request(*args, **kwargs)

        def getresponse(self) -> Any:
            line: Line | None = getattr(_current, "line", None)
            if line is not None:
                line.sock = self.sock
                if line.ended:
                    line.end()
            return super().getresponse()

    return Reporting


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _reporting(HTTPConnection)


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _reporting(HTTPSConnection)


class Adapter(HTTPAdapter):
    """requests' adapter over reporting connections, without retries of its own: there is one retry layer, and it is not here."""

    def __init__(self, *, connections: int = 100) -> None:
        super().__init__(pool_connections=10, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use the reporting pools for direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Use the reporting pools through proxies as well."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager
