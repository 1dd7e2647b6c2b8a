"""Breaker, pauses, budget and the whole chain under random histories, held to the rules of the reliability table.

The first machine compares `Health` with a plain model of those rules. The second machine drives several calls at once through
engines that share one `Health`, and checks only the promises.
"""

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from providerhub import (
    AuthenticationError,
    BadRequestError,
    Candidate,
    Completion,
    ContextLengthError,
    ForbiddenError,
    ModelUnavailableError,
    PluginError,
    ProtocolError,
    ProviderConnectionError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
    RoutePlan,
    ServerError,
    ShortageError,
    StreamInterruptedError,
    TLSError,
)
from providerhub._rules.engine import Engine
from providerhub._rules.health import Health
from providerhub._rules.orders import Cut, Done, Drain, Fail, Open, Pull, Queue, Renew, Wait
from providerhub._rules.pacing import Limits, Pacer

POLICY = RetryPolicy()
CANDIDATES = [
    Candidate(provider, model, model, context_window=window, group=group, prefill=provider != "c")
    for provider in ("a", "b", "c")
    for group, (model, window) in enumerate((("m", None), ("n", 1000)))
]
STEPS = st.sampled_from([0.0, 0.1, 1.0, 2.5, 5.0, 9.99, 10.0, 29.9, 30.0, 150.0, 300.0, 600.0])

ERRORS = {
    "server": (lambda: ServerError("x"), "model"),
    "timeout": (lambda: ProviderTimeoutError("x"), "model"),
    "protocol": (lambda: ProtocolError("x"), "model"),
    "plugin": (lambda: PluginError("x"), "model"),
    "connection": (lambda: ProviderConnectionError("x"), "instance"),
    "tls": (lambda: TLSError("x"), "instance"),
    "server, wait": (lambda: ServerError("x", retry_after=7), "model"),
    "rate": (lambda: RateLimitError("x"), ""),
    "rate, wait": (lambda: RateLimitError("x", retry_after=20), ""),
    "rate, wait long": (lambda: RateLimitError("x", retry_after=86400), ""),
    "quota": (lambda: QuotaExceededError("x"), ""),
    "401": (lambda: AuthenticationError("x", status=401), ""),
    "forbidden": (lambda: ForbiddenError("x", status=403), ""),
    "shortage": (lambda: ShortageError("x"), ""),
    "no model": (lambda: ModelUnavailableError("x"), ""),
    "no model, again": (lambda: ModelUnavailableError("x", retryable=True), ""),
    "bad request": (lambda: BadRequestError("x"), ""),
    "context": (lambda: ContextLengthError("x"), ""),
}
"""What an attempt may end in, and whose breaker counts it."""

REFUSALS = {"key rejected", "forbidden"}
PAUSES = {
    "server, wait": ("model", 7.0, "rate limited"),
    "rate": ("model", 1.0, "rate limited"),
    "rate, wait": ("model", 20.0, "rate limited"),
    "rate, wait long": ("model", 600.0, "rate limited"),
    "quota": ("instance", 600.0, "quota used up"),
    "401": ("instance", None, "key rejected"),
    "forbidden": ("model", None, "forbidden"),
}
"""The scope that pauses after an error, the seconds (`None`: they double from 10 to 600), and the reason."""

PROBED = {"key rejected", "forbidden", "quota used up"}
"""The pauses after which one call goes first."""

SILENCES = {"silent for 1 s": 1.0, "silent for 2 s": 2.0, "silent for 9.9 s": 9.9, "silent for 10 s": 10.0}


class Draws:
    """A random source whose last draw can be looked at."""

    def __init__(self, values):
        self.values = values
        self.count = 0

    def __call__(self):
        self.count += 1
        return self.values[self.count % len(self.values)]

    @property
    def last(self):
        return self.values[self.count % len(self.values)]


