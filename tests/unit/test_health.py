"""Breaker, pauses and the bounded table, on a clock that the test turns."""

import pytest

from providerhub import (
    AuthenticationError,
    BreakerRules,
    BudgetRules,
    Candidate,
    ForbiddenError,
    ModelUnavailableError,
    ProviderConnectionError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
    ServerError,
)
from providerhub._rules.health import Health

ONE = Candidate("acme", "m", "m")
SIBLING = Candidate("acme", "n", "n")
OTHER = Candidate("beta", "m", "m")
POLICY = RetryPolicy()


def _health(**knobs):
    return Health(lambda: 1.0, **knobs)  # the highest random number: an open breaker stays open for its whole time


def _fail(health, now, error=None, candidate=ONE):
    permit = health.acquire(candidate, now)
    assert permit is not None
    health.failed(candidate, permit, now, error or ServerError("x"), POLICY)


def _succeed(health, now, candidate=ONE, first=None):
    permit = health.acquire(candidate, now)
    assert permit is not None
    health.succeeded(candidate, permit, now, first)


def _opened(now=0.0):
    health = _health()
    for _ in range(5):
        _fail(health, now)
    return health


def _reason(health, now, candidate=ONE):
    obstacle = health.unavailable(candidate, now)
    return obstacle and obstacle.reason


def test_five_failures_in_a_row_open_it_and_four_do_not():
    health = _health()
    for _ in range(4):
        _fail(health, 0.0)
    assert _reason(health, 0.0) is None
    _fail(health, 0.0)
    assert _reason(health, 0.0) == "breaker open"
    assert health.acquire(ONE, 0.0) is None


def test_five_failures_in_a_row_open_it_however_much_went_well():
    health = _health()
    for _ in range(20):
        _succeed(health, 0.0)
    for _ in range(4):
        _fail(health, 0.0)
    _succeed(health, 0.0)
    for _ in range(4):
        _fail(health, 0.0)
    assert _reason(health, 0.0) is None
    _fail(health, 0.0)
    assert _reason(health, 0.0) == "breaker open"


def test_half_of_the_calls_in_the_window_open_it():
    health = _health()
    for n in range(3):
        _succeed(health, float(n))
        _fail(health, float(n))
    assert _reason(health, 3.0) == "breaker open"


def test_failures_outside_the_window_are_forgotten():
    health = _health()
    for n in range(8):
        _fail(health, n * 20.0)
        _succeed(health, n * 20.0 + 10.0)
        _succeed(health, n * 20.0 + 11.0)
    assert _reason(health, 160.0) is None


@pytest.mark.parametrize(("later", "reason"), [(29.9, "breaker open"), (30.0, None), (31.0, None)])
def test_the_window_is_thirty_seconds(later, reason):
    health = _health()
    for _ in range(2):
        _fail(health, 1000.0)
        _succeed(health, 1000.0)
    assert _reason(health, 1000.0) is None
    _fail(health, 1000.0 + later)
    assert _reason(health, 1000.0 + later) == reason


def test_a_rule_sets_how_many_failures_in_a_row_open_it():
    health = _health(rules=BreakerRules(calls=100))
    for at in (0.0, 5.0):
        for _ in range(4):
            _fail(health, at)
        assert _reason(health, at) is None
        _fail(health, at)
        assert _reason(health, at) == "breaker open"
        _succeed(health, at + 5.0)  # the probe: from here on the count starts again
        assert _reason(health, at + 5.0) is None


def test_results_that_come_after_the_closing_probe_are_late_too():
    health = _opened()
    forced = [health.acquire(ONE, 1.0, force=True) for _ in range(6)]
    health.succeeded(ONE, forced.pop(), 2.0, None)
    assert _reason(health, 2.0) is None
    for permit in forced:
        health.failed(ONE, permit, 2.0, ServerError("x"), POLICY)
    assert _reason(health, 2.0) is None


