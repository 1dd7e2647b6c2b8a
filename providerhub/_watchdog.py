"""One thread that ends what takes too long: socket timeouts hold for a single read, not for a phase.

A guard carries a moment that its owner may move at any time by plain assignment. The thread looks at it when the moment it
last knew of has come, so moving it later costs nothing.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable

_LONGEST_WAIT = 3600.0
"""Seconds; the platform refuses to wait for arbitrarily long."""


class Guard:
    """Something to be ended at a moment.

    Args:
        deadline: The moment, in monotonic seconds.
        end: Ends it; called from the watchdog's thread, at most once. It must not block.
    """

    __slots__ = ("deadline", "end", "expired", "released", "scheduled")

    def __init__(self, deadline: float, end: Callable[[], object]) -> None:
        self.deadline = deadline
        self.scheduled = deadline
        self.end = end
        self.expired = False
        self.released = False

    def move(self, deadline: float) -> None:
        """Set another moment."""
        self.deadline = deadline
        if deadline < self.scheduled:
            WATCHDOG.watch(self)


class Watchdog:
    """The thread and its heap; the thread is started when it is first needed, and anew in a forked child."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._heap: list[tuple[float, int, Guard]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, guard: Guard) -> None:
        """Look after a guard until it is released."""
        with self._changed:
            guard.scheduled = guard.deadline
            heapq.heappush(self._heap, (guard.scheduled, next(self._count), guard))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="providerhub-watchdog", daemon=True)
                self._thread.start()
            elif self._heap[0][2] is guard:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                guard = self._due()
            if guard is not None:
                guard.expired = True
                guard.end()

    def _due(self) -> Guard | None:
        """The next guard whose moment has come, after waiting for it; `None` when the heap has changed meanwhile."""
        if not self._heap:
            self._changed.wait()
            return None
        moment, _, guard = self._heap[0]
        if guard.released:
            heapq.heappop(self._heap)
            return None
        wait = moment - time.monotonic()
        if wait > 0:
            self._changed.wait(min(wait, _LONGEST_WAIT))
            return None
        heapq.heappop(self._heap)
        if guard.deadline > moment:
            guard.scheduled = guard.deadline
            heapq.heappush(self._heap, (guard.deadline, next(self._count), guard))
            return None
        return guard


WATCHDOG = Watchdog()
"""The process's one watchdog."""
