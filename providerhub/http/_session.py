"""The connections of one event loop. They end with the loop in every case."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from providerhub.http._async_connection import Connection, Opener
from providerhub.http._places import IDLE_LIMIT

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop, Future, Task, TimerHandle

CONNECTIONS = 4096
"""The maximum connections of one client in each event loop. A further request waits, within the connect timeout."""

AT_ONCE = 32
"""How many requests and reads work in one turn of an event loop. Together they take some milliseconds."""


class Session:
    """The connections that one client keeps open between calls in one event loop.

    `users` counts the answers that are being read. `keeper` is a generator that closes the session when it is closed itself.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        from asyncio import Semaphore  # slow to import; a caller with a running loop has imported it

        self.loop: AbstractEventLoop | None = loop
        self.turns = Turns(loop)
        self.users = 0
        self.keeper = self._kept()
        self.is_closed = False
        self._opener = Opener(loop)
        self._connections: set[Connection] = set()
        self._idle: dict[str, list[Connection]] = {}
        self._cleaning: TimerHandle | None = None
        self._closing: Task[None] | None = None
        self._must_close = False
        self._room, self._waiting = Semaphore(CONNECTIONS), 0
        _open.add(self)

    @property
    def is_lost(self) -> bool:
        """Whether the event loop has ended and has left the session open."""
        return self.loop is None or self.loop.is_closed()

    async def open(self, origin: str, proxy: str | None, tls: Any, deadline: float) -> Connection:
        """Open a connection when there is room; see `Opener.open`."""
        if self._room.locked() and (idle := next(filter(None, self._idle.values()), None)):  # to another service
            self.discard(idle.pop())
        self._waiting += 1
        try:
            await self._room.acquire()
        finally:
            self._waiting -= 1
        try:
            connection = await self._opener.open(origin, proxy, tls, deadline)
        except BaseException:
            self._room.release()
            raise
        self._connections.add(connection)
        return connection

    def take(self, origin: str) -> Connection | None:
        """Return an idle connection to a service; `None` if there is none."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_idle and self._now() - connection.since <= IDLE_LIMIT:
                return connection
            self.discard(connection)
        return None

    def keep(self, connection: Connection) -> None:
        """Take a connection back, for the next call."""
        if self.is_closed or not connection.is_idle or self._waiting:
            self.discard(connection)
            return
        connection.since = self._now()
        self._idle.setdefault(connection.origin, []).append(connection)
        if self._cleaning is None and self.loop is not None:
            self._cleaning = self.loop.call_later(IDLE_LIMIT, self._clean)

    def discard(self, connection: Connection) -> None:
        """Close a connection."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._room.release()
        connection.abort()

    def close_when_unused(self) -> None:
        """Close the session after its last answer. Like all methods, call this in the loop's thread."""
        self._must_close = True
        self._close_unused()

    def release(self) -> None:
        """End the use by one answer."""
        self.users -= 1
        self._close_unused()

    def drop(self) -> None:
        """Close the sockets and drop the loop. Call this after the loop has ended."""
        _open.discard(self)
        for connection in self._connections:
            transport = connection.transport
            with contextlib.suppress(RuntimeError):  # the loop is closed
                transport.abort()
            # With TLS, another transport has the socket. Transports of uvloop end with their loop, without this step.
            base = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
            lost = getattr(base, "_call_connection_lost", None)
            with contextlib.suppress(Exception):
                if lost is not None:
                    lost(None)
        self._connections.clear()
        self._idle.clear()
        self.loop = self._closing = self._cleaning = self._opener = self.turns = None  # type: ignore[assignment]

    def _now(self) -> float:
        return 0.0 if self.loop is None else self.loop.time()

    def _clean(self) -> None:
        self._cleaning = None
        for connections in self._idle.values():
            kept = [one for one in connections if one.is_idle and self._now() - one.since < IDLE_LIMIT]
            for connection in set(connections).difference(kept):
                self.discard(connection)
            connections[:] = kept
        if self.loop is not None and any(self._idle.values()):
            self._cleaning = self.loop.call_later(IDLE_LIMIT, self._clean)

    def _close_unused(self) -> None:
        if self._must_close and not self.users and self._closing is None and not self.is_lost:
            # The keeper is not closed here: the loop may end now, and close the keeper at the same moment.
            self._closing = self.loop.create_task(self._closed())  # type: ignore[union-attr]  # the loop is not lost

    async def _closed(self) -> None:
        from asyncio import sleep  # slow to import; a caller with a running loop has imported it

        self.is_closed = True
        if self._cleaning is not None:
            self._cleaning.cancel()
        self._idle.clear()
        for connection in tuple(self._connections):
            self.discard(connection)
        _open.discard(self)
        await sleep(0)  # the transports end during this step of the loop

    async def _kept(self) -> AsyncGenerator[None, None]:
        """Keep the session until the loop ends.

        At its end, a loop closes its generators, and this generator closes the session.
        """
        try:
            yield
        finally:
            if self._closing is not None:
                from asyncio import wait  # slow to import; a caller with a running loop has imported it

                await wait({self._closing})
            if not self.is_closed and self.loop is not None:
                await self._closed()


class Turns:
    """Lets only some requests and reads of an event loop work in one turn; the others wait for the next turns, in their order.

    An event loop runs all that is ready in one turn. When thousands of calls begin at once, or thousands of answers come, every
    other task of the program would wait for all of them.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._left = AT_ONCE
        self._waiting: deque[Future[None]] = deque()

    def has_room(self) -> bool:
        """Take a place in this turn, and return whether there was one."""
        if self._left == AT_ONCE:
            self._loop.call_soon(self._begin)
        elif not self._left:
            return False
        self._left -= 1
        return True

    async def wait(self) -> None:
        """Wait for a place in a later turn. Call this if `has_room` returned false."""
        place = self._loop.create_future()
        self._waiting.append(place)
        await place

    def _begin(self) -> None:
        self._left = AT_ONCE
        while self._left and self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # the task was cancelled
                place.set_result(None)
                self._left -= 1
        if self._left < AT_ONCE:
            self._loop.call_soon(self._begin)


_open: set[Session] = set()
"""The sessions of all clients, referenced here so that the garbage collector never ends one."""


def drop_lost() -> None:
    """Drop the sessions whose event loop was closed without its generators, as by `loop.close()` alone."""
    for session in tuple(_open):
        if session.is_lost:
            session.drop()