@pytest.mark.parametrize(
    ("first", "second", "reason", "until"),
    [
        (RateLimitError("x", retry_after=20), RateLimitError("x", retry_after=2), "rate limited", 20.0),
        (RateLimitError("x", retry_after=2), RateLimitError("x", retry_after=20), "rate limited", 20.0),
        (ForbiddenError("x", status=403), RateLimitError("x"), "forbidden", 10.0),
        (AuthenticationError("x", status=401), RateLimitError("x"), "key rejected", 10.0),
        (AuthenticationError("x", status=401), QuotaExceededError("x"), "quota used up", 600.0),
    ],
)
def test_the_longer_of_two_pauses_stays_with_its_reason(first, second, reason, until):
    health = _health()
    permits = [health.acquire(ONE, 0.0) for _ in range(2)]
    for permit, error in zip(permits, (first, second), strict=True):
        health.failed(ONE, permit, 0.0, error, POLICY)
    assert health.unavailable(ONE, 0.0) == (reason, until)


def test_more_than_half_of_five_calls_open_it():
    health = _health()
    for failing in (False, True, False, True, True):
        assert _reason(health, 0.0) is None
        (_fail if failing else _succeed)(health, 0.0)
    assert _reason(health, 0.0) == "breaker open"


@pytest.mark.parametrize("later", [20.0, 21.0])
def test_an_answer_does_not_end_a_pause(later):
    health = _health()
    permits = [health.acquire(ONE, 0.0) for _ in range(2)]
    health.failed(ONE, permits[0], 0.0, RateLimitError("x", retry_after=20), POLICY)
    health.succeeded(ONE, permits[1], 1.0, None)
    assert _reason(health, 1.0) == "rate limited"
    _succeed(health, later)
    assert _reason(health, later) is None
    assert health.all_healthy


def test_other_models_and_providers_are_not_concerned():
    health = _opened()
    assert _reason(health, 0.0, SIBLING) is None
    assert _reason(health, 0.0, OTHER) is None


def test_connection_failures_count_on_the_whole_instance():
    health = _health()
    for candidate in (ONE, SIBLING, ONE, SIBLING, ONE):
        _fail(health, 0.0, ProviderConnectionError("x"), candidate)
    assert _reason(health, 0.0) == "breaker open"
    assert _reason(health, 0.0, SIBLING) == "breaker open"
    assert _reason(health, 0.0, OTHER) is None


def test_one_probe_only_and_its_success_closes():
    health = _opened()
    assert _reason(health, 4.9) == "breaker open"
    assert _reason(health, 5.0) is None
    probe = health.acquire(ONE, 5.0)
    assert probe is not None
    assert health.acquire(ONE, 5.0) is None
    assert _reason(health, 5.0) == "probe under way"
    health.succeeded(ONE, probe, 6.0, None)
    assert _reason(health, 6.0) is None
    for _ in range(4):
        _fail(health, 6.0)
    assert _reason(health, 6.0) is None


def test_a_probe_that_comes_late_is_one_all_the_same():
    health = _opened()
    probe = health.acquire(ONE, 7.0)
    assert probe is not None
    assert health.acquire(ONE, 7.0) is None
    health.failed(ONE, probe, 8.0, ServerError("x"), POLICY)
    assert health.unavailable(ONE, 8.0).until == 18.0


def test_a_failed_probe_doubles_the_time_up_to_the_cap():
    health, now, seconds = _opened(), 0.0, 5.0
    for _ in range(9):
        now += seconds
        _fail(health, now)
        seconds = min(20.0, seconds * 2)
        assert health.unavailable(ONE, now).until == pytest.approx(now + seconds)


def test_the_open_time_is_drawn_between_half_and_whole():
    health = Health(lambda: 0.0)
    for _ in range(5):
        _fail(health, 0.0)
    assert health.unavailable(ONE, 0.0).until == 2.5


def test_a_released_probe_makes_way_for_another():
    health = _opened()
    probe = health.acquire(ONE, 5.0)
    health.released(probe)
    assert _reason(health, 5.0) is None
    assert health.acquire(ONE, 5.0) is not None


