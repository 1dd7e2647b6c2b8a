"""The engine's decisions about a slow attempt and the next candidate beside it."""

import pytest

from providerhub import (
    BreakerRules,
    Candidate,
    DeadlineExceededError,
    ProviderTimeoutError,
    RetryPolicy,
    RoutePlan,
    ServerError,
)
from providerhub._rules.engine import Engine
from providerhub._rules.health import Health
from providerhub._rules.orders import Cut, Done, Drain, Open, Pull
from providerhub._rules.pacing import Limits, Pacer


def _c(provider, model="m", **knobs):
    return Candidate(provider, model, model, **knobs)


def _engine(*candidates, deadline=100.0, policy=None, health=None, stream=True, **knobs):
    plan = RoutePlan(tuple(_c(one) if isinstance(one, str) else one for one in candidates))
    health = health or Health(lambda: 1.0)
    knobs = {"rng": lambda: 0.5, "now": 0.0} | knobs
    engine = Engine(plan, policy or RetryPolicy(), health, deadline=deadline, stream=stream, **knobs)
    assert isinstance(engine.start(0.0), Open)
    return engine


def _outcomes(engine):
    return [(attempt.provider, attempt.outcome) for attempt in engine.route.attempts]


@pytest.mark.parametrize(
    ("knobs", "seconds"),
    [
        ({}, 50.0),
        ({"deadline": 600.0}, 60.0),
        ({"deadline": 600.0, "slow_model": True}, 300.0),
        ({"deadline": 1.0}, 0.5),
        ({"policy": RetryPolicy(beside_after=3)}, 3.0),
        ({"policy": RetryPolicy(beside_after=100)}, None),  # at the deadline
        ({"policy": RetryPolicy(beside_after=200)}, None),  # after it
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_attempt_has_its_share_of_the_time(knobs, seconds, stream):
    assert _engine("a", "b", stream=stream, **knobs).opened(0.0) == Pull(seconds)


def test_a_model_whose_silence_is_usual_has_half_of_the_time():
    assert _engine(_c("a", slow=True), "b", deadline=600.0).opened(0.0) == Pull(300.0)


def test_twice_the_usual_time_of_the_model_is_the_least():
    health = Health(lambda: 1.0)
    for _ in range(20):
        health.succeeded(_c("a"), health.acquire(_c("a"), 0.0), 0.0, 45.0)
    engine = _engine("a", "b", deadline=600.0, health=health)
    assert engine.opened(0.0) == Pull(60.0)  # the usual time is looked up only then, since the look-up costs time
    assert engine.slow(60.0) == Pull(30.0)
    assert engine.slow(90.0).candidate == _c("b")
    assert _engine("a", "b", deadline=600.0, health=health, stream=False).opened(0.0) == Pull(60.0)
    assert _engine(_c("a", slow=True), "b", deadline=100.0, health=health).opened(0.0) == Pull(50.0)


def test_without_another_candidate_there_is_no_share():
    assert _engine("a").opened(0.0) == Pull()


def test_another_model_of_the_same_provider_is_a_candidate_too():
    engine = _engine(_c("a"), _c("a", "n", group=1))
    assert engine.opened(0.0) == Pull(50.0)
    assert engine.slow(50.0).candidate == _c("a", "n", group=1)


def test_each_attempt_that_is_slow_is_joined_by_the_next_candidate():
    engine = _engine("a", "b", "c")
    engine.opened(0.0)
    assert engine.slow(50.0).candidate == _c("b")
    assert engine.opened(50.0) == Pull(25.0)
    assert engine.slow(75.0).candidate == _c("c")
    assert engine.opened(75.0) == Pull()  # no candidate is left
    assert _outcomes(engine) == [("a", "open"), ("b", "open"), ("c", "open")]
    assert isinstance(engine.content(80.0, 1), Drain)
    assert _outcomes(engine) == [("a", "open"), ("b", "abandoned"), ("c", "abandoned")]
    assert isinstance(engine.ended(81.0, empty=False), Done)


def test_when_the_companion_fails_the_next_candidate_joins_at_once():
    engine = _engine("a", "b", "c")
    engine.opened(0.0)
    engine.slow(50.0)
    engine.opened(50.0)
    assert engine.failed(ServerError("x"), 51.0, 2).candidate == _c("c")
    assert engine.opened(51.0) == Pull()
    assert engine.failed(ServerError("x"), 52.0, 3) == Pull()
    assert isinstance(engine.ended(53.0, empty=False, number=1), Done)


def test_when_the_slow_attempt_fails_its_companion_has_its_share():
    engine = _engine("a", "b", "c")
    engine.opened(0.0)
    engine.slow(50.0)
    engine.opened(50.0)
    assert engine.failed(ServerError("x"), 51.0, 1) == Pull(24.0)


def test_joining_costs_a_token_of_the_second_provider_s_budget():
    health = Health(lambda: 1.0)
    engine = _engine("a", "b", health=health)
    engine.opened(0.0)
    engine.slow(50.0)
    assert sum(health.take_budget("b", 50.0) for _ in range(20)) == 9
    while health.take_budget("c", 0.0):
        pass
    engine = _engine("a", "c", "b", health=health, policy=RetryPolicy(beside_after=1))
    engine.opened(0.0)
    assert engine.slow(1.0) == Pull(1.0)  # the budgets of both are used up for now
    assert engine.slow(2.0) == Pull(1.0)
    assert engine.slow(10.0).candidate == _c("c")


def test_joining_costs_nothing_once_the_breaker_of_the_slow_provider_is_open():
    health = Health(lambda: 1.0)
    engine = _engine("a", "b", health=health)
    engine.opened(0.0)
    while health.take_budget("b", 50.0):
        pass
    for _ in range(5):
        health.failed(_c("a"), health.acquire(_c("a"), 50.0), 50.0, ServerError("x"), RetryPolicy())
    assert engine.slow(50.0).candidate == _c("b")


def test_a_candidate_that_cannot_join_leaves_its_place_to_the_next():
    health, pacer = Health(lambda: 1.0), Pacer(lambda: 0.5)
    pacer.set_limits(("b", ""), Limits(concurrency=1))
    _held = pacer.take(_c("b"), 0.0)
    for _ in range(5):
        health.failed(_c("c"), health.acquire(_c("c"), 0.0), 49.0, ServerError("x"), RetryPolicy())
    while health.take_budget("d", 50.0):
        pass
    engine = _engine("a", "b", "c", "d", "e", health=health, pacer=pacer)
    engine.opened(0.0)
    assert engine.slow(50.0).candidate == _c("e")
    engine.opened(50.0)
    assert engine.failed(ServerError("x"), 51.0, 2) == Pull()
    assert engine.failed(ServerError("x"), 52.0, 1).candidate == _c("d")  # alone it needs no token


def test_an_attempt_is_cut_where_the_policy_wants_no_two():
    engine = _engine("a", "b", policy=RetryPolicy(beside=False))
    assert engine.opened(0.0) == Pull(50.0)
    order = engine.slow(50.0)
    assert isinstance(order, Cut)
    assert order.number == 1
    assert isinstance(order.error, ProviderTimeoutError)
    assert "no content came for 50 s" in str(order.error)
    assert engine.failed(order.error, 50.0, 1).candidate == _c("b")
    assert engine.opened(50.0) == Pull()  # the last candidate is not cut
    assert _outcomes(engine)[0] == ("a", "error")


def test_a_hedged_attempt_is_joined_again_after_its_share():
    health = Health(lambda: 1.0)
    health.succeeded(_c("a"), health.acquire(_c("a"), 0.0), 0.0, 2.0)
    policy = RetryPolicy(hedge_samples=1, beside_after=30)
    engine = _engine("a", "b", "c", health=health, hedge=True, policy=policy)
    assert engine.opened(0.0) == Pull(2.0)
    assert engine.slow(2.0).candidate == _c("b")
    assert engine.opened(2.0) == Pull(28.0)
    assert engine.slow(30.0).candidate == _c("c")


def test_an_attempt_beside_another_one_is_not_hedged():
    health = Health(lambda: 1.0)
    health.succeeded(_c("b"), health.acquire(_c("b"), 0.0), 0.0, 2.0)
    engine = _engine("a", "b", "c", health=health, hedge=True, policy=RetryPolicy(hedge_samples=1))
    assert engine.opened(0.0) == Pull(50.0)
    assert engine.slow(50.0).candidate == _c("b")
    assert engine.opened(50.0) == Pull(25.0)


def test_after_its_share_an_attempt_is_joined_at_the_same_provider_too_though_hedging_is_on():
    engine = _engine(_c("a"), _c("a", "n", group=1), hedge=True)
    assert engine.opened(0.0) == Pull(50.0)
    assert engine.slow(50.5).candidate == _c("a", "n", group=1)


def _lose(engine, seconds):
    engine.opened(0.0)
    order = engine.slow(seconds)
    engine.opened(seconds)
    engine.content(seconds, order.number)
    engine.ended(seconds, empty=False)


@pytest.mark.parametrize(
    ("seconds", "rules", "knobs", "is_open"),
    [
        (10.0, BreakerRules(), {}, True),
        (9.0, BreakerRules(in_a_row=6), {}, False),
        (2.0, BreakerRules(), {}, True),
        (1.9, BreakerRules(), {}, False),
        (1.9, BreakerRules(), {"first_token": 1.5}, True),
        (3.0, BreakerRules(stall=3, in_a_row=6, calls=5), {}, True),
    ],
)
def test_an_attempt_that_loses_after_a_long_silence_counts(seconds, rules, knobs, is_open):
    health = Health(lambda: 1.0, rules)
    for _ in range(5):
        _lose(_engine("a", "b", health=health, policy=RetryPolicy(beside_after=seconds), **knobs), seconds)
    obstacle = health.unavailable(_c("a"), seconds)
    assert (obstacle is not None) is is_open
    assert health.unavailable(_c("b"), seconds) is None


def test_an_attempt_that_comes_to_the_deadline_counts_by_its_silence():
    for total, is_open in ((10.0, True), (0.3, False)):
        health = Health(lambda: 1.0)
        for _ in range(10):
            engine = _engine("a", health=health, deadline=total, force=True)
            order = engine.failed(ProviderTimeoutError("late"), total)
            assert isinstance(order.error, DeadlineExceededError)
        assert (health.unavailable(_c("a"), total) is not None) is is_open