class Model:
    """One key by the rules: a list of outcomes, and what follows from it."""

    def __init__(self):
        self.outcomes = []
        self.generation = 0
        self.open_for = 0.0
        self.opened = self.until = None
        self.probes = set()
        self.pause = (0.0, "")
        self.pause_for = 0.0
        self.key_probe = None
        self.silences = 0
        self.known = False

    def obstacle(self, now):
        if self.pause[0] > now:
            return self.pause[::-1]
        if self.key_probe is not None:
            return "probe under way", now
        if self.until is None:
            return None
        if self.until > now:
            return "breaker open", self.until
        return ("probe under way", now) if self.probes else None

    def refuse(self, now, seconds, reason):
        self.known = True
        if seconds is None and self.pause[1] in REFUSALS and now < self.pause[0]:
            return  # the attempt began before the pause, so this is not a second refusal
        if seconds is None:
            seconds = min(600.0, max(10.0, 2 * self.pause_for))
        if reason in PROBED:
            self.pause_for = seconds
        self.pause = max((now + seconds, reason), self.pause, key=lambda pause: pause[0])

    def keep_silent(self, now, *, long, draws):
        silences = self.silences + 1
        if long or silences >= 5:
            self.count(now, ok=False, draws=draws, slow=True)
            if self.until is None and not long:
                self._open(now, 5.0, draws)
        self.silences = silences if self.until is None else 0

    def count(self, now, *, ok, draws, slow=False):
        if ok:
            self.pause_for = 0.0
        if self.until is not None:
            if ok:
                self.until, self.open_for, self.outcomes, self.silences = None, 0.0, [], 0
                self._turn()
            elif now >= self.until:  # before that time, the call was forced, and its result does not count
                self._open(now, min(300.0 if slow else 20.0, 2 * self.open_for), draws)
            return
        self.silences = 0
        self.outcomes.append((now, ok))
        recent = [good for at, good in self.outcomes if at > now - 30.0]
        row = next((n for n, (_, good) in enumerate(reversed(self.outcomes)) if good), len(self.outcomes))
        if not ok and (row >= 5 or (len(recent) >= 5 and 2 * recent.count(False) >= len(recent))):
            self._open(now, 5.0, draws)

    def _open(self, now, seconds, draws):
        self.open_for, self.opened = seconds, now
        self.until = now + seconds / 2 + draws.last * seconds / 2
        self._turn()

    def _turn(self):
        self.generation += 1
        self.probes.clear()