def test_a_result_from_before_the_opening_comes_too_late():
    health = _health()
    _fail(health, 0.0)
    late = [health.acquire(ONE, 0.0) for _ in range(3)]
    for _ in range(4):
        _fail(health, 0.0)
    health.succeeded(ONE, late[0], 1.0, None)
    assert _reason(health, 1.0) == "breaker open"
    probe = health.acquire(ONE, 5.0)
    health.failed(ONE, late[1], 5.0, ServerError("x"), POLICY)
    assert _reason(health, 5.0) == "probe under way"
    health.released(late[2])
    assert health.acquire(ONE, 5.0) is None
    health.succeeded(ONE, probe, 5.0, None)
    assert _reason(health, 5.0) is None


def test_a_late_failure_that_does_not_count_leaves_the_probe_alone():
    health = _health()
    _fail(health, 0.0)
    late = health.acquire(ONE, 0.0)
    for _ in range(4):
        _fail(health, 0.0)
    assert health.acquire(ONE, 5.0) is not None
    health.failed(ONE, late, 5.0, ProviderConnectionError("counts on the instance"), POLICY)
    assert health.acquire(ONE, 5.0) is None


@pytest.mark.parametrize("error", [RateLimitError("x"), AuthenticationError("x", status=401), QuotaExceededError("x")])
def test_an_error_that_is_not_the_services_fault_does_not_open_the_breaker(error):
    health = _health()
    for n in range(6):
        permit = health.acquire(ONE, n * 10.0, force=True)
        health.failed(ONE, permit, n * 10.0, error, POLICY)
    assert _reason(health, 50.0) != "breaker open"


@pytest.mark.parametrize(
    ("error", "reason", "until", "sibling"),
    [
        (RateLimitError("x", retry_after=20), "rate limited", 20.0, None),
        (RateLimitError("x", retry_after=86400), "rate limited", 600.0, None),
        (RateLimitError("x"), "rate limited", 1.0, None),
        (ServerError("x", retry_after=7), "rate limited", 7.0, None),
        (QuotaExceededError("x"), "quota used up", 600.0, "quota used up"),
        (AuthenticationError("x", status=401), "key rejected", 10.0, "key rejected"),
        (AuthenticationError("x", status=403), "key rejected", 10.0, "key rejected"),
        (ForbiddenError("x", status=403), "forbidden", 10.0, None),
    ],
)
def test_pauses(error, reason, until, sibling):
    health = _health()
    _fail(health, 0.0, error)
    obstacle = health.unavailable(ONE, 0.0)
    assert (obstacle.reason, obstacle.until) == (reason, until)
    assert _reason(health, 0.0, SIBLING) == sibling
    assert _reason(health, 0.0, OTHER) is None
    if until < 1000:
        assert _reason(health, until) is None


def test_a_used_up_quota_pauses_for_ten_minutes_or_as_long_as_was_asked():
    for asked, until in ((None, 600.0), (30.0, 600.0), (700.0, 700.0), (5000.0, 1000.0)):
        health = _health()
        error = QuotaExceededError("x", retry_after=asked)
        health.failed(ONE, health.acquire(ONE, 0.0), 0.0, error, RetryPolicy(pause_max=1000.0))
        assert health.unavailable(ONE, 0.0).until == until


def test_refusals_of_one_burst_are_one_pause_and_one_warning(caplog):
    health = _health()
    permits = [health.acquire(ONE, 0.0) for _ in range(8)]
    for number, permit in enumerate(permits):
        health.failed(ONE, permit, number / 8, AuthenticationError("x", provider="acme", status=401), POLICY)
    assert health.unavailable(ONE, 1.0).until == 10.0
    _fail(health, 10.0, AuthenticationError("x", provider="acme", status=401))
    assert health.unavailable(ONE, 10.0).until == 30.0
    assert [record.message for record in caplog.records] == [
        "provider acme refused its key (status 401); calls skip it for some time, or until the key changes"
    ]


def test_a_changed_key_lifts_the_pauses_of_its_instance():
    health = _health()
    _fail(health, 0.0, AuthenticationError("x", status=401))
    _fail(health, 0.0, AuthenticationError("x", status=401), OTHER)
    health.forgive("acme")
    assert _reason(health, 0.0) is None
    assert _reason(health, 0.0, OTHER) == "key rejected"
    _fail(health, 0.0, AuthenticationError("x", status=401))
    health.forgive("beta")
    assert _reason(health, 0.0) == "key rejected"
    assert _reason(health, 0.0, OTHER) is None
    assert health.all_healthy is False
    health.forgive("acme")
    assert health.all_healthy is True


