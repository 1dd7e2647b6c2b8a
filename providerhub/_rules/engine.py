"""The retry chain as a state machine: a driver reports each event, and the engine returns the next order.

The engine does no I/O, has no clock and never sleeps. Every method takes `now`, in seconds on one monotonic clock. A driver
carries the orders out, synchronously or asynchronously:

    start → Open → opened → Pull → content | ended | failed | slow
                                     │        │       │        └→ Open (the next one, beside), Queue, Cut (then failed), Pull
                                     │        │       └→ Open (another candidate, at once), Queue, Renew, Wait, Pull, Fail
                                     │        └→ Done
                                     └→ Drain (the commit point) → ended | interrupted
    Queue → turn, Renew → renewed, Wait → waited: after each of them one of these orders again

A call that does not stream is a stream with one event: its `Pull` ends once, when the answer is whole. Several attempts may be
open at once: when an attempt has no content after its share of the time (with hedging, earlier), the next candidate is asked too.
Each report then names its attempt, and the first attempt with content wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence

from providerhub._rules import orders
from providerhub._rules import policy as rules
from providerhub._rules.attempts import Attempts, Failure
from providerhub._rules.endings import broken_off, exhausted, last_error, late, told
from providerhub._rules.health import Health
from providerhub._rules.lanes import Full
from providerhub._rules.mapping import blamed
from providerhub._rules.pacing import FREE, Pacer, Tokens, Turn, no_tokens
from providerhub._values import Candidate, Completion, RetryPolicy, RoutePlan, errors


class Engine(Attempts):
    """The progress of one call through its plan, from `now` until its deadline.

    With `force`, the first candidate is tried even while its breaker is open. With `slow_model`, a long silence is usual.
    `first_token` limits the silence of an attempt, for the count of stalls. A `patient` call waits for a turn, and does not go to
    another model or a lower priority. `tokens` estimates the call's tokens, if a provider has a `tpm`.
    """

    # Every call makes an engine, and few calls need these fields: the defaults are on the class.
    _shortages = 0
    _loaded_by = 0.0  # when the next candidate is asked, if a local server still loads the model
    _next: Candidate | None = None
    _later: Sequence[Candidate] = ()
    _interruption: errors.ProviderHubError | None = None
    _over_budget: errors.BudgetExceededError | None = None
    _renewed: frozenset[str] = frozenset()
    _asking: tuple[Candidate, bool] | None = None
    _queued_at = _waited = 0.0
    _full: Mapping[Candidate, Full] = {}  # the candidates whose limits were reached, and the time of the next turn there
    _awaited: Mapping[Candidate, Full] = {}  # the candidates at which the call waited last
    _waits_for: Failure | None = None  # the failure whose repeat the call waits for, before the next model

    def __init__(
        self,
        plan: RoutePlan,
        policy: RetryPolicy,
        health: Health,
        *,
        deadline: float,
        rng: rules.Rng,
        now: float,
        stream: bool,
        on_interrupt: str = "raise",
        hedge: bool = False,
        force: bool = False,
        slow_model: bool = False,
        first_token: float | None = None,
        pacer: Pacer | None = None,
        patient: bool = False,
        tokens: Tokens = no_tokens,
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
        self._slow_model = slow_model
        self._first_token = first_token
        self._pacer = pacer or Pacer(rng)
        self._tokens = tokens
        self._patient = patient
        self._larger_than: int | None = None
        self._skipped = plan.skipped
        self._fresh: list[Candidate] = [*reversed(plan.candidates)]
        self._open = []
        self._last: Candidate = plan.candidates[0]
        self.attempts = []
        self._limit = max(policy.attempts, len(self._fresh))

    @property
    def awaited(self) -> str:
        """The provider that is asked again after the `Wait`; empty before any wait."""
        return "" if self._next is None else self._next.provider

    def start(self, now: float) -> orders.Order:
        return self._try_next(now)

    def opened(self, now: float, tells: Callable[[], orders.Told] | None = None) -> orders.Order:
        """Report that the provider has been asked. `tells` returns the driver's current data of the attempt."""
        if tells and self._open:  # another thread may have closed the stream
            self._open[-1].told = tells
        if not self._fresh or (self.attempts and not self._rival(elsewhere=False)):
            return orders.PULL
        newest, left = self._open[-1], self._deadline - now
        is_slow, is_only, policy = self._slow_model or newest.candidate.slow, len(self._open) == 1, self._policy
        if is_only and left >= 2 * rules.LONGEST_SHARE and policy.beside_after is None and not (is_slow or self._hedge):
            newest.share, newest.slow_at = rules.LONGEST_SHARE, now + rules.LONGEST_SHARE
            return orders.PULL_USUAL  # a faster way to the result below
        # Begin with the shortest possible share. The usual latency of the model is looked up after this time.
        newest.share = seconds = rules.share(policy, left, None, slow=is_slow)
        if self._hedge and is_only and self._rival(elsewhere=True):
            usual = self._usual(newest.candidate)
            if usual is not None:
                newest.share = self._share(newest, usual)
                seconds = min(newest.share, usual)
        if seconds < left:
            newest.slow_at = now + seconds
            if is_only:
                return orders.Pull(seconds)
        return self._pull(now)

    def slow(self, now: float, answering: Container[int] = ()) -> orders.Order:
        """Report that an attempt was silent for the seconds of its `Pull`. The answers of attempts in `answering` have begun."""
        attempt = min(self._open, key=lambda one: one.slow_at)
        attempt.slow_at = math.inf
        if attempt.number in answering or now >= self._deadline:
            return self._pull(now)
        began = self._start + attempt.started
        hedged = self._hedge and now < began + attempt.share
        shortest, attempt.share = attempt.share, self._share(attempt, self._usual(attempt.candidate))
        if hedged or attempt.share > shortest:
            attempt.slow_at = began + attempt.share  # before this time, it is hedged or not slow
            self._hedge = self._hedge and not hedged
            return (self._join(now, elsewhere=True) if hedged else None) or self._pull(now)
        if not self._policy.beside and self._rival(elsewhere=False):
            msg = f"no content came for {attempt.share:g} s, this attempt's share of the time"
            return orders.Cut(attempt.number, errors.ProviderTimeoutError(msg, retryable=False))
        if order := self._join(now, elsewhere=False):
            return order
        if self._rival(elsewhere=False):
            attempt.slow_at = now + rules.LOOK_AGAIN  # the retry budget is used up, and will grow again
        return self._pull(now)

    def content(self, now: float, number: int | None = None) -> orders.Order:
        """Report the first content of a streamed answer: the commit point."""
        winner = self._find(number)
        self._last = winner.candidate
        if winner.first_token is None:
            winner.first_token = now - self._start - winner.started
        self._health.began(winner.permit, now)
        self._pacer.accepted(winner.turn, now)
        self._drop_others(winner, now)
        return orders.DRAIN

    def ended(self, now: float, *, empty: bool, number: int | None = None) -> orders.Order:
        """Report the end of an open attempt's pieces; `empty` without content and without a `Finish` event."""
        if empty:
            return self.failed(errors.EmptyAnswerError("the answer had neither content nor a finish reason"), now, number)
        winner = self._find(number)
        seconds = winner.first_token if self._stream else now - self._start - winner.started
        self._health.succeeded(winner.candidate, winner.permit, now, seconds, stream=self._stream)
        self._close(winner, now, "ok")
        if self._open:
            self._drop_others(None, now)
        return orders.DONE

    def failed(self, error: errors.AttemptError, now: float, number: int | None = None) -> orders.Order:
        """Report the failure of an open attempt before the commit point."""
        loser = self._find(number)
        error = blamed(error, loser.candidate.provider, loser.candidate.model)
        if now >= self._deadline:
            self._drop(loser, now, error)
            return self._late(now, error)
        if isinstance(error, errors.ShortageError | errors.ServerError) and (order := self._wait_out(loser, error, now)):
            return order
        is_renewed = loser.candidate.provider in self._renewed
        if isinstance(error, errors.AuthenticationError) and is_renewed:
            error.retryable = False  # the service has also refused the new token of the plugin
        self._note_failure(loser, error, now)
        rule = rules.disposition(error)
        opted_in = isinstance(error, self._policy.also_on)
        if not (rule.elsewhere or rule.larger or opted_in):
            return self._fail(error, now)
        if rule.larger and not opted_in:
            self._larger_than = max(self._larger_than or 0, loser.candidate.context_window or 0)
        else:
            self._note(loser.candidate, error, now, loser.number)
        if self._open:
            return self._go_on(now)
        if isinstance(error, errors.AuthenticationError) and error.about_key and not is_renewed:
            self._renewed |= {loser.candidate.provider}
            self._next = loser.candidate
            return self.renewed(now, changed=True) if error.retryable else orders.Renew(loser.candidate)
        return self._try_next(now, error)

    def _go_on(self, now: float) -> orders.Order:
        """Wait for the open attempts. When all have had their share, and the parallel attempt failed, ask the next candidate."""
        waiting = all(attempt.slow_at == math.inf for attempt in self._open)
        return (self._join(now, elsewhere=False) if waiting else None) or self._pull(now)

    def over_budget(self, error: errors.BudgetExceededError, now: float) -> orders.Order:
        """Report that the attempt of the latest `Open` must not be sent. It does not count; the cheapest candidate is next."""
        attempt = self._open.pop()
        self._count -= 1
        self._health.released(attempt.permit)
        self._pacer.release(attempt.turn)
        self._skip(attempt.candidate, "over budget", str(error))
        self._over_budget = error
        self._fresh.sort(key=rules.price, reverse=True)  # the next candidate is the last in the list
        return self._go_on(now) if self._open else self._try_next(now)

    def refused_part(self, error: errors.AttemptError, now: float, number: int) -> orders.Order:
        """Report that a service refused a part of the request. The driver leaves this part out, and asks again for free."""
        loser = self._find(number)
        if now >= self._deadline:
            return self.failed(error, now, number)
        error = blamed(error, loser.candidate.provider, loser.candidate.model)
        self._release(loser, error, now)
        again = self._begin(loser.candidate, now, force=True)
        return again or (self._pull(now) if self._open else self._queue((loser.candidate,), now))

    def renewed(self, now: float, *, changed: bool) -> orders.Order:
        """Report whether the refused key of a provider has changed. If so, the provider is asked at once."""
        refused = self._next
        if changed and refused and now < self._deadline:
            self._forgive(self.attempts[-1].number)  # the other candidates must still get their turn
            if order := self._begin(refused, now, force=True):
                return order
        return self._try_next(now, last_error(self.attempts))

    def waited(self, now: float, plan: RoutePlan | None = None) -> orders.Order:
        """Report the end of a wait, with the new plan; `None` if it has no candidate."""
        chosen = self._next
        if now >= self._deadline or chosen is None:
            return self._late(now, last_error(self.attempts))
        if plan is not None:
            tried = {(attempt.provider, attempt.model) for attempt in self.attempts}
            fresh = [c for c in plan.candidates if c == chosen or (c.provider, c.model) not in tried]
            if chosen in fresh:
                before = fresh[: fresh.index(chosen)]
                self._fresh = [c for c in fresh if c != chosen][::-1]
                if before and (order := self._begin(before[0], now)):
                    self._fresh.remove(before[0])
                    return order
        return self._begin(chosen, now, force=True) or self._try_next(now)

    def interrupted(
        self, error: errors.AttemptError, now: float, completion: Completion, *, may_restart: bool = True
    ) -> orders.Order:
        """Report that the stream broke after the commit point. `may_restart` is false if a reader could not see a new start."""
        broken = self._last
        error = blamed(error, broken.provider, broken.model)
        for attempt in tuple(self._open):  # none is open if another thread closed the stream
            self._note_failure(attempt, error, now)
        over = None if now < self._deadline else late(self.attempts, self._deadline - self._start, error)
        self._interruption = broken_off(broken, completion, error, over)
        if self._on_interrupt == "raise" or not may_restart:
            return self._fail(self._interruption, now)
        self._note(broken, error, now, self._count)
        if self._on_interrupt == "continue":
            # Only models that continue a partial answer can be asked.
            for candidate in [c for c in self._fresh if not c.prefill]:
                self._fresh.remove(candidate)
                self._skip(candidate, "no prefill", "it cannot continue a partial answer")
            self._failures = tuple(failure for failure in self._failures if failure.candidate.prefill)
        self._hedge = False
        return self._try_next(now, error)

    def abandoned(self, now: float) -> None:
        for attempt in tuple(self._open):
            self._health.released(attempt.permit)
            self._close(attempt, now, "abandoned")

    def _pull(self, now: float) -> orders.Pull:
        slow_at = min([attempt.slow_at for attempt in self._open])
        return orders.PULL if slow_at == math.inf else orders.Pull(max(0.0, slow_at - now))

    def _rival(self, *, elsewhere: bool) -> Candidate | None:
        """The next candidate for a parallel attempt; with `elsewhere`, at another provider."""
        if self._left <= 0 or self._larger_than is not None or not self._open:
            return None
        asked = {attempt.candidate.provider for attempt in self._open} if elsewhere else ()
        return next((c for c in reversed(self._fresh) if c.provider not in asked and not self._is_used_up(c)), None)

    def _join(self, now: float, *, elsewhere: bool) -> orders.Order | None:
        """Ask one more candidate in parallel to the open attempts.

        This costs a token of its provider's retry budget. It costs no token if the breaker of the slow attempt has opened in the
        meantime: otherwise the calls at the start of a hang would use up the budget, and the last of them would fail.
        """
        is_stalled = any(self._health.unavailable(attempt.candidate, now) for attempt in self._open)
        order: orders.Order | None = None
        without_budget = []
        while order is None and (rival := self._rival(elsewhere=elsewhere)):
            self._fresh.remove(rival)
            if is_stalled or self._health.take_budget(rival.provider, now):
                order = self._begin(rival, now)
            else:
                without_budget.append(rival)
        self._fresh += without_budget[::-1]  # after the open attempts have failed, asking these candidates costs no token
        return order

    def _try_next(self, now: float, error: errors.AttemptError | None = None) -> orders.Order:
        if now >= self._deadline:
            return self._late(now, error)
        if error is not None and (order := self._be_patient(now, error)):
            return order
        while self._fresh and (self._count < self._limit or self._left > 0):
            candidate = self._fresh.pop()
            if self._larger_than is not None and (candidate.context_window or math.inf) <= self._larger_than:
                self._skip(candidate, "context window", f"a window larger than {self._larger_than} tokens is needed")
            elif self.attempts and self._is_used_up(candidate):
                self._skip(candidate, "attempts used up", f"{self._policy.attempts_per_provider} at one model in one call")
            elif order := self._begin(candidate, now, force=self._force):
                return order
            elif self._is_awaited(candidate):
                self._keep_equals(candidate)
        latest = self._deadline - rules.LEAVE_BEFORE_DEADLINE
        due = tuple(c for c, full in self._full.items() if full.until <= latest or full.until == math.inf)
        if due and not self._open:
            self._awaited, self._full = {candidate: self._full[candidate] for candidate in due}, {}
            return self._queue(due, now)
        # All candidates became unavailable since the plan was made. Like the router, the engine still tries one of them.
        is_first = not (self._count or self._full or self._over_budget)
        if is_first and (order := self._begin(self._last, now, force=True)):
            return order
        again = None if self._larger_than is not None else self._again(self._choose(now, self._failures), now)
        return again or self._exhausted(now)

    def _is_awaited(self, candidate: Candidate) -> bool:
        """Whether the call waits for a turn at this candidate, and does not go to another model or a lower priority."""
        when_full = self._pacer.when_full(candidate)
        return candidate in self._full and (self._patient if when_full is None else when_full == "wait")

    def _keep_equals(self, full: Candidate) -> None:
        """Wait for a turn at a candidate, unless another candidate of the same model and priority is free."""
        equal = [c for c in self._fresh if (c.group, c.priority) == (full.group, full.priority)]
        self._later = [*(c for c in self._fresh if c not in equal), *self._later]
        self._fresh = equal

    def turn(self, now: float, candidate: Candidate | None = None, turn: Turn | None = None) -> orders.Order:
        """Report the turn at a candidate of a `Queue`; `None` when none came before its end or the deadline."""
        asking, self._asking = self._asking, None
        if asking is not None:
            return self._asked(*asking, now, turn)
        waited_for, self._waits_for = self._waits_for, None
        if candidate is None and waited_for is not None and now < self._deadline:  # others wait there too; the next model is free
            self._failures += (waited_for,)
            return self._try_next(now)
        if candidate is None or turn is None or now >= self._deadline:
            # The error and the route name the limits that were reached.
            error = late(self.attempts, self._deadline - self._start, last_error(self.attempts))
            for awaited, full in self._awaited.items():
                self._skip(awaited, full.reason, "no turn came before the deadline")
                error.args = (f"{error}; it waited for a turn at {awaited} ({full.reason})",)
            return self._fail(error, now)
        self._fresh = [c for c in (*self._later, *self._fresh) if c != candidate]
        self._later, self._waited = (), now - self._queued_at
        return self._begin(candidate, now, force=True, turn=turn) or self._exhausted(now)

    def _asked(self, candidate: Candidate, force: bool, now: float, turn: Turn | None) -> orders.Order:  # noqa: FBT001 -- from `_asking`
        """Continue after the store of shared limits was asked for a turn."""
        order = turn and self._begin(candidate, now, force=force, turn=turn)
        if turn is None:
            self._full = {**self._full, candidate: self._pacer.obstacle(candidate, now) or Full("others wait", now)}
            if self._is_awaited(candidate):
                self._keep_equals(candidate)
        return order or (self._pull(now) if self._open else self._try_next(now))

    def _be_patient(self, now: float, error: errors.AttemptError) -> orders.Order | None:
        """Ask a provider of the same model once more, before the next model."""
        again = rules.disposition(error).again
        if not self._fresh or self._larger_than is not None or (self._fresh[-1].group == self._last.group and not again):
            return None
        if self._left <= len(self._fresh):  # every untried candidate must still get its turn
            return None
        chosen = self._before_next(now, self._last, same=again)
        order = self._again(chosen, now, until=now + self._policy.patience)
        self._waits_for = chosen[0] if chosen and isinstance(order, orders.Queue) else None
        return order

    def _again(self, chosen: tuple[Failure, float] | None, now: float, until: float = math.inf) -> orders.Order | None:
        if chosen is None:
            return None
        failure, self._waited = chosen
        if isinstance(failure.error, errors.RateLimitError):  # other calls wait there too: first in, first out
            return self._queue((failure.candidate,), now, until)
        self._next = failure.candidate
        return orders.Wait(self._waited)

    def _queue(self, candidates: tuple[Candidate, ...], now: float, until: float = math.inf) -> orders.Queue:
        self._queued_at = now
        return orders.Queue(candidates, until=until)

    def _begin(self, candidate: Candidate, now: float, *, force: bool = False, turn: Turn | None = None) -> orders.Order | None:
        if turn is None:
            taken = self._pacer.take(candidate, now, self._tokens)
            if taken is FREE:  # the usual case
                turn = FREE
            elif isinstance(taken, Full):
                self._full = {**self._full, candidate: taken}
                return None
            elif taken.ready:
                turn = taken
            else:
                self._asking = candidate, force
                return orders.Queue((candidate,), taken)
        permit = self._health.acquire(candidate, now, force=force)
        if permit is None:
            self._pacer.release(turn)
            self._skip(candidate, "breaker open", "since the plan was made")
            return None
        self._count = number = self._count + 1
        self._last = candidate
        self._open.append(orders.OpenAttempt(number, candidate, permit, turn, started=now - self._start, waited=self._waited))
        self._waited = 0.0
        return orders.Open(candidate, number)

    def _wait_out(self, attempt: orders.OpenAttempt, error: errors.ProviderError, now: float) -> orders.Order | None:
        """Wait, because this process has no descriptor or thread left, or a local server loads the model. No failure counts.

        With another candidate, a server that loads has the share of a slow model. `None` is returned for any other failure.
        """
        is_loading = isinstance(error, errors.ServerError) and error.loading and attempt.candidate.slow
        if not (is_loading or isinstance(error, errors.ShortageError)):
            return None
        seconds = rules.shortage_wait(self._shortages, self._rng)
        if is_loading:
            seconds *= rules.LOADING
            self._loaded_by = self._loaded_by or now + rules.share(self._policy, self._deadline - now, None, slow=True)
            if now + seconds > (self._loaded_by if self._fresh else self._deadline):
                return None
        self._release(attempt, error, now)
        self._shortages += 1
        if self._open:  # the parallel attempt has no resources; it is tried later
            self._health.return_budget(attempt.candidate.provider, now)
            self._fresh.append(attempt.candidate)
            self._open[0].slow_at = now + seconds
            return self._pull(now)
        self._next, self._waited = attempt.candidate, seconds
        return orders.Wait(seconds) if now + seconds <= self._deadline else self._late(now, error)

    def _late(self, now: float, cause: errors.AttemptError | None) -> orders.Fail:
        return self._fail(late(self.attempts, self._deadline - self._start, cause), now)

    def _exhausted(self, now: float) -> orders.Fail:
        for candidate, full in self._full.items():
            self._skip(candidate, full.reason, f"for {full.until - now:.1f} s more")
            if not any(attempt.error for attempt in self.attempts):
                msg = f"no turn in time ({full.reason}): the next one is in {(wait := full.until - now):.0f} s"
                error = errors.RateLimitError(msg, provider=candidate.provider, model=candidate.model, retry_after=wait)
                return self._fail(error, now)
        return self._fail((None if self.attempts else self._over_budget) or exhausted(self.attempts, self._last), now)

    def _fail(self, error: errors.ProviderHubError, now: float) -> orders.Fail:
        self._drop_others(None, now)
        self.duration = now - self._start
        # The caller has part of the answer already, so the interruption is the error, also when a later attempt failed.
        error = self._interruption or error
        if isinstance(error, errors.ProviderError | errors.PluginError):
            error.args = (told(error),)
        error.route = self.route
        return orders.Fail(error)
