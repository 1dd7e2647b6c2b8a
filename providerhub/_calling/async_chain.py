"""The asynchronous driver, which runs in the caller's own task.

A provider with `astream` is awaited. Any other provider runs in a separate thread (`pump`). Only parallel attempts are separate
tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from functools import partial
from types import coroutine
from typing import Any

from providerhub._calling.attempt import PullResult, Running, RunningAttempt, StoppedError
from providerhub._calling.driver import Driver, Effect, Result, Steps
from providerhub._calling.pieces import SignalledError, close_quietly, iterator, note_unclosed, overdue, stray_cancel, unsignalled
from providerhub._calling.pump import Pump, resolve
from providerhub._finding.jobs import Job, arun_all
from providerhub._rules.clock import LONGEST_SLEEP, Clock, SystemClock
from providerhub._values import Request
from providerhub._values.errors import PluginError, ProviderConnectionError
from providerhub._values.provider import CallContext, Piece

GRACE = 0.1
"""Seconds that a failed or cancelled call waits for a provider's thread, which may ignore its `CallContext`."""

Attempt = RunningAttempt[AsyncIterator[Piece], "asyncio.Future[PullResult]"]


class AsyncChain(Driver[Attempt]):
    kind = RunningAttempt
    _supervisor: asyncio.Task[None] | None = None

    async def run(self, running: Running) -> None:
        """Run until the whole answer (without streaming) or the first content; until then the call is in `running`."""
        self._loop = running_loop()
        try:
            running.calls.add(self)
            if running.is_over:
                self.stop()
            await finished(self._carry_out(self._engine.start(self._now())))  # type: ignore[misc]  # mypy loses the result None
        except BaseException as error:
            await self._give_up(error)
            raise
        finally:
            running.calls.discard(self)

    def stop(self) -> None:
        """Cancel the call from any thread. Its own task then ends the attempts."""
        self._stopped = True
        self._wake()
        with contextlib.suppress(RuntimeError):  # its event loop is closed
            self._loop.call_soon_threadsafe(self._cut_others, None)

    async def read(self, *, as_text: bool) -> AsyncIterator[Any]:  # noqa: C901, PLR0912 -- a token must not pay for more calls
        """Yield the committed stream: each non-empty text with `as_text`, otherwise each event."""
        self.refuse_lost()
        # Python up to 3.11 would look for the loop at each piece.
        current_task = partial(asyncio.current_task, self._loop)
        now, deadline = self._now, self._deadline
        timer = self._loop.call_later(max(0.0, deadline - now()), lambda: None if self.done else self._cut_late(self._current))
        try:
            for first in self._shown(self._current.head, as_text=as_text):
                yield first
            while not self.done:
                attempt = self._current
                add, as_event, text = attempt.assembly.add, attempt.assembly.as_event, attempt.assembly.text
                attempt.task = current_task()
                try:
                    async for piece in self._pieces():
                        attempt.task = None  # the consumer's time begins: a cancellation now is not for the attempt
                        if not as_text:
                            add(piece)
                            yield as_event(piece)
                        elif type(piece) is str:
                            if piece:
                                text.append(piece)
                                yield piece
                        elif found := self._added(piece):
                            yield found
                        if now() > deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                        attempt.task = current_task()
                    if attempt.is_late:  # a provider's thread was stopped; the end of its pieces is not the end of the answer
                        raise overdue()  # noqa: TRY301 -- as above
                    self._read_output(attempt)
                except (Exception, asyncio.CancelledError) as error:  # any exception of a plugin is mapped
                    if self.closed():  # another task closed the stream: the error of the cut connection is not a failure
                        return
                    for first in await finished(self._mend(self._own(error, attempt, 0), as_text=as_text)):
                        yield first
                else:
                    attempt.task = None
                    await finished(self._end())
        except StoppedError:  # closed by another task while it waited
            return
        except BaseException as error:
            await self._give_up(error)
            raise
        finally:
            timer.cancel()

    async def _give_up(self, error: BaseException) -> None:
        await self.aclose(GRACE)
        if isinstance(error, SignalledError):
            raise error.error from None

    async def aclose(self, seconds: float | None = None) -> None:
        """`abandon`, then wait until nothing of the call runs, at most `seconds` for each attempt (`None`: no limit)."""
        self.abandon()
        await self._settled(seconds)

    def refuse_lost(self) -> None:
        """Refuse another event loop too, since the first loop may have closed the connection."""
        if not self.done and running_loop() is not self._loop:
            self.abandon()
        super().refuse_lost()

    def _ask(self, attempt: Attempt, slow_after: float | None) -> Effect:
        return self._ask_watched(attempt, slow_after).__await__()

    async def _ask_watched(self, attempt: Attempt, slow_after: float | None) -> None:
        left = max(0.0, self._deadline - self._now())
        if slow_after is None or slow_after >= left:
            timer = self._loop.call_later(left, self._cut_late, attempt)
        else:
            timer = self._loop.call_later(slow_after, self._take_over, attempt)
            self._watch(attempt, slow_after, lambda: self._join(attempt))
        try:
            result = await self._ask_async(attempt)
        finally:
            timer.cancel()
        if self._supervisor is None:
            self._watch(attempt)
            attempt.result = result
            return
        attempt.runner.set_result(result)  # type: ignore[union-attr]  # the future that `_take_over` made
        await self._supervisor
        self._supervisor = None

    def _join(self, attempt: Attempt) -> bool:
        """Call `_take_over` from any thread, when an attempt is slow on the clock of a test."""
        self._loop.call_soon_threadsafe(self._take_over, attempt)
        return True

    def _take_over(self, attempt: Attempt) -> None:
        """Let a task continue the call in parallel to its first attempt, which the caller's own task pulls."""
        if self.done or attempt.runner is not None:
            return
        attempt.runner = self._loop.create_future()
        self._supervisor = self._loop.create_task(_finished(self._supervise()))

    def _cut_late(self, attempt: Attempt) -> None:
        """End an attempt whose provider ignores the deadline."""
        attempt.is_late = True
        self._cut(attempt)

    async def _ask_async(self, attempt: Attempt) -> PullResult:
        add, now, deadline, stream = attempt.assembly.add, self._now, self._deadline, self._request.stream
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # a coroutine that runs has one
        attempt.task = task
        cancelling = task.cancelling()
        try:
            attempt.pieces = await self._asked(attempt)
            async for piece in attempt.pieces:
                content = add(piece)
                if now() > deadline:
                    return overdue()
                if stream:
                    attempt.head.append(piece)
                    if content:
                        return True
            if attempt.is_late:
                return overdue()
            if task.cancelling() > cancelling:  # the cancellation ended the provider, so the answer has not ended
                raise asyncio.CancelledError  # noqa: TRY301 -- handled as a cancellation that came through
            if self._spec.output is not None:
                self._read_output(attempt)
        except BaseException as error:  # any exception of a plugin is mapped
            return self._own(error, attempt, cancelling)
        finally:
            attempt.task = None
        return False

    def _own(self, error: BaseException, attempt: Attempt, cancelling: int) -> Exception:
        """Return the failure of an attempt, from its exception. Raise the exception if the caller was cancelled."""
        try:
            attempt.task = None  # nothing is awaited here any more
            task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # as above
            if isinstance(error, Exception):
                return overdue() if attempt.is_late else unsignalled(error)
            if not isinstance(error, asyncio.CancelledError):
                raise error
            if attempt.is_cut:
                attempt.is_cut = False
                if task.uncancel() > cancelling:
                    raise error
                return overdue() if attempt.is_late else ProviderConnectionError("the attempt was cut", retryable=False)
            if task.cancelling() > cancelling:
                raise error
            return stray_cancel()
        finally:
            del error  # the frame and the error would keep each other

    async def _asked(self, attempt: Attempt) -> AsyncIterator[Piece]:
        provider: Any
        loop, instance = self._loop, self._services.registry.ready(attempt.candidate.provider)
        if instance.needs_making(loop):
            provider = await instance.aprovider(loop, max(0.0, self._deadline - self._now()))
        else:
            provider = instance.provider(loop)
        if self._spec.asker is not None:
            provider = self._spec.asker(provider)
        request = self._request_for(attempt)
        seen = self._seen(attempt)
        if callable(getattr(provider, "astream", None)):
            return seen(_native(provider, request, attempt.call))  # type: ignore[no-any-return]
        return Pump(lambda: seen(iterator(provider.stream(request, attempt.call))), loop, attempt.call)

    def _race(self, seconds: float) -> Steps[tuple[Attempt, PullResult] | None]:
        return self._race_async(seconds).__await__()

    async def _race_async(self, seconds: float) -> tuple[Attempt, PullResult] | None:
        current = self._current
        if current.runner is None:
            current.runner = asyncio.create_task(self._ask_async(current))
        running = {one.runner: one for one in self._attempts if one.runner is not None and not one.has_failed}
        over = self._loop.create_future()
        with self._timed(seconds, lambda: self._loop.call_soon_threadsafe(resolve, over)):
            await asyncio.wait({*running, over}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        runner = next((one for one in running if one.done()), None)
        if runner is None:
            return None
        first = running[runner]
        first.runner = None
        return first, runner.result()

    def _new_signal(self) -> AsyncSignal:
        return AsyncSignal(self._loop)

    def _doze(self, signal: AsyncSignal, seconds: float) -> Steps[None]:
        return signal.doze(seconds, self._services.clock).__await__()

    def _do(self, job: Job, seconds: float) -> Steps[None]:
        return arun_all([job], seconds).__await__()

    def _work(self, job: Job) -> Effect:
        return arun_all([job], max(0.0, self._deadline - self._now())).__await__()

    def __del__(self) -> None:
        # The end of the generator releases the connection, but a stream that was never read has no generator.
        if not self.done:
            self.abandon()

    def abandon(self) -> None:
        """Cancel the call: release the connection, without effect on the breaker. A second call does nothing."""
        if self._supervisor is not None:
            self._supervisor.cancel()
        super().abandon()

    def _cut(self, attempt: Attempt) -> None:
        attempt.call.cancel()
        if isinstance(attempt.pieces, Pump):
            attempt.pieces.stop()
        elif attempt.task is not None and not attempt.is_cut:
            attempt.is_cut = True
            attempt.task.cancel()

    def _settle(self, *attempts: Attempt) -> Effect:
        return self._settled(GRACE, *attempts).__await__()

    async def _settled(self, seconds: float | None, *attempts: Attempt) -> None:
        for attempt in attempts or tuple(self._attempts):
            if await _ended(attempt, seconds) and attempt in self._attempts:  # another task may have waited as well
                self._attempts.remove(attempt)


class AsyncSignal(asyncio.Event):
    """A flag that a task of an event loop waits for, and that any thread may set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._in = loop

    def set(self) -> None:
        """Set the flag. Raises RuntimeError when the event loop is closed."""
        self._in.call_soon_threadsafe(super().set)

    async def doze(self, seconds: float, clock: Clock) -> None:
        if seconds < math.inf and not isinstance(clock, SystemClock):
            await clock.asleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wait(), min(seconds, LONGEST_SLEEP))


async def _ended(attempt: Attempt, seconds: float | None) -> bool:
    """Wait for the end of an attempt and close it; false when that takes longer than `seconds`."""
    if attempt.runner is not None and not attempt.runner.done():
        await asyncio.wait([attempt.runner], timeout=seconds)
        if not attempt.runner.done():
            return False
    pieces = attempt.pieces
    if isinstance(pieces, Pump):
        pieces.stop()
        return await pieces.joined(seconds)
    attempt.pieces = None
    close = getattr(pieces, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception:  # an error while closing must hide neither the answer nor the first error
            note_unclosed()
    return True


@coroutine
def finished(steps: Steps[Result]) -> Steps[Result]:
    return (yield from steps)


async def _finished(steps: Steps[Result]) -> Result:
    return await finished(steps)


def running_loop() -> asyncio.AbstractEventLoop:
    """The running event loop. Raises `RuntimeError` without a loop, as under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        msg = "acomplete() needs a running asyncio event loop; under another library, such as trio, run complete() in a thread"
        raise RuntimeError(msg) from None


def _native(provider: Any, request: Request, call: CallContext) -> AsyncIterator[Piece]:
    pieces = provider.astream(request, call)
    begin = getattr(type(pieces), "__aiter__", None)
    if begin is None:
        close_quietly(getattr(pieces, "close", None))  # a coroutine that is not awaited would warn
        msg = f"astream() returned {type(pieces).__name__}, which is not asynchronously iterable; make it an async generator"
        raise PluginError(msg)
    return begin(pieces)  # type: ignore[no-any-return]