def test_a_late_refusal_of_the_old_key_does_not_pause_the_new_key():
    health = _health()
    late = health.acquire(ONE, 0.0)
    _fail(health, 0.0, AuthenticationError("no"))
    health.forgive("acme")
    health.failed(ONE, late, 1.0, AuthenticationError("no"), POLICY)
    assert _reason(health, 1.0) is None
    _fail(health, 2.0, AuthenticationError("no"))
    assert _reason(health, 2.0) == "key rejected"


def test_force_passes_an_open_breaker():
    health = _opened()
    permit = health.acquire(ONE, 1.0, force=True)
    health.succeeded(ONE, permit, 1.0, None)
    assert _reason(health, 1.0) is None


def test_forced_calls_that_fail_do_not_lengthen_the_time():
    health = _opened()
    for n in range(20):
        health.failed(ONE, health.acquire(ONE, n / 10, force=True), n / 10, ServerError("x"), POLICY)
        assert health.unavailable(ONE, n / 10).until == 5.0
    health.failed(ONE, health.acquire(ONE, 5.0, force=True), 5.0, ServerError("x"), POLICY)
    assert health.unavailable(ONE, 5.0).until == 15.0


def test_a_forced_call_that_ends_leaves_the_probe_alone():
    health = _opened()
    assert health.acquire(ONE, 5.0) is not None
    health.released(health.acquire(ONE, 5.0, force=True))
    assert _reason(health, 5.0) == "probe under way"
    forced = health.acquire(ONE, 5.0, force=True)
    health.failed(ONE, forced, 5.0, ProviderConnectionError("counts on the instance"), POLICY)
    assert health.acquire(ONE, 5.0) is None


def test_the_table_is_bounded_and_forgets_the_one_unused_for_longest():
    health = _health(size=10)
    candidates = [Candidate("acme", f"m{n}", f"m{n}") for n in range(12)]
    for candidate in candidates:
        _succeed(health, 0.0, candidate, first=0.1)
        _succeed(health, 0.0, candidates[0], first=0.1)
    assert health.latency(candidates[0], 0.5) == 0.1
    assert health.latency(candidates[1], 0.5) is None
    assert health.latency(candidates[11], 0.5) == 0.1


def _forgotten(count=5):
    """A table that has forgotten an open breaker, whose callers still hold permits."""
    health = _health(size=1)
    for _ in range(5):
        _fail(health, 0.0)
    permits = [health.acquire(ONE, 0.0, force=True) for _ in range(count)]
    _succeed(health, 0.0, OTHER)
    return health, permits


def test_results_of_a_forgotten_breaker_do_not_count_for_the_next_one():
    health, permits = _forgotten()
    _succeed(health, 0.0)
    for permit in permits:
        health.failed(ONE, permit, 0.0, ServerError("x"), POLICY)
    assert _reason(health, 0.0) is None


def test_answers_of_a_forgotten_breaker_do_not_count_for_the_next_one():
    health, (permit,) = _forgotten(1)
    for _ in range(20):
        _succeed(health, 0.0)
    for _ in range(4):
        _fail(health, 0.0)
    health.succeeded(ONE, permit, 0.0, None)
    _fail(health, 0.0)
    assert _reason(health, 0.0) == "breaker open"


def test_a_forgotten_breaker_degrades_nothing():
    health, _ = _forgotten()
    assert health.all_healthy is True


def test_a_call_that_ends_at_a_forgotten_breaker_leaves_the_next_one_usable():
    health, permits = _forgotten()
    for _ in range(5):
        _fail(health, 0.0)
    for permit in permits:  # by chance with the same generation
        health.released(permit)
    assert health.acquire(ONE, 5.0) is not None


