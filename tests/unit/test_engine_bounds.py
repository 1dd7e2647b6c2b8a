"""The engine at its boundaries: times, counts and messages that a mutant might change by one.

Every call begins at second 1000 of its clock, so that no test passes because a time is zero.
"""

import pytest

from providerhub import (
    AuthenticationError,
    BadRequestError,
    Candidate,
    Completion,
    ConfigurationError,
    ContextLengthError,
    DeadlineExceededError,
    PluginError,
    RateLimitError,
    RetryPolicy,
    RoutePlan,
    ServerError,
    ShortageError,
    TLSError,
    Usage,
)
from providerhub._rules.engine import Engine
from providerhub._rules.health import Health
from providerhub._rules.lanes import Full
from providerhub._rules.orders import Done, Drain, Fail, Open, Pull, Queue, Renew, Wait
from providerhub._rules.pacing import FREE, Limits, Pacer


def _c(provider, model="m", **knobs):
    return Candidate(provider, model, model, **knobs)


def _five():
    return ServerError("down", status=503)


class Timed:
    """An engine whose call begins at second 1000 of its clock."""

    def __init__(self, *names, **knobs):
        self.health = Health(lambda: 1.0)
        knobs = {"deadline": 1100.0, "rng": lambda: 0.5, "now": 1000.0, "stream": False} | knobs
        plan = RoutePlan(knobs.pop("candidates", tuple(map(_c, names))))
        self.engine = Engine(plan, knobs.pop("policy", RetryPolicy()), self.health, **knobs)
        self.order = self.engine.start(1000.0)


@pytest.mark.parametrize("stream", [False, True])
def test_times_are_told_from_the_calls_start(stream):
    timed = Timed("a", "b", stream=stream)
    assert isinstance(timed.engine.failed(_five(), 1002.0), Open)
    if stream:
        timed.engine.content(1003.0)
    timed.engine.ended(1006.0, empty=False)
    route = timed.engine.route
    assert [(a.started, a.duration, a.first_token) for a in route.attempts] == [(0, 2, None), (2, 4, 1 if stream else None)]
    assert route.duration == 6
    assert timed.health.latency(_c("b"), 0.5, stream=stream) == (1 if stream else 4)


def test_a_call_that_is_over_says_after_how_long():
    timed = Timed("a")
    order = timed.engine.failed(_five(), 1100.0)
    assert "total time of 100 s is over after 1 attempt; the last one failed: a/m: down; `timeout` sets this time" in str(
        order.error
    )
    assert order.error.route.duration == 100


def test_a_call_that_fails_says_how_long_it_took():
    order = Timed("a").engine.failed(BadRequestError("x"), 1003.0)
    assert order.error.route.duration == 3


def _hedged(*names, **knobs):
    timed = Timed(*names, hedge=True, policy=RetryPolicy(hedge_samples=1), **knobs)
    timed.health.succeeded(_c(names[0]), timed.health.acquire(_c(names[0]), 1000.0), 1000.0, 2.0, stream=False)
    assert timed.engine.opened(1000.0) == Pull(2.0)
    return timed, timed.engine.slow(1002.0)


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_of_two_parallel_attempts_the_named_attempt_fails(names):
    timed, second = _hedged(*names)
    assert second.candidate.provider == names[1]
    assert timed.engine.failed(_five(), 1003.0, 1) == Pull()
    assert [(a.provider, a.outcome) for a in timed.engine.route.attempts] == [(names[0], "error"), (names[1], "open")]


def test_of_two_parallel_attempts_the_named_attempt_answers():
    timed, second = _hedged("a", "b")
    assert isinstance(timed.engine.ended(1004.0, empty=False, number=second.number), Done)
    assert [(a.provider, a.outcome, a.duration) for a in timed.engine.route.attempts] == [("a", "abandoned", 4), ("b", "ok", 2)]
    assert timed.health.latency(_c("b"), 0.5, stream=False) == 2


def test_a_route_is_in_the_order_in_which_attempts_began():
    timed, second = _hedged("a", "b")
    timed.engine.failed(_five(), 1003.0, second.number)
    timed.engine.ended(1004.0, empty=False)
    assert [(a.number, a.provider, a.outcome) for a in timed.engine.route.attempts] == [(1, "a", "ok"), (2, "b", "error")]


