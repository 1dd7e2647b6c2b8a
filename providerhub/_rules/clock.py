"""The clock of a hub: the system's clock, or a clock that a test passes."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds, and two ways to sleep 0 or more seconds. `providerhub.testing.FakeClock` sleeps in no time."""

    def monotonic(self) -> float:
        """The present time in seconds, which never goes back."""

    def sleep(self, seconds: float) -> object:
        """Sleep in the calling thread."""

    async def asleep(self, seconds: float) -> object:
        """Sleep in the calling task."""


LONGEST_SLEEP = 1e6  # seconds; the platform refuses longer sleeps


class SystemClock:
    """The system's monotonic clock, which ignores jumps of the wall clock. Its methods are those of `Clock`."""

    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, LONGEST_SLEEP))

    async def asleep(self, seconds: float) -> None:
        import asyncio  # slow to import; a running loop has imported it already

        await asyncio.sleep(min(seconds, LONGEST_SLEEP))
