"""The attempts of one call, open and ended. Their ends are reported to health and pacer."""

from __future__ import annotations

from providerhub._rules.health import error_retry_after
from providerhub._rules.orders import OpenAttempt
from providerhub._rules.pacing import FREE, Pacer
from providerhub._rules.policy import share
from providerhub._rules.retrying import Retries
from providerhub._values import Attempt, Candidate, Route, Skip, errors


class Attempts(Retries):
    """The attempts of one call. The engine sets the attributes that are declared here."""

    duration = 0.0
    _open: list[OpenAttempt]
    _skipped: tuple[Skip, ...]
    _pacer: Pacer
    _start: float
    _stream: bool
    _first_token: float | None
    _slow_model: bool

    @property
    def route(self) -> Route:
        """The attempts so far, including open attempts, in the order of their start."""
        attempts = self.attempts
        if self._open or self._count > 1:
            attempts = sorted(
                [*attempts, *(one.attempt("open", None, 0.0) for one in self._open)], key=lambda attempt: attempt.number
            )
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