@pytest.mark.parametrize("now", [1100.0, 1101.0])
def test_nothing_is_begun_at_the_deadline_or_after_it(now):
    assert isinstance(Timed("a", "b").engine.failed(_five(), now).error, DeadlineExceededError)
    engine = Engine(
        RoutePlan((_c("a"),)), RetryPolicy(), Health(lambda: 1.0), deadline=1100.0, rng=float, now=1000.0, stream=False
    )
    assert isinstance(engine.start(now).error, DeadlineExceededError)
    timed, _ = _hedged("a", "b")
    timed.engine.failed(_five(), 1099.0, 1)
    assert isinstance(timed.engine.failed(_five(), now, 2).error, DeadlineExceededError)
    timed = Timed("a", "b", stream=True, on_interrupt="restart")
    timed.engine.content(1001.0)
    interruption = timed.engine.interrupted(_five(), now, Completion(text="Hel")).error
    assert isinstance(interruption.cause, DeadlineExceededError)


@pytest.mark.parametrize(
    ("began", "now", "counted"),
    [
        (1099.0, 1099.9, True),  # a failure before the deadline counts
        (1099.0, 1100.0, False),  # at the deadline, only a long silence counts
        (1098.1, 1100.0, False),
        (1098.0, 1100.0, True),  # of five times 2 s
        (1090.0, 1100.0, True),
        (1000.0, 1101.0, True),
    ],
)
def test_a_failure_when_the_time_is_over_counts_if_it_was_silent_for_long(began, now, counted):
    health = Health(lambda: 1.0)
    for _ in range(5):
        engine = Engine(RoutePlan((_c("a"),)), RetryPolicy(), health, deadline=1100.0, rng=float, now=began, stream=False)
        engine.start(began)
        engine.failed(_five(), now)
    assert (health.unavailable(_c("a"), now) is not None) is counted


@pytest.mark.parametrize("now", [1100.0, 1101.0])
def test_no_second_attempt_is_begun_when_the_time_is_over(now):
    timed = Timed("a", "b", hedge=True)
    assert timed.engine.slow(now) == Pull()
    assert len(timed.engine.route.attempts) == 1


@pytest.mark.parametrize(("deadline", "order"), [(1011.0, Queue), (1010.9, Fail)])
def test_a_time_that_was_asked_for_must_end_a_second_before_the_deadline(deadline, order):
    timed = Timed("a", deadline=deadline, rng=lambda: 0.0)
    assert isinstance(timed.engine.failed(RateLimitError("x", retry_after=10), 1000.0), order)


@pytest.mark.parametrize(
    ("names", "told"), [("a", "2 attempts at 1 provider failed"), ("ab", "2 attempts at 2 providers failed")]
)
def test_different_failures_are_counted(names, told):
    timed = Timed(*names, policy=RetryPolicy(attempts=2))
    if isinstance(timed.engine.failed(_five(), 1000.0), Wait):
        timed.engine.waited(1001.0)
    order = timed.engine.failed(PluginError("odd"), 1002.0)
    assert str(order.error).splitlines()[0] == told


def test_orders_are_values():
    assert Drain() == Drain()
    assert Done() == Done()


def test_an_attempt_that_has_just_begun_has_taken_no_time():
    timed = Timed("a", "b")
    assert timed.engine.route.duration == 0
    shown = timed.engine.opening(1)
    assert (shown.outcome, shown.duration, shown.waited) == ("open", 0, 0)
    timed.engine.failed(_five(), 1001.0)
    assert (timed.engine.opening(2).started, timed.engine.opening(2).waited) == (1, 0)


def test_a_wait_is_told_of_the_attempt_that_it_came_before():
    timed = Timed("a", stream=True, on_interrupt="restart", policy=RetryPolicy(attempts_per_provider=4))
    assert timed.engine.failed(_five(), 1000.0) == Wait(0.25)
    timed.engine.waited(1000.25)
    timed.engine.failed(TLSError("x"), 1001.0)
    assert [a.waited for a in timed.engine.route.attempts] == [0, 0.25]
    timed = Timed("a", "b", policy=RetryPolicy(attempts=4))
    timed.engine.failed(_five(), 1000.0)
    timed.engine.failed(_five(), 1000.0)
    timed.engine.waited(1000.25)
    timed.engine.failed(_five(), 1001.0)
    timed.engine.waited(1002.0)
    timed.engine.failed(_five(), 1003.0)
    assert [a.waited for a in timed.engine.route.attempts] == [0, 0, 0.25, 0.5]


def test_a_call_that_another_thread_closed_while_it_asked_is_told_nothing():
    timed = Timed("a")
    timed.engine.abandoned(1000.0)
    timed.engine.opened(1000.0, lambda: (("too late",), None, None, None, None, ""))
    assert timed.engine.route.attempts[0].notes == ()