def test_a_call_that_ends_at_a_forgotten_breaker_does_not_end_the_next_ones_probe():
    health = _health(size=1)
    for _ in range(5):
        _fail(health, 0.0)
    _fail(health, 5.0)  # a failed probe: this breaker has a later generation than the next breaker
    permits = [health.acquire(ONE, 5.0, force=True) for _ in range(2)]
    _succeed(health, 5.0, OTHER)
    for _ in range(5):
        _fail(health, 5.0)
    assert health.acquire(ONE, 10.0) is not None
    health.released(permits[0])
    health.failed(ONE, permits[1], 10.0, ModelUnavailableError("counts nowhere"), POLICY)
    assert health.acquire(ONE, 10.0) is None


@pytest.mark.parametrize("stream", [False, True])
def test_the_latency_record_gives_quantiles_of_the_latest(stream):
    health = _health()
    assert health.latency(ONE, 0.5, stream=stream) is None
    for n in range(100):
        health.succeeded(ONE, health.acquire(ONE, 0.0), 0.0, float(n), stream=stream)
    assert health.latency(ONE, 0.0, stream=stream) == 36.0
    assert health.latency(ONE, 0.95, stream=stream) == 96.0
    assert health.latency(ONE, 0.5, stream=stream, samples=64) == 68.0
    assert health.latency(ONE, 0.5, stream=stream, samples=65) is None
    assert health.latency(ONE, 0.5, stream=not stream) is None


def test_the_table_holds_4096_keys_by_default():
    health = _health()
    for n in range(4100):
        _succeed(health, 0.0, Candidate("acme", f"m{n}", f"m{n}"))
    assert len(health._records) == 4096


def test_the_budget_is_a_rule():
    health = _health(budget=BudgetRules(capacity=3.0))
    assert sum(health.take_budget("acme", 0.0) for _ in range(20)) == 3


def test_the_budget_is_per_provider():
    health = _health()
    assert sum(health.take_budget("acme", 0.0) for _ in range(20)) == 10
    assert health.take_budget("beta", 0.0)
    assert health.take_budget("acme", 10.0)


# --- refused keys and used-up quotas ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason", "pauses"),
    [
        (AuthenticationError("x", status=401), "key rejected", (10, 20, 40, 80, 160, 320, 600, 600)),
        (ForbiddenError("x", status=403), "forbidden", (10, 20, 40, 80, 160, 320, 600, 600)),
        (QuotaExceededError("x"), "quota used up", (600, 600)),
    ],
)
def test_a_pause_ends_with_one_probe_whose_failure_makes_it_longer(error, reason, pauses):
    health, now = _health(), 0.0
    for seconds in pauses:
        _fail(health, now, error)
        assert health.unavailable(ONE, now) == (reason, now + seconds)
        now += seconds
        assert _reason(health, now) is None
        probe = health.acquire(ONE, now)
        assert health.acquire(ONE, now) is None
        assert _reason(health, now) == "probe under way"
        health.released(probe)  # the probe was cancelled: another call is the probe
        assert _reason(health, now) is None


def test_an_answer_to_the_probe_ends_the_pause_for_good():
    health = _health()
    for now in (0.0, 10.0):
        _fail(health, now, AuthenticationError("x", status=401))
    probe = health.acquire(ONE, 30.0)
    health.began(probe, 31.0)
    assert _reason(health, 31.0) is None
    assert health.acquire(ONE, 31.0) is not None
    health.succeeded(ONE, probe, 32.0, 1.0)
    assert health.all_healthy
    _fail(health, 33.0, AuthenticationError("x", status=401))
    assert health.unavailable(ONE, 33.0).until == 43.0


def test_other_failures_of_the_probe_leave_the_next_call_to_probe():
    health = _health()
    _fail(health, 0.0, AuthenticationError("x", status=401))
    _fail(health, 10.0, ServerError("x"))
    assert _reason(health, 10.0) is None
    probe = health.acquire(SIBLING, 10.0)  # another model of the instance
    assert health.acquire(ONE, 10.0) is None
    health.failed(SIBLING, probe, 11.0, AuthenticationError("x", status=401), POLICY)
    assert health.unavailable(ONE, 11.0) == ("key rejected", 31.0)


