"""The retry chain as a state machine: it is told what happened and says what to do next.

It does no I/O, has no clock and never sleeps: every method takes `now`, in seconds on one monotonic clock, and returns an
order. A driver carries the orders out, synchronously or asynchronously:

    start → Open → opened → Pull → content | ended | failed
                                     │        │       └→ Open (another provider, at once), Wait (then Open), Fail
                                     │        └→ Finish
                                     └→ Drain (the commit point) → drained | interrupted

A call that does not stream is a stream with one event: its `Pull` reports once, when the answer is whole.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs

from providerhub._errors import (
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
from providerhub._health import Health, Permit
from providerhub._policy import LEAVE_BEFORE_DEADLINE, Rng, disposition, retry_wait
from providerhub._types import Attempt, Candidate, Completion, RetryPolicy, Route, RoutePlan, Skip


@attrs.frozen
class Open:
    """Begin an attempt: make the provider's iterator.

    Args:
        candidate: Where.
        number: Which attempt of the call this is, from 1.
    """

    candidate: Candidate
    number: int


@attrs.frozen
class Pull:
    """Take from the open attempt: up to its first content, or all of it when the call does not stream."""


@attrs.frozen
class Wait:
    """Sleep, then report `waited`.

    Args:
        seconds: How long.
    """

    seconds: float


@attrs.frozen
class Drain:
    """Commit: hand the open attempt's pieces to the caller, all of them, without asking again."""


@attrs.frozen
class Finish:
    """The call has its answer."""


@attrs.frozen
class Fail:
    """The call has failed.

    Args:
        error: What to raise, its route filled in.
    """

    error: ProviderHubError


Order = Open | Pull | Wait | Drain | Finish | Fail

PULL, DRAIN, FINISH = Pull(), Drain(), Finish()


class _Failure(NamedTuple):
    """A candidate that failed and may be tried again."""

    candidate: Candidate
    error: AttemptError
    at: float