def test_a_plugin_that_finds_its_settings_wanting_is_the_callers_to_mend():
    wrong = PluginError("creating it failed")
    wrong.__cause__ = ConfigurationError("set ACME_URL")
    assert Timed("a").engine.failed(wrong, 1000.0).error is wrong.__cause__
    odd = PluginError("odd")
    odd.__cause__ = KeyError("x")
    assert Timed("a").engine.failed(odd, 1000.0).error is odd
    down = TLSError("x")
    down.__cause__ = ConfigurationError("not this one")
    assert Timed("a").engine.failed(down, 1000.0).error is down


def test_of_the_failed_candidates_the_next_repeatable_one_is_repeated():
    def again(*failures, **knobs):
        policy = RetryPolicy(attempts=9, retry_after_max=30)
        timed = Timed(*(provider for provider, _ in failures), policy=policy, **knobs)
        for _, error in failures:
            order = timed.engine.failed(error, 1000.0)
        if isinstance(order, Queue):
            return order.candidates[0].provider
        assert isinstance(order, Wait)
        return timed.engine.waited(1000.0 + order.seconds).candidate.provider

    busy = RateLimitError("x", retry_after=31)  # longer than the call waits
    assert again(("a", busy), ("b", RateLimitError("x", retry_after=2))) == "b"
    assert again(("a", _five()), ("b", busy)) == "a"


def test_a_provider_whose_budget_is_spent_is_passed_over():
    timed = Timed("a", "b")
    while timed.health.take_budget("a", 1000.0):
        pass
    timed.engine.failed(_five(), 1000.0)
    assert isinstance(timed.engine.failed(_five(), 1000.0), Wait)
    assert timed.engine.waited(1001.0).candidate == _c("b")


def test_a_provider_that_had_its_two_attempts_is_passed_over():
    engine = Timed("a", "b", policy=RetryPolicy(attempts=9)).engine
    asked = []
    order = engine.failed(_five(), 1000.0)
    while not isinstance(order, Fail):
        asked.append(order.candidate.provider)
        order = engine.failed(_five(), 1000.0)
        if isinstance(order, Wait):
            order = engine.waited(1000.0)
    assert asked == ["b", "a", "b"]


def test_a_time_that_was_asked_for_runs_while_others_are_tried():
    def waited(failed):
        pacer = Pacer(lambda: 0.0)
        timed = Timed("a", "b", rng=lambda: 0.0, pacer=pacer)
        timed.engine.failed(RateLimitError("x", retry_after=4), 1000.0)
        assert timed.engine.failed(TLSError("x"), failed) == Queue((_c("a"),))
        turn = pacer.join(_c("a"), failed)
        now = max(failed, turn.due)
        assert pacer.look(turn, now)
        assert isinstance(timed.engine.turn(now, _c("a"), turn), Open)
        timed.engine.ended(now + 1, empty=False)
        return timed.engine.route.attempts[-1].waited

    assert waited(1003.5) == 0.5
    assert waited(1009.0) == 0


@pytest.mark.parametrize(("deadline", "order"), [(1000.25, Wait), (1000.2, Fail)])
def test_a_backoff_may_last_until_the_deadline(deadline, order):
    assert isinstance(Timed("a", deadline=deadline).engine.failed(_five(), 1000.0), order)


def test_there_is_no_second_attempt_before_the_share_unless_hedging_was_asked_for():
    timed = Timed("a", "b", policy=RetryPolicy(hedge_samples=1))
    timed.health.succeeded(_c("a"), timed.health.acquire(_c("a"), 1000.0), 1000.0, 2.0, stream=False)
    assert timed.engine.opened(1000.0) == Pull(50.0)


def test_a_rival_whose_breaker_is_open_is_not_asked():
    timed = Timed("a", "b", hedge=True)
    for _ in range(5):
        timed.health.failed(_c("b"), timed.health.acquire(_c("b"), 1000.0), 1049.0, _five(), RetryPolicy())
    timed.engine.opened(1000.0)
    assert timed.engine.slow(1001.0) == Pull(49.0)  # the rest of its share
    assert timed.engine.slow(1050.0) == Pull()
    assert [attempt.provider for attempt in timed.engine.route.attempts] == ["a"]


def _measured(timed, *candidates, stream=False):
    for candidate in candidates:
        timed.health.succeeded(candidate, timed.health.acquire(candidate, 1000.0), 1000.0, 2.0, stream=stream)


