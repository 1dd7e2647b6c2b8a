"""Many calls at once: an executor makes them, and their outcomes are yielded as they end."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from providerhub._calling.many_call import Complete, InContext, Running, complete_request
from providerhub._calling.many_gates import Gates, Holds
from providerhub._calling.many_input import Ended, ReadyInput, Taken, ThreadInput
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.many_rows import IN_MEMORY, Row, WaitingRows
from providerhub._calling.many_schedule import Ask, Give, Order, Over, Schedule, Send
from providerhub._rules.clock import LONGEST_SLEEP, Clock, SystemClock
from providerhub._rules.policy import Rng
from providerhub._values import Completion, RetryPolicy

if TYPE_CHECKING:  # these and `queue` cost as much to import as the rest of a small program, and a single call needs none
    from concurrent.futures import Executor, Future


class Many:
    """Many calls under way, made by threads or another executor.

    Args:
        complete: Makes one call. It must pickle where the executor needs that.
        holds: Returns the seconds for which every candidate of a request is paused.
        items: The input: requests, or objects that hold one each.
        concurrency: The most calls at once.
        executor: Makes the calls; `None` for threads that end with the last outcome.
        passes: The most further tries of a request whose failure may pass.
        retry: The policy of requests that name none.
        clock: Gives the time and sleeps, as the hub was given it.
        rng: Returns random numbers from 0 up to 1, which spread the backoff.
        request: Returns the request of an item.
        folder: The folder of the file for the waiting rows; `None` for the system's.
        in_memory: The most waiting rows in memory.
    """

    def __init__(
        self,
        complete: Complete,
        holds: Holds,
        items: Iterable[Any],
        *,
        concurrency: int,
        executor: Executor | None,
        passes: int,
        retry: RetryPolicy,
        clock: Clock,
        rng: Rng,
        request: Callable[[Any], Any] = lambda item: item,
        folder: str | None = None,
        in_memory: int = IN_MEMORY,
    ) -> None:
        from queue import SimpleQueue  # see above

        self._complete = complete
        self._items = items
        self._concurrency = concurrency
        self._executor = executor
        self._clock = clock
        self._context = contextvars.copy_context()
        self._running = Running()
        self.is_blocked = False
        """Whether the input blocked its thread at the end."""
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._futures: dict[int, Future[Completion]] = {}
        self._waiting = WaitingRows(folder, in_memory)
        self._schedule = Schedule(
            Gates(holds), concurrency=concurrency, passes=passes, retry=retry, rng=rng, waiting=self._waiting, request=request
        )

    @property
    def under_way(self) -> int:
        """The number of calls that are being made."""
        return len(self._schedule.running)

    def drain(self) -> None:
        """Send nothing more: `pairs` ends with the last call under way. May be called by a signal handler."""
        self._schedule.drain()
        self._events.put(None)

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield each outcome, as `pairs` does."""
        with contextlib.closing(self.pairs()) as pairs:
            for _, outcome in pairs:
                yield outcome

    def pairs(self) -> Generator[tuple[Any, Outcome], None, None]:
        """Yield each item with its outcome. Every way out cancels the rest and ends the threads.

        Raises:
            Exception: The exception of the input, the executor's refusal, or the error for which nothing more is sent.
        """
        from concurrent.futures import ThreadPoolExecutor  # see above

        pool = self._executor
        if pool is None:
            pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="providerhub-many")
        items, put = self._items, self._events.put
        source = ReadyInput(items, put) if isinstance(items, list | tuple) else ThreadInput(items, put, self._context)
        try:
            while not isinstance(order := self._next(), Over):
                if isinstance(order, Give):
                    yield order
                elif isinstance(order, Send):
                    self._send(order.row, pool)
                elif isinstance(order, Ask):
                    source.ask()
                else:
                    self._rest(order.seconds)
            if order.error is not None:
                raise order.error
        finally:
            for future in self._futures.values():
                future.cancel()
            self._running.stop()
            self._waiting.close()
            self.is_blocked = source.stop()
            if self._executor is None:
                pool.shutdown(cancel_futures=True)

    def _next(self) -> Order:
        """Report all events, and ask for the next order."""
        while not self._events.empty():
            self._note(self._events.get())
        return self._schedule.next(self._clock.monotonic())

    def _send(self, row: Row, pool: Executor) -> None:
        call = InContext(self._context.copy())
        again = self._schedule.policy(row)
        try:
            future = pool.submit(call, complete_request, self._complete, self._running, row.index, row.request, again)
        except Exception as refusal:  # and this request must not be lost
            self._schedule.refused(row.index, refusal)
            return
        self._futures[row.index] = future
        future.add_done_callback(lambda done: self._events.put((row.index, done)))

    def _note(self, event: Any) -> None:
        """Report an event to the schedule.

        Raises:
            BaseException: A call ended in an exception that is not an `Exception`, such as `KeyboardInterrupt`.
        """
        now = self._clock.monotonic()
        if isinstance(event, Taken):
            self._schedule.taken(event.item, now)
        elif isinstance(event, Ended):
            self._schedule.ended(event.error)
        elif event is not None:
            index, future = event
            del self._futures[index]
            error: BaseException | None
            try:
                error = future.exception()
            except Exception as cancelled:  # the executor was shut down before this call began
                error = cancelled
            if error is None:
                self._schedule.answered(index, future.result())
            elif isinstance(error, Exception):
                self._schedule.failed(index, error, now)
            else:
                raise error

    def _rest(self, seconds: float | None) -> None:
        """Wait for an event."""
        from queue import Empty  # see above

        if seconds is not None and not isinstance(self._clock, SystemClock):
            if not self._futures:  # the time of a test's clock passes in its sleeps only
                self._clock.sleep(seconds)
                return
            seconds = None
        with contextlib.suppress(Empty):
            self._note(self._events.get(timeout=None if seconds is None else min(seconds, LONGEST_SLEEP)))
