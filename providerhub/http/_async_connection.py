"""Opens the connections of an event loop, directly or through a proxy, and returns the received bytes.

asyncio is slow to import. A caller with a running loop has imported it.
"""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from providerhub.http._places import check_tunnel, mapped, place_of, tunnel_request
from providerhub.http._racing import KEEP_ALIVE, Address, Lookup, is_numeric, looked_up, lookup_of, turn
from providerhub.http._response import Response

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task

_AHEAD = 262144
"""The bytes that may wait for their reader. Beyond this limit, the sender must wait."""

_KNOWN = 10.0
"""Seconds for which the addresses of a host are kept."""


class Connection:
    """One connection, as a protocol of asyncio. Bytes that came before its end can still be read."""

    __slots__ = ("_came", "_failure", "_is_paused", "_loop", "_size", "_waiter", "is_lost", "origin", "since", "transport")

    def __init__(self, loop: AbstractEventLoop, origin: str) -> None:
        self._loop = loop
        self._came: list[bytes] = []
        self._size = 0
        self._waiter: Future[None] | None = None
        self._failure: Exception | None = None
        self._is_paused = False
        self.transport: Any = None
        self.is_lost = False
        self.origin = origin
        self.since = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._came.append(data)
        self._size += len(data)
        if self._size > _AHEAD and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.is_lost = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost, self._failure = True, error
        self._wake()

    def pause_writing(self) -> None:
        """Do nothing: a request is written in one piece."""

    resume_writing = pause_writing

    async def read(self) -> bytes:
        """Wait for bytes, and return all received bytes; empty at the connection's end. Raises `OSError` if it broke."""
        came = self._came
        if not came:
            if not self.is_lost:
                self._waiter = self._loop.create_future()
                await self._waiter
            if not came:
                if self._failure is not None:
                    raise self._failure
                return b""
        data = came[0] if len(came) == 1 else b"".join(came)
        came.clear()
        self._size = 0
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        return data

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open and sends nothing."""
        return not (self.is_lost or self._came or self.transport.is_closing())

    def abort(self) -> None:
        """Close the connection at once, and wake its reader."""
        self.is_lost = True
        self.transport.abort()
        self._wake()

    def _wake(self) -> None:
        # The waiter stays: an exception of a signal handler may come here, and the next call must still wake the reader.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Opener:
    """Opens connections in one event loop."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._lookups: dict[tuple[str, int], Lookup] = {}

    async def open(self, origin: str, proxy: str | None, tls: Any, deadline: float) -> Connection:
        """Open a connection to a service, through a proxy or directly; `tls` holds the certificates for https.

        The connect phase ends at `deadline`, in seconds of the loop's clock. The caller ends it then.
        """
        first = urlsplit(proxy or origin)
        host, port = place_of(first)
        connection = Connection(self._loop, origin)
        make: Any = lambda: connection  # noqa: E731 -- the loop's types want a class of asyncio
        secure: dict[str, Any] = {"ssl": tls, "server_hostname": host} if first.scheme == "https" else {}
        try:
            sock = await self._raced(await self._addresses(host, port), deadline)
            await self._loop.create_connection(make, sock=sock, **secure)
            if proxy and origin.startswith("https:"):
                await self._tunnel(connection, origin, proxy, tls)
        except Exception as error:
            if connection.transport is not None:
                connection.abort()
            raise mapped(error, f"{host}:{port}") from None
        except BaseException:
            if connection.transport is not None:
                connection.abort()
            raise
        return connection

    async def _tunnel(self, connection: Connection, origin: str, proxy: str, tls: Any) -> None:
        connection.transport.write(tunnel_request(origin, proxy))
        response = Response("CONNECT")
        while not response.status:
            data = await connection.read()
            response.feed(data) if data else response.eof()
        check_tunnel(response.status)
        host, _ = place_of(urlsplit(origin))
        protocol: Any = connection  # the loop's types want a class of asyncio
        connection.transport = await self._loop.start_tls(connection.transport, protocol, tls, server_hostname=host)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        """Look a host up, outside the loop's own threads: a look-up that hangs would delay their work and the loop's end."""
        if is_numeric(host):
            return looked_up(host.encode(), port)
        running = self._lookups.get((host, port))
        if running is None:
            running = self._lookups[host, port] = lookup_of(host, port)
            self._loop.call_later(_KNOWN, self._lookups.pop, (host, port), None)
        if not running.done.is_set():
            waiter = self._loop.create_future()
            running.then(partial(_wake, self._loop, waiter))
            await waiter
        if running.error is not None:
            self._lookups.pop((host, port), None)
        return running.result()

    async def _raced(self, addresses: list[Address], deadline: float) -> socket.socket:
        """Connect to the addresses in parallel, and return the first connected socket; see `_racing`."""
        if len(addresses) == 1:
            return await self._connected(addresses[0])
        from asyncio import FIRST_COMPLETED, wait

        tasks: list[Task[socket.socket]] = []
        running: set[Task[socket.socket]] = set()
        winner: Task[socket.socket] | None = None
        try:
            for number, entry in enumerate(addresses, 1):
                tasks.append(self._loop.create_task(self._connected(entry)))
                running.add(tasks[-1])
                left = len(addresses) - number
                while winner is None and running:
                    seconds = turn(deadline - self._loop.time(), left + 1) if left else None
                    done, running = await wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
                    winner = next((task for task in done if task.exception() is None), None)
                    if left:
                        break
                if winner is not None:
                    return winner.result()
            raise tasks[-1].exception() or OSError("no address")  # each task has failed
        finally:
            for task in tasks:
                if task is not winner:
                    task.cancel()
                    task.add_done_callback(_close_late)

    async def _connected(self, entry: Address) -> socket.socket:
        sock = socket.socket(*entry[:3])
        try:
            for option in KEEP_ALIVE:
                sock.setsockopt(*option)
            sock.settimeout(0)
            await self._loop.sock_connect(sock, entry[4])
        except BaseException:
            sock.close()
            raise
        return sock


def _close_late(task: Task[socket.socket]) -> None:
    """Close a socket that connected too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _wake(loop: AbstractEventLoop, waiter: Future[None]) -> None:
    """Wake a coroutine. Any thread may call this, more than once."""
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(_tell, waiter)


def _tell(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
