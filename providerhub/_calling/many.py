"""Many calls at once: an executor makes them, and their outcomes are yielded as they end."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from providerhub._calling.attempt import POLL
from providerhub._calling.executors import executor_of
from providerhub._calling.many_call import RunningMany, check_many
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.many_schedule import Ask, Give, Over, Rest, Row, Schedule
from providerhub._calling.many_threads import ReadyInput, ThreadInput, Threads
from providerhub._calling.pieces import is_cancellation
from providerhub._finding.jobs import AGAIN
from providerhub._rules.clock import Clock, SystemClock
from providerhub._rules.mapping import chained
from providerhub._values.errors import ConfigurationError
from providerhub._watchdog import WATCHDOG

Event = Callable[[], object]  # reports to the schedule


class ManyCalls:
    """Many running calls: the part that does not wait. `complete` makes one call; `how` goes to the schedule."""

    inputs: tuple[type, ...] = (Iterable,)
    report: Callable[[Event], None]  # passes an event to the thread that reads the outcomes; for any thread
    _send: Callable[[Row], None]  # makes the call of a row

    def __init__(
        self, complete: Callable[..., Any], items: Any, *, clock: Clock, executor: Executor | str | None = None, **how: Any
    ) -> None:
        check_many(items, self.inputs, executor, concurrency=how["concurrency"], passes=how["passes"])
        self._complete, self._items, self._clock, self._executor = complete, items, clock, executor
        self.schedule = Schedule(**how)
        self._context = contextvars.copy_context()
        self._events: Any  # a queue
        self._calls: dict[int, Any] = {}  # the future or task of each call, by the row's index

    def _steps(self, source: Any) -> Iterator[Give | Rest]:
        """Report events and execute the orders. Yields outcomes, and the waits for events."""
        while True:
            while not self._events.empty():
                self._events.get_nowait()()
            order = self.schedule.next(self._clock.monotonic())
            if isinstance(order, Over):
                break
            if isinstance(order, Row):
                self._send(order)
            elif isinstance(order, Ask):
                while not source.ask():
                    yield Rest(AGAIN)
            else:
                yield order
        if order.error is not None:
            raise order.error

    def _source(self, kind: Callable[..., Any]) -> Any:
        """The input: a list or tuple is read at once, anything else by `kind`."""
        schedule, report = self.schedule, self.report
        if type(self._items) in {list, tuple}:
            return ReadyInput(self._items, schedule.taken, schedule.ended)
        return kind(
            self._items,
            lambda item: report(partial(schedule.taken, item)),
            lambda error: report(partial(schedule.ended, error)),
            self._context,
        )

    def _end(self, index: int) -> None:
        """Report the end of a call. An exception that is not an `Exception`, such as `KeyboardInterrupt`, is raised."""
        made = self._calls.pop(index)
        error: BaseException | None
        try:
            error = made.exception()
        except Exception as cancelled:  # the executor was shut down before this call began
            error = cancelled
        except BaseException as cancelled:
            if not is_cancellation(cancelled):
                raise
            error = RuntimeError(f"the task of requests[{index}] was cancelled from outside")
        if error is None:
            self.schedule.answered(index, made.result())
        elif isinstance(error, BrokenExecutor):
            self.schedule.lost(index, error, self._clock.monotonic())
        elif isinstance(error, Exception):
            self.schedule.failed(index, error, self._clock.monotonic())
        else:
            raise error


class Many(ManyCalls):
    def __init__(self, *calls: Any, **how: Any) -> None:
        super().__init__(*calls, **how)
        self._numbers = itertools.count()
        self._batch = uuid4().hex if self._executor else ""
        self._running = RunningMany(self._context)
        self._events = SimpleQueue()
        self.is_blocked = False
        self._process = WATCHDOG.process

    def report(self, event: Event) -> None:
        """Pass an event to the thread that reads the outcomes. A signal handler may call this."""
        self._events.put(event)

    def drain(self) -> int:
        """Send nothing more; for a signal handler. Returns the number of running calls. `pairs` ends after the last of them."""
        self.report(self.schedule.drain)
        return len(self.schedule.running)

    def outcomes(self) -> Generator[Outcome, None, None]:
        with contextlib.closing(self.pairs()) as pairs:
            for _, outcome in pairs:
                yield outcome

    def pairs(self) -> Generator[tuple[Any, Outcome], None, None]:
        """Yield each item with its outcome. Leaving early, in any way, cancels the other calls and ends the threads."""
        schedule = self.schedule
        pool = Threads(schedule.concurrency) if self._executor is None else self._executor
        self._pool = pool = executor_of(pool, schedule.concurrency) if isinstance(pool, str) else pool
        source = self._source(ThreadInput)
        try:
            for step in self._steps(source):
                if isinstance(step, Give):
                    yield step
                else:
                    self._rest(step.seconds)
                    getattr(pool, "grow", bool)()
        finally:
            for future in self._calls.values():
                future.cancel()
            self._running.stop()
            schedule.waiting.close()
            self.is_blocked = source.stop()
            if pool is not self._executor:
                pool.shutdown(cancel_futures=True)

    def _send(self, row: Row) -> None:
        index, again = row.index, self.schedule.policy(row) if row.error else None
        try:
            number = f"{self._batch}-{next(self._numbers)}"
            future = self._pool.submit(self._running.make, self._complete, index, row.request, again, row.call, number)
        except Exception as refusal:  # and this request must not be lost
            reasons = (cause for cause in chained(refusal) if isinstance(cause, ConfigurationError))
            self.schedule.refused(index, next(reasons, refusal))
            return
        self._calls[index] = future
        future.add_done_callback(lambda _: self.report(partial(self._end, index)))

    def _rest(self, seconds: float | None) -> None:
        if seconds is not None and not isinstance(self._clock, SystemClock):
            if not self._calls:  # the time of a test's clock passes in its sleeps only
                self._clock.sleep(seconds)
                return
            seconds = None
        if WATCHDOG.process is not self._process:
            msg = "the process was forked, and the parent makes these calls; begin complete_many() again in the child"
            raise RuntimeError(msg)
        with contextlib.suppress(Empty):
            self._events.get(timeout=POLL if seconds is None else min(seconds, POLL))()
