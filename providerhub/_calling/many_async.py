"""Many calls at once, each a task of the running event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from providerhub._calling.many import Event, ManyCalls
from providerhub._calling.many_call import Repeats, checked_request, error_of_row
from providerhub._calling.many_input import TaskInput, ThreadInput
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.many_rows import Row
from providerhub._calling.many_schedule import Ask, Give, Over, Send
from providerhub._finding.jobs import AGAIN
from providerhub._rules.clock import SystemClock
from providerhub._values import Completion

if TYPE_CHECKING:  # slow to import; a program that has an event loop has imported it
    from asyncio import AbstractEventLoop, Task


class AsyncMany(ManyCalls):
    """Many calls under way, each in a task of its own."""

    inputs = (Iterable, AsyncIterable)
    _loop: AbstractEventLoop | None = None

    def report(self, event: Event) -> None:
        """Let an event be carried out in the event loop. It is lost before the first outcome is asked for, and after the last."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield each outcome. Every way out cancels the tasks and waits for their end."""
        import asyncio  # slow to import; a program that has an event loop has imported it

        self._events, self._loop = asyncio.Queue(), asyncio.get_running_loop()
        source = self._source(TaskInput if isinstance(self._items, AsyncIterable) else partial(ThreadInput, grace=0.0))
        try:
            while not isinstance(order := self._next(), Over):
                if isinstance(order, Give):
                    yield order.outcome
                elif isinstance(order, Send):
                    self._send(order.row)
                elif isinstance(order, Ask):
                    while not source.ask():
                        await self._clock.asleep(AGAIN)
                else:
                    await self._rest(order.seconds)
            if order.error is not None:
                raise order.error
        finally:
            self.schedule.close()
            source.stop()
            for task in self._calls.values():
                task.cancel()
            left: list[Task[Any]] = [*self._calls.values(), *([source.task] if isinstance(source, TaskInput) else [])]
            if left:
                await asyncio.wait(left)

    def _send(self, row: Row) -> None:
        import asyncio  # see above

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
        import asyncio  # see above

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
