"""A clock that tests control."""

from __future__ import annotations

import math
import threading


class FakeClock:
    """A monotonic clock under the test's control. Sleeping on it takes no time.

    Pass the clock to `Hub(clock=...)`. Calling the clock gives the time; `sleep` and `asleep` replace `time.sleep` and
    `asyncio.sleep`. It is safe to use from several threads.

    Args:
        start: The first reading, in seconds. The default is not 0, so that "never" and "at the start" differ.

    Attributes:
        sleeps: The length of every sleep so far, in seconds, in order.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._lock = threading.Lock()
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        """Give the time, in seconds."""
        return self._now

    def monotonic(self) -> float:
        """Give the time, in seconds, like `time.monotonic`."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass without a sleep.

        Args:
            seconds: The seconds to add; at least 0.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        with self._lock:
            self._now += _checked(seconds)

    def sleep(self, seconds: float) -> None:
        """Record a sleep and let its time pass at once.

        Args:
            seconds: The length of the sleep; at least 0.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        with self._lock:
            self._now += _checked(seconds)
            self.sleeps.append(seconds)

    async def asleep(self, seconds: float) -> None:
        """Record a sleep, let its time pass at once, and let the other tasks of the event loop run.

        Args:
            seconds: The length of the sleep; at least 0.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        import asyncio  # slow to import, and a synchronous test does not need it

        self.sleep(seconds)
        await asyncio.sleep(0)


def _checked(seconds: float) -> float:
    if not math.isfinite(seconds) or seconds < 0:
        msg = f"seconds must be finite and not negative, not {seconds!r}"
        raise ValueError(msg)
    return seconds
