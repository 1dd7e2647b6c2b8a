"""The connections under `providerhub.http`: urllib3's, with a connect phase that holds, and a way to end a call.

Proxies are requests' business: it is imported, which takes a good part of a small program's time, when there are any.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import certifi
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import Timeout as Phases
from urllib3.util import parse_url

from providerhub.http._body import Body


class Line:
    """The connection that one call uses, from its first connect on; it can be ended from any thread."""

    __slots__ = ("_pid", "body", "connect_deadline", "ended", "failure", "sock")

    def __init__(self, connect_deadline: float) -> None:
        self.connect_deadline = connect_deadline
        self.body: Body | None = None
        self.sock: Any = None
        self.ended = False
        self.failure = ""  # a sentence for the error: what the layers between make of it is hard to read
        self._pid = os.getpid()

    def end(self) -> None:
        """Wake whoever reads or writes. `shutdown` does so at once; `close` would wait for the read's own timeout."""
        self.ended = True
        sock = self.sock
        # A forked child shares the socket: shutting it down there would end the parent's call.
        if sock is not None and self._pid == os.getpid():
            # TLS's own `shutdown` first forgets that there is TLS: what another thread is sending would go on in clear text. And
            # TLS within TLS, through a proxy, has none.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)

    def drop(self) -> None:
        """Close whatever an interrupt has left open in the layers between."""
        for left in (self.body, self.sock):
            if left is not None:
                left.close()


_current = threading.local()


def use_line(line: Line | None) -> None:
    """Make the connections that this thread uses next report to a line; none is used without."""
    _current.line = line


def _connect(connection: Any, host: str, port: int, options: list[tuple[int, int, int]]) -> socket.socket:
    """Connect within the connect phase, which spans all addresses of the name."""
    line: Line = _current.line
    try:
        addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        line.failure = f"the name {host!r} cannot be resolved: {error.strerror}"
        raise NameResolutionError(host, connection, error) from error
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        left = line.connect_deadline - time.monotonic()
        if left <= 0 or line.ended:
            break
        sock = line.sock = socket.socket(family, kind, protocol)
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
        line.failure = msg
        raise ConnectTimeoutError(connection, msg)
    msg = f"cannot connect to {host}:{port}: {failure.strerror or failure}"
    line.failure = msg
    raise NewConnectionError(connection, msg) from failure


class _Reporting:
    """What our connections do beside urllib3's: they tell the current line which socket is in use, and which answer came."""

    sock: socket.socket | None
    connect: Callable[[], None]
    held: list[bytes] | None = None

    def response_class(self, *args: Any, **kwargs: Any) -> Body:
        body = Body(*args, **kwargs)
        _current.line.body = body
        return body

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._report()
        # Head and body leave in one piece: a second one wakes the server twice, and costs as much as the first.
        self.held = []
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
        finally:
            held, self.held = self.held, None
        if self.sock is None:
            self.connect()
        self._report()
        # The connect phase is over, and what holds from here on is the call's guard: a large body may take its time.
        self.sock.settimeout(None)  # type: ignore[union-attr]
        super().send(b"".join(held))  # type: ignore[misc]

    def send(self, data: Any) -> None:
        if self.held is None:
            super().send(data)  # type: ignore[misc]
        else:
            self.held.append(data)

    def getresponse(self) -> Any:
        self._report()
        return super().getresponse()  # type: ignore[misc]

    def _new_conn(self) -> socket.socket:
        plain: Any = self
        return _connect(self, plain._dns_host, plain.port, plain.socket_options or [])  # noqa: SLF001 -- our own, by inheritance

    def _report(self) -> None:
        line: Line = _current.line
        if self.sock is not None:
            line.sock = self.sock
            if line.ended:
                line.end()


class _HTTPConnection(_Reporting, HTTPConnection):  # type: ignore[misc]
    pass


class _HTTPSConnection(_Reporting, HTTPSConnection):  # type: ignore[misc]
    _second: socket.socket | None = None

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            self._report()
            if self._second is not None:
                self._second.close()

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # The handshake takes the descriptor out of this object; by a second one it can be ended all the same.
        self._second = _current.line.sock = sock.dup()
        return sock


class _Shelf:
    """The connections that a pool keeps, the last one first; in the place of `queue.LifoQueue`.

    Without a lock, which appending to and popping from a list do not need: whoever Ctrl-C interrupts inside that queue may leave
    its lock locked for ever, and every later call would wait for it.
    """

    def __init__(self, maxsize: int) -> None:
        self._room = maxsize
        self._kept: list[Any] = []

    def put(self, connection: Any, **_: Any) -> None:
        if self.full():
            raise queue.Full
        self._kept.append(connection)

    def get(self, **_: Any) -> Any:
        try:
            return self._kept.pop()
        except IndexError:
            raise queue.Empty from None

    def full(self) -> bool:
        return len(self._kept) >= self._room

    def qsize(self) -> int:
        return len(self._kept)