def test_a_changed_key_ends_the_doubling():
    health = _health()
    for now in (0.0, 10.0):
        _fail(health, now, AuthenticationError("x", status=401))
    health.forgive("acme")
    assert health.key_changes("acme") == 1
    _fail(health, 11.0, AuthenticationError("x", status=401))
    assert health.unavailable(ONE, 11.0).until == 21.0


# --- silences -----------------------------------------------------------------------------------------------------------


def _silent(health, now, seconds, first_token=None, *, stream=True):
    permit = health.acquire(ONE, now, force=True)
    health.silent(ONE, permit, now, seconds, first_token, stream=stream)


@pytest.mark.parametrize(
    ("seconds", "knobs", "counts"),
    [
        (10.0, {}, True),
        (9.9, {}, False),
        (4.9, {"stall": 5}, False),
        (5.0, {"stall": 5}, True),
        (3.0, {"first_token": 3.0}, True),
        (2.9, {"first_token": 3.0}, False),
        (0.3, {"first_token": 0.3}, True),
        (3.0, {"usual": 1.5}, True),
        (2.9, {"usual": 1.5}, False),
        (1.0, {"usual": 0.1}, True),
        (0.9, {"usual": 0.1}, False),
    ],
)
def test_a_silence_counts_from_the_shortest_of_three_times(seconds, knobs, counts):
    health = _health(rules=BreakerRules(in_a_row=100, calls=6, share=0.01, stall=knobs.get("stall", 10.0)))
    for _ in range(5):
        _succeed(health, 0.0, first=knobs.get("usual"))
    _silent(health, 0.0, seconds, knobs.get("first_token"))
    assert (_reason(health, 0.0) == "breaker open") is counts


def test_five_silences_of_two_seconds_in_a_row_count_too():
    health = _health()
    for _ in range(4):
        _silent(health, 0.0, 2.0)
    _succeed(health, 0.0)
    for _ in range(4):
        _silent(health, 0.0, 2.0)
    assert _reason(health, 0.0) is None
    _silent(health, 0.0, 2.0)
    assert _reason(health, 0.0) == "breaker open"


def test_a_caller_with_little_time_opens_no_breaker():
    health = _health()
    for _ in range(100):
        _silent(health, 0.0, 1.99)
    assert _reason(health, 0.0) is None
    assert health.all_healthy


def test_a_breaker_that_silences_opened_is_open_for_longer_after_each_silent_probe():
    health, now, seconds = _health(), 0.0, 5.0
    for _ in range(5):
        _silent(health, now, 10.0)
    for _ in range(8):
        assert health.unavailable(ONE, now).until == pytest.approx(now + seconds)
        now += seconds
        _silent(health, now, 10.0)
        seconds = min(300.0, seconds * 2)
    _fail(health, now + seconds)  # a probe that fails quickly
    assert health.unavailable(ONE, now + seconds).until == pytest.approx(now + seconds + 20.0)


def test_a_probe_that_timed_out_counts_as_slow():
    health = _health(rules=BreakerRules(open_most=20, open_most_slow=40))
    now = 0.0
    for _ in range(5):
        _fail(health, now)
    for seconds in (5.0, 10.0, 20.0, 40.0, 40.0):
        now += seconds
        _fail(health, now, ProviderTimeoutError("x"))
    assert health.unavailable(ONE, now).until == now + 40.0


def test_a_probe_closes_the_breaker_at_its_first_content():
    health = _opened()
    probe = health.acquire(ONE, 5.0)
    health.began(probe, 6.0)
    assert _reason(health, 6.0) is None
    assert health.all_healthy
    health.succeeded(ONE, probe, 9.0, 1.0)
    assert health.latency(ONE, 0.5) == 1.0


def test_the_first_content_of_a_call_that_is_no_probe_changes_nothing():
    health = _health()
    permit = health.acquire(ONE, 0.0)
    for _ in range(4):
        _fail(health, 0.0)
    health.began(permit, 0.0)
    _fail(health, 0.0)
    assert _reason(health, 0.0) == "breaker open"
