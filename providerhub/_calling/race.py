"""Attempts of one call in threads of their own, so that the caller can wait for the first that ends its pull.

Only hedged calls come here. Any other call is pulled in the caller's own thread.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

from providerhub._calling.driver import PullResult, RunningAttempt, close_quietly
from providerhub._rules.clock import LONGEST_SLEEP
from providerhub._values.provider import Piece

_numbers = itertools.count(1)

Racer = RunningAttempt[Iterator[Piece], "Runner"]
Ask = Callable[[Racer], PullResult]
Ended = tuple[Racer, PullResult | BaseException]


class Runner(threading.Thread):
    """The thread of one attempt.

    Args:
        attempt: The attempt to run.
        ask: Asks the provider and pulls.
        ended: Called with the attempt and the result of its pull.
    """

    def __init__(self, attempt: Racer, ask: Ask, ended: Callable[[Ended], object]) -> None:
        super().__init__(name=f"providerhub-hedge-{next(_numbers)}", daemon=True)
        self._attempt = attempt
        self._ask = ask
        self._ended = ended
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._dropped = False
        self._over = False

    def run(self) -> None:
        """Pull and report. An attempt that was dropped meanwhile is closed here, in the thread where it ran."""
        result: PullResult | BaseException
        try:
            result = self._context.run(self._ask, self._attempt)
        except BaseException as error:  # raised in the thread that waits
            result = error
        with self._lock:
            self._over = True
            dropped = self._dropped
        if dropped:
            close_quietly(getattr(self._attempt.pieces, "close", None))
        else:
            self._ended((self._attempt, result))

    def drop(self) -> None:
        """Cancel the attempt. Does not wait for the thread's end."""
        self._attempt.call.cancel()
        with self._lock:
            self._dropped = True
            over = self._over
        if over:
            close_quietly(getattr(self._attempt.pieces, "close", None))


class Race:
    """The attempts of one call that run side by side.

    Args:
        ask: Asks one provider and pulls.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._ends: SimpleQueue[Ended] = SimpleQueue()

    def enter(self, attempt: Racer) -> None:
        """Start an attempt's thread. A second call for the same attempt does nothing."""
        if attempt.runner is None:
            runner = Runner(attempt, self._ask, self._ends.put)
            try:
                runner.start()
            except RuntimeError as error:
                self._ends.put((attempt, OSError(f"no thread can be started for the attempt: {error}")))
            else:
                attempt.runner = runner

    def first(self, seconds: float) -> tuple[Racer, PullResult] | None:
        """Wait for the next attempt to end its pull.

        Args:
            seconds: The longest time to wait.

        Returns:
            The attempt and its result, or `None` when the time is over.

        Raises:
            BaseException: The attempt ended in an exception that is not an `Exception`, such as `KeyboardInterrupt`.
        """
        try:
            attempt, result = self._ends.get(timeout=min(seconds, LONGEST_SLEEP))
        except Empty:
            return None
        attempt.runner = None
        if isinstance(result, bool | Exception):
            return attempt, result
        raise result
