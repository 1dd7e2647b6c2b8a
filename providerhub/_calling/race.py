"""Attempts that are pulled in threads of their own, so that a caller can wait for whichever lands first.

Only hedged calls come here: any other is pulled in the caller's own thread.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from providerhub._calling.driver import Flight, Landing, close_quietly
from providerhub._rules.clock import LONGEST_SLEEP

_numbers = itertools.count(1)

Pull = Callable[[Flight], Landing]
Landed = tuple[Flight, Landing | BaseException]


class Runner(threading.Thread):
    """One attempt's thread.

    Args:
        flight: The attempt.
        pull: Pulls it, up to its landing.
        landed: Takes runner and landing.
    """

    def __init__(self, flight: Flight, pull: Pull, landed: Callable[[Landed], object]) -> None:
        super().__init__(name=f"providerhub-hedge-{next(_numbers)}", daemon=True)
        self._flight = flight
        self._pull = pull
        self._landed = landed
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._dropped = False
        self._over = False

    def run(self) -> None:
        """Pull, and report; what was dropped meanwhile is closed here, where it ran."""
        landing: Landing | BaseException
        try:
            landing = self._context.run(self._pull, self._flight)
        except BaseException as error:  # noqa: BLE001 -- raised by whoever waits
            landing = error
        with self._lock:
            self._over = True
            dropped = self._dropped
        if dropped:
            close_quietly(getattr(self._flight.pieces, "close", None))
        else:
            self._landed((self._flight, landing))

    def drop(self) -> None:
        """Nobody waits for it any more. Does not wait for the thread's end."""
        self._flight.call.cancel()
        with self._lock:
            self._dropped = True
            over = self._over
        if over:
            close_quietly(getattr(self._flight.pieces, "close", None))


class Race:
    """The attempts of one call.

    Args:
        pull: Pulls one of them, up to its landing.
    """

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._landings: SimpleQueue[Landed] = SimpleQueue()

    def enter(self, flight: Flight) -> None:
        """Let an attempt run; a second call for the same one does nothing."""
        if flight.runner is None:
            runner = Runner(flight, self._pull, self._landings.put)
            try:
                runner.start()
            except RuntimeError as error:
                self._landings.put((flight, OSError(f"no thread can be started for the attempt: {error}")))
            else:
                flight.runner = runner

    def landed(self, seconds: float) -> tuple[Flight, Landing] | None:
        """Wait for the next landing.

        Args:
            seconds: How long at most.

        Returns:
            The attempt and its landing, or `None` when the time is over.

        Raises:
            BaseException: An attempt ended in something that is no `Exception`.
        """
        try:
            flight, landing = self._landings.get(timeout=min(seconds, LONGEST_SLEEP))
        except Empty:
            return None
        flight.runner = None
        if isinstance(landing, bool | Exception):
            return flight, landing
        raise landing
