"""Services that refuse, in simulated time: the number of refused requests of a batch with pacing.

The turns are real; workers and services are simulated, and the time jumps to the next event. The same seed
gives the same figures. `python refusals.py` prints them.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import sys
from collections.abc import Callable, Iterator

from providerhub import Candidate
from providerhub._rules.limits import NO_LIMITS, Limits
from providerhub._rules.pacing import Pacer, Turn

MODEL = Candidate("acme", "m", "m")


class Window:
    """Takes so many calls in each stretch of time, which begins with the first call after the last one.

    Args:
        calls: The calls in a stretch.
        seconds: The length of a stretch.
        exact: Whether the service names the rest of the stretch, and not its whole length, as the time to wait.
    """

    def __init__(self, calls: int, seconds: float, *, exact: bool = False) -> None:
        self.calls, self.seconds, self.exact = calls, seconds, exact
        self.since, self.count = -math.inf, 0

    def asked(self, now: float) -> float | None:
        """The seconds to wait that the service names; `None` where it answers."""
        if now - self.since >= self.seconds:
            self.since, self.count = now, 0
        self.count += 1
        if self.count <= self.calls:
            return None
        return self.since + self.seconds - now if self.exact else self.seconds


class Bucket:
    """Takes so many calls a second, and as many at once after a rest.

    Args:
        rate: Calls a second.
        capacity: The most calls at once.
        seconds: The seconds to wait that the service names.
    """

    def __init__(self, rate: float, capacity: float | None = None, seconds: float = 1.0) -> None:
        self.rate, self.capacity, self.seconds = rate, capacity or rate, seconds
        self.tokens, self.updated = self.capacity, 0.0

    def asked(self, now: float) -> float | None:
        """The seconds to wait that the service names; `None` where it answers."""
        self.tokens = min(self.capacity, self.tokens + (now - self.updated) * self.rate)
        self.updated = now
        if self.tokens < 1:
            return self.seconds
        self.tokens -= 1
        return None


class World:
    """Workers that send rows to a service until each has its answer.

    Args:
        service: The service.
        workers: The number of rows under way at once.
        rows: The number of rows.
        slowest: The longest time to an answer in seconds; the shortest is 5 ms, and the logarithm is evenly spread.
        seed: The seed of everything that is drawn.
        limits: The limits that are set.
    """

    def __init__(
        self, service: Window | Bucket, *, workers: int, rows: int = 500, slowest: float = 0.05, seed: int = 1,
        limits: Limits = NO_LIMITS,
    ) -> None:  # fmt: skip
        self.service, self.workers, self.rows, self.slowest = service, workers, rows, slowest
        self.rng = random.Random(seed)
        self.pacer = Pacer(self.rng.random)
        self.pacer.set_limits(("acme", ""), limits)
        self.now = 0.0
        self.seconds = 0.0
        """The time of the last answer."""
        self.answered = self.refused = self.looks = self.wakes = 0
        self.refusals: list[float] = []
        self.starts: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def run(self) -> World:
        """Let the time pass until all rows are answered."""
        left = iter(range(self.rows))
        for _ in range(self.workers):
            self._resume(self._work(left))
        while self._events:
            self.now, _, step = heapq.heappop(self._events)
            step()
        return self

    @property
    def share(self) -> float:
        """The share of the requests that were refused."""
        return self.refused / (self.refused + self.answered)

    def _work(self, left: Iterator[int]) -> Iterator[float | Turn]:
        for _ in left:
            while not (yield from self._ask()):
                pass

    def _ask(self) -> Iterator[float | Turn]:
        turn = self.pacer.join(MODEL, self.now)
        while not turn.ready:
            yield turn
            self.looks += 1
            self.pacer.look(turn, self.now)
        self.starts.append(self.now)
        yield self.rng.uniform(0.001, 0.01)  # the request travels
        after = self.service.asked(self.now)
        if after is None:
            yield math.exp(self.rng.uniform(math.log(0.005), math.log(self.slowest)))
            self.pacer.settle(turn, self.now)
            self.answered += 1
            self.seconds = self.now
            return True
        yield self.rng.uniform(0.001, 0.05)
        self.pacer.refused(turn, MODEL, self.now, after)
        self.refused += 1
        self.refusals.append(self.now)
        return False

    def _resume(self, work: Iterator[float | Turn]) -> None:
        step = next(work, None)
        if step is None:
            return
        if not isinstance(step, Turn):
            self._at(self.now + step, lambda: self._resume(work))
            return
        done = [False]

        def once(*, woken: bool) -> None:
            if not done[0]:
                done[0] = True
                step.wake = None
                self.wakes += woken
                self._resume(work)

        step.wake = lambda: self._at(self.now, lambda: once(woken=True))
        if step.due < math.inf:
            self._at(max(self.now, step.due), lambda: once(woken=False))
        if step.ready:
            self._at(self.now, lambda: once(woken=False))

    def _at(self, when: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), step))


SERVICES: dict[str, Callable[[], Window | Bucket]] = {
    "100 per 2 s": lambda: Window(100, 2.0),
    "100 per 2 s, says the rest": lambda: Window(100, 2.0, exact=True),
    "5 per 2 s": lambda: Window(5, 2.0),
    "20 a second": lambda: Bucket(20.0),
    "20 a second, 100 at once": lambda: Bucket(20.0, 100.0),
    "300 a minute": lambda: Window(300, 60.0, exact=True),
    "300 a minute, says a minute": lambda: Window(300, 60.0),
    "3 a minute": lambda: Bucket(0.05, 3.0, 20.0),
}


def table(seed: int) -> str:
    """The figures of all services, a line each."""
    lines = [["service", "workers", "slowest answer", "answered", "refused", "share", "seconds"]]
    for name, service in SERVICES.items():
        for workers in (8, 64):
            for slowest in (0.05, 0.5, 2.0):
                rows = 30 if name == "3 a minute" else 500
                world = World(service(), workers=workers, slowest=slowest, seed=seed, rows=rows).run()
                counts = [str(world.answered), str(world.refused), f"{world.share:.1%}", f"{world.seconds:.1f}"]
                lines.append([name, str(workers), f"{slowest} s", *counts])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


if __name__ == "__main__":
    sys.stdout.write(table(int(sys.argv[1]) if len(sys.argv) > 1 else 1) + "\n")
