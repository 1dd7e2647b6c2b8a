"""Breaker, pauses, budget and the whole chain under random histories, held to the rules of the reliability table.

The first machine compares `Health` with a plain model of those rules, the second drives several calls at once through
engines that share one `Health`, and looks only at what is promised.
"""

import math
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
    StreamInterruptedError,
    TLSError,
)
from providerhub._rules.engine import Engine
from providerhub._rules.health import Health
from providerhub._rules.orders import Done, Drain, Fail, Open, Pull, Wait

POLICY = RetryPolicy()
CANDIDATES = [Candidate(p, m, m, context_window=w) for p in ("a", "b", "c") for m, w in (("m", None), ("n", 1000))]
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
    "403": (lambda: AuthenticationError("x", status=403), ""),
    "no model": (lambda: ModelUnavailableError("x"), ""),
    "no model, again": (lambda: ModelUnavailableError("x", retryable=True), ""),
    "bad request": (lambda: BadRequestError("x"), ""),
    "context": (lambda: ContextLengthError("x"), ""),
}
"""What an attempt may end in, and whose breaker counts it."""

PAUSES = {
    "server, wait": ("model", 7.0, "rate limited"),
    "rate": ("model", 1.0, "rate limited"),
    "rate, wait": ("model", 20.0, "rate limited"),
    "rate, wait long": ("model", 600.0, "rate limited"),
    "quota": ("instance", 600.0, "quota used up"),
    "401": ("instance", math.inf, "key rejected"),
    "403": ("model", math.inf, "key rejected"),
}
"""What is left alone after an error, for how many seconds, and why."""


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
        self.known = False

    def obstacle(self, now):
        if self.pause[0] > now:
            return self.pause[::-1]
        if self.until is None:
            return None
        if self.until > now:
            return "breaker open", self.until
        return ("probe under way", now) if self.probes else None

    def count(self, now, *, ok, draws):
        if self.until is not None:
            if ok:
                self.until, self.open_for, self.outcomes = None, 0.0, []
                self._turn()
            elif now >= self.until:  # before that it was forced, and says nothing new
                self._open(now, min(300.0, 2 * self.open_for), draws)
            return
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
        self.permits.append(
            (token, candidate, permit, [model.generation for model in models], self.keys_changed[candidate.provider])
        )

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), what=st.sampled_from(["ok", "ok", "released", *ERRORS]))
    def one_ends(self, data, what):
        self._end(self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1))), what)

    @precondition(lambda self: self.permits)
    @rule(what=st.sampled_from(["ok", "server", "connection", "released"]))
    def all_end(self, what):
        while self.permits:
            self._end(self.permits.pop(), what)

    def _end(self, entry, what):
        token, candidate, permit, generations, key_number = entry
        pairs = list(zip(self.keys(candidate), generations, strict=True))
        current = [self.model(key) for key, generation in pairs if self.model(key).generation == generation]
        for model in current:
            model.probes.discard(token)
        if what == "released":
            self.health.released(permit)
        elif what == "ok":
            self.health.succeeded(candidate, permit, self.now, None)
            self.answered[candidate.provider] += 1
            self.model(pairs[0][0]).known = True
            for model in current:
                if model.known:  # an instance has no record until something happens to it; what went well before is forgotten
                    model.count(self.now, ok=True, draws=self.draws)
        else:
            make, counts = ERRORS[what]
            self.health.failed(candidate, permit, self.now, make(), POLICY)
            counted = {"model": pairs[0][0], "instance": pairs[1][0]}.get(counts)
            if counted is not None:
                self.model(counted).known = True
            if counted is not None and self.model(counted) in current:
                self.model(counted).count(self.now, ok=False, draws=self.draws)
            # A late refusal of the old key does not pause the new one.
            late = what in {"401", "403"} and key_number != self.keys_changed[candidate.provider]
            if what in PAUSES and not late:
                scope, seconds, reason = PAUSES[what]
                model = self.model({"model": pairs[0][0], "instance": pairs[1][0]}[scope])
                model.known = True
                model.pause = max(model.pause, (self.now + seconds, reason), key=lambda pause: pause[0])

    @rule(provider=st.sampled_from("abc"))
    def a_key_changes(self, provider):
        self.health.forgive(provider)
        self.keys_changed[provider] += 1
        for key, model in self.models.items():
            if key[0] == provider:
                model.pause = (0.0, "")

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
        self.under_way = []
        self.committed = False
        self.over = False
        self.order = None
        self.waited = None