class HealthMachine(RuleBasedStateMachine):
    """Attempts at six models of three providers, finished in any order, at any time."""

    @initialize(draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5))
    def begin(self, draws):
        self.draws = Draws(draws)
        self.health = Health(self.draws)
        self.now = self.start = 1000.0
        self.models = {}
        self.permits = []
        self.taken = dict.fromkeys("abc", 0)
        self.answered = dict.fromkeys("abc", 0)
        self.first_budget = {}
        self.keys_changed = dict.fromkeys("abc", 0)

    def keys(self, candidate):
        return (candidate.provider, candidate.entry), (candidate.provider, "")

    def model(self, key):
        return self.models.setdefault(key, Model())

    @rule(seconds=STEPS)
    def time_passes(self, seconds):
        self.now += seconds

    @rule(candidate=st.sampled_from(CANDIDATES), force=st.booleans(), times=st.sampled_from([1, 1, 6]))
    def try_it(self, candidate, force, times):
        for _ in range(times):
            self._try(candidate, force=force)

    def _try(self, candidate, *, force):
        models = [self.model(key) for key in self.keys(candidate)]
        allowed = force or not any(model.obstacle(self.now) for model in models)
        permit = self.health.acquire(candidate, self.now, force=force)
        assert (permit is not None) is allowed
        if permit is None:
            return
        token = object()
        for model in models:
            if model.until is not None:
                model.probes.add(token)
            if model.pause_for and model.key_probe is None:
                model.key_probe = token
        self.permits.append(
            (token, candidate, permit, [model.generation for model in models], self.keys_changed[candidate.provider])
        )

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), what=st.sampled_from(["ok", "ok", "released", *SILENCES, *ERRORS]))
    def one_ends(self, data, what):
        self._end(self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1))), what)

    @precondition(lambda self: self.permits)
    @rule(data=st.data())
    def one_begins_to_answer(self, data):
        token, candidate, permit, generations, _ = data.draw(st.sampled_from(self.permits))
        self.health.began(permit, self.now)
        for key, generation in zip(self.keys(candidate), generations, strict=True):
            model = self.model(key)
            self._end_probe(model, token)
            if model.generation == generation and (model.until is not None or model.pause_for):
                model.probes.discard(token)
                model.count(self.now, ok=True, draws=self.draws)

    def _end_probe(self, model, token):
        if model.key_probe is token:
            model.key_probe = None

    @precondition(lambda self: self.permits)
    @rule(what=st.sampled_from(["ok", "server", "timeout", "connection", "released", "silent for 2 s", "silent for 10 s"]))
    def all_end(self, what):
        while self.permits:
            self._end(self.permits.pop(), what)

    def _end(self, entry, what):
        token, candidate, permit, generations, key_number = entry
        models = [self.model(key) for key in self.keys(candidate)]
        current = [model for model, generation in zip(models, generations, strict=True) if model.generation == generation]
        for model in models:
            self._end_probe(model, token)
        for model in current:
            model.probes.discard(token)
        if what == "released":
            self.health.released(permit)
        elif what in SILENCES:
            self.health.silent(candidate, permit, self.now, SILENCES[what], None, stream=True)
            self._note_silence(models[0], current, SILENCES[what])
        elif what == "ok":
            self.health.succeeded(candidate, permit, self.now, None)
            self.answered[candidate.provider] += 1
            models[0].known = True
            for model in current:
                if model.known:  # an instance has no record before its first failure; earlier successes are forgotten
                    model.count(self.now, ok=True, draws=self.draws)
        else:
            self.health.failed(candidate, permit, self.now, ERRORS[what][0](), POLICY)
            # A late refusal of the old key does not pause the new one.
            late = what in {"401", "forbidden"} and key_number != self.keys_changed[candidate.provider]
            self._note_failure(models, current, what, late=late)

    def _note_silence(self, model, current, seconds):
        if seconds >= 2:
            model.known = True
            if model in current:
                model.keep_silent(self.now, long=seconds >= 10, draws=self.draws)

    def _note_failure(self, models, current, what, *, late):
        scopes = dict(zip(("model", "instance"), models, strict=True))
        counted = scopes.get(ERRORS[what][1])
        if counted is not None:
            counted.known = True
            if counted in current:
                counted.count(self.now, ok=False, draws=self.draws, slow=what == "timeout")
        if what in PAUSES and not late:
            scope, seconds, reason = PAUSES[what]
            scopes[scope].refuse(self.now, seconds, reason)

    @rule(provider=st.sampled_from("abc"))
    def a_key_changes(self, provider):
        self.health.forgive(provider)
        self.keys_changed[provider] += 1
        for key, model in self.models.items():
            if key[0] == provider:
                model.pause, model.pause_for, model.key_probe = (0.0, ""), 0.0, None

    @rule(provider=st.sampled_from("abc"), times=st.sampled_from([1, 12]))
    def retries_are_paid_for(self, provider, times):
        self.first_budget.setdefault(provider, self.now)
        self.taken[provider] += sum(self.health.take_budget(provider, self.now) for _ in range(times))

    @invariant()
    def what_is_left_alone_is_what_the_rules_leave_alone(self):
        for candidate in CANDIDATES if self.models else ():
            obstacles = [self.model(key).obstacle(self.now) for key in self.keys(candidate)]
            expected = max(filter(None, obstacles), key=lambda obstacle: obstacle[1], default=None)
            found = self.health.unavailable(candidate, self.now)
            assert (found and found.until) == (expected and pytest.approx(expected[1]))
            assert found is None or found.reason in {obstacle[0] for obstacle in obstacles if obstacle}

    @invariant()
    def an_open_time_is_drawn_from_its_upper_half_and_never_beyond_the_cap(self):
        for model in self.models.values() if self.permits == [] else ():
            if model.until is not None:
                assert model.open_for in {5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0}
                assert model.opened + model.open_for / 2 <= model.until <= model.opened + model.open_for

    @invariant()
    def retries_are_within_the_budget(self):
        for provider, since in self.first_budget.items():
            assert self.taken[provider] <= 10 + 0.1 * self.answered[provider] + (self.now - since) / 10 + 1e-6