class Engine:
    """One call's way through its plan.

    Args:
        plan: Whom to try, in order.
        policy: How far to go.
        health: The records to heed and to keep.
        deadline: The moment at which the whole call is over.
        rng: The random source of the waits.
        now: The moment of the call.
        stream: Whether the caller wants pieces.
        on_interrupt: `"raise"`, `"restart"` or `"continue"`.
        force: Try the plan's first candidate whatever its state.
    """

    __slots__ = (
        "_again", "_attempt", "_candidate", "_deadline", "_force", "_fresh", "_health", "_interruption", "_larger_than",
        "_next", "_on_interrupt", "_permit", "_policy", "_repeats", "_rng", "_skipped", "_start", "_stream", "_waited",
        "attempts", "committed", "duration",
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
        force: bool = False,
    ) -> None:
        self._policy = policy
        self._health = health
        self._deadline = deadline
        self._rng = rng
        self._start = now
        self._stream = stream
        self._on_interrupt = on_interrupt
        self._force = force
        self._skipped: tuple[Skip, ...] = plan.skipped
        self._fresh: list[Candidate] = list(plan.candidates[::-1])
        self._again: list[_Failure] = []
        self._next: Candidate | None = None
        self._candidate: Candidate = plan.candidates[0]
        self._permit: Permit | None = None
        self._attempt: Attempt | None = None
        self._interruption: StreamInterruptedError | None = None
        self._larger_than: int | None = None
        self._repeats = 0
        self._waited = 0.0
        self.attempts: list[Attempt] = []
        self.committed = False
        self.duration = 0.0

    @property
    def route(self) -> Route:
        """The way so far, an attempt that is still open included."""
        attempts = self.attempts if self._attempt is None else [*self.attempts, self._attempt]
        return Route(tuple(attempts), self._skipped, self.duration)

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that is open."""
        return self._attempt

    def start(self, now: float) -> Order:
        """Begin."""
        return self._try_next(now, None)

    def opened(self) -> Order:
        """The provider's iterator exists."""
        return PULL

    def content(self, now: float) -> Order:
        """The first content of a streamed answer has come: from here on nothing can be taken back."""
        if self._attempt is not None and self._attempt.first_token is None:
            first = now - self._start - self._attempt.started
            self._attempt = attrs.evolve(self._attempt, first_token=first)
        self.committed = True
        return DRAIN

    def ended(self, now: float, *, empty: bool) -> Order:
        """The open attempt's pieces are at their end.

        Args:
            now: The moment.
            empty: There was neither content nor a `Finish`.
        """
        if empty:
            return self.failed(EmptyAnswerError("the answer had neither content nor an end mark"), now)
        attempt, permit = self._attempt, self._permit
        if attempt is not None and permit is not None:
            self._health.succeeded(self._candidate, permit, now, attempt.first_token)
        self._close(now, "ok")
        return FINISH

    def failed(self, error: AttemptError, now: float) -> Order:
        """The open attempt failed before the commit point."""
        error = self._blame(error)
        if now >= self._deadline:
            self._release()
            self._close(now, "error", error)
            return self._late(now, error)
        self._note_failure(error, now)
        what = disposition(error)
        if not what.elsewhere and not what.larger:
            return self._fail(error, now)
        if what.larger:
            self._larger_than = max(self._larger_than or 0, self._candidate.context_window or 0)
        elif error.retryable:
            self._again.append(_Failure(self._candidate, error, now))
        return self._try_next(now, error)

    def waited(self, now: float) -> Order:
        """The wait is over."""
        candidate = self._next
        if now >= self._deadline or candidate is None:
            return self._late(now, self._last_error())
        return self._open(candidate, now, force=True) or self._exhausted(now)

    def interrupted(self, error: AttemptError, now: float, completion: Completion, *, may_restart: bool = True) -> Order:
        """The stream broke after the commit point.

        Args:
            error: What broke it.
            now: The moment.
            completion: What had come by then.
            may_restart: Whether the caller would see that the answer begins anew.

        Returns:
            `Fail` with `StreamInterruptedError`, or the next attempt's order where the caller opted in.
        """
        error = self._blame(error)
        self._note_failure(error, now)
        interruption = StreamInterruptedError(
            f"{self._candidate} broke off after {len(completion.text)} characters: {error}",
            partial=completion.text,
            completion=completion,
            provider=self._candidate.provider,
            cause=error if now < self._deadline else self._late(now, error).error,
        )
        interruption.__cause__ = error
        if self._on_interrupt != "raise" and may_restart and now < self._deadline:
            if error.retryable:
                self._again.append(_Failure(self._candidate, error, now))
            order = self._try_next(now, error)
            if not isinstance(order, Fail):
                self._interruption = interruption
                return order
        return self._fail(interruption, now)

    def abandoned(self, now: float) -> None:
        """Nobody wants the answer any more: it counts neither way."""
        self._release()
        self._close(now, "abandoned")

    def note(self, notes: list[str]) -> None:
        """Keep a provider's remarks with the open attempt."""
        if notes and self._attempt is not None:
            self._attempt = attrs.evolve(self._attempt, notes=tuple(notes))

    def _try_next(self, now: float, error: AttemptError | None) -> Order:
        if now >= self._deadline:
            return self._late(now, error)
        while self._fresh and len(self.attempts) < self._policy.attempts:
            candidate = self._fresh.pop()
            if self._larger_than is not None and (candidate.context_window or 0) <= self._larger_than:
                detail = f"a window known to be larger than {self._larger_than} tokens is needed"
                self._skipped += (Skip(candidate.provider, candidate.model, "context window", detail),)
                continue
            order = self._open(candidate, now, force=self._force)
            if order is not None:
                return order
        return self._repeat(now) or self._exhausted(now)

    def _repeat(self, now: float) -> Order | None:
        """The same provider again, now that every other one has been tried; rate-limited ones last."""
        if len(self.attempts) >= self._policy.attempts or self._larger_than is not None:
            return None
        for failure in sorted(self._again, key=lambda f: isinstance(f.error, RateLimitError)):
            self._again.remove(failure)
            provider = failure.candidate.provider
            if sum(a.provider == provider for a in self.attempts) >= self._policy.attempts_per_provider:
                continue
            wait = retry_wait(self._policy, failure.error, self._repeats, rng=self._rng)
            if wait is None:
                continue
            # A wait that was asked for counts from the failure; our own backoff counts from now.
            asked = failure.error.retry_after if failure.error.retry_after is not None else None  # type: ignore[union-attr]
            seconds = wait if asked is None else max(0.0, failure.at + wait - now)
            margin = LEAVE_BEFORE_DEADLINE if asked is not None else 0.0
            if now + seconds + margin > self._deadline or not self._health.take_budget(provider, now):
                continue
            self._repeats += 1
            self._next, self._waited = failure.candidate, seconds
            return Wait(seconds)
        return None

    def _open(self, candidate: Candidate, now: float, *, force: bool) -> Order | None:
        permit = self._health.acquire(candidate, now, force=force)
        if permit is None:
            self._skipped += (Skip(candidate.provider, candidate.model, "breaker open", "since the plan was made"),)
            return None
        self._candidate, self._permit = candidate, permit
        number = len(self.attempts) + 1
        self._attempt = Attempt(number, candidate.provider, candidate.model, waited=self._waited, started=now - self._start)
        self._waited = 0.0
        return Open(candidate, number)

    def _blame(self, error: AttemptError) -> AttemptError:
        if not error.provider:
            if isinstance(error, ProviderHubError) and hasattr(error, "plugin"):
                error.plugin = self._candidate.provider
            else:
                error.provider = self._candidate.provider
        error.model = error.model or self._candidate.model
        return error

    def _note_failure(self, error: AttemptError, now: float) -> None:
        if self._permit is not None:
            self._health.failed(self._candidate, self._permit, now, error, self._policy)
        self._close(now, "error", error)

    def _release(self) -> None:
        if self._permit is not None:
            self._health.released(self._permit)

    def _close(self, now: float, outcome: str, error: BaseException | None = None) -> None:
        self.duration = now - self._start
        attempt, self._attempt, self._permit = self._attempt, None, None
        if attempt is not None:
            took = now - self._start - attempt.started
            self.attempts.append(attrs.evolve(attempt, outcome=outcome, error=error, duration=took))

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
        if last is None:
            message = "every candidate became unavailable between planning and trying"
            return self._fail(AllProvidersFailedError(message), now)
        if len({type(error) for error in errors}) > 1:
            count = len({a.provider for a in self.attempts})
            message = f"{len(errors)} attempts at {count} provider{'s' * (count > 1)} failed"
            return self._fail(AllProvidersFailedError(message, attempts=tuple(self.attempts)), now)
        if isinstance(last, PluginError) and isinstance(last.__cause__, CallerError):
            # A plugin that found its settings wanting: the caller's to mend, so it is raised as what it is.
            return self._fail(last.__cause__, now)
        if isinstance(last, ModelUnavailableError):
            missing = ModelNotFoundError(f"{self._candidate}: the provider says that it does not have the model: {last}")
            missing.__cause__ = last
            return self._fail(missing, now)
        return self._fail(last, now)

    def _fail(self, error: ProviderHubError, now: float) -> Fail:
        self.duration = now - self._start
        # What was handed over cannot be taken back: whatever ends the attempts to carry on, the caller's stream was interrupted.
        error = self._interruption or error
        if isinstance(error, ProviderError | PluginError) and error.provider not in str(error):
            error.args = (f"{error.provider}/{error.model}: {error}",)
        error.route = self.route
        return Fail(error)


__all__ = ["Drain", "Engine", "Fail", "Finish", "Open", "Order", "Pull", "Wait"]
