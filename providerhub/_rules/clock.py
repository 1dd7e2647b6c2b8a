"""The time that a hub goes by: the system's, unless a test hands in its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds and two ways to let some of them pass. `providerhub.testing.FakeClock` is one that takes no time."""

    def monotonic(self) -> float:
        """The time in seconds; it never goes back."""
        ...  # pragma: no cover -- a protocol's method is never run

    def sleep(self, seconds: float) -> object:
        """Let time pass in the calling thread.

        Args:
            seconds: How long; not negative.
        """
        ...  # pragma: no cover -- a protocol's method is never run

    async def asleep(self, seconds: float) -> object:
        """Let time pass in the calling task.

        Args:
            seconds: How long; not negative.
        """
        ...  # pragma: no cover -- a protocol's method is never run


LONGEST_SLEEP = 1e6
"""Seconds; the platform refuses to wait for arbitrarily long."""


class SystemClock:
    """The system's monotonic clock: a jump of the wall clock changes nothing."""

    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        """Let time pass in the calling thread.

        Args:
            seconds: How long; not negative.
        """
        time.sleep(min(seconds, LONGEST_SLEEP))

    async def asleep(self, seconds: float) -> None:
        """Let time pass in the calling task.

        Args:
            seconds: How long; not negative.
        """
        import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

        await asyncio.sleep(min(seconds, LONGEST_SLEEP))
