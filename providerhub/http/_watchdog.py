"""One thread that ends what takes too long: socket timeouts hold for a single read, not for a phase.

A guard carries a moment that its owner may move at any time. The thread sleeps until the earliest moment that it knew of, and
then looks at all guards anew; so moving a guard later, adding one and releasing one cost no lock and no change of threads.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("providerhub")

_LONGEST_WAIT = 3600.0
"""Seconds; the platform refuses to wait for arbitrarily long."""


class Guard:
    """Something to be ended at a moment.

    Args:
        deadline: The moment, in monotonic seconds.
        end: Ends it; called from the watchdog's thread, at most once. It must not block.
    """

    __slots__ = ("deadline", "end", "expired")

    def __init__(self, deadline: float, end: Callable[[], object]) -> None:
        self.deadline = deadline
        self.end = end
        self.expired = False

    def move(self, deadline: float) -> None:
        """Set another moment. To set a later one, assigning to `deadline` is enough.

        Args:
            deadline: The moment, in monotonic seconds.
        """
        self.deadline = deadline
        if deadline < WATCHDOG.next_look:
            WATCHDOG.look()

    def due(self, now: float) -> float:  # noqa: ARG002 -- for guards that look closer once their moment has come
        """The moment that holds; asked by the watchdog's thread.

        Args:
            now: What time it is, in monotonic seconds.
        """
        return self.deadline


class Watchdog:
    """The thread and its guards; the thread is started when it is first needed, and anew in a forked child.

    Attributes:
        next_look: The moment at which the thread looks at the guards; whoever sets an earlier deadline calls `look`.
    """

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        # What is entered is the lock itself: whoever Ctrl-C interrupts while entering a `Condition` may leave it locked for ever.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._guards: set[Guard] = set()
        self._thread: threading.Thread | None = None
        self.next_look = math.inf

    def watch(self, guard: Guard) -> None:
        """Look after a guard until it is released.

        Args:
            guard: The guard.
        """
        # Adding to, removing from and copying a set are atomic. The thread raises `next_look` before it copies, so that a guard
        # is either in the copy or finds its own moment to be the earlier one.
        self._guards.add(guard)
        if guard.deadline < self.next_look:
            self.look()

    def release(self, guard: Guard) -> None:
        """Forget a guard. A second call does nothing.

        Args:
            guard: The guard.
        """
        self._guards.discard(guard)

    def look(self) -> None:
        """Have the thread look at the guards now.

        Raises:
            OSError: There is none, and none can be started. The next call tries again.
        """
        with self._lock:
            # One that was interrupted while it was started may never have run.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="providerhub-watchdog", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:
                    msg = f"no thread can be started to watch the timeouts: {error}"
                    raise OSError(msg) from error
            else:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                late = self._late()
            for guard in late:
                if guard in self._guards:
                    self._guards.discard(guard)
                    guard.expired = True
                    try:
                        guard.end()
                    except Exception:  # noqa: BLE001 -- one that cannot be ended must not leave the others without a watch
                        _log.warning("ending what took too long raised", exc_info=True)

    def _late(self) -> list[Guard]:
        """The guards whose moment has come; waits for the next moment when there are none."""
        self.next_look = math.inf
        guards = list(self._guards)
        now = time.monotonic()
        moments = [(guard.due(now), guard) for guard in guards]
        late = [guard for moment, guard in moments if moment <= now]
        if not late:
            self.next_look = min((moment for moment, _ in moments), default=math.inf)
            wait = self.next_look - now
            self._changed.wait(min(wait, _LONGEST_WAIT) if wait < math.inf else None)
        return late


WATCHDOG = Watchdog()
"""The process's one watchdog."""
