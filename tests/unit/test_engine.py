"""The chain's decisions: scripted outcomes, a clock that only waits move, no I/O."""

import pytest

from providerhub import (
    AllProvidersFailedError,
    AuthenticationError,
    BadRequestError,
    Candidate,
    Completion,
    ContentPolicyError,
    ContextLengthError,
    DeadlineExceededError,
    EmptyAnswerError,
    ForbiddenError,
    InvalidOutputError,
    ModelNotFoundError,
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
    Skip,
    StreamInterruptedError,
    TLSError,
    Usage,
)
from providerhub._rules.engine import Engine
from providerhub._rules.health import Health
from providerhub._rules.orders import Done, Drain, Fail, Open, Pull, Queue, Renew, Wait
from providerhub._rules.pacing import Limits, Pacer
from providerhub._rules.status import error_from_status

OK, EMPTY = "ok", "empty"


def _c(provider, model="m", **knobs):
    return Candidate(provider, model, model, **knobs)


class Play:
    """Carries an engine's orders out against scripts: provider name → what its attempts end in, the last one for ever."""

    def __init__(self, scripts, *candidates, draw=0.5, total=600.0, took=0.0, health=None, policy=None, new_key=False, **knobs):
        self.scripts = {name: list(script) for name, script in scripts.items()}
        self.now, self.took = 0.0, took
        self.log = []
        self.health = health or Health(lambda: 1.0)
        self.new_key, self.plan = new_key, None
        plan = RoutePlan(candidates or tuple(map(_c, scripts)))
        self.total, self.keys = total, []
        self.pacer = knobs.setdefault("pacer", Pacer(lambda: draw))
        knobs = {"stream": False, "deadline": total, "rng": lambda: draw, "now": 0.0} | knobs
        self.engine = Engine(plan, policy or RetryPolicy(), self.health, **knobs)
        self.order = self.engine.start(0.0)

    def run(self):
        while not isinstance(self.order, Fail | Done | Drain):
            self.order = self._step()
        return self

    def _step(self):
        if isinstance(self.order, Wait):
            self.log.append(self.order.seconds)
            self.now += self.order.seconds
            return self.engine.waited(self.now, self.plan)
        if isinstance(self.order, Queue):
            return self._take_turn(self.order.candidates)
        if isinstance(self.order, Renew):
            self.keys.append(self.order.candidate.provider)
            return self.engine.renewed(self.now, changed=self.new_key)
        assert isinstance(self.order, Open)
        name = self.order.candidate.provider
        self.log.append(name)
        script = self.scripts[name]
        outcome = script.pop(0) if len(script) > 1 else script[0]
        assert isinstance(self.engine.opened(self.now), Pull)
        self.now += self.took
        if outcome == "content":
            return self.engine.content(self.now)
        if isinstance(outcome, str):
            return self.engine.ended(self.now, empty=outcome == EMPTY)
        return self.engine.failed(outcome, self.now)

    def _take_turn(self, candidates):
        began, turns = self.now, {candidate: self.pacer.join(candidate, self.now) for candidate in candidates}
        while not (ready := [candidate for candidate, turn in turns.items() if turn.ready]):
            due = min(turn.due for turn in turns.values())
            if due > self.total:
                self.now = self.total
                return self.engine.turn(self.now)
            self.now = due
            for turn in turns.values():
                self.pacer.look(turn, self.now)
        self.log.append(self.now - began)
        return self.engine.turn(self.now, ready[0], turns[ready[0]])

    def interrupt(self, error, text="Hel", **knobs):
        self.order = self.engine.interrupted(error, self.now, Completion(text=text), **knobs)
        return self

    @property
    def tried(self):
        return [entry for entry in self.log if isinstance(entry, str)]

    @property
    def waits(self):
        return [entry for entry in self.log if not isinstance(entry, str)]

    @property
    def error(self):
        assert isinstance(self.order, Fail)
        return self.order.error


def _five():
    return ServerError("down", status=503)


def test_the_first_that_answers_is_the_end():
    play = Play({"a": [OK], "b": [OK]}).run()
    assert isinstance(play.order, Done)
    assert play.log == ["a"]
    assert [attempt.outcome for attempt in play.engine.route.attempts] == ["ok"]