class _Quiet:
    """A pool that closes what it has no room for without a warning: many streams at once are nothing to warn of."""

    QueueCls: Any = _Shelf

    def _put_conn(self, conn: Any) -> None:
        pool = getattr(self, "pool", None)
        if pool is None or not pool.full():
            super()._put_conn(conn)  # type: ignore[misc]
        elif conn is not None:
            conn.close()


class _HTTPPool(_Quiet, HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(_Quiet, HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


LONGEST_TIMEOUT = 1e6
"""Seconds; the platform refuses to wait for arbitrarily long."""

POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class Connections:
    """The kept connections to one service, and what asks it. There is one retry layer, and it is not here.

    Args:
        url: The service's address, without a slash at its end; what is asked for stands below it.
        kept: How many are kept open.
        verify: Whether certificates are verified; or the path of what to verify them with.
        proxies: Proxy addresses by scheme, as requests takes them.

    Raises:
        requests.RequestException: The address or the proxy cannot be used.
    """

    def __init__(self, url: str, *, kept: int = 100, verify: bool | str = True, proxies: Mapping[str, str] | None = None) -> None:
        self._url = url
        # One pool, whatever is asked for: a service may have a path for each model.
        way = _proxied(url, kept, verify=verify, proxies=proxies) if proxies else _direct(url, kept, verify=verify)
        self._pool, self._target_of = way
        self._targets: dict[str, str] = {}

    def exchange(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, *, connect: float, read: float
    ) -> Any:
        """Ask once and wait for the answer's head.

        Args:
            method: `"POST"` or `"GET"`.
            path: What is asked for, appended to the service's address.
            headers: The request's, complete.
            body: The request's, if it has one.
            connect: Seconds for the connection.
            read: Seconds without a byte before the head.

        Returns:
            urllib3's response, its body unread.

        Raises:
            urllib3.exceptions.HTTPError: The exchange failed.
            OSError: The same.
        """
        return self._pool.urlopen(
            method, self._targets.get(path) or self._target(path), body=body, headers=headers, retries=False, redirect=False,
            assert_same_host=False, preload_content=False, decode_content=False,
            timeout=Phases(connect=min(connect, LONGEST_TIMEOUT), read=min(read, LONGEST_TIMEOUT)),
        )  # fmt: skip

    def close(self) -> None:
        """Close the kept connections. Those in use are closed when they are given back."""
        # The managers' own `clear` leaves a pool's sockets open for as long as any response refers to the pool.
        self._pool.close()

    def _target(self, path: str) -> str:
        """How a path is written in the request's first line."""
        if len(self._targets) >= _TARGETS:
            self._targets.clear()
        target = self._targets[path] = self._target_of(self._url + path)
        return target


_TARGETS = 1000
"""Paths whose form on the wire is remembered."""

_Way = tuple[Any, Callable[[str], str]]
"""A pool of connections, and how an address is written in a request that goes through it."""


def _direct(url: str, kept: int, *, verify: bool | str) -> _Way:
    parts = parse_url(url)
    trusted = certifi.where() if isinstance(verify, bool) else verify
    place = "ca_cert_dir" if os.path.isdir(trusted) else "ca_certs"  # noqa: PTH112 -- pathlib is not worth its import here
    secure: dict[str, Any] = {"cert_reqs": "CERT_REQUIRED", place: trusted} if parts.scheme == "https" else {}
    manager = PoolManager(num_pools=1, maxsize=kept, **secure)
    manager.pool_classes_by_scheme = POOLS
    return manager.connection_from_host(parts.host, parts.port, parts.scheme), lambda whole: parse_url(whole).request_uri


def _proxied(url: str, kept: int, *, verify: bool | str, proxies: Mapping[str, str]) -> _Way:
    from requests import PreparedRequest  # noqa: PLC0415 -- as the module's docstring says
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 -- the same
    from requests.utils import select_proxy  # noqa: PLC0415 -- the same

    def prepared(whole: str) -> PreparedRequest:
        request = PreparedRequest()
        request.prepare_method("POST")
        request.prepare_url(whole, None)
        return request

    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=kept, max_retries=0)
    proxy = select_proxy(url, proxies)
    if proxy:
        proxy = proxy if "://" in proxy else f"http://{proxy}"  # as the adapter does
        adapter.proxy_manager_for(proxy).pool_classes_by_scheme = POOLS
    adapter.poolmanager.pool_classes_by_scheme = POOLS
    pool = adapter.get_connection_with_tls_context(prepared(url), verify, proxies=proxies)
    adapter.cert_verify(pool, url, verify, None)  # type: ignore[no-untyped-call]
    return pool, lambda whole: adapter.request_url(prepared(whole), proxies)