class Ledger(Health):
    """A `Health` that knows which permits are out, and how each came back."""

    def __init__(self, rng):
        super().__init__(rng)
        self.out = []

    def acquire(self, candidate, now, **knobs):
        permit = super().acquire(candidate, now, **knobs)
        if permit is not None:
            self.out.append(id(permit))
            self.kept = [*getattr(self, "kept", ()), permit]  # so that no id is used twice
        return permit

    def succeeded(self, candidate, permit, *args, **knobs):
        self.out.remove(id(permit))
        super().succeeded(candidate, permit, *args, **knobs)

    def failed(self, candidate, permit, *args, **knobs):
        self.out.remove(id(permit))
        super().failed(candidate, permit, *args, **knobs)

    def silent(self, candidate, permit, *args, **knobs):
        before = self.out.count(id(permit))  # while all is healthy, the attempts at one model share a permit
        super().silent(candidate, permit, *args, **knobs)
        if self.out.count(id(permit)) == before:  # a short silence is released by itself
            self.out.remove(id(permit))

    def released(self, permit):
        self.out.remove(id(permit))
        super().released(permit)


class Call:
    """One call under way, with what has been seen of it."""

    def __init__(self, engine, now, total, candidates, *, stream):
        self.engine = engine
        self.start, self.deadline = now, now + total
        self.candidates = candidates
        self.stream = stream
        self.opened = []
        self.free = set()
        """The numbers of attempts that do not count: a stated wait of a rate limit, or a shortage, came after them."""
        self.under_way = []
        self.committed = False
        self.over = False
        self.order = None
        self.turns = {}
        self.has_waited = False
        self.renewed = None

    def charged(self, candidate=None):
        """The number of attempts that count, in all or at one candidate."""
        return sum(number not in self.free and candidate in {None, asked} for number, asked in enumerate(self.opened, start=1))


