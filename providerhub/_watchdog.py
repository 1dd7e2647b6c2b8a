"""One thread that runs timers: a socket's own timeout holds for a single read, not for a phase of many reads.

The owner of a timer may change its deadline at any time. The thread sleeps until the earliest deadline that it knows, then
reads all deadlines again. So a later deadline, a new timer and a stopped one need neither a lock nor a thread switch.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable

from providerhub._log import log as _log
from providerhub._threads import refuse_at_end, renewed_at_fork

_LONGEST_WAIT = 3600.0
"""Seconds. The platform limits how long a wait may be."""


class Timer:
    """Calls a function that does not block, at a deadline in seconds of `time.monotonic` that can be moved."""

    __slots__ = ("callback", "deadline", "expired")

    def __init__(self, deadline: float, callback: Callable[[], object]) -> None:
        self.deadline = deadline
        self.callback = callback
        self.expired = False

    def move(self, deadline: float) -> None:
        """Set another deadline, in seconds of `time.monotonic`. For a later one, assigning `deadline` is enough."""
        self.deadline = deadline
        if deadline < WATCHDOG.next_look:
            WATCHDOG.look()

    def fire(self) -> object:
        """Call the function, and return its result. The watchdog's thread calls this after the deadline."""
        return self.callback()

    def due(self, _now: float, /) -> float:
        """Return the deadline that holds at a time. The watchdog calls this; a subclass may put a passed deadline off."""
        return self.deadline


class Watchdog:
    """The thread and its timers. The thread starts when the first timer needs it, and again in a forked child.

    It next reads the deadlines at `next_look`; after setting an earlier deadline, call `look`. `process` is another object in
    each process: a forked child must not read from the connections of its parent.
    """

    def __init__(self) -> None:
        self._at_fork_reinit()
        renewed_at_fork(self)

    def _at_fork_reinit(self) -> None:
        # Code enters the lock, not the condition: Ctrl-C while entering a `Condition` may leave it locked for ever.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._timers: set[Timer] = set()
        self._thread: threading.Thread | None = None
        self.next_look = math.inf
        self.process = object()

    def start(self, timer: Timer) -> None:
        """Run a timer until its deadline or until `stop`. Raises `OSError` if no thread can be started; the next call tries.

        It also raises while the interpreter ends, because daemon threads, such as this thread, do not run any more.
        """
        if sys.is_finalizing():
            msg = "the interpreter ends, so no timeout would be kept; make the call earlier, such as in a function of atexit"
            raise OSError(msg)
        # Adding to, removing from and copying a set are atomic. The thread raises `next_look` before it copies the set, so a
        # timer is either in the copy, or finds that its deadline is before `next_look`.
        self._timers.add(timer)
        if timer.deadline < self.next_look:
            self.look()

    def stop(self, timer: Timer) -> None:
        """Stop a timer. A second call does nothing."""
        self._timers.discard(timer)

    def look(self) -> None:
        """Make the thread read the deadlines now. Raises `OSError` as `start` does."""
        with self._lock:
            # A thread whose start was interrupted may never have run.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="providerhub-watchdog", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:
                    refuse_at_end(error)
                    raise OSError(f"no thread can be started to watch the timeouts: {error}") from error
            else:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                expired = self._expired()
            for timer in expired:
                if timer in self._timers:
                    self._timers.discard(timer)
                    timer.expired = True
                    try:
                        timer.fire()
                    except Exception:  # a callback that raises must not stop the other timers
                        _log.warning("the callback of a timeout raised", exc_info=True)

    def _expired(self) -> list[Timer]:
        """Return the timers whose deadline has passed. Wait for the next deadline if there are none."""
        self.next_look = math.inf
        timers = list(self._timers)
        now = time.monotonic()
        moments = [(timer.due(now), timer) for timer in timers]
        expired = [timer for moment, timer in moments if moment <= now]
        if not expired:
            self.next_look = min((moment for moment, _ in moments), default=math.inf)
            wait = self.next_look - now
            del timers, moments  # or an answer that ends, and its event loop, would stay until the next look
            self._changed.wait(min(wait, _LONGEST_WAIT) if wait < math.inf else None)
        return expired


WATCHDOG = Watchdog()
"""The one watchdog of the process."""
