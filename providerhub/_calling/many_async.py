"""Many calls at once, each a task of the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from functools import partial
from typing import Any

from providerhub._calling.many import Event, ManyCalls
from providerhub._calling.many_call import Repeats, checked_request, error_of_row
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.many_schedule import Give, Row
from providerhub._calling.many_threads import Report, ThreadInput, foreign
from providerhub._rules.clock import SystemClock
from providerhub._values import Completion


class TaskInput:
    """An async iterable. A task reads one item for each `ask`, in a copy of the caller's context."""

    def __init__(self, items: AsyncIterable[Any], taken: Report, ended: Report, context: contextvars.Context) -> None:
        self._items, self._taken, self._ended = items, taken, ended
        self._asked = asyncio.Semaphore(0)
        self.task = asyncio.create_task(self._run(), context=context.copy())

    def ask(self) -> bool:
        self._asked.release()
        return True

    def stop(self) -> bool:
        return self.task.cancel()

    async def _run(self) -> None:
        error: Exception | None = None
        await self._asked.acquire()
        try:
            async for item in self._items:
                self._taken(item)
                await self._asked.acquire()
        except Exception as raised:  # raised in the caller, after the outcomes of all items that were taken
            error = raised
        except BaseException as raised:
            self._ended(foreign(raised))
            raise
        self._ended(error)


class AsyncMany(ManyCalls):
    inputs = (Iterable, AsyncIterable)
    _loop: asyncio.AbstractEventLoop | None = None

    def report(self, event: Event) -> None:
        """Pass an event to the event loop. The event is lost before the first outcome is requested, and after the last."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield each outcome. Leaving early, in any way, cancels the tasks and waits for their end."""
        self._events, self._loop = asyncio.Queue(), asyncio.get_running_loop()
        source = self._source(TaskInput if isinstance(self._items, AsyncIterable) else partial(ThreadInput, grace=0.0))
        try:
            for step in self._steps(source):
                if isinstance(step, Give):
                    yield step.outcome
                else:
                    await self._rest(step.seconds)
        finally:
            self.schedule.waiting.close()
            source.stop()
            for task in self._calls.values():
                task.cancel()
            left: list[asyncio.Task[Any]] = [*self._calls.values(), *([source.task] if isinstance(source, TaskInput) else [])]
            if left:
                await asyncio.wait(left)

    def _send(self, row: Row) -> None:
        index = row.index
        task = self._calls[index] = asyncio.create_task(self._call(row), context=self._context.copy())
        task.add_done_callback(lambda _: self._events.put_nowait(partial(self._end, index)))

    async def _call(self, row: Row) -> Completion:
        arguments = checked_request(row.index, row.request)
        repeats = Repeats(self.schedule.policy(row) if row.error else None, row.call)
        while True:
            try:
                completion: Completion = await self._complete(**arguments)
            except Exception as error:
                seconds = repeats.after(error)
                if seconds is None:
                    raise error_of_row(row.index, error) from error.__cause__
            else:
                return completion
            await self._clock.asleep(seconds)

    async def _rest(self, seconds: float | None) -> None:
        if seconds is not None and not isinstance(self._clock, SystemClock):
            if not self._calls:  # the time of a test's clock passes in its sleeps only
                await self._clock.asleep(seconds)
                return
            seconds = None
        try:
            async with asyncio.timeout(seconds):
                event = await self._events.get()
        except TimeoutError:
            return
        event()
