"""The connections of one event loop. They end with the loop, however it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from providerhub.http._loop_timer import LoopTimers
from providerhub.http._turns import Turns

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop, Task


class Session:
    """The connections that one event loop keeps open between calls.

    Args:
        client: The connector of aiohttp.
        loop: The event loop of the session.

    Attributes:
        templates: Origin → a request of aiohttp, which tells the connector the place, the proxy and the certificates.
        timers: The timers of the answers.
        turns: Divides the work of the answers among the turns of the loop.
        timeout: The last connect timeout, in the form that the connector wants.
        keeper: A generator that closes the session when it is closed itself.
        users: How many answers are being read on the session.
        is_closed: Whether the session was closed, with the connections of the answers that are being read.
    """

    def __init__(self, client: Any, loop: AbstractEventLoop) -> None:
        self.client = client
        self.templates: dict[str, Any] = {}
        self.timers: Any = LoopTimers(loop)
        self.turns = Turns(loop)
        self.timeout: Any = None
        self.users = 0
        self.keeper = self._kept()
        self._loop: AbstractEventLoop | None = loop
        self._closing: Task[None] | None = None
        self._must_close = self.is_closed = False
        _open.add(self)

    @property
    def is_lost(self) -> bool:
        """Whether the event loop has ended and has left the session open."""
        return self._loop is None or self._loop.is_closed()

    def close_when_unused(self) -> None:
        """Close the session after its last answer. Like all methods, call this in the loop's thread."""
        self._must_close = True
        self._close_unused()

    def release(self) -> None:
        """End the use by one answer."""
        self.users -= 1
        self._close_unused()

    def drop(self) -> None:
        """Close the sockets and let go of the loop. Call this after the loop has ended."""
        _open.discard(self)
        if self.client is not None:
            self.client.drop()
            closing = self.client.close()
            try:
                closing.send(None)  # it does not wait, since the loop is closed
            except (StopIteration, RuntimeError):
                pass
            finally:
                closing.close()
        self._loop = self._closing = self.client = self.timers = None
        self.templates.clear()

    def _close_unused(self) -> None:
        if self._must_close and not self.users and self._closing is None and not self.is_lost:
            # The keeper is not closed here: the loop may end now, and close the keeper at the same moment.
            self._closing = self._loop.create_task(self._closed())  # type: ignore[union-attr]  # the loop is not lost

    async def _closed(self) -> None:
        self.is_closed = True
        await self.client.close()
        _open.discard(self)

    async def _kept(self) -> AsyncGenerator[None, None]:
        """Keep the session until the loop ends: a loop that ends closes its open generators, and this one closes the session."""
        try:
            yield
        finally:
            if self._closing is not None:
                from asyncio import wait  # slow to import; a caller with a running loop has imported it

                await wait({self._closing})
            if self.client is not None:
                await self._closed()


_open: set[Session] = set()
"""The sessions of all clients. They are held here, so that the end of one is never left to the garbage collector."""


def drop_lost() -> None:
    """Drop the sessions whose event loop was closed without its generators, as `loop.close()` alone does."""
    for session in tuple(_open):
        if session.is_lost:
            session.drop()
