"""The rule for each class of failure, the backoff, and the retry budget.

No I/O: the caller passes the random source and the time. The rules and numbers are those of `docs/explanation/retrying.md`. Full
jitter: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Retry budget: Google SRE book, "Handling
Overload".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from providerhub._values import BudgetRules, Candidate, RetryPolicy, errors

Rng = Callable[[], float]  # returns a number from 0 up to, not including, 1
LEAVE_BEFORE_DEADLINE = 1.0  # seconds that the call must have left after a `Retry-After`; with less time the wait cannot help
# The largest share of a `Retry-After` that is added to it, so that clients do not all return at the same moment.
RETRY_AFTER_JITTER = 0.1
FREE_WAITS = 20  # the maximum number of free waits of one call for a rate limit
# Seconds: the shortest free wait. A service that names shorter waits could otherwise be asked without end.
FREE_WAIT = 1.0
SHORTAGE_FIRST, SHORTAGE_MOST = 0.05, 1.0  # seconds of the first and of the longest wait for a file descriptor or a thread
LOADING = 5.0  # both waits take this many times as long while a local server loads its model
# The most seconds without content until the next candidate is asked beside a model of usual speed.
LONGEST_SHARE = 60.0
LACK_FOR = 3600.0  # seconds for which a model's lack of a capability is remembered
QUOTA_PAUSE = 600.0  # seconds of the pause of a provider whose quota is used up

SHORT = 0.05  # seconds that a call waits for a turn of the store of shared limits before it goes elsewhere
LOOK_AGAIN = 1.0  # seconds until the next look at a slow attempt, if the retry budget allowed no parallel attempt


class Disposition(NamedTuple):
    elsewhere: bool = True  # whether another provider may answer
    larger: bool = False  # whether only a candidate with a larger context window may answer
    counts: str = ""  # the breaker that counts the failure: `"model"`, `"instance"`, or `""` for none
    pause: str = ""  # the scope that pauses afterwards: `"model"`, `"instance"`, or `""` for none
    again: bool = False  # whether the same provider is asked once more before the next provider


# Class of failure → its rule. The nearest class in the error's hierarchy counts.
DISPOSITIONS: Mapping[type[errors.AttemptError], Disposition] = {
    errors.ProviderConnectionError: Disposition(counts="instance"),
    errors.ShortageError: Disposition(),
    errors.ProviderTimeoutError: Disposition(counts="model"),
    errors.TLSError: Disposition(counts="instance"),
    errors.RateLimitError: Disposition(pause="model"),
    errors.QuotaExceededError: Disposition(pause="instance"),
    errors.AuthenticationError: Disposition(pause="instance"),
    errors.ForbiddenError: Disposition(pause="model"),
    errors.ServerError: Disposition(counts="model"),
    errors.ModelUnavailableError: Disposition(),
    errors.ContextLengthError: Disposition(larger=True),
    errors.BadRequestError: Disposition(elsewhere=False),
    errors.CapabilityError: Disposition(),
    errors.InvalidOutputError: Disposition(again=True),
    errors.ProtocolError: Disposition(counts="model"),
    errors.EmptyAnswerError: Disposition(counts="model"),
    errors.PluginError: Disposition(counts="model"),
    errors.ProviderError: Disposition(counts="model"),
}


def disposition(error: errors.AttemptError) -> Disposition:
    """The rule for a failure, by its nearest class. Wrong settings, and requests that were not sent, do not count."""
    if error.uncounted or (isinstance(error, errors.PluginError) and isinstance(error.__cause__, errors.CallerError)):
        return Disposition()
    return next(DISPOSITIONS[base] for base in type(error).__mro__ if base in DISPOSITIONS)


def price(candidate: Candidate) -> float:
    """The price of a candidate for comparisons: of a million tokens in and out, infinite if unknown."""
    prices = candidate.prices
    return math.inf if prices is None or prices.input is None or prices.output is None else prices.input + prices.output


def backoff(policy: RetryPolicy, repeat: int, *, throttled: bool, rng: Rng) -> float:
    """The seconds before a retry: a draw from `U(0, min(cap, base * 2**repeat))`, where `repeat` counts from 0."""
    base = policy.throttle_backoff if throttled else policy.backoff
    # The exponent is capped: a policy of thousands of attempts must not overflow a float.
    return rng() * min(policy.backoff_max, base * 2.0 ** min(repeat, 60))


def retry_wait(policy: RetryPolicy, error: errors.AttemptError, repeat: int, *, rng: Rng) -> float | None:
    """The seconds from a failure to a retry; `None` when the provider's `Retry-After` is longer than the policy allows."""
    named = getattr(error, "retry_after", None)
    if named is None:
        return backoff(policy, repeat, throttled=isinstance(error, errors.RateLimitError), rng=rng)
    if policy.retry_after_max is not None and named > policy.retry_after_max:
        return None
    return float(named * (1 + RETRY_AFTER_JITTER * rng()))


def is_free_wait(error: errors.AttemptError) -> bool:
    """Whether waiting for the end of this failure costs neither an attempt nor a token of the retry budget."""
    return isinstance(error, errors.RateLimitError) and (getattr(error, "retry_after", None) or 0.0) >= FREE_WAIT


def shortage_wait(repeat: int, rng: Rng) -> float:
    """The seconds to wait for a file descriptor or a thread, after `repeat` earlier waits."""
    return min(SHORTAGE_MOST, SHORTAGE_FIRST * 2.0 ** min(repeat, 10)) * (0.5 + rng() / 2)


def share(policy: RetryPolicy, remaining: float, usual: float | None, *, slow: bool) -> float:
    """The seconds without content after which the next candidate is asked too. `remaining` are the seconds to the deadline.

    `usual` is the model's 95th percentile of the time to the first content. `slow` means that a long silence is usual.
    """
    if policy.beside_after is not None:
        return policy.beside_after
    half = remaining / 2
    if remaining < 2.0:  # the next candidate needs time too: 1 s, or half of the remaining time
        return half if half > 0.0 else 0.0  # noqa: FURB136 -- every call of several candidates comes here
    seconds = half if slow or half < LONGEST_SHARE else LONGEST_SHARE
    return seconds if usual is None else min(max(seconds, 2 * usual), remaining - 1.0)


class RetryBudget:
    """A token bucket that limits the retries at one provider: retries may make an outage worse. The caller holds a lock."""

    def __init__(self, now: float, rules: BudgetRules | None = None) -> None:
        self._rules = rules or BudgetRules()
        self._tokens = self._rules.capacity
        self._updated = now

    def tokens(self, now: float) -> float:
        return min(self._rules.capacity, self._tokens + max(0.0, now - self._updated) / self._rules.interval)

    def take(self, now: float) -> bool:
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def give_back(self) -> None:
        self._tokens = min(self._rules.capacity, self._tokens + 1.0)

    def earn(self, now: float) -> None:
        if self._tokens >= self._rules.capacity:  # a short cut, since every call comes here
            self._updated = max(now, self._updated)
            return
        self._refill(now)
        self._tokens = min(self._rules.capacity, self._tokens + self._rules.per_success)

    def _refill(self, now: float) -> None:
        self._tokens = self.tokens(now)
        self._updated = max(now, self._updated)
