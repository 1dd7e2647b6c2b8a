"""The attempts of one call, open and ended, and the repeats: the failed candidate to try again, the wait before, and the cost.

The ends of attempts are reported to health and pacer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from providerhub._rules.health import Health, error_retry_after
from providerhub._rules.orders import OpenAttempt
from providerhub._rules.pacing import FREE, Pacer
from providerhub._rules.policy import FREE_WAITS, LEAVE_BEFORE_DEADLINE, Rng, is_free_wait, retry_wait, share
from providerhub._values import Attempt, Candidate, RetryPolicy, Route, Skip, errors


class Failure(NamedTuple):
    candidate: Candidate
    error: errors.AttemptError
    at: float
    number: int


class Attempts:
    """The attempts of one call, and the failures after which a candidate may be tried again. The engine sets the attributes."""

    attempts: list[Attempt]  # the ended attempts
    duration = 0.0
    _open: list[OpenAttempt]
    _skipped: tuple[Skip, ...]
    _pacer: Pacer
    _health: Health
    _policy: RetryPolicy
    _rng: Rng
    _start: float
    _deadline: float
    _stream: bool
    _first_token: float | None
    _slow_model: bool
    _limit: int
    _count = 0
    # Most calls have no failure: nothing is made for them.
    _failures: tuple[Failure, ...] = ()
    _uncharged: frozenset[int] = frozenset()
    _repeats = _free_waits = 0
    _waited_for: frozenset[tuple[str, str]] = frozenset()  # the places of the waits for a rate limit

    @property
    def route(self) -> Route:
        """The attempts so far, including open attempts, in the order of their start."""
        attempts = self.attempts
        if self._open or self._count > 1:
            attempts = sorted([*attempts, *(one.attempt("open", None, 0.0) for one in self._open)], key=lambda one: one.number)
        return Route(tuple(attempts), self._skipped, self.duration)

    def opening(self, number: int) -> Attempt:
        return self._find(number).attempt("open", None, 0.0)

    def _find(self, number: int | None) -> OpenAttempt:
        """The open attempt with a number; for `None`, the only open attempt."""
        attempts = self._open
        return attempts[0] if len(attempts) == 1 else next(attempt for attempt in attempts if attempt.number == number)

    def _usual(self, candidate: Candidate) -> float | None:
        policy = self._policy
        return self._health.latency(candidate, policy.hedge_quantile, stream=self._stream, samples=policy.hedge_samples)

    def _share(self, attempt: OpenAttempt, usual: float | None) -> float:
        slow = self._slow_model or attempt.candidate.slow
        left = self._deadline - self._start - attempt.started
        return share(self._policy, left, None if slow else usual, slow=slow)

    def _skip(self, candidate: Candidate, reason: str, detail: str) -> None:
        self._skipped += (Skip(candidate.provider, candidate.model, reason, detail),)

    def _note_failure(self, attempt: OpenAttempt, error: errors.AttemptError, now: float) -> None:
        self._health.failed(attempt.candidate, attempt.permit, now, error, self._policy)
        if isinstance(error, errors.RateLimitError):
            named, first = error_retry_after(error), self._policy.throttle_backoff
            named = None if named is None else min(named, self._policy.pause_max)
            self._pacer.refused(attempt.turn, attempt.candidate, now, named, first=first)
        self._close(attempt, now, "error", error)

    def _drop_others(self, winner: OpenAttempt | None, now: float) -> None:
        """Cancel every open attempt except one. A long silence of an attempt counts as a failure."""
        for attempt in tuple(self._open):
            if attempt is not winner:
                self._drop(attempt, now)

    def _drop(self, attempt: OpenAttempt, now: float, error: errors.AttemptError | None = None) -> None:
        """End an attempt that lost a race or reached the deadline. A long silence counts as a failure."""
        if attempt.first_token is None:
            silent = now - self._start - attempt.started
            self._health.silent(attempt.candidate, attempt.permit, now, silent, self._first_token, stream=self._stream)
        else:
            self._health.released(attempt.permit)
        self._close(attempt, now, "abandoned" if error is None else "error", error)

    def _release(self, attempt: OpenAttempt, error: errors.AttemptError, now: float) -> None:
        """End an attempt whose failure does not count."""
        self._health.released(attempt.permit)
        self._forgive(attempt.number)
        self._close(attempt, now, "error", error)

    def _close(self, attempt: OpenAttempt, now: float, outcome: str, error: BaseException | None = None) -> None:
        self.duration = now - self._start
        if attempt.turn is not FREE:
            usage = attempt.told()[2] if outcome == "ok" else None
            used = None if usage is None else (usage.input_tokens or 0) + (usage.output_tokens or 0)
            self._pacer.settle(attempt.turn, now, used, None if usage is None else usage.output_tokens)
        try:
            self._open.remove(attempt)
        except ValueError:  # another thread closed the stream at this moment
            return
        self.attempts.append(attempt.attempt(outcome, error, self.duration - attempt.started))

    @property
    def _left(self) -> int:
        """The number of attempts that may still begin. Attempts before a free wait do not count."""
        return self._limit - self._count + len(self._uncharged)

    def _is_used_up(self, candidate: Candidate) -> bool:
        """Whether a provider's model has had all allowed attempts of one call."""
        places = [(one.provider, one.model) for one in self.attempts if one.number not in self._uncharged]
        return places.count((candidate.provider, candidate.model)) >= self._policy.attempts_per_provider

    def _forgive(self, number: int) -> None:
        """Do not count an attempt, which failed for a reason of this process and is repeated at once."""
        self._uncharged |= {number}
        self._failures = tuple(failure for failure in self._failures if failure.number != number)

    def _note(self, candidate: Candidate, error: errors.AttemptError, now: float, number: int) -> None:
        if error.retryable:
            self._failures += (Failure(candidate, error, now, number),)

    def _before_next(self, now: float, last: Candidate, *, same: bool) -> tuple[Failure, float] | None:
        """Choose a failed candidate to ask again, before the next model: with `same` the last candidate, else any of its model.

        A call with another model waits for a rate limit once. More free waits are for a call without another model.
        """
        fitting = (f for f in self._failures if (f.candidate == last if same else f.candidate.group == last.group))
        waiting = (f for f in fitting if not isinstance(f.error, errors.ProviderTimeoutError))
        failures = [failure for failure in waiting if _place(failure) not in self._waited_for]
        found = self._choose(now, failures, most=self._policy.patience)
        if found is not None and isinstance(found[0].error, errors.RateLimitError):
            self._waited_for |= {_place(found[0])}
        return found

    def _choose(self, now: float, failures: Iterable[Failure], *, most: float = math.inf) -> tuple[Failure, float] | None:
        """Choose the candidate to try again, and the seconds to wait before; else `None`. Rate-limited candidates come last."""
        for failure in sorted(failures, key=lambda failure: isinstance(failure.error, errors.RateLimitError)):
            seconds = self._wait_of(failure, now)
            if seconds is None or seconds > most or not self._pay(failure, now):
                continue
            self._failures = tuple(one for one in self._failures if one is not failure)
            return failure, seconds
        return None

    def _pay(self, failure: Failure, now: float) -> bool:
        """Count a repeat and take its token from the retry budget; return false if it has none. Some waits are free."""
        if is_free_wait(failure.error) and self._free_waits < FREE_WAITS:
            self._free_waits += 1
            self._uncharged |= {failure.number}
            return True
        if self._left <= 0 or self._is_used_up(failure.candidate):
            return False
        if not self._health.take_budget(failure.candidate.provider, now):
            return False
        self._repeats += 1
        return True

    def _wait_of(self, failure: Failure, now: float) -> float | None:
        """Seconds until the candidate may be tried again; `None` if too late."""
        wait = retry_wait(self._policy, failure.error, self._repeats, rng=self._rng)
        if wait is None:
            return None
        # A wait that the service named counts from the failure; our own backoff counts from now.
        named = error_retry_after(failure.error) is not None
        seconds = max(0.0, failure.at + wait - now) if named else wait
        margin = LEAVE_BEFORE_DEADLINE if named else 0.0
        return None if now + seconds + margin > self._deadline else seconds


def _place(failure: Failure) -> tuple[str, str]:
    return failure.candidate.provider, failure.candidate.model
