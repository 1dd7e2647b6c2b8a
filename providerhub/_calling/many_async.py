"""Many calls at once, each a task of the running event loop."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from providerhub._calling.many_call import Repeats, checked_request
from providerhub._calling.many_gates import Gates, Holds
from providerhub._calling.many_input import Ended, Put, ReadyInput, Taken, ThreadInput
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.many_rows import Row, WaitingRows
from providerhub._calling.many_schedule import Ask, Give, Rest, Schedule, Send
from providerhub._rules.clock import Clock, SystemClock
from providerhub._rules.policy import Rng
from providerhub._values import Completion, RetryPolicy

if TYPE_CHECKING:  # slow to import; a program that has an event loop has imported it
    from asyncio import AbstractEventLoop, Queue, Semaphore, Task

AsyncComplete = Callable[..., Awaitable[Completion]]
"""`Hub.acomplete` without a stream."""


class AsyncMany:
    """Many calls under way, each in a task of its own.

    Args:
        complete: Makes one call; it returns an awaitable.
        holds: Returns the seconds for which every candidate of a request is paused.
        requests: The input, one mapping for each call.
        concurrency: The most calls at once.
        passes: The most further tries of a request whose failure may pass.
        retry: The policy of requests that name none.
        clock: Gives the time and sleeps, as the hub was given it.
        rng: Returns random numbers from 0 up to 1, which spread the backoff.
    """

    def __init__(
        self,
        complete: AsyncComplete,
        holds: Holds,
        requests: Iterable[Any] | AsyncIterable[Any],
        *,
        concurrency: int,
        passes: int,
        retry: RetryPolicy,
        clock: Clock,
        rng: Rng,
    ) -> None:
        self._complete = complete
        self._requests = requests
        self._clock = clock
        self._context = contextvars.copy_context()
        self._waiting = WaitingRows()
        self._tasks: dict[Task[Completion], int] = {}
        self._schedule = Schedule(
            Gates(holds), concurrency=concurrency, passes=passes, retry=retry, rng=rng, waiting=self._waiting,
            request=lambda item: item,
        )  # fmt: skip

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield each outcome. Every way out cancels the tasks and waits for their end.

        Raises:
            Exception: The exception of the input, or the error for which nothing more is sent.
        """
        import asyncio  # slow to import; a program that has an event loop has imported it

        events: Queue[Any] = asyncio.Queue()
        source = self._source(events, asyncio.get_running_loop())
        try:
            while True:
                while not events.empty():
                    self._note(events.get_nowait())
                order = self._schedule.next(self._clock.monotonic())
                if isinstance(order, Give):
                    yield order.outcome
                elif isinstance(order, Send):
                    task = asyncio.create_task(self._call(order.row), context=self._context.copy())
                    self._tasks[task] = order.row.index
                    task.add_done_callback(events.put_nowait)
                elif isinstance(order, Ask):
                    source.ask()
                elif isinstance(order, Rest):
                    await self._rest(order.seconds, events)
                else:
                    break
            if order.error is not None:
                raise order.error
        finally:
            self._waiting.close()
            source.stop()
            left: list[Task[Any]] = [*self._tasks, *([source.task] if isinstance(source, TaskInput) else [])]
            for task in self._tasks:
                task.cancel()
            if left:
                await asyncio.wait(left)

    def _source(self, events: Queue[Any], loop: AbstractEventLoop) -> ReadyInput | ThreadInput | TaskInput:
        requests = self._requests
        if isinstance(requests, AsyncIterable):
            return TaskInput(requests, events.put_nowait, self._context)
        if isinstance(requests, list | tuple):
            return ReadyInput(requests, events.put_nowait)

        def put(answer: Taken | Ended) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(events.put_nowait, answer)

        return ThreadInput(requests, put, self._context, grace=0.0)

    async def _call(self, row: Row) -> Completion:
        arguments = checked_request(row.index, row.request)
        repeats = Repeats(self._schedule.policy(row))
        while True:
            try:
                return await self._complete(**arguments)
            except Exception as error:
                seconds = repeats.after(error)
                if seconds is None:
                    raise
            await self._clock.asleep(seconds)

    def _note(self, event: Any) -> None:
        """Report an event to the schedule.

        Raises:
            BaseException: A call ended in an exception that is not an `Exception`.
        """
        now = self._clock.monotonic()
        if isinstance(event, Taken):
            self._schedule.taken(event.item, now)
        elif isinstance(event, Ended):
            self._schedule.ended(event.error)
        else:
            index = self._tasks.pop(event)
            error = None if event.cancelled() else event.exception()
            if event.cancelled():
                self._schedule.failed(index, RuntimeError(f"the task of requests[{index}] was cancelled from outside"), now)
            elif error is None:
                self._schedule.answered(index, event.result())
            elif isinstance(error, Exception):
                self._schedule.failed(index, error, now)
            else:
                raise error

    async def _rest(self, seconds: float | None, events: Queue[Any]) -> None:
        import asyncio  # see above

        if seconds is not None and not isinstance(self._clock, SystemClock):
            if not self._tasks:  # the time of a test's clock passes in its sleeps only
                await self._clock.asleep(seconds)
                return
            seconds = None
        try:
            async with asyncio.timeout(seconds):
                event = await events.get()
        except TimeoutError:
            return
        self._note(event)


class TaskInput:
    """An async iterable, which is read in one task, one item for each `ask`.

    Args:
        items: The async iterable that is read, one item at each `ask`.
        put: Called with each answer.
        context: The context of the caller; the iterable sees a copy.
    """

    def __init__(self, items: AsyncIterable[Any], put: Put, context: contextvars.Context) -> None:
        import asyncio  # see above

        self._items = items
        self._put = put
        self._asked: Semaphore = asyncio.Semaphore(0)
        self.task = asyncio.create_task(self._run(), context=context.copy())

    def ask(self) -> None:
        """Ask for one item. Does not wait for it."""
        self._asked.release()

    def stop(self) -> None:
        """Ask for nothing more, and cancel the task."""
        self.task.cancel()

    async def _run(self) -> None:
        await self._asked.acquire()
        try:
            async for item in self._items:
                self._put(Taken(item))
                await self._asked.acquire()
        except Exception as error:  # raised in the caller, after the outcomes of all items that were taken
            self._put(Ended(error))
        except BaseException as error:
            self._put(Ended(RuntimeError(f"the input ended in {type(error).__name__}")))
            raise
        else:
            self._put(Ended(None))