def test_a_different_provider_comes_first_and_at_once():
    play = Play({"a": [_five()], "b": [_five()], "c": [OK]}).run()
    assert play.log == ["a", "b", "c"]


def test_a_model_that_the_plan_names_again_has_no_more_attempts_than_allowed():
    policy = RetryPolicy(attempts=9, attempts_per_provider=1)
    play = Play({"a": [_five()], "b": [_five()]}, _c("a"), _c("b"), _c("a"), policy=policy).run()
    assert play.log == ["a", "b"]
    assert [(skip.provider, skip.reason) for skip in play.engine.route.skipped] == [("a", "attempts used up")]


def test_a_provider_is_repeated_only_when_no_other_is_left_and_after_a_backoff():
    play = Play({"a": [_five(), OK], "b": [_five()]}).run()
    assert play.log == ["a", "b", 0.25, "a"]
    assert play.engine.route.attempts[-1].waited == 0.25


def test_at_most_two_at_a_provider_and_four_in_a_call_or_one_for_each_candidate():
    assert Play({"a": [_five()]}).run().tried == ["a", "a"]
    assert Play({"a": [_five()], "b": [_five()], "c": [_five()]}).run().tried == ["a", "b", "c", "a"]
    assert Play({name: [_five()] for name in "abcdef"}).run().tried == list("abcdef")


def test_two_models_of_a_provider_have_two_attempts_each():
    play = Play({"a": [_five()]}, _c("a"), _c("a", "n", group=1), policy=RetryPolicy(backoff=0)).run()
    assert [(a.model) for a in play.engine.route.attempts] == ["m", "m", "n", "n"]


def test_the_limits_can_be_turned():
    policy = RetryPolicy(attempts=6, attempts_per_provider=3, backoff=0)
    assert Play({"a": [_five()]}, policy=policy).run().log == ["a", 0, "a", 0, "a"]


def test_waits_grow_with_the_calls_repeats():
    play = Play({"a": [_five()]}, policy=RetryPolicy(attempts=8, attempts_per_provider=8)).run()
    assert play.waits == [0.25, 0.5, 1, 2, 4, 4, 4]


