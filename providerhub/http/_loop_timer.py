"""The timers of the answers that an event loop reads."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from providerhub._values.provider import CallContext
from providerhub.http._answer_timer import AnswerTimer

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop, TimerHandle


def _nothing() -> None:
    """Take the place of a callback that must not be called any more."""


class LoopTimers:
    """Runs the timers of one event loop with one timer of the loop, as `Watchdog` does. A later deadline does not set it again.

    Attributes:
        loop: The event loop.
        next_look: When the deadlines are read next, in seconds of the loop's clock.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.next_look = math.inf
        self._timers: set[LoopTimer] = set()
        self._handle: TimerHandle | None = None

    def start(self, timer: LoopTimer) -> None:
        """Run a timer until its deadline or until `stop`."""
        self._timers.add(timer)
        if timer.deadline < self.next_look:
            self.look_at(timer.deadline)

    def stop(self, timer: LoopTimer) -> None:
        """Stop a timer. A second call does nothing."""
        self._timers.discard(timer)

    def look_at(self, moment: float) -> None:
        """Read the deadlines at another moment."""
        if self._handle is not None:
            self._handle.cancel()
        self.next_look = moment
        self._handle = self.loop.call_at(moment, self._look)

    def _look(self) -> None:
        self.next_look, self._handle, now = math.inf, None, self.loop.time()
        soonest = math.inf
        for timer in tuple(self._timers):
            due = timer.due(now)
            if due > now:
                soonest = min(soonest, due)
            else:
                self._timers.discard(timer)
                timer.expired = True
                timer.callback()
        if soonest < self.next_look:
            self.look_at(soonest)


class LoopTimer(AnswerTimer):
    """The timer of one answer that an event loop reads. Its callback is called in the loop, at the deadline or after `cancel`.

    The clock of the call may be a test's; the waiting itself uses the loop's clock.
    """

    __slots__ = ("_timers",)

    def __init__(self, call: CallContext, timers: LoopTimers, callback: Callable[[], object] = _nothing, *, stream: bool) -> None:
        super().__init__(call, callback, stream=stream)
        self._timers = timers
        self.offset = timers.loop.time() - call.clock()
        self.deadline = self.token_due + self.offset
        timers.start(self)

    def move(self, deadline: float) -> None:
        """Set another deadline, in seconds of the loop's clock."""
        self.deadline = deadline
        if deadline < self._timers.next_look:
            self._timers.look_at(deadline)

    def cancel(self) -> None:
        """Call the callback as soon as the event loop runs. Any thread may call this."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everything in it
            self._timers.loop.call_soon_threadsafe(self._cancelled)

    def stop(self) -> None:
        """Stop the timer. Its callback is not called any more."""
        self._timers.stop(self)
        self.callback = _nothing

    def _cancelled(self) -> None:
        self.callback()
