"""The synchronous driver, which runs in the caller's own thread. Parallel attempts have separate threads.

When the first attempt has no content after its share of the time, a supervisor's thread continues the call: it asks the next
candidate in another thread, and waits for the first content.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from providerhub._calling.attempt import PullResult, Running, RunningAttempt, StoppedError
from providerhub._calling.driver import Driver, Effect, Result, Steps
from providerhub._calling.pieces import SignalledError, close_quietly, failure_of, iterator, overdue
from providerhub._finding.jobs import AGAIN, Job, run_all
from providerhub._rules.clock import LONGEST_SLEEP, SystemClock
from providerhub._threads import PromptThread
from providerhub._values.provider import Piece
from providerhub._watchdog import WATCHDOG, Timer

_LONGEST_DOZE = 0.2 if sys.platform == "win32" else LONGEST_SLEEP
"""Seconds of one part of a wait. Under Windows, Ctrl-C waits for the end of the part."""

_numbers = itertools.count(1)

GRACE = 1.0  # seconds that an interrupted call waits for its supervisor's thread


class Racer(RunningAttempt[Iterator[Piece], "AnyRunner"], Timer):
    """An attempt in a thread. Until the attempt is slow, it is only a timer of the watchdog.

    `armed` holds the context of the call, and the function that continues it. Only one thread can take them out; this decides
    whether the attempt was fast.
    """

    armed: list[tuple[contextvars.Context, Callable[[], None]]]
    _over: threading.Event
    _is_dropped = False
    _error: BaseException | None = None

    def fire(self) -> bool:
        """Begin a supervisor, unless content has come; true if it has begun."""
        if self.call.content_at is None:
            self._over = threading.Event()
            thread = PromptThread(self._carry_on, f"providerhub-supervisor-{next(_numbers)}")
            with contextlib.suppress(RuntimeError):
                thread.start()
                return True
        return False

    def _carry_on(self) -> None:
        """Continue the call in the supervisor's thread, unless this first attempt has ended."""
        try:
            context, take_over = self.armed.pop()
        except IndexError:
            return
        self.runner = self
        try:
            context.run(take_over)
        except BaseException as error:  # raised in the caller's thread
            self._error = error
        finally:
            self._over.set()

    def join(self, interrupted: Callable[[BaseException], object]) -> None:
        """Wait, in the caller's thread, for the call's commit point or end. `interrupted` gets an exception that ends it."""
        try:
            self._over.wait()
        except BaseException as error:
            interrupted(error)
            self._over.wait(GRACE)
            raise
        if self._is_dropped:
            close_quietly(getattr(self.pieces, "close", None))
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Cancel the attempt. The caller's thread pulls and closes it."""
        self._is_dropped = True
        self.call.cancel()


Ask = Callable[[Racer], PullResult]
Ended = tuple[Racer, PullResult | BaseException]


class Runner(threading.Thread):
    def __init__(self, attempt: Racer, ask: Ask, ended: Callable[[Ended], object]) -> None:
        super().__init__(name=f"providerhub-beside-{next(_numbers)}", daemon=True)
        self._attempt = attempt
        self._ask = ask
        self._ended = ended
        self._context = contextvars.copy_context()
        self._first: dict[str, str] = {}

    def run(self) -> None:
        """Pull and report. A dropped attempt is closed here, in its own thread."""
        result: PullResult | BaseException
        try:
            result = self._context.run(self._ask, self._attempt)
        except BaseException as error:  # raised in the thread that waits
            result = error
        if self._first.setdefault("event", "end") == "end":  # atomic: the end and a drop agree on the first of them
            self._ended((self._attempt, result))
        else:
            close_quietly(getattr(self._attempt.pieces, "close", None))

    def drop(self) -> None:
        """Cancel the attempt. Does not wait for the thread's end."""
        self._attempt.call.cancel()
        if self._first.setdefault("event", "drop") == "end":
            close_quietly(getattr(self._attempt.pieces, "close", None))


AnyRunner = Runner | Racer  # the thread that pulls an attempt: its own, or the caller's