class EngineMachine(RuleBasedStateMachine):
    """Several calls at once, each with its own engine, all with one health record."""

    @initialize(draw=st.floats(0, 1, exclude_max=True))
    def begin(self, draw):
        self.draw = draw
        self.health = Ledger(lambda: draw)
        self.now = self.start = 1000.0
        self.calls = []
        self.repeats = dict.fromkeys("abc", 0)
        self.answers = dict.fromkeys("abc", 0)

    @rule(
        candidates=st.lists(st.sampled_from(CANDIDATES), min_size=1, max_size=6, unique=True),
        total=st.sampled_from([0.5, 5.0, 60.0, 600.0]),
        stream=st.booleans(),
        hedge=st.booleans(),
        after=st.sampled_from(["raise", "restart"]),
    )
    def a_call(self, candidates, total, stream, hedge, after):
        ready = [c for c in candidates if self.health.unavailable(c, self.now) is None]
        engine = Engine(
            RoutePlan(tuple(ready or candidates[:1])),
            RetryPolicy(hedge_samples=1),
            self.health,
            deadline=self.now + total,
            rng=lambda: self.draw,
            now=self.now,
            stream=stream,
            on_interrupt=after,
            hedge=hedge,
            force=not ready,
        )
        call = Call(engine, self.now, total, ready or candidates[:1], stream=stream)
        self.calls.append(call)
        self.follow(call, engine.start(self.now))

    @rule(seconds=STEPS)
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: any(not call.over for call in self.calls))
    @rule(data=st.data(), what=st.sampled_from(["answer", "content", "empty", "slow", *ERRORS]))
    def something_happens(self, data, what):
        call = data.draw(st.sampled_from([call for call in self.calls if not call.over]), label="call")
        engine, order = call.engine, call.order
        if isinstance(order, Wait):
            self.now += order.seconds
            self.follow(call, engine.waited(self.now))
        elif isinstance(order, Drain):
            self.drain(call, what)
        elif what == "slow" and order.hedge_after is not None:
            self.now += order.hedge_after
            self.follow(call, engine.slow(self.now))
        else:
            number = data.draw(st.sampled_from(call.under_way), label="attempt")
            self.follow(call, self.land(call, number, what))

    def land(self, call, number, what):
        engine = call.engine
        provider = call.opened[number - 1].provider
        if what in ERRORS:
            call.under_way.remove(number)
            return engine.failed(ERRORS[what][0](), self.now, number)
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
    def nobody_waits_any_more(self, data):
        call = data.draw(st.sampled_from([call for call in self.calls if not call.over]), label="call")
        call.engine.abandoned(self.now)
        call.under_way.clear()
        call.over = True

    def follow(self, call, order):
        """Carry out what needs nobody, and check every order."""
        while isinstance(order, Open):
            self.check_opening(call, order)
            order = call.engine.opened(self.now)
        call.order = order
        if isinstance(order, Wait):
            assert order.seconds >= 0
            assert self.now + order.seconds <= call.deadline
            assert call.under_way == []
            call.waited = order.seconds
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
        assert order.number == len(call.opened) + 1 <= 4
        assert sum(c.provider == candidate.provider for c in call.opened) < 2
        assert candidate in call.candidates
        if candidate in call.opened:  # again: only after a wait, and when everybody else has had a turn
            assert call.waited is not None
            self.repeats[candidate.provider] += 1
        else:
            assert call.waited is None
            if call.under_way:  # hedged
                self.repeats[candidate.provider] += 1
        call.waited = None
        call.opened.append(candidate)
        call.under_way.append(order.number)
        assert len({call.opened[n - 1].provider for n in call.under_way}) == len(call.under_way) <= 2

    def check_route(self, call):
        attempts = call.engine.route.attempts
        assert [(a.provider, a.model) for a in attempts] == [(c.provider, c.model) for c in call.opened]
        assert [a.number for a in attempts] == list(range(1, len(attempts) + 1))
        assert all(a.outcome in {"ok", "error", "abandoned"} for a in attempts)
        assert sum(a.waited for a in attempts) <= self.now - call.start + 1e-6

    @invariant()
    def every_permit_is_out_for_an_attempt_under_way(self):
        assert len(self.health.out) == sum(len(call.under_way) for call in self.calls)

    @invariant()
    def repeats_are_within_the_budget(self):
        for provider, count in self.repeats.items():
            assert count <= 10 + 0.1 * self.answers[provider] + (self.now - self.start) / 10 + 1e-6


# More of them, by the variable, for a long search; fewer for a mutation run, which repeats it hundreds of times.
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
