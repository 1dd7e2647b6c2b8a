"""The health of each provider: circuit breaker, pauses, retry budget and latencies.

No I/O, and one lock, which is never held during I/O: the caller passes the time and the random source. The breaker follows
Nygard, "Release It!", with the numbers of `docs/explanation/retrying.md`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from typing import NamedTuple

import attrs

from providerhub._log import log as _log
from providerhub._rules.policy import LACK_FOR, QUOTA_PAUSE, RetryBudget, Rng, disposition
from providerhub._threads import renewed_at_fork
from providerhub._values import BreakerRules, BudgetRules, Candidate, HealthRecord, RetryPolicy, errors

Key = tuple[str, str]  # (provider instance, declared model entry). The entry `""` means the whole instance.
_REFUSALS = ("key rejected", "forbidden")  # reasons of the pauses after a refused key, and after another refusal
KEY_PAUSE = 10.0  # seconds of the first pause of a refused key. It doubles with each refusal, up to `RetryPolicy.pause_max`.
RATE_LIMITED = "rate limited"  # the reason of a pause that a service names
SHORT_STALL = 2.0  # seconds of silence below which an attempt that lost a race never counts


class Breaker:
    """A circuit breaker: closed, open, or half-open with one running probe. The caller holds a lock."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._in_a_row = 0
        self._silences = 0
        self.generation = 0
        self.open_for = 0.0
        self.open_until: float | None = None
        self.probing = 0

    def release(self) -> None:
        """End a call of the present generation without counting it. Other forced calls may still be running."""
        # A call of a forgotten breaker may have the same generation, and must not make the count negative.
        self.probing = max(0, self.probing - 1)

    def close(self) -> None:
        """Close the breaker and reset its counts. Results of running calls are dropped."""
        self.open_until = None
        self.open_for = 0.0
        self._outcomes.clear()
        self._in_a_row = self._silences = self.probing = 0
        self.generation += 1

    def record(self, now: float, *, ok: bool, rng: Rng, slow: bool = False) -> None:
        """Count a finished call of the present generation; `slow` means that it failed by a timeout."""
        if self.open_until is not None:
            if ok:
                self.close()
            elif now < self.open_until:
                self.release()  # a forced call: only the failure of a due probe makes the outage longer
            else:
                most = self._rules.open_most_slow if slow else self._rules.open_most
                self._open(now, min(most, self.open_for * 2), rng)
            return
        self._silences = 0
        self._outcomes.append((now, ok))
        while self._outcomes and self._outcomes[0][0] <= now - self._rules.window:
            self._outcomes.popleft()
        self._in_a_row = 0 if ok else self._in_a_row + 1
        if not ok and self._is_limit_reached():
            self._open(now, self._rules.open_first, rng)

    def record_silence(self, now: float, *, counts: bool, rng: Rng) -> None:
        """Count a silent attempt that lost a race or was late. With `counts`, or after several in a row, it is a failure."""
        silences = self._silences + 1
        if counts or silences >= self._rules.in_a_row:
            self.record(now, ok=False, rng=rng, slow=True)
            if not counts and self.open_until is None:
                self._open(now, self._rules.open_first, rng)
        else:
            self.release()
        self._silences = silences if self.open_until is None else 0

    def _is_limit_reached(self) -> bool:
        if self._in_a_row >= self._rules.in_a_row:
            return True
        failed = sum(not ok for _, ok in self._outcomes)
        return len(self._outcomes) >= self._rules.calls and failed >= self._rules.share * len(self._outcomes)

    def _open(self, now: float, seconds: float, rng: Rng) -> None:
        # Equal jitter: half of the time is fixed and half is random, so that many clients do not probe at the same moment.
        self.open_for = seconds
        self.open_until = now + seconds / 2 + rng() * seconds / 2
        self.probing = 0
        self.generation += 1


class _Record:
    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.paused_until = 0.0
        self.pause_reason = ""
        # Seconds of the pause of a refused key. They double with each refusal, and are 0 after the key was accepted.
        self.pause_for = 0.0
        self.probing = False  # whether a running call probes a key after the pause
        self.first_tokens: deque[float] = deque(maxlen=64)
        self.wholes: deque[float] = deque(maxlen=64)


