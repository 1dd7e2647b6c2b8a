"""A clock that moves only when it is told to."""

from __future__ import annotations

import math
import threading


class FakeClock:
    """Monotonic seconds under the test's control; sleeping on it takes no time.

    Pass the clock itself where a clock is wanted (calling it gives the time), and its methods as `sleep` or as an
    asynchronous `sleep`. Safe to use from several threads.

    Args:
        start: The first reading, in seconds. Not zero by default, so that "never" and "at the start" stay apart.

    Attributes:
        sleeps: Every sleep asked for so far, in seconds, in order.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._lock = threading.Lock()
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        """Give the time, in seconds."""
        return self._now

    def monotonic(self) -> float:
        """Give the time, in seconds, under the name that `time` has for it."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass without a sleep.

        Args:
            seconds: How much; not negative, since this clock is monotonic.

        Raises:
            ValueError: It is negative or not finite.
        """
        with self._lock:
            self._now += _checked(seconds)

    def sleep(self, seconds: float) -> None:
        """Note a sleep and let its time pass at once.

        Args:
            seconds: How long; not negative.

        Raises:
            ValueError: It is negative or not finite, as `time.sleep` would have it.
        """
        with self._lock:
            self._now += _checked(seconds)
            self.sleeps.append(seconds)

    async def asleep(self, seconds: float) -> None:
        """Note a sleep, let its time pass at once, and let the other tasks of the event loop run.

        Args:
            seconds: How long; not negative.

        Raises:
            ValueError: It is negative or not finite.
        """
        import asyncio  # slow to import, and a synchronous test needs none of it

        self.sleep(seconds)
        await asyncio.sleep(0)


def _checked(seconds: float) -> float:
    if not math.isfinite(seconds) or seconds < 0:
        msg = f"seconds must be finite and not negative, not {seconds!r}"
        raise ValueError(msg)
    return seconds