def test_what_carries_on_a_broken_stream_is_not_hedged():
    policy = RetryPolicy(hedge_samples=1)
    timed = Timed("a", "b", "c", hedge=True, stream=True, on_interrupt="restart", policy=policy)
    _measured(timed, _c("a"), _c("b"), stream=True)
    assert timed.engine.opened(1000.0) == Pull(2.0)
    timed.engine.content(1001.0)
    assert isinstance(timed.engine.interrupted(_five(), 1002.0, Completion(text="Hel")), Open)
    assert timed.engine.opened(1002.0) == Pull(49.0)  # its share


def test_when_a_larger_window_is_needed_nobody_else_is_asked_beside():
    candidates = tuple(_c(name, context_window=window) for name, window in (("a", 10), ("b", 100), ("c", 10)))
    timed = Timed(hedge=True, policy=RetryPolicy(hedge_samples=1), candidates=candidates)
    _measured(timed, *candidates)
    assert isinstance(timed.engine.failed(ContextLengthError("x"), 1001.0), Open)
    assert timed.engine.opened(1000.0) == Pull()


def test_the_share_of_a_later_attempt_begins_with_it():
    timed = Timed("a", "b", "c", "d", hedge=True)
    assert isinstance(timed.engine.failed(_five(), 1010.0), Open)
    assert timed.engine.opened(1010.0) == Pull(45.0)
    assert isinstance(timed.engine.slow(1020.0), Open)  # as a hedge
    assert timed.engine.opened(1020.0) == Pull(35.0)


def test_a_later_attempt_was_silent_since_its_own_beginning():
    health = Health(lambda: 1.0)
    for _ in range(5):
        timed = Timed("a", "b", "c", stream=True, policy=RetryPolicy(beside_after=1))
        timed.engine._health = health
        timed.engine.failed(TLSError("x"), 1010.0)
        timed.engine.opened(1010.0)
        timed.engine.content(1011.5, timed.engine.slow(1011.0).number)
    assert health.unavailable(_c("b"), 1011.5) is None


def test_the_input_and_output_tokens_settle_a_reservation():
    pacer = Pacer(lambda: 0.0)
    pacer.set_limits(("a", ""), Limits(tpm=100))
    timed = Timed("a", pacer=pacer, tokens=lambda: (50, 50))
    timed.engine.opened(1000.0, lambda: ((), None, Usage(input_tokens=40, output_tokens=20), None, None, ""))
    timed.engine.ended(1001.0, empty=False)
    assert isinstance(pacer.take(_c("a"), 1001.0, lambda: (41, 0)), Full)
    assert pacer.take(_c("a"), 1001.0, lambda: (40, 0)).ready


def test_errors_name_seconds_and_not_moments():
    timed = Timed("a", stream=True)
    timed.engine.content(1001.0)
    error = timed.engine.interrupted(_five(), 1100.0, Completion(text="Hel")).error
    assert "total time of 100 s is over" in str(error.cause)
    pacer = Pacer(lambda: 0.0)
    pacer.set_limits(("a", ""), Limits(concurrency=1))
    _held = pacer.take(_c("a"), 1000.0)
    waiting = Timed("a", pacer=pacer)
    assert isinstance(waiting.order, Queue)
    assert "total time of 100 s is over" in str(waiting.engine.turn(1100.0).error)
    paused = Pacer(lambda: 0.0)
    paused.refused(FREE, _c("a"), 1000.0, 400.0)
    error = Timed("a", pacer=paused).order.error
    assert error.retry_after == 400.0
    assert [skip.detail for skip in error.route.skipped] == ["for 400.0 s more"]


def test_a_smaller_window_is_passed_by_for_a_larger_one():
    candidates = tuple(_c(name, context_window=window) for name, window in (("a", 100), ("b", 10), ("c", 100), ("d", 200)))
    timed = Timed(candidates=candidates)
    assert timed.engine.failed(ContextLengthError("x"), 1001.0).candidate == candidates[3]
    assert [skip.provider for skip in timed.engine.route.skipped] == ["b", "c"]


def test_a_new_plan_gives_no_further_attempts():
    timed = Timed("a", policy=RetryPolicy(attempts=2))
    assert isinstance(timed.engine.failed(_five(), 1000.0), Wait)
    order = timed.engine.waited(1001.0, RoutePlan((_c("b"), _c("c"), _c("a"), _c("d"))))
    assert order.candidate == _c("b")
    assert timed.engine.opened(1001.0) == Pull()
    assert isinstance(timed.engine.failed(_five(), 1002.0), Fail)