class Permit(NamedTuple):
    """The right to make one attempt. A result of an earlier generation is dropped."""

    # The key and the breaker's generation at the start of the attempt, for the model and for its instance.
    generations: tuple[tuple[Key, int], ...]
    forgiven: int = 0  # the number of times that the instance was forgiven before the attempt
    probes: tuple[Key, ...] = ()  # the keys that this attempt probes, since their pause is over


class Unavailable(NamedTuple):
    """The reason why a candidate must not be tried now, for its `Skip`, and the time when it may be tried."""

    reason: str
    until: float

    @property
    def is_breaker(self) -> bool:
        """Whether the reason is a breaker. Without another candidate, the breaker that closes first is tried."""
        return self.reason in {"breaker open", "probe under way"}

    @property
    def is_lack(self) -> bool:
        """Whether the service denied a capability. Without another candidate, the model is asked all the same."""
        return self.reason.startswith("no ")


class Health:
    """The health records of all providers of one hub. Thread-safe. Only the `size` last used keys are kept."""

    def __init__(
        self, rng: Rng, rules: BreakerRules | None = None, *, budget: BudgetRules | None = None, size: int = 4096
    ) -> None:
        self._rng = rng
        self._rules = rules or BreakerRules()
        self._budget_rules = budget or BudgetRules()
        self._size = size
        # Re-entrant: a garbage collection under the lock may end an abandoned stream, which releases its permit.
        self._lock = renewed_at_fork(threading.RLock())
        renewed_at_fork(self)
        self._records: OrderedDict[Key, _Record] = OrderedDict()
        self._budgets: dict[str, RetryBudget] = {}
        self._degraded: set[Key] = set()
        # The permits of models while all is healthy. Emptied whenever a generation or the number of pardons changes.
        self._permits: dict[Key, Permit] = {}
        # (instance, model as it is sent) → the capabilities that the service denied, and when each is forgotten.
        self._lacking: dict[Key, dict[str, float]] = {}
        self._forgiven: dict[str, int] = {}
        # Called for a statement that also holds for other processes, with the key, the statement and its seconds.
        self.on_fact: Callable[[Key, str, float], object] | None = None

    def _at_fork_reinit(self) -> None:
        """End the probes of other threads, which do not exist in a forked process."""
        for record in self._records.values():
            record.probing, record.breaker.probing = False, 0

    @property
    def all_healthy(self) -> bool:
        """Whether no key is paused, every breaker is closed and no model lacks anything: every candidate is available."""
        return not self._degraded and not self._lacking

    def lacking(self, candidate: Candidate, now: float) -> dict[str, float]:
        """The capabilities of the candidate's model that the service denied, each with the time until which this holds."""
        key = candidate.provider, candidate.model
        with self._lock:
            known = {name: until for name, until in self._lacking.get(key, {}).items() if until > now}
            if not known:
                self._lacking.pop(key, None)
        return known

    def unavailable(self, candidate: Candidate, now: float) -> Unavailable | None:
        """The reason why a candidate must not be tried now; `None` when it may be. Changes no state."""
        if not self._degraded:
            return None
        with self._lock:
            records = map(self._records.get, _keys(candidate))
            found = [obstacle for record in records if record and (obstacle := _obstacle(record, now)) is not None]
        return max(found, key=lambda obstacle: obstacle.until, default=None)

    def acquire(self, candidate: Candidate, now: float, *, force: bool = False) -> Permit | None:
        """Take a permit for an attempt, or `None`. The report of its end returns it. `force` ignores breakers and pauses."""
        if not self._degraded and (known := self._permits.get((candidate.provider, candidate.entry))) is not None:
            return known
        model, instance = _keys(candidate)
        with self._lock:
            generations = (model, self._generation(model)), (instance, self._generation(instance))
            permit = Permit(generations, self._forgiven.get(candidate.provider, 0))
            if self._degraded:
                records = {key: self._records[key] for key, _ in permit.generations if key in self._records}
                if not force and any(_obstacle(record, now) for record in records.values()):
                    return None
                for record in records.values():
                    record.breaker.probing += record.breaker.open_until is not None  # a call at an open breaker is a probe
                probes = tuple(key for key, record in records.items() if record.pause_for and not record.probing)
                for key in probes:
                    records[key].probing = True
                return permit._replace(probes=probes)
            if len(self._permits) < self._size:
                self._permits[model] = permit
            return permit

    def began(self, permit: Permit, now: float) -> None:
        """Record the first content of a stream: a probe has succeeded, and others may follow before the stream's end."""
        if self._degraded:
            with self._lock:
                for key, record in self._current(permit):
                    if record.breaker.open_until is not None or record.pause_for:
                        self._count(key, record, now, ok=True)

    def succeeded(self, candidate: Candidate, permit: Permit, now: float, seconds: float | None, *, stream: bool = True) -> None:
        """Record an answer, with the seconds to the first content of a stream or to a whole answer (`None` when unknown)."""
        with self._lock:
            (model, generation), instance = permit.generations
            record = self._record(model)
            if self._degraded or instance[0] in self._records:
                for key, known in self._current(permit):
                    self._count(key, known, now, ok=True)
            elif record.breaker.generation == generation:  # the usual case, in which every call comes here
                record.breaker.record(now, ok=True, rng=self._rng)
            if seconds is not None:
                (record.first_tokens if stream else record.wholes).append(seconds)
            self._budget(candidate.provider, now).earn(now)

    def failed(self, candidate: Candidate, permit: Permit, now: float, error: errors.AttemptError, policy: RetryPolicy) -> None:
        """Record a failed attempt: count it, and pause the model, as its class and `Retry-After` demand."""
        rule = disposition(error)
        model, instance = _keys(candidate)
        counted = {"model": model, "instance": instance}.get(rule.counts)
        with self._lock:
            if counted is not None:
                self._record(counted)
            for key, record in self._current(permit):
                if key == counted:
                    self._count(key, record, now, ok=False, slow=isinstance(error, errors.ProviderTimeoutError))
                else:
                    record.breaker.release()
            # A late refusal of the old key, or of a token that the plugin fetches again, does not pause the new key.
            late = isinstance(error, errors.AuthenticationError) and (
                (error.retryable and error.about_key) or permit.forgiven != self._forgiven.get(candidate.provider, 0)
            )
            if (rule.pause or error_retry_after(error)) and not late:
                self._pause(instance if rule.pause == "instance" else model, error, now, policy)
            if isinstance(error, errors.CapabilityError) and error.capability:
                key = candidate.provider, candidate.model
                self.deny(key, error.capability, now + LACK_FOR)
                if self.on_fact is not None:
                    self.on_fact(key, f"no {error.capability}", LACK_FOR)

    def deny(self, key: Key, capability: str, until: float) -> None:
        with self._lock:
            self._lacking[key] = self._lacking.pop(key, {}) | {capability: until}  # the newest denial is the last entry
            if len(self._lacking) > self._size:
                del self._lacking[next(iter(self._lacking))]

    def pause(self, key: Key, reason: str, now: float, until: float) -> None:
        """Pause a model or an instance, unless it is paused for longer. A key's pause ends with one probe."""
        with self._lock:
            record = self._record(key)
            if reason != RATE_LIMITED:
                record.pause_for = max(record.pause_for, until - now)
            if until >= record.paused_until:  # the longer pause stays, with its reason
                record.paused_until, record.pause_reason = until, reason
            self._degraded.add(key)

    def silent(
        self, candidate: Candidate, permit: Permit, now: float, seconds: float, first_token: float | None, *, stream: bool
    ) -> None:
        """Record an attempt without content that lost a race or reached its deadline after some seconds.

        It counts as a failure if it was silent for the shortest of `BreakerRules.stall`, the call's own `first_token`, and twice
        the model's usual time, but at least 1 s.
        """
        usual = self.latency(candidate, 0.95, stream=stream, samples=5)
        limits = (self._rules.stall, first_token, None if usual is None else max(1.0, 2 * usual))
        counts = seconds >= min(limit for limit in limits if limit is not None)
        if not counts and seconds < SHORT_STALL:
            self.released(permit)
            return
        with self._lock:
            model = self._record(permit.generations[0][0])
            for key, record in self._current(permit):
                if record is model:
                    self._changed(key, record, now, lambda: model.breaker.record_silence(now, counts=counts, rng=self._rng))
                else:
                    record.breaker.release()

    def released(self, permit: Permit) -> None:
        """Give a permit back without counting: the attempt was cancelled or abandoned, or the caller made a mistake."""
        with self._lock:
            for _, record in self._current(permit):
                record.breaker.release()

    def _current(self, permit: Permit) -> list[tuple[Key, _Record]]:
        """The records for the end of an attempt. Ends the attempt's probes."""
        for key in permit.probes:
            if key in self._records and permit.forgiven == self._forgiven.get(key[0], 0):  # not a probe of an earlier key
                self._records[key].probing = False
        found = ((key, self._records.get(key), generation) for key, generation in permit.generations)
        return [(key, record) for key, record, generation in found if record and record.breaker.generation == generation]

    def _count(self, key: Key, record: _Record, now: float, *, ok: bool, slow: bool = False) -> None:
        if ok:
            record.pause_for = 0.0
        self._changed(key, record, now, lambda: record.breaker.record(now, ok=ok, rng=self._rng, slow=slow))

    def _changed(self, key: Key, record: _Record, now: float, change: Callable[[], None]) -> None:
        """Change a breaker, and log when it opens or closes."""
        was_open = record.breaker.open_until is not None
        change()
        until = record.breaker.open_until
        name = "/".join(filter(None, key))
        if until is not None and not was_open:
            _log.warning("%s keeps failing: calls skip it for %.0f s (breaker open)", name, until - now)
        elif until is None and was_open:
            _log.warning("%s answers again (breaker closed)", name)
        self._update_degraded(key, record, now)

    def take_budget(self, provider: str, now: float) -> bool:
        with self._lock:
            return self._budget(provider, now).take(now)

    def return_budget(self, provider: str, now: float) -> None:
        with self._lock:
            self._budget(provider, now).give_back()

    def latency(self, candidate: Candidate, quantile: float, *, stream: bool = True, samples: int = 1) -> float | None:
        """A quantile (0 to 1) of the last 64 times to the first content, or of whole answers; `None` with too few samples."""
        with self._lock:
            record = self._records.get(_keys(candidate)[0])
            known = list(record.first_tokens if stream else record.wholes) if record else []
        return None if len(known) < samples else _quantile(known, quantile)

    def records(self, now: float) -> dict[Key, HealthRecord]:
        with self._lock:
            shown = {key: self._shown(key, record, now) for key, record in self._records.items()}
            for key, known in self._lacking.items():
                if lacking := tuple(sorted(name for name, until in known.items() if until > now)):
                    record = shown.get(key) or HealthRecord(provider=key[0], model=key[1], budget=self.budget(key[0], now))
                    shown[key] = attrs.evolve(record, lacking=lacking)
            return shown

    def _shown(self, key: Key, record: _Record, now: float) -> HealthRecord:
        until = record.breaker.open_until
        is_paused = record.paused_until > now
        return HealthRecord(
            provider=key[0], model=key[1], state="closed" if until is None else "open" if until > now else "half-open",
            retry_in=max(0.0, record.paused_until - now, 0.0 if until is None else until - now),
            pause=record.pause_reason if is_paused else "", first_token=_quantile(record.first_tokens, 0.5),
            whole=_quantile(record.wholes, 0.5), budget=self.budget(key[0], now),
        )  # fmt: skip

    def budget(self, provider: str, now: float) -> float | None:
        """The tokens of a provider's retry budget; `None` before its first use. Takes none."""
        budget = self._budgets.get(provider)
        return None if budget is None else budget.tokens(now)

    def forgive(self, provider: str, *, breakers: bool = False) -> None:
        """Lift the pauses of an instance. With `breakers`, close its breakers, and forget denied capabilities."""
        with self._lock:
            self._forgiven[provider] = self._forgiven.get(provider, 0) + 1
            self._permits.clear()
            if breakers:
                self._lacking = {key: known for key, known in self._lacking.items() if key[0] != provider}
            for key, record in self._records.items():
                if key[0] == provider:
                    record.paused_until = record.pause_for = 0.0
                    record.probing = False
                    if breakers:
                        record.breaker.close()
                    self._update_degraded(key, record, 0.0)

    def key_changes(self, provider: str) -> int:
        """The number of times that the pauses of an instance were lifted, as after a change of its key."""
        return self._forgiven.get(provider, 0)

    def _update_degraded(self, key: Key, record: _Record, now: float) -> None:
        self._permits.clear()
        if record.breaker.open_until is not None or record.paused_until > now or record.pause_for:
            self._degraded.add(key)
        else:
            self._degraded.discard(key)

    def _pause(self, key: Key, error: errors.AttemptError, now: float, policy: RetryPolicy) -> None:
        record = self._record(key)
        named = error_retry_after(error)
        if isinstance(error, errors.AuthenticationError):
            if record.pause_reason in _REFUSALS and now < record.paused_until:
                return  # the attempt began before the pause, so this is not a second refusal
            if error.about_key:
                what, left = "its key", "calls skip it for some time, or until the key changes"
            else:
                what, left = "a request", f"{error.model} is skipped for some time"
            said = f"refused {what} (status {error.status})" if error.status else f"cannot use {what}"  # None: nothing was sent
            if not record.pause_for:  # log it once until the key is accepted
                _log.warning("provider %s %s; %s", error.provider, said, left)
            record.pause_for = min(max(KEY_PAUSE, record.pause_for * 2), policy.pause_max)
            until, reason = now + record.pause_for, _REFUSALS[not error.about_key]
        elif isinstance(error, errors.QuotaExceededError):
            record.pause_for = min(max(named or 0.0, QUOTA_PAUSE), policy.pause_max)
            until, reason = now + record.pause_for, "quota used up"
        else:
            until, reason = now + (policy.throttle_backoff if named is None else min(named, policy.pause_max)), RATE_LIMITED
        self.pause(key, reason, now, until)
        if self.on_fact is not None and not isinstance(error, errors.RateLimitError):  # the pacer reports those
            self.on_fact(key, reason, until - now)

    def _generation(self, key: Key) -> int:
        record = self._records.get(key)
        return record.breaker.generation if record else 0

    def _record(self, key: Key) -> _Record:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(Breaker(self._rules))
            if len(self._records) > self._size:
                self._degraded.discard(self._records.popitem(last=False)[0])
                self._permits.clear()
        else:
            self._records.move_to_end(key)
        return record

    def _budget(self, provider: str, now: float) -> RetryBudget:
        budget = self._budgets.get(provider)
        if budget is None:
            budget = self._budgets[provider] = RetryBudget(now, self._budget_rules)
        return budget


def error_retry_after(error: errors.AttemptError) -> float | None:
    return getattr(error, "retry_after", None)


def _quantile(known: Collection[float], quantile: float) -> float | None:
    return sorted(known)[min(len(known) - 1, int(quantile * len(known)))] if known else None


def _keys(candidate: Candidate) -> tuple[Key, Key]:
    return (candidate.provider, candidate.entry), (candidate.provider, "")


def _obstacle(record: _Record, now: float) -> Unavailable | None:
    if record.paused_until > now:
        return Unavailable(record.pause_reason, record.paused_until)
    until = record.breaker.open_until
    if record.probing:
        return Unavailable("probe under way", now)
    if until is None:
        return None
    if until > now:
        return Unavailable("breaker open", until)
    return Unavailable("probe under way", now) if record.breaker.probing else None
