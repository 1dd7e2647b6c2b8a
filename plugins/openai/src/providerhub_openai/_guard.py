"""Ends what takes too long, or what nobody wants any more, within one event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import, and imported already by whoever has a running loop
    from asyncio import AbstractEventLoop


class Guard:
    """A moment, and what to do when it comes. Moving it later is a plain assignment, so that a token costs no timer.

    Args:
        loop: The running event loop.
        clock: Monotonic seconds.
        due: The moment, on `clock`. The waiting itself goes by the loop's clock: a test may have handed in another.
        end: Ends what is guarded; it must not block.
    """

    __slots__ = ("_ahead", "_due", "_end", "_handle", "_loop", "_scheduled", "ended", "expired")

    def __init__(self, loop: AbstractEventLoop, clock: Callable[[], float], due: float, end: Callable[[], object]) -> None:
        self._loop = loop
        self._end: Callable[[], object] | None = end
        self._ahead = loop.time() - clock()
        self._due = due
        self._schedule()
        self.expired = False
        self.ended = False

    def move(self, due: float) -> None:
        """Set another moment."""
        self._due = due
        if due < self._scheduled and self._end is not None:
            self._handle.cancel()
            self._schedule()

    def end_by(self, end: Callable[[], object]) -> None:
        """Say what is to be done from now on."""
        self._end = end
        if self.ended:
            end()

    def cancel(self) -> None:
        """End it now. From any thread."""
        self.ended = True
        with contextlib.suppress(RuntimeError):  # the loop is closed, and so is everything in it
            self._loop.call_soon_threadsafe(self._finish)

    def over(self) -> bool:
        """Whether the moment has come, or the call was cancelled."""
        return self.expired or self.ended

    def release(self) -> None:
        """Watch no longer."""
        self._handle.cancel()
        self._end = None

    def _look(self) -> None:
        if self._due + self._ahead > self._loop.time():
            self._schedule()
        else:
            self.expired = True
            self._finish()

    def _schedule(self) -> None:
        self._scheduled = self._due
        self._handle = self._loop.call_at(self._due + self._ahead, self._look)

    def _finish(self) -> None:
        if self._end is not None:
            self._end()
