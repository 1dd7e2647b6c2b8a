"""Sends one request over a pool of kept connections to one service. It retries nothing.

Proxies need requests, whose import takes a good part of a small program's start. So it is imported only if a proxy is set.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from functools import partial
from ssl import SSLWantReadError, SSLWantWriteError
from typing import Any

import certifi
from urllib3 import PoolManager
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import parse_url

from providerhub.http._base import Sent
from providerhub.http._connection import LONGEST_TIMEOUT, ActiveConnection, PlainConnection, TLSConnection
from providerhub.http._response import READ_SIZE

IDLE_LIMIT = 60.0
"""Seconds. A connection that was idle for longer is not used again: a gateway on the way may have forgotten it without a word."""

_AT_ONCE = 65536
"""Bytes of a request that are written without a look for an answer: the buffers of the system take them."""

_REFUSED = re.compile(rb"HTTP/1\.[01] [3-5]")
"""The beginning of an answer that is not a success."""

EARLY_WAIT = 1.0
"""Seconds to wait for an answer when the service has closed while the request was sent: it may have refused the request when it
had read its head (RFC 9112, section 9.5)."""


class _ConnectionStack:
    """The idle connections of a pool, the latest on top, in place of `queue.LifoQueue`.

    Appending to a list and popping from it need no lock. Ctrl-C inside `LifoQueue` may leave its lock locked for ever, and every
    later call would wait for it.
    """

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._connections: list[tuple[Any, float]] = []
        self._cleaned = time.monotonic()

    def put(self, connection: Any, **_: Any) -> None:
        if self.full():
            raise queue.Full
        now = time.monotonic()
        self._connections.append((connection, now))
        if now - self._cleaned > IDLE_LIMIT:
            self._cleaned = now
            self._close_older(now - IDLE_LIMIT)

    def get(self, **_: Any) -> Any:
        try:
            connection, since = self._connections.pop()
        except IndexError:
            raise queue.Empty from None
        if connection is not None and time.monotonic() - since > IDLE_LIMIT:
            connection.close()  # it opens itself again when it is used
        return connection

    def _close_older(self, limit: float) -> None:
        """Close the connections that are idle since before a time. Another thread may take or add some meanwhile."""
        for entry in [entry for entry in self._connections if entry[0] is not None and entry[1] < limit]:
            try:
                self._connections.remove(entry)
            except ValueError:
                continue  # another thread has taken it
            entry[0].close()

    def full(self) -> bool:
        return len(self._connections) >= self._maxsize

    def qsize(self) -> int:
        return len(self._connections)


class _PoolMixin:
    """Closes a connection that the pool has no room for. urllib3 also warns, but many streams at once are ordinary here."""

    QueueCls: Any = _ConnectionStack

    def _put_conn(self, conn: Any) -> None:
        pool = getattr(self, "pool", None)
        if pool is None or not pool.full():
            super()._put_conn(conn)  # type: ignore[misc]
        elif conn is not None:
            conn.close()


class _PlainPool(_PoolMixin, HTTPConnectionPool):
    ConnectionCls = PlainConnection


class _TLSPool(_PoolMixin, HTTPSConnectionPool):
    ConnectionCls = TLSConnection


_POOLS = {"http": _PlainPool, "https": _TLSPool}

_MAX_IDLE = 100
"""The most connections that a pool keeps open between calls."""


class Transport:
    """The pool of connections to one origin.

    Args:
        origin: Scheme, host and port.
        verify: `True` verifies certificates against certifi's bundle; a path names a file or folder of certificates instead.
        proxies: Proxy addresses by scheme, in the form that requests accepts; empty for a direct connection.
        certificate: Files of the client's certificate and its key; `None` to show none.

    Raises:
        requests.RequestException: The address or the proxy is not valid.
    """

    def __init__(
        self, origin: str, *, verify: bool | str, proxies: Mapping[str, str], certificate: tuple[str, str] | None
    ) -> None:
        # One pool for all paths: a service may have a path for each model.
        make = _proxied if proxies else _direct
        self._pool = make(origin, verify=verify, proxies=proxies, certificate=certificate)
        # A proxy that is asked in clear text needs the whole address.
        self._whole = origin.startswith("http:") and self._pool.proxy is not None

    def send(self, request: Sent, active: ActiveConnection, read: float) -> Iterator[bytes]:
        """Send a request.

        Of urllib3, the pool and the connections are used. Its requests and responses would cost more than both.

        Args:
            request: The request.
            active: The connection of the call.
            read: The most seconds without a byte before the headers, should the watchdog's thread come late.

        Yields:
            The bytes of the answer as they come; none at the connection's end.
        """
        connection = self._pool._get_conn()  # noqa: SLF001 -- as `urlopen` does
        active.release = partial(self._release, connection)
        if connection.is_closed:
            connection.timeout = min(max(active.connect_deadline - time.monotonic(), 0.001), LONGEST_TIMEOUT)
            if self._pool.proxy is None or self._whole:
                connection.connect()
            else:
                self._pool._prepare_proxy(connection)  # noqa: SLF001 -- connects through the proxy
        sock = connection.sock
        active.use(sock)
        # The connect timeout is over; the answer's timer runs from here, so a large body may take its time.
        sock.settimeout(None)
        broken: OSError | None = None
        try:
            early, is_whole = _written(sock, request.written(self._pool.proxy_headers if self._whole else None))
        except OSError as error:
            if active.aborted:
                raise
            early, is_whole, broken, read = b"", False, error, min(read, EARLY_WAIT)
        if not is_whole:  # the connection cannot carry another request
            active.release = partial(_close, connection)
        if early:
            yield early
        sock.settimeout(min(max(read, 0.001), LONGEST_TIMEOUT))
        yield from _received(sock, broken)

    def _release(self, connection: Any, *, usable: bool) -> None:
        if usable:
            self._pool._put_conn(connection)  # noqa: SLF001 -- as `urlopen` does
        else:
            _close(connection)

    def close(self) -> None:
        """Close the idle connections. A connection in use is closed when its call ends."""
        # PoolManager.clear() leaves a pool's sockets open as long as a response refers to the pool.
        self._pool.close()


def _close(connection: Any, **_: bool) -> None:
    connection.close()


def _received(sock: Any, broken: OSError | None) -> Iterator[bytes]:
    """Yield the bytes of the answer. `broken`: why the request could not be written, if there is no answer."""
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


def _written(sock: Any, data: bytes) -> tuple[bytes, bool]:
    """Write a request. Return the beginning of an answer that came meanwhile, and whether all was written.

    A service may refuse a request by its head and read no more of it (RFC 9112, section 9.3), so a refusal ends the writing.
    """
    if len(data) <= _AT_ONCE or not isinstance(sock, socket.socket):  # TLS in TLS, through a proxy, is none
        sock.sendall(data)
        return b"", True
    left, early = memoryview(data), b""
    sock.settimeout(0)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as after:
        after.callback(sock.settimeout, None)
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while left:
            for _, events in selector.select():
                with contextlib.suppress(BlockingIOError, SSLWantReadError, SSLWantWriteError):  # a message of TLS itself
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


def _direct(origin: str, *, verify: bool | str, proxies: Mapping[str, str], certificate: tuple[str, str] | None) -> Any:
    del proxies
    parts = parse_url(origin)
    secure: dict[str, Any] = {}
    if parts.scheme == "https":
        trusted = certifi.where() if isinstance(verify, bool) else verify
        place = "ca_cert_dir" if os.path.isdir(trusted) else "ca_certs"
        secure = {"cert_reqs": "CERT_REQUIRED", place: trusted}
        if certificate is not None:
            secure["cert_file"], secure["key_file"] = certificate
    manager = PoolManager(num_pools=1, maxsize=_MAX_IDLE, **secure)
    manager.pool_classes_by_scheme = _POOLS
    return manager.connection_from_host(parts.host, parts.port, parts.scheme)


def _proxied(origin: str, *, verify: bool | str, proxies: Mapping[str, str], certificate: tuple[str, str] | None) -> Any:
    from requests import PreparedRequest  # requests is slow to import; only proxies need it
    from requests.adapters import HTTPAdapter
    from requests.utils import select_proxy

    request = PreparedRequest()
    request.prepare_method("POST")
    request.prepare_url(origin, None)
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=_MAX_IDLE, max_retries=0)
    proxy = select_proxy(origin, proxies)
    if proxy:
        proxy = proxy if "://" in proxy else f"http://{proxy}"  # HTTPAdapter completes it in the same way
        adapter.proxy_manager_for(proxy).pool_classes_by_scheme = _POOLS
    adapter.poolmanager.pool_classes_by_scheme = _POOLS
    pool = adapter.get_connection_with_tls_context(request, verify, proxies=proxies)
    adapter.cert_verify(pool, origin, verify, certificate)  # type: ignore[no-untyped-call]
    return pool