@pytest.mark.parametrize("now", [1100.0, 1101.0])
def test_nothing_begins_at_the_deadline_or_after_it(now):
    waiting = Timed("a")
    assert isinstance(waiting.engine.failed(_five(), 1000.0), Wait)
    refused = Timed("a")
    assert isinstance(refused.engine.failed(AuthenticationError("x", status=401), 1000.0), Renew)
    pacer = Pacer(lambda: 0.0)
    pacer.set_limits(("a", ""), Limits(concurrency=1))
    held = pacer.take(_c("a"), 1000.0)
    queued = Timed("a", pacer=pacer)
    turn = pacer.join(_c("a"), 1000.0)
    pacer.settle(held, 1001.0)
    orders = [
        waiting.engine.waited(now),
        refused.engine.renewed(now, changed=True),
        queued.engine.turn(now, _c("a"), turn),
        Timed("a", "b").engine.refused_part(_five(), now, 1),
        Timed("a", "b").engine.failed(_five(), now),
    ]
    assert [type(order.error) for order in orders] == [DeadlineExceededError] * 5


@pytest.mark.parametrize(("deadline", "order"), [(1001.0, Wait), (1000.99, Fail)])
def test_a_wait_for_a_descriptor_may_last_until_the_deadline(monkeypatch, deadline, order):
    monkeypatch.setattr("providerhub._rules.policy.shortage_wait", lambda *_: 1.0)
    assert isinstance(Timed("a", deadline=deadline).engine.failed(ShortageError("x"), 1000.0), order)


MODELS = (_c("a"), _c("b", "n", group=1), _c("c", "o", group=2))


def test_before_the_next_model_only_the_same_model_is_asked_once_more():
    engine = Timed(candidates=MODELS, rng=lambda: 0.0).engine
    assert engine.failed(ServerError("x", retry_after=3), 1000.0).candidate == MODELS[1]
    assert engine.failed(TLSError("x"), 1002.0).candidate == MODELS[2]  # the first one may be asked again in 1 s


@pytest.mark.parametrize(("named", "order"), [(2.5, Wait(2.5)), (2.6, Open(MODELS[1], 2))])
def test_patience_lasts_for_its_seconds(named, order):
    assert Timed(candidates=MODELS, rng=lambda: 0.0).engine.failed(ServerError("x", retry_after=named), 1000.0) == order


def test_a_stated_wait_that_is_over_takes_no_time():
    engine = Timed("a", "b").engine
    engine.failed(ServerError("x", retry_after=1), 1000.0)
    assert engine.failed(TLSError("x"), 1005.0) == Wait(0.0)


@pytest.mark.parametrize(("until", "order"), [(1050.0, Queue), (1099.0, Queue), (1099.5, Fail), (1100.5, Fail)])
def test_a_turn_must_come_a_second_before_the_deadline(until, order):
    pacer = Pacer(lambda: 0.0)
    pacer.refused(FREE, _c("a"), 1000.0, until - 1000.0)
    assert isinstance(Timed("a", pacer=pacer).order, order)


def test_a_patient_call_goes_elsewhere_where_the_settings_say_so():
    pacer = Pacer(lambda: 0.0)
    pacer.set_limits(("a", ""), Limits(concurrency=1, when_full="elsewhere"))
    _held = pacer.take(_c("a"), 1000.0)
    assert Timed(candidates=MODELS, pacer=pacer, patient=True).order == Open(MODELS[1], 1)


def test_a_patient_call_does_not_wait_for_a_breaker():
    health = Health(lambda: 1.0)
    for _ in range(5):
        health.failed(_c("a"), health.acquire(_c("a"), 1000.0), 1000.0, _five(), RetryPolicy())
    knobs = {"deadline": 1100.0, "rng": float, "now": 1000.0, "stream": False, "patient": True}
    assert Engine(RoutePlan(MODELS), RetryPolicy(), health, **knobs).start(1000.0) == Open(MODELS[1], 1)


def test_of_failures_of_one_class_the_last_is_raised_with_its_place():
    engine = Timed("a", "b").engine
    engine.failed(TLSError("first"), 1000.0)
    error = engine.failed(TLSError("second"), 1000.0).error
    assert str(error) == "b/m: second"
    named = Timed("a").engine.failed(TLSError("a/m: named already", provider="a"), 1000.0).error
    assert str(named) == "a/m: named already"