class EngineMachine(RuleBasedStateMachine):
    """Several calls at once, each with its own engine, all with one health record and one pacer."""

    @initialize(draw=st.floats(0, 1, exclude_max=True))
    def begin(self, draw):
        self.draw = draw
        self.health = Ledger(lambda: draw)
        self.pacer = Pacer(lambda: draw)
        self.now = self.start = 1000.0
        self.calls = []
        self.repeats = dict.fromkeys("abc", 0)
        self.answers = dict.fromkeys("abc", 0)

    @rule(
        candidates=st.lists(st.sampled_from(CANDIDATES), min_size=1, max_size=6, unique=True),
        total=st.sampled_from([0.5, 5.0, 60.0, 600.0]),
        stream=st.booleans(),
        hedge=st.booleans(),
        after=st.sampled_from(["raise", "restart", "continue"]),
        beside=st.booleans(),
        patient=st.booleans(),
    )
    def a_call(self, candidates, total, stream, hedge, after, beside, patient):
        candidates = sorted(candidates, key=lambda candidate: candidate.group)
        ready = [c for c in candidates if self.health.unavailable(c, self.now) is None]
        engine = Engine(
            RoutePlan(tuple(ready or candidates[:1])),
            RetryPolicy(hedge_samples=1, beside=beside),
            self.health,
            deadline=self.now + total,
            rng=lambda: self.draw,
            now=self.now,
            stream=stream,
            on_interrupt=after,
            hedge=hedge,
            force=not ready,
            pacer=self.pacer,
            patient=patient,
        )
        call = Call(engine, self.now, total, ready or candidates[:1], stream=stream)
        self.calls.append(call)
        self.follow(call, engine.start(self.now))

    @rule(provider=st.sampled_from("abc"), concurrency=st.sampled_from([None, 1, 2]))
    def a_limit_is_set(self, provider, concurrency):
        self.pacer.set_limits((provider, ""), Limits(concurrency=concurrency))

    @rule(seconds=STEPS)
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: any(not call.over for call in self.calls))
    @rule(data=st.data(), what=st.sampled_from(["answer", "content", "empty", "slow", "slow", *ERRORS]))
    def something_happens(self, data, what):
        call = data.draw(st.sampled_from([call for call in self.calls if not call.over]), label="call")
        engine, order = call.engine, call.order
        if isinstance(order, Wait):
            self.now += order.seconds
            self.follow(call, engine.waited(self.now))
        elif isinstance(order, Queue):
            self.take_turn(call)
        elif isinstance(order, Drain):
            self.drain(call, what)
        elif what == "slow" and order.slow_after is not None:
            self.now += order.slow_after
            self.follow(call, engine.slow(self.now))
        else:
            number = data.draw(st.sampled_from(call.under_way), label="attempt")
            self.follow(call, self.land(call, number, what))

    def take_turn(self, call):
        """Look for a turn at the time that the pacer names, or at the deadline."""
        due = min(turn.due for turn in call.turns.values())
        self.now = max(self.now, min(due, call.deadline))
        ready = [candidate for candidate, turn in call.turns.items() if self.pacer.look(turn, self.now)]
        if not ready and self.now < call.deadline:
            return
        chosen = ready[0] if ready else None
        turn = call.turns.pop(chosen, None)
        self.leave_queue(call)
        order = call.engine.turn(self.now, chosen, turn)
        if turn is not None and not isinstance(order, Open):
            self.pacer.release(turn)
        self.follow(call, order)

    def leave_queue(self, call):
        for turn in call.turns.values():
            self.pacer.release(turn)
        call.turns = {}

    def land(self, call, number, what):
        engine = call.engine
        provider = call.opened[number - 1].provider
        if what in ERRORS:
            call.under_way.remove(number)
            error = ERRORS[what][0]()
            if isinstance(error, ShortageError):
                call.free.add(number)
            return engine.failed(error, self.now, number)
        if what == "empty":
            call.under_way.remove(number)
            return engine.ended(self.now, empty=True, number=number)
        if call.stream and what == "content":
            call.under_way = [number]
            return engine.content(self.now, number)
        call.under_way.clear()
        self.answers[provider] += 1
        return engine.ended(self.now, empty=False, number=number)

    def drain(self, call, what):
        (number,) = call.under_way
        call.committed = True
        if what in ERRORS:
            call.under_way.clear()
            self.follow(call, call.engine.interrupted(ERRORS[what][0](), self.now, Completion(text="Hel")))
        else:
            call.under_way.clear()
            self.answers[call.opened[number - 1].provider] += 1
            self.follow(call, call.engine.ended(self.now, empty=False))

    @precondition(lambda self: any(not call.over for call in self.calls))
    @rule(data=st.data())
    def the_caller_gives_up(self, data):
        call = data.draw(st.sampled_from([call for call in self.calls if not call.over]), label="call")
        self.leave_queue(call)
        call.engine.abandoned(self.now)
        call.under_way.clear()
        call.over = True

    def follow(self, call, order):
        """Carry out the orders that take no time, and check every order."""
        while isinstance(order, Open | Cut | Renew):
            if isinstance(order, Open):
                self.check_opening(call, order)
                order = call.engine.opened(self.now)
            elif isinstance(order, Cut):
                call.under_way.remove(order.number)
                order = call.engine.failed(order.error, self.now, order.number)
            else:
                assert call.under_way == []
                call.renewed = order.candidate
                order = call.engine.renewed(self.now, changed=self.draw < 0.5)
        call.order = order
        if isinstance(order, Wait | Queue):
            assert call.under_way == []
            call.has_waited = True
        if isinstance(order, Wait):
            assert order.seconds >= 0
            assert self.now + order.seconds <= call.deadline
        elif isinstance(order, Queue):
            call.turns = {candidate: self.pacer.join(candidate, self.now) for candidate in order.candidates}
        elif isinstance(order, Fail):
            call.over = True
            assert isinstance(order.error, StreamInterruptedError) or not call.committed
        elif isinstance(order, Done):
            call.over = True
        else:
            assert isinstance(order, Pull | Drain)
            assert call.under_way
        if call.over:
            call.under_way.clear()
            self.check_route(call)

    def check_opening(self, call, order):
        candidate = order.candidate
        assert self.now < call.deadline
        assert order.number == len(call.opened) + 1
        assert candidate in call.candidates
        renewed, call.renewed = call.renewed == candidate, None
        is_free = renewed
        if candidate in call.opened and not renewed:  # again: only after a wait
            assert call.has_waited
            assert call.under_way == []
            last = max(number for number, asked in enumerate(call.opened, start=1) if asked == candidate)
            error = next(a.error for a in call.engine.attempts if a.number == last)
            if isinstance(error, RateLimitError) and (error.retry_after or 0) >= 1:
                call.free.add(last)
            is_free = last in call.free
        if not is_free and (candidate in call.opened or call.under_way):  # again, or beside another attempt
            self.repeats[candidate.provider] += 1
        call.has_waited = False
        call.opened.append(candidate)
        call.under_way.append(order.number)
        renewals = 1 if any(isinstance(a.error, AuthenticationError) for a in call.engine.attempts) else 0
        assert call.charged(candidate) <= 2 + renewals
        assert call.charged() <= max(4, len(call.candidates)) + 3 * renewals
        assert len({call.opened[n - 1] for n in call.under_way}) == len(call.under_way)

    def check_route(self, call):
        attempts = call.engine.route.attempts
        assert [(a.provider, a.model) for a in attempts] == [(c.provider, c.model) for c in call.opened]
        assert [a.number for a in attempts] == list(range(1, len(attempts) + 1))
        assert all(a.outcome in {"ok", "error", "abandoned"} for a in attempts)
        assert sum(a.waited for a in attempts) <= self.now - call.start + 1e-6

    @invariant()
    def a_limit_of_ours_is_kept(self):
        for (provider, entry), pace in self.pacer.snapshot(self.now).items():
            if not entry:
                asked = sum(call.opened[n - 1].provider == provider for call in self.calls for n in call.under_way)
                ready = sum(turn.ready and c.provider == provider for call in self.calls for c, turn in call.turns.items())
                assert pace.in_use <= asked + ready

    @invariant()
    def every_permit_is_out_for_an_attempt_under_way(self):
        assert len(self.health.out) == sum(len(call.under_way) for call in self.calls)

    @invariant()
    def repeats_are_within_the_budget(self):
        for provider, count in self.repeats.items():
            assert count <= 10 + 0.1 * self.answers[provider] + (self.now - self.start) / 10 + 1e-6


# The variable sets more examples for a long search, or fewer for a mutation run, which repeats this hundreds of times.
HOW_LONG = settings(max_examples=int(os.environ.get("HYPOTHESIS_HISTORIES", "40")), stateful_step_count=30, deadline=None)
TestHealth = HealthMachine.TestCase
TestHealth.settings = HOW_LONG
TestEngine = EngineMachine.TestCase
TestEngine.settings = HOW_LONG


def test_the_table_is_bounded_whatever_comes():
    health = Health(lambda: 0.5, size=50)
    for n in range(500):
        candidate = Candidate("a", f"m{n}", f"m{n}")
        permit = health.acquire(candidate, float(n))
        if n % 2:
            health.succeeded(candidate, permit, float(n), 0.1)
        else:
            health.failed(candidate, permit, float(n), RateLimitError("x"), POLICY)
    assert len(health._records) <= 50
