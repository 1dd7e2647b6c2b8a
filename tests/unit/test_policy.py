"""Backoff and retry budget: pure arithmetic, so the tests check the whole range."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providerhub import AuthenticationError, ForbiddenError, RateLimitError, RetryPolicy, ServerError
from providerhub._rules.policy import (
    DISPOSITIONS,
    RetryBudget,
    backoff,
    disposition,
    is_free_wait,
    retry_wait,
    share,
    shortage_wait,
)

FRACTION = st.floats(0, 1, exclude_max=True)


@given(FRACTION, st.integers(0, 5000), st.booleans())
def test_a_backoff_lies_within_its_range(draw, repeat, throttled):
    base = 1.0 if throttled else 0.5
    seconds = backoff(RetryPolicy(), repeat, throttled=throttled, rng=lambda: draw)
    assert 0 <= seconds <= min(8.0, base * 2.0 ** min(repeat, 100))
    assert seconds == pytest.approx(draw * min(8.0, base * 2.0 ** min(repeat, 100)))


def test_a_backoff_of_zero_is_no_wait():
    assert backoff(RetryPolicy(backoff=0), 3, throttled=False, rng=lambda: 0.9) == 0


@given(FRACTION, st.floats(0, 30))
def test_a_retry_after_is_waited_with_at_most_a_tenth_more(draw, asked):
    seconds = retry_wait(RetryPolicy(), ServerError("x", retry_after=asked), 0, rng=lambda: draw)
    assert asked <= seconds <= asked * 1.1 + 1e-9


def test_too_long_a_time_is_not_waited_for():
    assert retry_wait(RetryPolicy(retry_after_max=30), RateLimitError("x", retry_after=30.01), 0, rng=lambda: 0.5) is None
    assert retry_wait(RetryPolicy(retry_after_max=60), RateLimitError("x", retry_after=31), 0, rng=lambda: 0) == 31
    assert retry_wait(RetryPolicy(), RateLimitError("x", retry_after=500), 0, rng=lambda: 0) == 500


def test_a_rate_limit_without_a_time_has_the_longer_base():
    assert retry_wait(RetryPolicy(), RateLimitError("x"), 0, rng=lambda: 0.5) == 0.5
    assert retry_wait(RetryPolicy(), ServerError("x"), 0, rng=lambda: 0.5) == 0.25


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["take", "earn"])), max_size=200))
def test_the_budget_bounds_the_tokens_taken(steps):
    budget, now, taken, earned = RetryBudget(0.0), 0.0, 0, 0
    for pause, what in steps:
        now += pause
        if what == "earn":
            budget.earn(now)
            earned += 1
        else:
            taken += budget.take(now)
        assert 0 <= budget.tokens(now) <= 10
    assert taken <= 10 + 0.1 * earned + now / 10 + 1e-6


def test_the_budget_comes_back_with_time_and_no_clock_running_backwards_adds_to_it():
    budget = RetryBudget(100.0)
    assert sum(budget.take(100.0) for _ in range(20)) == 10
    assert not budget.take(90.0)
    assert not budget.take(109.0)
    assert budget.take(110.0)
    assert budget.tokens(1e9) == 10


def test_every_class_has_a_disposition_through_its_nearest_parent():
    class OwnError(ServerError):
        """A plugin may subclass."""

    assert disposition(OwnError("x")) == DISPOSITIONS[ServerError]


@pytest.mark.parametrize("status", [None, 401, 403, 407])
def test_a_refused_key_pauses_the_instance_and_any_other_403_the_model(status):
    assert disposition(AuthenticationError("x", status=status)).pause == "instance"
    assert disposition(ForbiddenError("x", status=403)).pause == "model"


@pytest.mark.parametrize(
    ("remaining", "usual", "slow", "expected"),
    [
        (600.0, None, False, 60.0),
        (600.0, None, True, 300.0),
        (100.0, None, False, 50.0),
        (600.0, 25.0, False, 60.0),
        (600.0, 45.0, False, 90.0),
        (100.0, 60.0, False, 99.0),  # the next candidate gets 1 s at least
        (2.0, 60.0, False, 1.0),
        (1.0, 60.0, False, 0.5),
        (1.0, None, False, 0.5),
        (-1.0, None, False, 0.0),
    ],
)
def test_the_share_of_an_attempt(remaining, usual, slow, expected):
    assert share(RetryPolicy(), remaining, usual, slow=slow) == expected
    assert share(RetryPolicy(beside_after=7), remaining, usual, slow=slow) == 7


@pytest.mark.parametrize(
    ("error", "free"),
    [
        (RateLimitError("x", retry_after=1), True),
        (RateLimitError("x", retry_after=0.99), False),
        (RateLimitError("x", retry_after=0), False),
        (RateLimitError("x"), False),
        (ServerError("x", retry_after=5), False),
    ],
)
def test_only_a_stated_wait_of_a_rate_limit_is_free(error, free):
    assert is_free_wait(error) is free


@given(FRACTION, st.integers(0, 5000))
def test_a_wait_for_a_descriptor_is_short(draw, repeat):
    most = min(1.0, 0.05 * 2.0 ** min(repeat, 10))
    assert most / 2 <= shortage_wait(repeat, lambda: draw) <= most
