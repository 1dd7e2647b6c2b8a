"""How each provider has been doing: circuit breaker, pauses, retry budget and latency record.

Pure but for one lock, which is never held across I/O: time and random source are handed in. The breaker follows Nygard,
"Release It!", with the numbers of the reliability table in the documentation.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import NamedTuple

from providerhub._rules.policy import QUOTA_PAUSE, RetryBudget, Rng, disposition
from providerhub._values import BreakerRules, BudgetRules, Candidate, RetryPolicy
from providerhub._values.errors import AttemptError, AuthenticationError, QuotaExceededError

Key = tuple[str, str]
"""(provider instance, declared model entry); the entry `""` stands for the instance as a whole."""

FOREVER = float("inf")


class Breaker:
    """A circuit breaker: closed, open, or half-open with one probe under way. Its owner locks it."""

    __slots__ = ("_in_a_row", "_outcomes", "_rules", "generation", "open_for", "open_until", "probing")

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._in_a_row = 0
        self.generation = 0
        self.open_for = 0.0
        self.open_until: float | None = None
        self.probing = 0

    def enter(self) -> None:
        """Let a call through; while the breaker is not closed it is a probe, whose success closes it."""
        if self.open_until is not None:
            self.probing += 1

    def release(self) -> None:
        """A call of the present generation ended without counting; others that were forced may still be under way."""
        # One that a forgotten breaker let through may bear the same generation: it must not take the count below zero.
        self.probing = max(0, self.probing - 1)

    def record(self, now: float, *, ok: bool, rng: Rng) -> None:
        """Count a finished call of the present generation."""
        if self.open_until is not None:
            self._probed(now, self.open_until, ok=ok, rng=rng)
            return
        self._outcomes.append((now, ok))
        while self._outcomes and self._outcomes[0][0] <= now - self._rules.window:
            self._outcomes.popleft()
        self._in_a_row = 0 if ok else self._in_a_row + 1
        if not ok and self._too_bad():
            self._open(now, self._rules.open_first, rng)

    def _too_bad(self) -> bool:
        if self._in_a_row >= self._rules.in_a_row:
            return True
        failed = sum(not ok for _, ok in self._outcomes)
        return len(self._outcomes) >= self._rules.calls and failed >= self._rules.share * len(self._outcomes)

    def _probed(self, now: float, due: float, *, ok: bool, rng: Rng) -> None:
        if ok:
            self.open_until = None
            self._outcomes.clear()
            self._in_a_row = 0
            self.generation += 1
        elif now < due:
            self.release()  # forced: how often callers have nobody else must not lengthen the outage, only probes that were due
        else:
            self._open(now, min(self._rules.open_most, self.open_for * 2), rng)

    def _open(self, now: float, seconds: float, rng: Rng) -> None:
        # Equal jitter: half is certain, half is drawn, so that many clients do not probe at one moment.
        self.open_for = seconds
        self.open_until = now + seconds / 2 + rng() * seconds / 2
        self.probing = 0
        self.generation += 1


class _Record:
    """All that is known about one key."""

    __slots__ = ("breaker", "first_tokens", "pause_reason", "paused_until", "wholes")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.paused_until = 0.0
        self.pause_reason = ""
        self.first_tokens: deque[float] = deque(maxlen=64)
        self.wholes: deque[float] = deque(maxlen=64)


class Permit(NamedTuple):
    """The right to make one attempt; its generations drop results that come too late.

    Args:
        generations: Key and breaker generation at the attempt's start, for the model and its instance.
        forgiven: How often the instance had been forgiven by then.
    """

    generations: tuple[tuple[Key, int], ...]
    forgiven: int = 0


class Unavailable(NamedTuple):
    """Why a candidate is not to be tried now.

    Args:
        reason: The fixed word that a `Skip` carries.
        until: When it may be tried, on the caller's clock; infinite when only a change of settings helps.
    """

    reason: str
    until: float


class Health:
    """The record of all providers of one hub. Thread-safe.

    Args:
        rng: The random source of the breakers' jitter.
        rules: When breakers open.
        budget: How much retrying one provider is worth.
        size: The most keys remembered; the one unused for longest is forgotten first.
    """

    def __init__(
        self, rng: Rng, rules: BreakerRules | None = None, *, budget: BudgetRules | None = None, size: int = 4096
    ) -> None:
        self._rng = rng
        self._rules = rules or BreakerRules()
        self._budget_rules = budget or BudgetRules()
        self._size = size
        # Re-entrant: a collection of garbage in here may end a stream that nobody closed, which gives its permit back.
        self._lock = threading.RLock()
        self._records: OrderedDict[Key, _Record] = OrderedDict()
        self._budgets: dict[str, RetryBudget] = {}
        self._troubled: set[Key] = set()
        self._forgiven: dict[str, int] = {}

    @property
    def all_healthy(self) -> bool:
        """Nobody is paused, and no breaker is other than closed: whoever asks need not ask for each."""
        return not self._troubled

    def unavailable(self, candidate: Candidate, now: float) -> Unavailable | None:
        """Why a candidate is not to be tried at this moment, or `None` when it may be. Changes nothing."""
        if not self._troubled:
            return None
        with self._lock:
            found = [
                obstacle
                for key in _keys(candidate)
                if (record := self._records.get(key)) is not None and (obstacle := _obstacle(record, now)) is not None
            ]
        return max(found, key=lambda obstacle: obstacle.until, default=None)

    def acquire(self, candidate: Candidate, now: float, *, force: bool = False) -> Permit | None:
        """Ask for the right to make an attempt.

        Args:
            candidate: Where.
            now: Seconds on the caller's clock.
            force: Go through even when open or paused: there is nobody else.

        Returns:
            The permit, or `None` when it must not be tried now. Give it back by `succeeded`, `failed` or `released`.
        """
        model, instance = _keys(candidate)
        with self._lock:
            generations = (model, self._generation(model)), (instance, self._generation(instance))
            permit = Permit(generations, self._forgiven.get(candidate.provider, 0))
            if self._troubled:
                records = [self._records[key] for key, _ in permit.generations if key in self._records]
                if not force and any(_obstacle(record, now) for record in records):
                    return None
                for record in records:
                    record.breaker.enter()
            return permit

    def succeeded(self, candidate: Candidate, permit: Permit, now: float, seconds: float | None, *, stream: bool = True) -> None:
        """Note an attempt that answered.

        Args:
            candidate: Where.
            permit: Its permit.
            now: Seconds on the caller's clock.
            seconds: Its time to first content when it streamed, else to the whole answer; `None` when not known.
            stream: Which of the two it is.
        """
        with self._lock:
            record = self._record(permit.generations[0][0])
            for key, generation in permit.generations:
                known = self._records.get(key)
                if known is not None and generation == known.breaker.generation:
                    known.breaker.record(now, ok=True, rng=self._rng)
                    if key in self._troubled:
                        self._look_again(key, known, now)
            if seconds is not None:
                (record.first_tokens if stream else record.wholes).append(seconds)
            self._budget(candidate.provider, now).earn(now)

    def failed(self, candidate: Candidate, permit: Permit, now: float, error: AttemptError, policy: RetryPolicy) -> None:
        """Note an attempt that failed: count it where its class counts, and remember *not before*."""
        what = disposition(error)
        model, instance = _keys(candidate)
        counted = {"model": model, "instance": instance}.get(what.counts)
        with self._lock:
            for key, generation in permit.generations:
                if key == counted:
                    record = self._record(key)
                    if generation == record.breaker.generation:
                        record.breaker.record(now, ok=False, rng=self._rng)
                        self._look_again(key, record, now)
                elif (known := self._records.get(key)) is not None and known.breaker.generation == generation:
                    known.breaker.release()
            late = isinstance(error, AuthenticationError) and permit.forgiven != self._forgiven.get(candidate.provider, 0)
            if (what.pause or error_retry_after(error)) and not late:  # what the old key was refused says nothing of the new one
                self._pause(instance if what.pause == "instance" else model, error, now, policy)

    def released(self, permit: Permit) -> None:
        """Give a permit back that counts neither way: cancelled, abandoned, or the caller's own mistake."""
        with self._lock:
            for key, generation in permit.generations:
                record = self._records.get(key)
                if record is not None and record.breaker.generation == generation:
                    record.breaker.release()

    def take_budget(self, provider: str, now: float) -> bool:
        """Take one token of a provider's retry budget, if there is one."""
        with self._lock:
            return self._budget(provider, now).take(now)

    def latency(self, candidate: Candidate, quantile: float, *, stream: bool = True, samples: int = 1) -> float | None:
        """A quantile of the past times to first content, or to the whole answer, in seconds.

        Args:
            candidate: Where.
            quantile: From 0 up to 1.
            stream: Which of the two is asked for.
            samples: With fewer than these the answer is `None`; at least one.
        """
        with self._lock:
            record = self._records.get(_keys(candidate)[0])
            known = sorted(record.first_tokens if stream else record.wholes) if record else []
        if len(known) < samples:
            return None
        return known[min(len(known) - 1, int(quantile * len(known)))]

    def forgive(self, provider: str) -> None:
        """Lift the pauses of an instance whose key has changed."""
        with self._lock:
            self._forgiven[provider] = self._forgiven.get(provider, 0) + 1
            for key, record in self._records.items():
                if key[0] == provider:
                    record.paused_until = 0.0
                    self._look_again(key, record, 0.0)

    def _look_again(self, key: Key, record: _Record, now: float) -> None:
        if record.breaker.open_until is not None or record.paused_until > now:
            self._troubled.add(key)
        else:
            self._troubled.discard(key)

    def _pause(self, key: Key, error: AttemptError, now: float, policy: RetryPolicy) -> None:
        record = self._record(key)
        asked = error_retry_after(error)
        if isinstance(error, AuthenticationError):
            until, reason = FOREVER, "key rejected"
        elif isinstance(error, QuotaExceededError):
            until, reason = now + min(max(asked or 0.0, QUOTA_PAUSE), policy.pause_max), "quota used up"
        else:
            until, reason = now + (policy.throttle_backoff if asked is None else min(asked, policy.pause_max)), "rate limited"
        if until >= record.paused_until:  # what lasts longer stays, with its reason: only a changed key lifts some
            record.paused_until, record.pause_reason = until, reason
        self._troubled.add(key)

    def _generation(self, key: Key) -> int:
        """The key's generation; that of a new breaker when there is no record yet."""
        record = self._records.get(key)
        return record.breaker.generation if record else 0

    def _record(self, key: Key) -> _Record:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(Breaker(self._rules))
            if len(self._records) > self._size:
                self._troubled.discard(self._records.popitem(last=False)[0])
        else:
            self._records.move_to_end(key)
        return record

    def _budget(self, provider: str, now: float) -> RetryBudget:
        budget = self._budgets.get(provider)
        if budget is None:
            budget = self._budgets[provider] = RetryBudget(now, self._budget_rules)
        return budget


def error_retry_after(error: AttemptError) -> float | None:
    """Seconds that the provider asked to be left alone, or `None`."""
    return getattr(error, "retry_after", None)


def _keys(candidate: Candidate) -> tuple[Key, Key]:
    return (candidate.provider, candidate.entry), (candidate.provider, "")


def _obstacle(record: _Record, now: float) -> Unavailable | None:
    if record.paused_until > now:
        return Unavailable(record.pause_reason, record.paused_until)
    until = record.breaker.open_until
    if until is None:
        return None
    if until > now:
        return Unavailable("breaker open", until)
    return Unavailable("probe under way", now) if record.breaker.probing else None
