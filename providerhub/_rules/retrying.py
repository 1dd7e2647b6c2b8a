"""The repeats of one call: the failed candidate to try again, the wait before, and the cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from providerhub._rules.health import Health, error_retry_after
from providerhub._rules.policy import FREE_WAITS, LEAVE_BEFORE_DEADLINE, Rng, is_free_wait, retry_wait
from providerhub._values import Attempt, Candidate, RetryPolicy
from providerhub._values.errors import AttemptError, ProviderTimeoutError, RateLimitError


class Failure(NamedTuple):
    candidate: Candidate
    error: AttemptError
    at: float
    number: int


class Retries:
    """The attempts of one call that count, and the failures after which a candidate may be tried again.

    The engine sets the attributes.
    """

    attempts: list[Attempt]  # the ended attempts
    _count = 0
    _limit: int
    _policy: RetryPolicy
    _health: Health
    _deadline: float
    _rng: Rng
    # Most calls have no failure: nothing is made for them.
    _failures: tuple[Failure, ...] = ()
    _uncharged: frozenset[int] = frozenset()
    _repeats = _free_waits = 0
    _waited_for: frozenset[tuple[str, str]] = frozenset()  # the places of the waits for a rate limit

    @property
    def _left(self) -> int:
        """The number of attempts that may still begin. Attempts before a free wait do not count."""
        return self._limit - self._count + len(self._uncharged)

    def _is_used_up(self, candidate: Candidate) -> bool:
        """Whether a provider's model has had all allowed attempts of one call."""
        used = sum(
            (attempt.provider, attempt.model) == (candidate.provider, candidate.model)
            for attempt in self.attempts
            if attempt.number not in self._uncharged
        )
        return used >= self._policy.attempts_per_provider

    def _forgive(self, number: int) -> None:
        """Do not count an attempt, which failed for a reason of this process and is repeated at once."""
        self._uncharged |= {number}
        self._failures = tuple(failure for failure in self._failures if failure.number != number)

    def _note(self, candidate: Candidate, error: AttemptError, now: float, number: int) -> None:
        if error.retryable:
            self._failures += (Failure(candidate, error, now, number),)

    def _before_next(self, now: float, last: Candidate, *, same: bool) -> tuple[Failure, float] | None:
        """Choose a failed candidate to ask again, before the next model: with `same` the last candidate, else any of its model.

        A call with another model waits for a rate limit once. More free waits are for a call without another model.
        """
        fitting = (f for f in self._failures if (f.candidate == last if same else f.candidate.group == last.group))
        failures = [f for f in fitting if not isinstance(f.error, ProviderTimeoutError) and _place(f) not in self._waited_for]
        found = self._choose(now, failures, most=self._policy.patience)
        if found is not None and isinstance(found[0].error, RateLimitError):
            self._waited_for |= {_place(found[0])}
        return found

    def _choose(self, now: float, failures: Iterable[Failure], *, most: float = math.inf) -> tuple[Failure, float] | None:
        """Choose the candidate to try again, and the seconds to wait before; else `None`. Rate-limited candidates come last."""
        for failure in sorted(failures, key=lambda failure: isinstance(failure.error, RateLimitError)):
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
