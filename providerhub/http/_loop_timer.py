"""The timer of an answer that is read in an event loop."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from providerhub._values.provider import CallContext
from providerhub.http._answer_timer import AnswerTimer

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop, TimerHandle


class LoopTimer(AnswerTimer):
    """The timer of one answer, run by an event loop. A later deadline costs no new timer of the loop.

    Args:
        call: The call: its timeouts, its deadline. Its clock may be a test's; the waiting itself uses the loop's clock.
        loop: The running event loop.
        callback: Ends the reading. Called in the event loop at the deadline or after `cancel`. It must not block.
        stream: Whether the answer is a stream.
    """

    __slots__ = ("_handle", "_loop", "_scheduled")

    def __init__(self, call: CallContext, loop: AbstractEventLoop, callback: Callable[[], object], *, stream: bool) -> None:
        super().__init__(call, callback, stream=stream)
        self._loop = loop
        self.offset = loop.time() - call.clock()
        self.deadline = self.token_due + self.offset
        self._scheduled = math.inf
        self._handle: TimerHandle | None = None
        self.move(self.deadline)

    def move(self, deadline: float) -> None:
        """Set another deadline.

        Args:
            deadline: The new deadline, in seconds of the loop's clock.
        """
        self.deadline = deadline
        if deadline < self._scheduled:
            self._schedule(deadline)

    def set_callback(self, callback: Callable[[], object]) -> None:
        """Replace the callback. It is called at once if the call was cancelled before.

        Args:
            callback: Takes the place of the earlier one.
        """
        self.callback = callback
        if self._call.cancelled:
            callback()

    def cancel(self) -> None:
        """Call the callback as soon as the event loop runs. Any thread may call this."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everything in it
            self._loop.call_soon_threadsafe(self._run)

    def stop(self) -> None:
        """Stop the timer. Its callback is not called any more."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        self.callback = _nothing

    def _schedule(self, deadline: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._scheduled = deadline
        self._handle = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        due = self.due(self._loop.time())
        if due > self._loop.time():
            self._schedule(due)
        else:
            self.expired = True
            self._run()

    def _run(self) -> None:
        self.callback()


def _nothing() -> None:
    """Take the place of a callback that must not be called any more."""
