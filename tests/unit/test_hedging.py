"""The engine's decisions about a second attempt beside the first, and its cost, without threads or tasks."""

import pytest

from providerhub import Candidate, ContextLengthError, RetryPolicy, RoutePlan, ServerError
from providerhub._rules.engine import Engine
from providerhub._rules.health import Health
from providerhub._rules.orders import Done, Drain, Fail, Open, Pull, Wait

POLICY = RetryPolicy(hedge_samples=4)


def _candidates(*names, **knobs):
    return tuple(Candidate(name, "m", "m", **knobs) for name in names)


def _health(*names, times=(0.1, 0.2, 0.3, 0.4), stream=False):
    health = Health(lambda: 1.0)
    for candidate in _candidates(*names):
        for seconds in times:
            health.succeeded(candidate, health.acquire(candidate, 0.0), 0.0, seconds, stream=stream)
    return health


def _engine(health, *names, hedge=True, stream=False, policy=POLICY, deadline=600.0, candidates=()):
    plan = RoutePlan(candidates or _candidates(*names))
    engine = Engine(plan, policy, health, deadline=deadline, rng=lambda: 0.5, now=0.0, stream=stream, hedge=hedge)
    order = engine.start(0.0)
    assert isinstance(order, Open)
    return engine


def test_a_rival_is_due_after_the_95th_percentile_of_the_model_s_times():
    assert _engine(_health("a", times=[n / 100 for n in range(1, 41)]), "a", "b").opened(0.0) == Pull(0.39)


@pytest.mark.parametrize(("quantile", "expected"), [(0.0, 0.1), (0.5, 0.3), (1.0, 0.4)])
def test_the_quantile_can_be_turned(quantile, expected):
    policy = RetryPolicy(hedge_samples=4, hedge_quantile=quantile)
    assert _engine(_health("a"), "a", "b", policy=policy).opened(0.0) == Pull(expected)


def test_streams_and_whole_answers_are_measured_apart():
    assert _engine(_health("a", stream=True), "a", "b").opened(0.0) == Pull(60.0)  # its share, without hedging
    assert _engine(_health("a", stream=True), "a", "b", stream=True).opened(0.0) == Pull(0.4)


@pytest.mark.parametrize(
    ("knobs", "order"),
    [
        ({"hedge": False}, Pull(60.0)),
        ({"names": ("a",)}, Pull()),
        ({"policy": RetryPolicy(hedge_samples=5)}, Pull(60.0)),
        ({"policy": RetryPolicy(hedge_samples=4, attempts=1)}, Pull(0.4)),  # each candidate may be asked once
    ],
    ids=["not asked for", "no other candidate", "too little is known", "one attempt"],
)
def test_there_is_no_rival_before_the_share_is_over(knobs, order):
    names = knobs.pop("names", ("a", "b"))
    assert _engine(_health("a"), *names, **knobs).opened(0.0) == order


def test_another_model_of_the_same_provider_is_no_rival():
    candidates = (Candidate("a", "m", "m"), Candidate("a", "n", "n"), Candidate("b", "m", "m"))
    engine = _engine(_health("a"), candidates=candidates)
    assert engine.opened(0.0) == Pull(0.4)
    order = engine.slow(0.4)
    assert isinstance(order, Open)
    assert str(order.candidate) == "b/m"


def test_a_rival_costs_a_token_of_its_budget_and_there_is_only_one_rival():
    health = _health("a")
    while health.take_budget("b", 0.0):
        pass
    engine = _engine(health, "a", "b")
    assert engine.opened(0.0) == Pull(0.4)
    assert engine.slow(0.4) == Pull(pytest.approx(59.6))  # the rest of the share
    assert engine.slow(60.0).candidate.provider == "b"  # the budget has come back meanwhile
    health = _health("a")
    while health.take_budget("b", 0.0):
        pass
    engine = _engine(health, "a", "b", "c")
    engine.opened(0.0)
    assert engine.slow(0.4).candidate.provider == "c"
    assert engine.opened(0.4) == Pull(pytest.approx(59.6))  # there is one hedge only; `a` is slow after its share
    assert engine.failed(ServerError("x"), 0.5, 1) == Pull(pytest.approx(59.9))
    assert engine.failed(ServerError("x"), 0.6, 2).candidate.provider == "b"  # a first attempt, alone, costs no token


def test_the_loser_counts_neither_way():
    health = _health("a")
    engine = _engine(health, "a", "b", stream=True)
    engine.opened(0.0)
    order = engine.slow(0.4)
    assert isinstance(engine.content(0.5, order.number), Drain)
    assert [(a.provider, a.outcome, a.first_token) for a in engine.route.attempts] == [
        ("a", "abandoned", None),
        ("b", "open", pytest.approx(0.1)),
    ]
    assert isinstance(engine.ended(0.6, empty=False), Done)
    assert [a.outcome for a in engine.route.attempts] == ["abandoned", "ok"]
    assert health.unavailable(_candidates("a")[0], 0.6) is None


def test_a_failed_attempt_does_not_end_its_rival_and_two_failures_go_on():
    engine = _engine(_health("a"), "a", "b", "c")
    engine.opened(0.0)
    second = engine.slow(0.4)
    assert engine.opened(0.4) == Pull(pytest.approx(59.6))
    assert engine.failed(ServerError("x"), 0.5, 1) == Pull(pytest.approx(59.9))
    order = engine.failed(ServerError("x"), 0.6, second.number)
    assert isinstance(order, Open)
    assert order.candidate.provider == "c"
    assert engine.opened(0.6) == Pull()


def test_a_failed_hedge_is_repeated_like_any_other():
    engine = _engine(_health("a"), "a", "b")
    engine.opened(0.0)
    second = engine.slow(0.4)
    engine.failed(ServerError("x"), 0.5, second.number)
    assert isinstance(engine.failed(ServerError("x"), 0.6, 1), Wait)


def test_a_window_that_was_too_small_is_not_hedged():
    engine = _engine(_health("a", "b"), candidates=_candidates("a", "b", "c", context_window=10))
    engine.opened(0.0)
    second = engine.slow(0.4)
    assert engine.failed(ContextLengthError("x"), 0.5, 1) == Pull()
    assert isinstance(engine.failed(ContextLengthError("x"), 0.5, second.number), Fail)


def test_no_rival_is_begun_when_the_time_is_over():
    engine = _engine(_health("a"), "a", "b", deadline=0.4)
    engine.opened(0.0)
    assert engine.slow(0.4) == Pull()


def test_giving_the_call_up_gives_up_both():
    engine = _engine(_health("a"), "a", "b")
    engine.opened(0.0)
    engine.slow(0.4)
    assert [a.outcome for a in engine.route.attempts] == ["open", "open"]
    engine.abandoned(0.5)
    assert [a.outcome for a in engine.route.attempts] == ["abandoned", "abandoned"]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), True, "0.5"])
def test_the_quantile_is_checked(wrong):
    with pytest.raises(ValueError, match="hedge_quantile must be a number from 0 to 1"):
        RetryPolicy(hedge_quantile=wrong)
