"""What follows from a failure, how long to wait, and how much retrying a provider is worth.

Pure: the random source and the time are handed in. Rules and numbers are those of the reliability table in the
documentation. Full jitter: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Retry budget: Google
SRE book, "Handling Overload".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from providerhub._values import BudgetRules, RetryPolicy
from providerhub._values.errors import (
    AttemptError,
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    EmptyAnswerError,
    ModelUnavailableError,
    PluginError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TLSError,
)

Rng = Callable[[], float]
"""Gives a number from 0 up to, not including, 1."""

LEAVE_BEFORE_DEADLINE = 1.0
"""Seconds that must be left of the call after a `Retry-After` was waited for; else waiting cannot help."""

RETRY_AFTER_JITTER = 0.1
"""Share of a `Retry-After` added at most, so that waiting clients do not come back all at once."""

QUOTA_PAUSE = 600.0
"""Seconds for which a provider whose quota is used up is left alone."""


class Disposition(NamedTuple):
    """What one class of failure means.

    Args:
        elsewhere: Whether another provider may answer.
        larger: Only one with a larger context window may.
        counts: `"model"` or `"instance"` when the breaker of that scope counts it, `""` when none does.
        pause: `"model"`, `"instance"` or `""`: what is left alone afterwards.
    """

    elsewhere: bool = True
    larger: bool = False
    counts: str = ""
    pause: str = ""


DISPOSITIONS: Mapping[type[AttemptError], Disposition] = {
    ProviderConnectionError: Disposition(counts="instance"),
    ProviderTimeoutError: Disposition(counts="model"),
    TLSError: Disposition(counts="instance"),
    RateLimitError: Disposition(pause="model"),
    QuotaExceededError: Disposition(pause="instance"),
    AuthenticationError: Disposition(pause="instance"),
    ServerError: Disposition(counts="model"),
    ModelUnavailableError: Disposition(),
    ContextLengthError: Disposition(larger=True),
    BadRequestError: Disposition(elsewhere=False),
    ProtocolError: Disposition(counts="model"),
    EmptyAnswerError: Disposition(counts="model"),
    PluginError: Disposition(counts="model"),
    ProviderError: Disposition(counts="model"),
}
"""Class of failure → what follows; the nearest class along the error's own hierarchy counts."""


def disposition(error: AttemptError) -> Disposition:
    """What a failure means for the chain.

    Args:
        error: How the attempt ended.

    Returns:
        The entry of the nearest class. A 403 pauses the model only, since the key may be good for others.
    """
    found = next(DISPOSITIONS[base] for base in type(error).__mro__ if base in DISPOSITIONS)
    if isinstance(error, AuthenticationError) and error.status == 403:
        return found._replace(pause="model")
    return found


def backoff(policy: RetryPolicy, repeat: int, *, throttled: bool, rng: Rng) -> float:
    """Seconds to wait before the same provider is tried again.

    Args:
        policy: Base and cap.
        repeat: How many repeats the call has had before, from 0.
        throttled: The failure was a rate limit that named no time.
        rng: The random source.

    Returns:
        A draw from `U(0, min(cap, base * 2**repeat))`.
    """
    base = policy.throttle_backoff if throttled else policy.backoff
    # The exponent is capped: a policy of thousands of attempts must not overflow a float.
    return rng() * min(policy.backoff_max, base * 2.0 ** min(repeat, 60))


def retry_wait(policy: RetryPolicy, error: AttemptError, repeat: int, *, rng: Rng) -> float | None:
    """Seconds from the failure until the same provider may be tried again.

    Args:
        policy: The numbers.
        error: How its last attempt ended.
        repeat: How many repeats the call has had before, from 0.
        rng: The random source.

    Returns:
        The seconds, or `None` when it asked for more than the policy waits.
    """
    asked = getattr(error, "retry_after", None)
    if asked is None:
        return backoff(policy, repeat, throttled=isinstance(error, RateLimitError), rng=rng)
    if asked > policy.retry_after_max:
        return None
    return float(asked * (1 + RETRY_AFTER_JITTER * rng()))


class RetryBudget:
    """How many repeats one provider is worth: a bucket of tokens, so that an outage is not made worse.

    A repeat costs one token, a success earns a little, and one comes back every `interval` seconds. Not locked: its
    owner does that.

    Args:
        now: Seconds on any monotonic clock; the same one must be used in every call.
        rules: Its numbers.
    """

    __slots__ = ("_capacity", "_interval", "_per_success", "_tokens", "_updated")

    def __init__(self, now: float, rules: BudgetRules | None = None) -> None:
        rules = rules or BudgetRules()
        self._capacity = rules.capacity
        self._per_success = rules.per_success
        self._interval = rules.interval
        self._tokens = rules.capacity
        self._updated = now

    def tokens(self, now: float) -> float:
        """The tokens there are at a moment, without taking any."""
        return min(self._capacity, self._tokens + max(0.0, now - self._updated) / self._interval)

    def take(self, now: float) -> bool:
        """Take one token, if there is one."""
        self._settle(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def earn(self, now: float) -> None:
        """Note a success."""
        if self._tokens >= self._capacity:  # it cannot grow: nothing to work out, call after call
            self._updated = max(now, self._updated)
            return
        self._settle(now)
        self._tokens = min(self._capacity, self._tokens + self._per_success)

    def _settle(self, now: float) -> None:
        self._tokens = self.tokens(now)
        self._updated = max(now, self._updated)
