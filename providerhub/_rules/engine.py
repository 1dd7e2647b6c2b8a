"""The retry chain as a state machine: a driver reports each event, and the engine returns the next order.

The engine does no I/O, has no clock and never sleeps. Every method takes `now`, in seconds on one monotonic clock. A driver
carries the orders out, synchronously or asynchronously:

    start → Open → opened → Pull → content | ended | failed | hedge_due
                                     │        │       │        └→ Open (a second attempt beside the first), Pull
                                     │        │       └→ Open (another provider, at once), Wait (then Open), Pull, Fail
                                     │        └→ Done
                                     └→ Drain (the commit point) → ended | interrupted

A call that does not stream is a stream with one event: its `Pull` ends once, when the answer is whole. With hedging two
attempts may be open at once. Each report then names its attempt, and the first attempt to have content wins.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs

from providerhub._rules.health import Health, Permit, error_retry_after
from providerhub._rules.policy import LEAVE_BEFORE_DEADLINE, Rng, disposition, retry_wait
from providerhub._values import Attempt, Candidate, Completion, RetryPolicy, Route, RoutePlan, Skip
from providerhub._values.errors import (
    AllProvidersFailedError,
    AttemptError,
    CallerError,
    DeadlineExceededError,
    EmptyAnswerError,
    ModelNotFoundError,
    ModelUnavailableError,
    PluginError,
    ProviderError,
    ProviderHubError,
    RateLimitError,
    StreamInterruptedError,
)
from providerhub._values.value import Value


@attrs.frozen(eq=False, repr=False)
class Open(Value):
    """Begin an attempt: make the provider's iterator.

    Args:
        candidate: The provider and model to ask.
        number: The attempt's number in the call, from 1.
    """

    candidate: Candidate
    number: int


@attrs.frozen(eq=False, repr=False)
class Pull(Value):
    """Pull from the open attempts: to the first content, or to the end when the call does not stream.

    Args:
        hedge_after: Seconds without content after which to report `hedge_due`; `None` waits for the end of the pull.
    """

    hedge_after: float | None = None


@attrs.frozen(eq=False, repr=False)
class Wait(Value):
    """Sleep, then report `waited`.

    Args:
        seconds: The length of the wait.
    """

    seconds: float


@attrs.frozen(eq=False, repr=False)
class Drain(Value):
    """Commit: hand all pieces of the open attempt to the caller. The engine is not asked again before their end."""


@attrs.frozen(eq=False, repr=False)
class Done(Value):
    """The call has its answer."""


@attrs.frozen(eq=False, repr=False)
class Fail(Value):
    """The call has failed.

    Args:
        error: The error to raise. Its route is filled in.
    """

    error: ProviderHubError


Order = Open | Pull | Wait | Drain | Done | Fail

PULL, DRAIN, DONE = Pull(), Drain(), Done()


class OpenAttempt:
    """An attempt under way."""

    __slots__ = ("candidate", "first_token", "notes", "number", "permit", "started", "waited")

    def __init__(self, number: int, candidate: Candidate, permit: Permit, started: float, waited: float) -> None:
        self.number = number
        self.candidate = candidate
        self.permit = permit
        self.started = started
        self.waited = waited
        self.first_token: float | None = None
        self.notes: tuple[str, ...] = ()

    def attempt(self, outcome: str, error: BaseException | None, duration: float) -> Attempt:
        """The attempt as a route shows it."""
        candidate = self.candidate
        return Attempt(
            self.number, candidate.provider, candidate.model, outcome, error, self.waited, self.started, duration,
            self.first_token, self.notes,
        )  # fmt: skip


class _Failure(NamedTuple):
    """A candidate whose attempt failed and that may be tried again."""

    candidate: Candidate
    error: AttemptError
    at: float


class Engine:
    """One call's way through its plan.

    Args:
        plan: The candidates, in order.
        policy: The limits of attempts and waits.
        health: The health records, which the engine reads and updates.
        deadline: The moment at which the call is over.
        rng: Returns random numbers from 0 up to 1, which spread the waits.
        now: The moment at which the call begins.
        stream: Whether the caller wants a stream.
        on_interrupt: `"raise"`, `"restart"` or `"continue"`.
        hedge: Whether a slow first attempt may get a second one beside it.
        force: Whether to try the plan's first candidate even while its breaker is open.
    """

    __slots__ = (
        "_again", "_count", "_deadline", "_force", "_fresh", "_health", "_hedge", "_interruption", "_larger_than", "_last",
        "_next", "_on_interrupt", "_open", "_policy", "_repeats", "_rng", "_skipped", "_start", "_stream", "_waited",
        "attempts", "duration",
    )  # fmt: skip

    def __init__(
        self,
        plan: RoutePlan,
        policy: RetryPolicy,
        health: Health,
        *,
        deadline: float,
        rng: Rng,
        now: float,
        stream: bool,
        on_interrupt: str = "raise",
        hedge: bool = False,
        force: bool = False,
    ) -> None:
        self._policy = policy
        self._health = health
        self._deadline = deadline
        self._rng = rng
        self._start = now
        self._stream = stream
        self._on_interrupt = on_interrupt
        self._hedge = hedge
        self._force = force
        self._skipped: tuple[Skip, ...] = plan.skipped
        self._fresh: list[Candidate] = list(plan.candidates[::-1])
        self._again: list[_Failure] = []
        self._open: list[OpenAttempt] = []
        self._count = 0
        self._last: Candidate = plan.candidates[0]
        self._next: Candidate | None = None
        self._interruption: StreamInterruptedError | None = None
        self._larger_than: int | None = None
        self._repeats = 0
        self._waited = 0.0
        self.attempts: list[Attempt] = []
        self.duration = 0.0

    @property
    def route(self) -> Route:
        """The attempts so far, open ones included, in the order in which they began."""
        attempts = self.attempts
        if self._open or self._count > 1:
            attempts = sorted([*attempts, *map(_shown, self._open)], key=lambda attempt: attempt.number)
        return Route(tuple(attempts), self._skipped, self.duration)

    def opening(self, number: int) -> Attempt:
        """The attempt that has just begun, as observers get it."""
        return _shown(self._find(number))

    def start(self, now: float) -> Order:
        """Begin the call."""
        return self._try_next(now, None)

    def opened(self) -> Order:
        """Report that the provider has been asked."""
        if not self._hedge or not self._rival():
            return PULL
        delay = self._health.latency(
            self._open[0].candidate, self._policy.hedge_quantile, stream=self._stream, samples=self._policy.hedge_samples
        )
        return PULL if delay is None else Pull(delay)

    def hedge_due(self, now: float) -> Order:
        """Report that the open attempt was silent for the seconds that its `Pull` named.

        Returns:
            `Open` for one more attempt at another provider, beside the first; or `Pull` where there is no other provider.
        """
        self._hedge = False
        if now < self._deadline:
            rival = self._rival()
            if rival is not None and self._health.take_budget(rival.provider, now):
                self._fresh.remove(rival)
                return self._begin(rival, now) or PULL
        return PULL

    def content(self, now: float, number: int | None = None) -> Order:
        """Report the first content of a streamed answer: the commit point.

        Args:
            now: The time in seconds.
            number: The number of the attempt; `None` for the only one.
        """
        winner = self._find(number)
        self._last = winner.candidate
        if winner.first_token is None:
            winner.first_token = now - self._start - winner.started
        self._drop_others(winner, now)
        return DRAIN

    def ended(self, now: float, *, empty: bool, number: int | None = None) -> Order:
        """Report the end of an open attempt's pieces.

        Args:
            now: The time in seconds.
            empty: Whether there was neither content nor a `Finish` event.
            number: The number of the attempt; `None` for the only one.
        """
        if empty:
            return self.failed(EmptyAnswerError("the answer had neither content nor an end mark"), now, number)
        winner = self._find(number)
        seconds = winner.first_token if self._stream else now - self._start - winner.started
        self._health.succeeded(winner.candidate, winner.permit, now, seconds, stream=self._stream)
        self._close(winner, now, "ok")
        if self._open:
            self._drop_others(None, now)
        return DONE

    def failed(self, error: AttemptError, now: float, number: int | None = None) -> Order:
        """Report the failure of an open attempt before the commit point.

        Args:
            error: The failure, mapped to the error tree.
            now: The time in seconds.
            number: The number of the attempt; `None` for the only one.
        """
        loser = self._find(number)
        error = _blame(error, loser.candidate)
        if now >= self._deadline:
            self._health.released(loser.permit)
            self._close(loser, now, "error", error)
            return self._late(now, error)
        self._note_failure(loser, error, now)
        what = disposition(error)
        if not what.elsewhere and not what.larger:
            return self._fail(error, now)
        if what.larger:
            self._larger_than = max(self._larger_than or 0, loser.candidate.context_window or 0)
        elif error.retryable:
            self._again.append(_Failure(loser.candidate, error, now))
        return PULL if self._open else self._try_next(now, error)

    def waited(self, now: float) -> Order:
        """Report the end of a wait."""
        candidate = self._next
        if now >= self._deadline or candidate is None:
            return self._late(now, self._last_error())
        return self._begin(candidate, now, force=True) or self._exhausted(now)

    def interrupted(self, error: AttemptError, now: float, completion: Completion, *, may_restart: bool = True) -> Order:
        """Report that the stream broke after the commit point.

        Args:
            error: The failure, mapped to the error tree.
            now: The time in seconds.
            completion: The answer so far.
            may_restart: Whether the caller would see that the answer starts again.

        Returns:
            `Fail` with `StreamInterruptedError`, or the next attempt's order where the caller opted in.
        """
        broken = self._last
        error = _blame(error, broken)
        for attempt in tuple(self._open):  # none, when another thread closed the stream while it was read
            self._note_failure(attempt, error, now)
        interruption = StreamInterruptedError(
            f"{broken} broke off after {len(completion.text)} characters: {error}",
            partial=completion.text,
            completion=completion,
            provider=broken.provider,
            cause=error if now < self._deadline else self._late(now, error).error,
        )
        interruption.__cause__ = error
        if self._on_interrupt != "raise" and may_restart:
            if error.retryable:
                self._again.append(_Failure(broken, error, now))
            self._hedge = False
            order = self._try_next(now, error)
            if not isinstance(order, Fail):
                self._interruption = interruption
                return order
        return self._fail(interruption, now)

    def abandoned(self, now: float) -> None:
        """Report that the caller gave the call up. No record changes."""
        self._drop_others(None, now)

    def note(self, notes: list[str], number: int | None = None) -> None:
        """Keep a provider's notes with an open attempt."""
        if notes and self._open:
            self._find(number).notes = tuple(notes)

    def _find(self, number: int | None) -> OpenAttempt:
        """The open attempt with that number. Without hedging there is only one."""
        attempts = self._open
        if len(attempts) == 1 or attempts[0].number == number:
            return attempts[0]
        return attempts[1]

    def _rival(self) -> Candidate | None:
        """The next candidate at another provider, which may be asked beside the open attempt."""
        if self._count >= self._policy.attempts or self._larger_than is not None or not self._open:
            return None
        asked = self._open[0].candidate.provider
        return next((c for c in reversed(self._fresh) if c.provider != asked and not self._used_up(c)), None)

    def _used_up(self, candidate: Candidate) -> bool:
        used = sum(attempt.provider == candidate.provider for attempt in self.attempts)
        return used >= self._policy.attempts_per_provider

    def _try_next(self, now: float, error: AttemptError | None) -> Order:
        if now >= self._deadline:
            return self._late(now, error)
        while self._fresh and self._count < self._policy.attempts:
            candidate = self._fresh.pop()
            if self._larger_than is not None and (candidate.context_window or 0) <= self._larger_than:
                self._skip(candidate, "context window", f"a window known to be larger than {self._larger_than} tokens is needed")
            elif self.attempts and self._used_up(candidate):
                self._skip(candidate, "attempts used up", f"{self._policy.attempts_per_provider} at one provider in one call")
            else:
                order = self._begin(candidate, now, force=self._force)
                if order is not None:
                    return order
        # All candidates became unavailable since the plan was made. One is tried all the same, as the router does.
        if not self._count and (order := self._begin(self._last, now, force=True)):
            return order
        return self._repeat(now) or self._exhausted(now)

    def _repeat(self, now: float) -> Order | None:
        """Try a provider again after all others have been tried; rate-limited ones last."""
        if self._count >= self._policy.attempts or self._larger_than is not None:
            return None
        for failure in sorted(self._again, key=lambda f: isinstance(f.error, RateLimitError)):
            self._again.remove(failure)
            if self._used_up(failure.candidate):
                continue
            wait = retry_wait(self._policy, failure.error, self._repeats, rng=self._rng)
            if wait is None:
                continue
            # A wait that the service named counts from the failure; our own backoff counts from now.
            asked = error_retry_after(failure.error) is not None
            seconds = max(0.0, failure.at + wait - now) if asked else wait
            margin = LEAVE_BEFORE_DEADLINE if asked else 0.0
            if now + seconds + margin > self._deadline or not self._health.take_budget(failure.candidate.provider, now):
                continue
            self._repeats += 1
            self._next, self._waited = failure.candidate, seconds
            return Wait(seconds)
        return None

    def _begin(self, candidate: Candidate, now: float, *, force: bool = False) -> Order | None:
        permit = self._health.acquire(candidate, now, force=force)
        if permit is None:
            self._skip(candidate, "breaker open", "since the plan was made")
            return None
        self._count += 1
        self._last = candidate
        self._open.append(OpenAttempt(self._count, candidate, permit, now - self._start, self._waited))
        self._waited = 0.0
        return Open(candidate, self._count)

    def _skip(self, candidate: Candidate, reason: str, detail: str) -> None:
        self._skipped += (Skip(candidate.provider, candidate.model, reason, detail),)

    def _note_failure(self, attempt: OpenAttempt, error: AttemptError, now: float) -> None:
        self._health.failed(attempt.candidate, attempt.permit, now, error, self._policy)
        self._close(attempt, now, "error", error)

    def _drop_others(self, winner: OpenAttempt | None, now: float) -> None:
        """Give up every open attempt but one. No record changes."""
        for attempt in tuple(self._open):
            if attempt is not winner:
                self._health.released(attempt.permit)
                self._close(attempt, now, "abandoned")

    def _close(self, attempt: OpenAttempt, now: float, outcome: str, error: BaseException | None = None) -> None:
        self.duration = now - self._start
        try:
            self._open.remove(attempt)
        except ValueError:  # another thread closed the stream at this moment
            return
        self.attempts.append(attempt.attempt(outcome, error, self.duration - attempt.started))

    def _last_error(self) -> AttemptError | None:
        return next((a.error for a in reversed(self.attempts) if a.error is not None), None)  # type: ignore[return-value]

    def _late(self, now: float, cause: AttemptError | None) -> Fail:
        seconds = self._deadline - self._start
        tried = f"; the last attempt failed: {cause}" if cause is not None else ""
        error = DeadlineExceededError(
            f"the call's total time of {seconds:g} s is over after {len(self.attempts)} attempts{tried}"
        )
        error.__cause__ = cause
        return self._fail(error, now)

    def _exhausted(self, now: float) -> Fail:
        errors = [a.error for a in self.attempts]
        last = self._last_error()
        assert last is not None  # noqa: S101 -- at least one candidate is always tried
        if len({type(error) for error in errors}) > 1:
            count = len({a.provider for a in self.attempts})
            message = f"{len(errors)} attempts at {count} provider{'s' * (count > 1)} failed"
            return self._fail(AllProvidersFailedError(message, attempts=tuple(self.attempts)), now)
        if isinstance(last, PluginError) and isinstance(last.__cause__, CallerError):
            # The plugin found its settings wrong. The caller can mend that, so the error is raised as it is.
            return self._fail(last.__cause__, now)
        if isinstance(last, ModelUnavailableError):
            missing = ModelNotFoundError(f"{self._last}: the provider does not have the model: {last}")
            missing.__cause__ = last
            return self._fail(missing, now)
        return self._fail(last, now)

    def _fail(self, error: ProviderHubError, now: float) -> Fail:
        self._drop_others(None, now)
        self.duration = now - self._start
        # The caller has part of the answer already, so the interruption is the error, also when a later attempt failed.
        error = self._interruption or error
        if isinstance(error, ProviderError | PluginError) and error.provider not in str(error):
            error.args = (f"{error.provider}/{error.model}: {error}",)
        error.route = self.route
        return Fail(error)


def _blame(error: AttemptError, candidate: Candidate) -> AttemptError:
    """Fill in the provider and model of an error, where the plugin did not."""
    if not error.provider:
        if isinstance(error, ProviderHubError) and hasattr(error, "plugin"):
            error.plugin = candidate.provider
        else:
            error.provider = candidate.provider
    error.model = error.model or candidate.model
    return error


def _shown(attempt: OpenAttempt) -> Attempt:
    return attempt.attempt("open", None, 0.0)
