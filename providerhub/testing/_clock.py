"""A clock that tests control."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence

from providerhub._values.provider import CallContext


class FakeClock:
    """A monotonic clock under the test's control. Sleeping on it takes no time.

    Pass the clock to `Hub(clock=...)`. Calling the clock returns the time; `sleep` and `asleep` replace `time.sleep` and
    `asyncio.sleep`. Several threads may use the clock.

    Args:
        start: The first reading, in seconds. The default is not 0, so that "never" and "at the start" differ.

    Attributes:
        sleeps: The length of every sleep so far, in seconds, in order.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._lock = threading.Lock()
        self._slow: dict[CallContext, tuple[float, Callable[[], bool]]] = {}
        self._beside: set[CallContext] = set()
        self._rests: dict[CallContext, tuple[float, Callable[[], object]]] = {}
        self._races: list[tuple[Sequence[CallContext], float, Callable[[], object]]] = []
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return the time, in seconds, like `time.monotonic`."""
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

    def watch(self, call: CallContext, slow_after: float, begin: Callable[[], bool] | None) -> None:
        """Set when an attempt is slow. A hub calls this.

        Args:
            call: The context of the attempt.
            slow_after: The seconds from now until the attempt is slow.
            begin: Called at that time. It may let another attempt begin, and returns whether it does. `None` if no other attempt
                may begin.
        """
        with self._lock:
            self._beside.discard(call)
            self._slow.pop(call, None)
            if begin is not None:
                self._slow[call] = self._now + slow_after, begin

    @contextlib.contextmanager
    def race(self, calls: Sequence[CallContext], seconds: float, over: Callable[[], object]) -> Iterator[None]:
        """In a `with` block that waits for one of several attempts, let the time pass when all of them are silent.

        A hub calls this.

        Args:
            calls: The contexts of the attempts.
            seconds: The longest wait, in seconds.
            over: Called without arguments, in any thread, after this time.

        Yields:
            Nothing, once.
        """
        with self._lock:
            race = (calls, self._now + seconds, over)
            self._beside.update(calls)
            self._races.append(race)
            self._go_on()
        try:
            yield
        finally:
            with self._lock:
                self._races.remove(race)

    def rest(self, call: CallContext, until: float, wake: Callable[[], object]) -> None:
        """Let an attempt be silent. A fake provider calls this.

        A single attempt lets the time pass at once. With several attempts, the time passes when all of them are silent.

        Args:
            call: The context of the attempt.
            until: The time at which the silence ends, in seconds.
            wake: Called without arguments, in any thread, at that time.
        """
        with self._lock:
            slow_at, begin = self._slow.get(call, (math.inf, None))
            if begin is not None and slow_at < until:
                self._now = max(self._now, slow_at)
                del self._slow[call]
                if begin():
                    self._beside.add(call)
            self._rests[call] = until, wake
            self._go_on()
            if call not in self._beside:
                self._end(call)

    def leave(self, call: CallContext) -> None:
        """Forget the silence of an attempt. A fake provider calls this.

        Args:
            call: The context of the attempt.
        """
        with self._lock:
            self._rests.pop(call, None)

    def _end(self, call: CallContext) -> None:
        until, wake = self._rests.pop(call)
        self._now = max(self._now, until)
        wake()

    def _go_on(self) -> None:
        for calls, due, over in self._races:
            if all(call in self._rests for call in calls):
                first = min(calls, key=lambda call: self._rests[call][0])
                if self._rests[first][0] <= due:
                    self._end(first)
                else:
                    self._now = max(self._now, due)
                    over()

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
