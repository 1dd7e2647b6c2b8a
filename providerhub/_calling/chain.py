"""The synchronous driver: it works in the caller's own thread. Only a hedged attempt has a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator

from providerhub._calling.driver import (
    Driver,
    PullResult,
    RunningAttempt,
    Steps,
    close_quietly,
    event_of,
    iterator,
    overdue,
    run_blocking,
    texts_of,
)
from providerhub._calling.race import Race, Runner
from providerhub._values import Event
from providerhub._values.provider import Piece

Attempt = RunningAttempt[Iterator[Piece], Runner]


class Chain(Driver[Iterator[Piece], Runner]):
    """One call under way; its arguments are those of `Driver`."""

    __slots__ = ("_threads",)

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
                    run_blocking(self._end())
                except Exception as error:  # any exception of a plugin is mapped
                    if self.closed():  # by another thread: the error of its cut connection is not a failure
                        return
                    # A reader of text would not see that the answer starts again, and nothing is repeated silently.
                    _, head = run_blocking(self._mend(error, allowed=self._prefill))
                    yield from texts_of(head)
        except BaseException:
            self.abandon()
            raise

    def events(self) -> Iterator[Event]:
        """Hand the committed stream over as events; otherwise the same as `texts`."""
        try:
            yield from map(event_of, self._current.head)
            while not self.done:
                try:
                    for piece in self._pieces():
                        self._current.assembly.add(piece)
                        yield event_of(piece)
                        if self._now() > self._deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                    run_blocking(self._end())
                except Exception as error:  # any exception of a plugin is mapped
                    if self.closed():
                        return
                    restarted, head = run_blocking(self._mend(error, allowed=True))
                    yield restarted
                    yield from map(event_of, head)
        except BaseException:
            self.abandon()
            raise

    def _ask(self, attempt: Attempt) -> Steps[PullResult]:
        yield from ()
        return self._ask_here(attempt)

    def _ask_here(self, attempt: Attempt) -> PullResult:
        add, now, deadline, stream = attempt.assembly.add, self._now, self._deadline, self._request.stream
        try:
            provider = self._instance(attempt.candidate).provider()
            attempt.pieces = iterator(provider.stream(self._request_for(attempt), attempt.call))
            for piece in attempt.pieces:
                content = add(piece)
                if now() > deadline:
                    return overdue()
                if stream:
                    attempt.head.append(piece)
                    if content:
                        return True
        except Exception as error:  # any exception of a plugin is mapped
            return error
        return False

    def _race(self, seconds: float) -> Steps[tuple[Attempt, PullResult] | None]:
        yield from ()
        if all(attempt.runner is None for attempt in self._attempts):
            self._threads = Race(self._ask_here)
        self._threads.enter(self._current)
        return self._threads.first(seconds)

    def _sleep(self, seconds: float) -> Steps[object]:
        yield from ()
        return self._clock.sleep(seconds)

    def _cut(self, attempt: Attempt) -> None:
        if attempt in self._attempts:
            self._attempts.remove(attempt)
        if attempt.runner is not None:
            attempt.runner.drop()
        else:
            attempt.call.cancel()
            close_quietly(getattr(attempt.pieces, "close", None))

    def _settle(self, *attempts: Attempt) -> Steps[None]:
        yield from ()
        for attempt in attempts or tuple(self._attempts):
            if attempt in self._attempts:
                self._attempts.remove(attempt)
                close_quietly(getattr(attempt.pieces, "close", None))
