"""Calls a function at a deadline, or when a call is cancelled, within one event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop


class LoopTimer:
    """A timer of an event loop whose deadline can be moved. A later deadline costs no new timer of the loop.

    Args:
        loop: The running event loop.
        clock: Returns monotonic seconds. It may be a test's; the waiting itself uses the loop's clock.
        due: The deadline, in seconds of `clock`.
        callback: Called in the event loop at the deadline or after `cancel`. It must not block.

    Attributes:
        expired: The deadline has passed.
        cancelled: `cancel` was called.
    """

    __slots__ = ("_callback", "_due", "_handle", "_loop", "_offset", "_scheduled", "cancelled", "expired")

    def __init__(self, loop: AbstractEventLoop, clock: Callable[[], float], due: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback: Callable[[], object] | None = callback
        self._offset = loop.time() - clock()
        self._due = due
        self._schedule()
        self.expired = False
        self.cancelled = False

    def move(self, due: float) -> None:
        """Set another deadline.

        Args:
            due: The new deadline, in seconds of `clock`.
        """
        self._due = due
        if due < self._scheduled and self._callback is not None:
            self._handle.cancel()
            self._schedule()

    def set_callback(self, callback: Callable[[], object]) -> None:
        """Replace the callback. It is called at once if the timer was cancelled before.

        Args:
            callback: The new callback.
        """
        self._callback = callback
        if self.cancelled:
            callback()

    def cancel(self) -> None:
        """Call the callback as soon as the event loop runs. Any thread may call this."""
        self.cancelled = True
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everything in it
            self._loop.call_soon_threadsafe(self._run)

    def is_over(self) -> bool:
        """Return whether the deadline has passed or the timer was cancelled."""
        return self.expired or self.cancelled

    def stop(self) -> None:
        """Stop the timer. Its callback is not called any more."""
        self._handle.cancel()
        self._callback = None

    def _look(self) -> None:
        if self._due + self._offset > self._loop.time():
            self._schedule()
        else:
            self.expired = True
            self._run()

    def _schedule(self) -> None:
        self._scheduled = self._due
        self._handle = self._loop.call_at(self._due + self._offset, self._look)

    def _run(self) -> None:
        if self._callback is not None:
            self._callback()
