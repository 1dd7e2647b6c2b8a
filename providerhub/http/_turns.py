"""Divides the work of thousands of answers among the turns of their event loop."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop, Future

AT_ONCE = 32
"""How many requests and reads work in one turn of an event loop. Together they take some milliseconds."""


class Turns:
    """Lets only some requests and reads of an event loop work in one turn; the others wait for the next turns, in their order.

    An event loop runs all that is ready in one turn. When thousands of calls begin at once, or thousands of answers come, each
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
        """Begin a turn with those that wait."""
        self._left = AT_ONCE
        while self._left and self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # the task was cancelled
                place.set_result(None)
                self._left -= 1
        if self._left < AT_ONCE:
            self._loop.call_soon(self._begin)