class Chain(Driver[Racer]):
    kind = Racer

    def run(self, running: Running) -> Generator[Any, bool, None] | None:
        """Run until the whole answer, or return the reader of a stream with content. Until then the call is in `running`."""
        try:
            running.calls.add(self)
            if running.is_over:
                self.stop()
            _finished(self._carry_out(self._engine.start(self._now())))
            reader = self.read() if self._request.stream else None
            if reader is not None:
                next(reader)
        except BaseException as error:
            self._give_up(error)
            raise
        finally:
            running.calls.discard(self)
        return reader

    def read(self) -> Generator[Any, bool, None]:  # noqa: C901 -- a token must not pay for calls of helper functions
        """Yield the committed stream: each non-empty text if the second `next` sends true, otherwise each event.

        The generator waits at its beginning, so that its end releases the connection even if nothing is read. A `__del__` of the
        call would run at the end of every call, and an interrupt that comes in it would be lost.
        """
        now, deadline = self._now, self._deadline
        try:
            as_text = yield
            yield  # the result of `send`
            yield from self._shown(self._current.head, as_text=as_text)
            while not self.done:
                assembly = self._current.assembly
                add, as_event, text = assembly.add, assembly.as_event, assembly.text
                try:
                    for piece in self._pieces():
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
                    self._read_output(self._current)
                    _finished(self._end())
                except BaseException as error:  # any exception of a plugin is mapped
                    failure = failure_of(error)
                    if failure is None:
                        raise
                    if self.closed():  # another thread closed the stream: the error of the cut connection is not a failure
                        return
                    yield from _finished(self._mend(failure, as_text=as_text))
        except StoppedError:  # closed by another thread while it waited
            return
        except BaseException as error:
            self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        self.abandon()
        if isinstance(error, SignalledError):
            raise error.error from None

    def _ask(self, attempt: Racer, slow_after: float | None) -> Effect:
        if slow_after is None:
            attempt.result = self._ask_here(attempt)
            return ()
        attempt.armed = [(contextvars.copy_context(), self._take_over)]
        attempt.deadline = time.monotonic() + slow_after
        try:
            WATCHDOG.start(attempt)
        except OSError:  # the system cannot start a thread
            attempt.deadline = math.inf  # the attempt goes on alone
        watch = self._services.watch
        if watch is not None:
            watch(attempt.call, slow_after, attempt.fire)
        result: PullResult | BaseException
        try:
            result = self._ask_here(attempt)
        except BaseException as error:
            result = error
        WATCHDOG.stop(attempt)
        try:
            attempt.armed.pop()
        except IndexError:  # the supervisor has begun
            self._join_race(attempt, result)
            return ()
        if watch is not None:
            watch(attempt.call, math.inf, None)
        if not isinstance(result, (bool, Exception)):
            try:
                raise result
            finally:
                del result  # the frame and the error would keep each other
        attempt.result = result
        return ()

    def _join_race(self, attempt: Racer, result: PullResult | BaseException) -> None:
        """Give the supervisor the result of the first attempt, and wait until it has ended the call."""

        def interrupted(error: BaseException) -> None:
            self.stop()
            self._ends.put((attempt, error))

        self._ends.put((attempt, result))
        attempt.join(interrupted)

    def _take_over(self) -> None:
        """Begin a race in which the caller's thread pulls the first attempt. Called in the supervisor's thread."""
        self._ends: SimpleQueue[Ended | None] = SimpleQueue()  # `None` if the clock of a test ends the wait
        _finished(self._supervise())

    def _ask_here(self, attempt: Racer) -> PullResult:
        add, now, deadline, stream = attempt.assembly.add, self._now, self._deadline, self._request.stream
        try:
            provider: Any = self._services.registry.ready(attempt.candidate.provider).provider()
            if self._spec.asker is not None:
                provider = self._spec.asker(provider)
            pieces = iterator(provider.stream(self._request_for(attempt), attempt.call))
            attempt.pieces = pieces if self.report is None else self._seen(attempt)(pieces)
            for piece in attempt.pieces:
                content = add(piece)
                if now() > deadline:
                    return overdue()
                if stream:
                    attempt.head.append(piece)
                    if content:
                        return True
            if self._spec.output is not None:
                self._read_output(attempt)
        except BaseException as error:  # any exception of a plugin is mapped
            failure = failure_of(error)
            if failure is None:
                raise
            return failure
        return False

    def _race(self, seconds: float) -> Steps[tuple[Racer, PullResult] | None]:
        yield from ()
        with self._timed(seconds, lambda: self._ends.put(None)):
            current = self._current
            if current.runner is None:
                runner = Runner(current, self._ask_here, self._ends.put)
                try:
                    runner.start()
                except RuntimeError as error:
                    self._ends.put((current, error))
                else:
                    current.runner = runner
            while True:
                try:
                    ended = self._ends.get(timeout=min(seconds, LONGEST_SLEEP))
                except Empty:
                    return None
                if ended is None:
                    return None
                attempt, result = ended
                attempt.runner = None
                if not isinstance(result, bool | Exception):
                    try:
                        raise result
                    finally:
                        del ended, result  # as above
                if attempt in self._attempts:  # an attempt that was cut also ends, but does not win
                    return attempt, result

    def _new_signal(self) -> threading.Event:
        return threading.Event()

    def _doze(self, signal: threading.Event, seconds: float) -> Steps[None]:
        yield from ()
        clock = self._services.clock
        if isinstance(clock, SystemClock):
            end = clock.monotonic() + seconds
            while (left := end - clock.monotonic()) > 0 and not signal.wait(min(left, _LONGEST_DOZE)):
                pass
        elif seconds < math.inf:
            clock.sleep(seconds)
        else:  # the clock of a test stands until another thread gives back its turn
            signal.wait(AGAIN)

    def _do(self, job: Job, seconds: float) -> Steps[None]:
        yield from ()
        run_all([job], seconds)

    def _cut(self, attempt: Racer) -> None:
        if attempt in self._attempts:
            self._attempts.remove(attempt)
        if attempt.runner is not None:
            attempt.runner.drop()
        else:
            attempt.call.cancel()
            close_quietly(getattr(attempt.pieces, "close", None))

    def _settle(self, *attempts: Racer) -> Effect:
        for attempt in attempts or tuple(self._attempts):
            if attempt in self._attempts:
                self._attempts.remove(attempt)
                close_quietly(getattr(attempt.pieces, "close", None))
        return ()


def _finished(steps: Steps[Result]) -> Result:
    """Run the steps of a call, whose effects block and yield nothing, and return the result."""
    try:
        next(steps)
    except StopIteration as end:
        result: Result = end.value
        return result
    steps.close()
    raise RuntimeError("a step of the synchronous driver suspended")
