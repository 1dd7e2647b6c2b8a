"""The synchronous driver: it works in the caller's own thread. Further attempts beside a slow one have threads of their own."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator

from providerhub._calling.attempt import PullResult, RunningAttempt, Signal, StoppedError
from providerhub._calling.driver import Driver, Effect, Steps, run_blocking
from providerhub._calling.pieces import close_quietly, event_of, failure_of, iterator, overdue, texts_of
from providerhub._calling.race import AnyRunner, Race, Supervisor
from providerhub._finding.jobs import AGAIN, Job, run_all
from providerhub._rules.clock import LONGEST_SLEEP, SystemClock
from providerhub._values import Event
from providerhub._values.provider import Piece

Attempt = RunningAttempt[Iterator[Piece], AnyRunner]

_LONGEST_DOZE = 0.2 if sys.platform == "win32" else LONGEST_SLEEP
"""Seconds of one part of a wait. Under Windows no signal ends such a part, so that Ctrl-C waits for its end."""


class Chain(Driver[Iterator[Piece], AnyRunner]):
    """One call under way; its arguments are those of `Driver`."""

    def run(self) -> None:
        """Go on until the answer is whole (no streaming) or its first content is there.

        Raises:
            ProviderHubError: The call has failed.
        """
        try:
            run_blocking(self._carry_out(self._engine.start(self._now())))
        except BaseException:
            self.abandon()
            raise

    def texts(self) -> Iterator[str]:
        """Hand the committed stream over as text.

        Yields:
            Each non-empty text as it comes.

        Raises:
            StreamInterruptedError: The stream broke.
        """
        now, deadline = self._now, self._deadline
        try:
            yield from texts_of(self._current.head)
            while not self.done:
                text = self._current.assembly.text
                try:
                    for piece in self._pieces():
                        found = piece if type(piece) is str else self._added(piece)
                        if found:
                            if found is piece:
                                text.append(found)
                            yield found
                        if now() > deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                    self._read_output(self._current)
                    run_blocking(self._end())
                except BaseException as error:  # any exception of a plugin is mapped
                    failure = failure_of(error)
                    if self.closed():  # by another thread: the error of its cut connection is not a failure
                        return
                    # A reader of text would not see that the answer starts again, and nothing is repeated silently.
                    _, head = run_blocking(self._mend(failure, allowed=self._spec.continues))
                    yield from texts_of(head)
        except StoppedError:  # closed by another thread while it waited
            return
        except BaseException:
            self.abandon()
            raise

    def events(self) -> Iterator[Event]:
        """Hand the committed stream over as events; otherwise the same as `texts`."""
        try:
            yield from map(event_of, self._current.head)
            while not self.done:
                assembly = self._current.assembly
                as_event = assembly.as_event
                try:
                    for piece in self._pieces():
                        assembly.add(piece)
                        yield as_event(piece)
                        if self._now() > self._deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                    self._read_output(self._current)
                    run_blocking(self._end())
                except BaseException as error:  # any exception of a plugin is mapped
                    failure = failure_of(error)
                    if self.closed():
                        return
                    restarted, head = run_blocking(self._mend(failure, allowed=True))
                    yield restarted
                    yield from map(self._current.assembly.as_event, head)
        except StoppedError:  # closed by another thread while it waited
            return
        except BaseException:
            self.abandon()
            raise

    def _ask(self, attempt: Attempt, slow_after: float | None) -> Effect:
        if slow_after is None:
            attempt.result = self._ask_here(attempt)
            return ()
        supervisor = Supervisor(attempt, slow_after, self._take_over)
        watch = self._services.watch
        if watch is not None:
            watch(attempt.call, slow_after, supervisor.fire)
        result: PullResult | BaseException
        try:
            result = self._ask_here(attempt)
        except BaseException as error:
            result = error
        if not supervisor.is_needless():
            self._join_race(supervisor, attempt, result)
            return ()
        if watch is not None:
            watch(attempt.call, math.inf, None)
        if not isinstance(result, (bool, Exception)):
            raise result
        attempt.result = result
        return ()

    def _join_race(self, supervisor: Supervisor, attempt: Attempt, result: PullResult | BaseException) -> None:
        """Give the supervisor the result of the first attempt, and wait until it has brought the call to its end."""
        self._threads.end((attempt, result))
        try:
            supervisor.wait()
        except BaseException as error:
            if not supervisor.is_over():  # Ctrl-C while this thread waited
                self.stop()
                self._threads.end((attempt, error))
                supervisor.settle()
            raise

    def _take_over(self) -> None:
        """Begin a race in which the caller's thread pulls the first attempt. Called in the supervisor's thread."""
        self._threads = Race(self._ask_here)
        run_blocking(self._supervise())

    def _ask_here(self, attempt: Attempt) -> PullResult:
        add, now, deadline, stream = attempt.assembly.add, self._now, self._deadline, self._request.stream
        try:
            provider = self._services.registry.ready(attempt.candidate.provider).provider()
            attempt.pieces = iterator(provider.stream(self._request_for(attempt), attempt.call))
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
            return failure_of(error)
        return False

    def _race(self, seconds: float) -> Steps[tuple[Attempt, PullResult] | None]:
        yield from ()
        with self._timed(seconds, lambda: self._threads.end(None)):
            self._threads.enter(self._current)
            while True:
                first = self._threads.first(seconds)
                if first is None or first[0] in self._attempts:  # an attempt that was cut ends too, and is not the first
                    return first

    def _new_signal(self) -> threading.Event:
        return threading.Event()

    def _doze(self, signal: Signal, seconds: float) -> Steps[None]:
        yield from ()
        assert isinstance(signal, threading.Event)  # noqa: S101 -- made above
        clock = self._services.clock
        if isinstance(clock, SystemClock):
            end = clock.monotonic() + seconds
            while (left := end - clock.monotonic()) > 0 and not signal.wait(min(left, _LONGEST_DOZE)):
                pass
        elif seconds < math.inf:
            clock.sleep(seconds)
        else:  # the time of a test stands still until another thread gives its turn back
            signal.wait(AGAIN)

    def _do(self, job: Job, seconds: float) -> Steps[None]:
        yield from ()
        run_all([job], seconds)

    def _cut(self, attempt: Attempt) -> None:
        if attempt in self._attempts:
            self._attempts.remove(attempt)
        if attempt.runner is not None:
            attempt.runner.drop()
        else:
            attempt.call.cancel()
            close_quietly(getattr(attempt.pieces, "close", None))

    def _settle(self, *attempts: Attempt) -> Effect:
        for attempt in attempts or tuple(self._attempts):
            if attempt in self._attempts:
                self._attempts.remove(attempt)
                close_quietly(getattr(attempt.pieces, "close", None))
        return ()