@pytest.mark.parametrize(
    "error",
    [
        TLSError("x"),
        AuthenticationError("x", status=401),
        QuotaExceededError("x"),
        ModelUnavailableError("x"),
        ProtocolError("x"),
        PluginError("x"),
        EmptyAnswerError("x"),
        ServerError("x", retryable=False),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_again_moves_on_and_never_comes_back(error):
    assert Play({"a": [error], "b": [OK]}).run().tried == ["a", "b"]
    assert Play({"a": [error]}).run().tried == ["a"]


@pytest.mark.parametrize(
    "error",
    [ProviderConnectionError("x"), ProviderTimeoutError("x"), ServerError("x"), ModelUnavailableError("x", retryable=True)],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_tried_once_more(error):
    assert Play({"a": [error, OK]}).run().tried == ["a", "a"]


@pytest.mark.parametrize("error", [BadRequestError("x", status=400), ContentPolicyError("x")], ids=lambda e: type(e).__name__)
def test_a_wrong_request_stops_the_chain(error):
    play = Play({"a": [error], "b": [OK]}).run()
    assert play.tried == ["a"]
    assert play.error is error
    assert play.error.route.attempts[0].error is error


def test_context_length_goes_on_to_a_larger_or_unknown_window_only():
    sizes = {"a": 8_000, "b": 8_000, "c": None, "d": 128_000}
    candidates = [_c(name, context_window=size) for name, size in sizes.items()]
    scripts = {"a": [ContextLengthError("x")], "b": [OK], "c": [ContextLengthError("x")], "d": [OK]}
    play = Play(scripts, *candidates).run()
    assert play.tried == ["a", "c", "d"]
    assert [(s.provider, s.reason) for s in play.engine.route.skipped] == [("b", "context window")]
    play = Play(scripts, *candidates[:2]).run()
    assert play.tried == ["a"]
    assert isinstance(play.error, ContextLengthError)


def test_context_length_at_an_unknown_window_goes_on_to_any_other():
    scripts = {"a": [ContextLengthError("x")], "b": [OK], "c": [OK]}
    play = Play(scripts, _c("a"), _c("b"), _c("c", context_window=128_000)).run()
    assert play.tried == ["a", "b"]


def test_a_rate_limit_moves_on_at_once():
    limited = RateLimitError("x", retry_after=2)
    assert Play({"a": [limited], "b": [OK]}).run().log == ["a", "b"]


def test_a_rate_limit_is_waited_for_where_there_is_no_alternative():
    play = Play({"a": [RateLimitError("x", retry_after=2), OK]}).run()
    assert play.tried == ["a", "a"]
    assert play.waits == [pytest.approx(2.1)]
    for draw in (0.0, 0.999):
        (wait,) = Play({"a": [RateLimitError("x", retry_after=2), OK]}, draw=draw).run().waits
        assert 2 <= wait <= 2.2


def test_a_rate_limited_provider_comes_after_providers_that_merely_failed():
    play = Play({"a": [RateLimitError("x"), OK], "b": [_five(), OK]}).run()
    assert play.tried == ["a", "b", "b"]


def test_the_time_asked_for_counts_from_the_failure():
    play = Play({"a": [RateLimitError("x", retry_after=5), OK], "b": [TLSError("x")]}, took=2.0, draw=0.0).run()
    assert play.log == ["a", "b", 3.0, "a"]


def test_too_long_a_time_is_not_waited_for_but_remembered():
    play = Play({"a": [RateLimitError("x", retry_after=86400)]}).run()
    assert play.log == ["a"]
    assert play.health.unavailable(_c("a"), 1.0).until == 600.0


def test_waiting_must_leave_a_second_before_the_deadline():
    limited = RateLimitError("x", retry_after=5)
    assert Play({"a": [limited, OK]}, total=6.5).run().tried == ["a", "a"]
    assert Play({"a": [limited, OK]}, total=6.0).run().tried == ["a"]


def test_no_wait_reaches_past_the_deadline():
    play = Play({"a": [_five(), OK]}, total=0.2).run()
    assert play.log == ["a"]


def test_the_deadline_ends_the_chain_with_the_last_failure_as_cause():
    failure = _five()
    play = Play({"a": [failure], "b": [OK]}, took=10.0, total=5.0).run()
    assert play.tried == ["a"]
    assert isinstance(play.error, DeadlineExceededError)
    assert isinstance(play.error, TimeoutError)
    assert play.error.__cause__ is failure
    assert play.health.unavailable(_c("a"), 10.0) is None  # one failure alone opens no breaker


def test_a_used_up_budget_stops_repeats_but_not_alternatives():
    health = Health(lambda: 1.0)
    while health.take_budget("a", 0.0):
        pass
    assert Play({"a": [_five(), OK]}, health=health).run().tried == ["a"]
    assert Play({"a": [_five(), OK], "b": [OK]}, health=health).run().tried == ["a", "b"]


def test_one_class_for_all_attempts_is_raised_as_itself():
    play = Play({"a": [ServerError("one")], "b": [ServerError("two", retryable=False)]}).run()
    assert type(play.error) is ServerError
    assert len(play.error.route.attempts) == 3


def test_different_classes_are_raised_together():
    play = Play({"a": [TLSError("one")], "b": [ProtocolError("two")]}).run()
    assert type(play.error) is AllProvidersFailedError
    assert [type(a.error) for a in play.error.attempts] == [TLSError, ProtocolError]
    assert len(str(play.error).splitlines()) == 3


def test_every_provider_without_the_model_is_model_not_found():
    play = Play({"a": [ModelUnavailableError("x", retryable=True)], "b": [ModelUnavailableError("x")]}).run()
    assert isinstance(play.error, ModelNotFoundError)
    assert isinstance(play.error, ValueError)
    assert len(play.error.route.attempts) == 3


def test_an_empty_answer_is_a_failure():
    play = Play({"a": [EMPTY], "b": [OK]}).run()
    assert play.tried == ["a", "b"]
    assert isinstance(play.engine.route.attempts[0].error, EmptyAnswerError)
    assert play.engine.route.attempts[0].error.provider == "a"


def test_errors_are_told_where_they_happened():
    play = Play({"a": [TLSError("x")], "b": [PluginError("x")]}).run()
    assert [(a.error.provider, a.error.model) for a in play.error.attempts] == [("a", "m"), ("b", "m")]


def test_what_the_plan_left_out_is_in_the_route():
    skip = Skip("z", "m", "no stream")
    engine = Engine(
        RoutePlan((_c("a"),), (skip,)), RetryPolicy(), Health(lambda: 1.0),
        deadline=9.0, rng=lambda: 0.5, now=0.0, stream=False,
    )  # fmt: skip
    engine.start(0.0)
    assert engine.route.skipped == (skip,)
    assert engine.route.attempts[0].outcome == "open"


def test_a_breaker_that_opened_since_the_plan_is_skipped():
    health = Health(lambda: 1.0)
    for _ in range(5):
        health.failed(_c("a"), health.acquire(_c("a"), 0.0), 0.0, _five(), RetryPolicy())
    play = Play({"a": [OK], "b": [OK]}, health=health).run()
    assert play.tried == ["b"]
    assert [(s.provider, s.reason) for s in play.engine.route.skipped] == [("a", "breaker open")]
    assert Play({"a": [OK]}, health=health, force=True).run().tried == ["a"]


def test_when_every_breaker_opened_since_the_plan_one_is_tried_all_the_same():
    health = Health(lambda: 1.0)
    for name in "ab":
        for _ in range(5):
            health.failed(_c(name), health.acquire(_c(name), 0.0), 0.0, _five(), RetryPolicy())
    play = Play({"a": [OK], "b": [OK]}, health=health).run()
    assert isinstance(play.order, Done)
    assert play.tried == ["a"]


def test_a_stream_commits_at_its_first_content():
    play = Play({"a": [_five()], "b": ["content"]}, stream=True, took=0.5).run()
    assert isinstance(play.order, Drain)
    assert play.engine.route.attempts[-1].first_token == 0.5


@pytest.mark.parametrize("after", ["raise", "restart"])
def test_an_interruption_that_nobody_would_see_is_raised(after):
    play = Play({"a": ["content"], "b": ["content"]}, stream=True, on_interrupt=after).run()
    broken = ProviderConnectionError("reset")
    play.interrupt(broken, may_restart=after == "raise")
    assert play.tried == ["a"]
    assert isinstance(play.error, StreamInterruptedError)
    assert (play.error.partial, play.error.provider) == ("Hel", "a")
    assert play.error.cause is broken
    assert play.error.__cause__ is broken
    assert play.error.completion.text == "Hel"
    assert play.error.route.attempts[0].error is broken


@pytest.mark.parametrize("after", ["restart", "continue"])
def test_an_interruption_moves_on_where_that_was_asked_for(after):
    candidates = [_c("a"), _c("b", prefill=True)]
    play = Play({"a": ["content"], "b": ["content"]}, *candidates, stream=True, on_interrupt=after).run()
    play.interrupt(ProviderConnectionError("reset")).run()
    assert play.tried == ["a", "b"]
    assert isinstance(play.order, Drain)


def test_failing_to_carry_on_is_still_an_interruption():
    play = Play({"a": ["content"], "b": [TLSError("x")]}, stream=True, on_interrupt="restart").run()
    first = ProtocolError("cut")
    play.interrupt(first).run()
    assert play.tried == ["a", "b"]
    assert isinstance(play.error, StreamInterruptedError)
    assert play.error.cause is first
    assert len(play.error.route.attempts) == 2


def test_an_abandoned_attempt_counts_neither_way():
    health = Health(lambda: 1.0)
    for _ in range(5):
        health.failed(_c("a"), health.acquire(_c("a"), 0.0), 0.0, _five(), RetryPolicy())
    play = Play({"a": ["content"]}, health=health, force=True, stream=True).run()
    play.engine.abandoned(0.0)
    assert play.engine.route.attempts[0].outcome == "abandoned"
    assert health.acquire(_c("a"), 6.0) is not None


def test_an_attempt_that_another_thread_gave_up_is_told_of_once():
    play = Play({"a": ["content"]}, stream=True).run()
    (attempt,) = play.engine._open
    play.engine.abandoned(1.0)
    play.engine._close(attempt, 2.0, "error", _five())
    assert [attempt.outcome for attempt in play.engine.route.attempts] == ["abandoned"]


def test_an_answer_is_credited():
    play = Play({"a": [OK]})
    for _ in range(10):
        play.health.take_budget("a", 0.0)
    for _ in range(11):
        Play({"a": [OK]}, health=play.health).run()
    assert play.health.take_budget("a", 0.0)


def test_remarks_stay_with_their_attempt():
    play = Play({"a": [OK]})
    play.engine.opened(play.now, lambda: (("odd content type",), "r1", Usage(1, 2), "a-large", None, "c1"))
    play.engine.ended(1.0, empty=False)
    (attempt,) = play.engine.route.attempts
    assert attempt.notes == ("odd content type",)
    assert (attempt.request_id, attempt.usage, attempt.served_model, attempt.call_id) == ("r1", Usage(1, 2), "a-large", "c1")


def test_a_wait_that_overran_the_deadline_is_the_end():
    play = Play({"a": [_five(), OK]})
    play.order = play._step()
    assert isinstance(play.order, Wait)
    play.order = play.engine.waited(600.0)
    assert isinstance(play.error, DeadlineExceededError)
    assert isinstance(play.error.__cause__, ServerError)


def test_an_interruption_past_the_deadline_says_so():
    play = Play({"a": ["content"], "b": ["content"]}, stream=True, on_interrupt="restart").run()
    play.now = 600.0
    play.interrupt(ProviderTimeoutError("late"))
    assert isinstance(play.error, StreamInterruptedError)
    assert isinstance(play.error.cause, DeadlineExceededError)
    assert play.tried == ["a"]


# --- patience -----------------------------------------------------------------------------------------------------------

LIKED, LESSER = _c("a"), _c("b", "n", group=1)


def test_before_the_next_model_the_same_provider_is_asked_once_more():
    play = Play({"a": [_five(), OK], "b": [OK]}, LIKED, LESSER).run()
    assert play.log == ["a", 0.25, "a"]


def test_the_other_providers_of_the_model_come_first():
    play = Play({"a": [_five(), OK], "b": [_five()], "c": [OK]}, LIKED, _c("b"), _c("c", "n", group=1)).run()
    assert play.log == ["a", "b", 0.25, "a"]


@pytest.mark.parametrize(
    ("error", "log"),
    [
        (ProviderTimeoutError("x"), ["a", "b"]),
        (TLSError("x"), ["a", "b"]),
        (ServerError("x", retry_after=2), ["a", pytest.approx(2.1), "a", "b"]),
        (RateLimitError("x", retry_after=2), ["a", pytest.approx(2.1), "a", "b"]),
        (ServerError("x", retry_after=2.4), ["a", "b"]),  # 2.52 s with the jitter
        (RateLimitError("x", retry_after=30), ["a", "b"]),
    ],
    ids=str,
)
def test_patience_has_an_end(error, log):
    play = Play({"a": [error], "b": [OK]}, LIKED, LESSER).run()
    assert play.log[: len(log)] == log


def test_patience_can_be_switched_off_or_made_longer():
    assert Play({"a": [_five()], "b": [OK]}, LIKED, LESSER, policy=RetryPolicy(patience=0)).run().log == ["a", "b"]
    policy = RetryPolicy(patience=40)
    play = Play({"a": [ServerError("x", retry_after=30), OK], "b": [OK]}, LIKED, LESSER, policy=policy).run()
    assert play.log == ["a", 31.5, "a"]


def test_every_candidate_that_was_not_tried_keeps_its_turn():
    candidates = [_c(name, f"m{n}", group=n) for n, name in enumerate("abcd")]
    play = Play({name: [_five()] for name in "abcd"}, *candidates, policy=RetryPolicy(attempts=5)).run()
    assert play.tried == ["a", "a", "b", "c", "d"]
    assert Play({name: [_five()] for name in "abcd"}, *candidates).run().tried == ["a", "b", "c", "d"]


# --- rate limits --------------------------------------------------------------------------------------------------------


def test_a_stated_wait_costs_neither_an_attempt_nor_budget_at_most_twenty_times():
    play = Play({"a": [RateLimitError("x", retry_after=1)]}).run()
    assert len(play.tried) == 22  # after the twenty free waits one more attempt, as after any failure
    assert isinstance(play.error, RateLimitError)
    assert play.health.take_budget("a", 0.0)


def test_an_unstated_wait_costs_both():
    play = Play({"a": [RateLimitError("x")]}).run()
    assert play.tried == ["a", "a"]
    assert sum(play.health.take_budget("a", 0.0) for _ in range(20)) == 9


def test_a_wait_of_any_length_that_ends_before_the_deadline_is_waited_for():
    play = Play({"a": [RateLimitError("x", retry_after=500), OK]}).run()
    assert play.log == ["a", 525, "a"]
    assert play.engine.route.attempts[1].waited == 525
    policy = RetryPolicy(retry_after_max=499)
    assert Play({"a": [RateLimitError("x", retry_after=500), OK]}, policy=policy).run().log == ["a"]


# --- refused keys -------------------------------------------------------------------------------------------------------


def test_with_another_key_the_same_provider_is_asked_at_once():
    play = Play({"a": [AuthenticationError("x", status=401), OK], "b": [OK]}, new_key=True).run()
    assert (play.log, play.keys) == (["a", "a"], ["a"])


def test_a_key_is_read_again_once_in_a_call():
    play = Play({"a": [AuthenticationError("x", status=401)], "b": [OK]}, new_key=True).run()
    assert (play.log, play.keys) == (["a", "a", "b"], ["a"])


def test_attempts_with_another_key_take_no_turn_from_the_others():
    refused = {name: [AuthenticationError("x", status=401), TLSError("x")] for name in "abcde"}
    assert Play(refused, new_key=True).run().tried == list("aabbccddee")


def test_without_another_key_the_next_provider_is_asked():
    play = Play({"a": [AuthenticationError("x", status=401)], "b": [OK]}).run()
    assert (play.log, play.keys) == (["a", "b"], ["a"])


def test_a_refusal_that_is_not_about_the_key_reads_no_key():
    play = Play({"a": [ForbiddenError("x", status=403)], "b": [OK]}, new_key=True).run()
    assert (play.log, play.keys) == (["a", "b"], [])


def test_the_candidate_whose_key_was_refused_is_asked_again_although_another_one_was_asked_later():
    play = Play({"a": [OK], "b": [OK]}, policy=RetryPolicy(beside_after=5))
    engine = play.engine
    assert engine.opened(0.0) == Pull(5.0)
    assert isinstance(engine.slow(5.0), Open)
    engine.opened(5.0)
    engine.failed(_five(), 6.0, 2)
    play.order = engine.failed(AuthenticationError("x", status=401), 7.0, 1)
    assert play.order.candidate == _c("a")
    assert engine.renewed(8.0, changed=True).candidate == _c("a")


def test_a_key_that_came_too_late_helps_no_more():
    play = Play({"a": [AuthenticationError("x", status=401)]}, total=5.0)
    play.order = play._step()
    assert isinstance(play.engine.renewed(5.0, changed=True).error, DeadlineExceededError)


# --- limits of our own --------------------------------------------------------------------------------------------------


def _limited(**limits):
    pacer = Pacer(lambda: 0.5)
    pacer.set_limits(("a", ""), Limits(**{"concurrency": 1} | limits))
    held = pacer.take(_c("a"), 0.0)
    return pacer, held


def test_where_a_limit_is_reached_the_next_candidate_is_asked_at_once():
    pacer, _held = _limited()
    assert Play({"a": [OK], "b": [OK]}, pacer=pacer).run().log == ["b"]


@pytest.mark.parametrize(("limits", "knobs"), [({"when_full": "wait"}, {}), ({}, {"patient": True})])
def test_a_call_waits_for_its_turn_rather_than_ask_a_lesser_model(limits, knobs):
    pacer, held = _limited(**limits)
    play = Play({"a": [OK], "b": [OK]}, LIKED, LESSER, pacer=pacer, **knobs)
    assert play.order == Queue((LIKED,))
    turn = pacer.join(LIKED, 0.0)
    pacer.settle(held, 7.0)
    assert turn.ready
    assert play.engine.turn(7.0, LIKED, turn).candidate == LIKED
    play.engine.ended(8.0, empty=False)
    assert [(a.provider, a.waited, a.started) for a in play.engine.route.attempts] == [("a", 7, 7)]


def test_after_its_turn_a_call_goes_on_to_the_others():
    pacer, held = _limited(when_full="wait")
    play = Play({"a": [TLSError("x")], "b": [OK]}, LIKED, LESSER, pacer=pacer)
    pacer.settle(held, 0.0)
    assert play.run().tried == ["a", "b"]


def test_an_equal_candidate_is_asked_rather_than_waited():
    pacer, _held = _limited(when_full="wait")
    assert Play({"a": [OK], "b": [OK]}, pacer=pacer).run().log == ["b"]


def test_a_call_waits_for_its_turn_rather_than_go_to_a_lower_priority():
    pacer, _held = _limited(when_full="wait")
    paid = _c("b", priority=-1)
    assert Play({"a": [OK], "b": [OK]}, _c("a"), paid, pacer=pacer).order == Queue((_c("a"),))


def test_a_wait_for_a_turn_costs_no_attempt():
    pacer, held = _limited()
    play = Play({"a": [_five()]}, pacer=pacer)
    assert play.order == Queue((_c("a"),))
    pacer.settle(held, 0.0)
    assert play.run().tried == ["a", "a"]


def test_a_turn_that_did_not_come_ends_the_call_at_its_deadline():
    pacer, _held = _limited()
    play = Play({"a": [OK]}, pacer=pacer, total=5.0).run()
    assert isinstance(play.error, DeadlineExceededError)
    assert play.error.route.attempts == ()


def test_a_turn_that_is_known_to_come_too_late_is_not_waited_for():
    pacer = Pacer(lambda: 0.5)
    pacer.set_limits(("a", ""), Limits(rpm=1))
    pacer.settle(pacer.take(_c("a"), 0.0), 0.0)
    play = Play({"a": [OK]}, pacer=pacer, total=5.0)
    assert isinstance(play.error, RateLimitError)
    assert play.error.retry_after > 50
    assert "no turn in time" in str(play.error)


def test_after_a_backoff_a_full_provider_is_waited_for():
    pacer = Pacer(lambda: 0.5)
    pacer.set_limits(("a", ""), Limits(concurrency=1))
    play = Play({"a": [_five(), OK]}, pacer=pacer)
    play.order = play._step()
    assert isinstance(play.order, Wait)
    held = pacer.take(_c("a"), 0.1)
    assert play.engine.waited(0.25) == Queue((_c("a"),))
    pacer.settle(held, 0.5)


# --- shortages ----------------------------------------------------------------------------------------------------------


def test_a_shortage_is_waited_out_and_blames_no_provider():
    shortages = [ShortageError("no descriptor")] * 30
    play = Play({"a": [*shortages, OK], "b": [OK]}).run()
    assert set(play.tried) == {"a"}
    assert play.waits[:5] == pytest.approx([0.0375, 0.075, 0.15, 0.3, 0.6])
    assert set(play.waits[5:]) == {0.75}
    assert isinstance(play.order, Done)
    assert play.health.all_healthy
    assert sum(play.health.take_budget("a", 0.0) for _ in range(20)) == 10


def _loading():
    return error_from_status(503, {}, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})


def test_a_local_server_that_loads_its_model_is_waited_for_as_long_as_a_silent_one():
    play = Play({"a": [*(_loading() for _ in range(20)), OK], "b": [OK]}, _c("a", slow=True), _c("b")).run()
    assert set(play.tried) == {"a"}
    assert play.waits[:4] == pytest.approx([0.1875, 0.375, 0.75, 1.5])
    assert play.health.all_healthy
    play = Play({"a": [_loading()], "b": [OK]}, _c("a", slow=True), _c("b")).run()
    assert play.tried[-1] == "b"
    assert 290 < play.now <= 300
    assert Play({"a": [_loading(), OK], "b": [OK]}, _c("a", slow=True), _c("b"), total=1.0).run().waits == pytest.approx([0.1875])


def test_a_local_server_alone_that_loads_its_model_is_waited_for_until_the_deadline():
    play = Play({"a": [_loading()]}, _c("a", slow=True)).run()
    assert "Loading model" in str(play.error)
    assert play.now > 590
    assert Play({"a": [_loading()], "b": [OK]}).run().log == ["a", "b"]  # not declared as a slow start


def test_a_shortage_ends_with_the_time_of_the_call():
    play = Play({"a": [ShortageError("no descriptor")]}, total=5.0).run()
    assert isinstance(play.error, DeadlineExceededError)
    assert isinstance(play.error.__cause__, ShortageError)
    assert play.now <= 5.0


# --- plans made again ---------------------------------------------------------------------------------------------------


def test_after_a_wait_a_better_candidate_of_the_new_plan_is_asked():
    play = Play({"a": [_five(), OK]})
    play.order = play._step()
    order = play.engine.waited(0.25, _plan("new", "a", "later"))
    assert order.candidate == _c("new")
    assert play.engine.failed(TLSError("x"), 1.0).candidate == _c("later")


def _plan(*names):
    return RoutePlan(tuple(map(_c, names)))


# --- more failures that go on, and interruptions ------------------------------------------------------------------------


def test_a_policy_may_go_on_after_more_classes():
    refused = ContentPolicyError("x")
    policy = RetryPolicy(also_on=(ContentPolicyError,))
    assert Play({"a": [refused], "b": [OK]}, policy=policy).run().tried == ["a", "b"]
    assert Play({"a": [refused], "b": [OK]}).run().tried == ["a"]


@pytest.mark.parametrize("after", ["restart", "continue"])
def test_of_two_interruptions_the_second_is_raised(after):
    candidates = [_c("a", prefill=True), _c("b", prefill=True)]
    play = Play({"a": ["content"], "b": ["content"]}, *candidates, stream=True, on_interrupt=after).run()
    play.interrupt(ProtocolError("first")).run()
    second = ProtocolError("second")
    play.interrupt(second, text="Hello, wor").run()
    assert isinstance(play.error, StreamInterruptedError)
    assert play.error.cause is second
    assert (play.error.partial, play.error.provider) == ("Hello, wor", "b")


def test_after_an_interruption_only_a_model_that_continues_is_asked():
    candidates = [_c("a"), _c("b"), _c("c", prefill=True)]
    scripts = {name: ["content"] for name in "abc"}
    play = Play(scripts, *candidates, stream=True, on_interrupt="continue").run()
    assert play.tried == ["a"]
    play.interrupt(ProviderConnectionError("reset")).run()
    assert play.tried == ["a", "c"]
    assert isinstance(play.order, Drain)
    assert [(s.provider, s.reason) for s in play.engine.route.skipped] == [("b", "no prefill")]
    play = Play(scripts, *candidates[:2], stream=True, on_interrupt="continue").run()
    play.interrupt(ProviderConnectionError("reset")).run()
    assert isinstance(play.order, Fail)
    assert play.tried == ["a"]


def test_an_answer_that_does_not_fit_is_asked_for_once_more_at_once_and_then_elsewhere():
    play = Play({"a": [InvalidOutputError("no int", text="{")], "b": [OK]}).run()
    assert [entry for entry in play.log if isinstance(entry, str)] == ["a", "a", "b"]
    assert type(play.order) is Done


def test_answers_that_do_not_fit_open_no_breaker():
    health = Health(lambda: 1.0)
    for _ in range(6):
        play = Play({"a": [InvalidOutputError("no int", text="{")]}, health=health).run()
        assert type(play.order.error) is InvalidOutputError
        assert play.order.error.text == "{"
    assert health.all_healthy


def test_every_untried_candidate_is_asked_before_an_answer_is_asked_for_again():
    policy = RetryPolicy(attempts=2)
    play = Play({"a": [InvalidOutputError("x")], "b": [OK]}, policy=policy).run()
    assert play.log == ["a", "b"]
