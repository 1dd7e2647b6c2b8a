"""Timeouts, the retry policy, and the rules of the circuit breaker and of the retry budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from providerhub._values.checks import COUNT, ERROR_CLASSES, FLAG, NOT_NEGATIVE, SECONDS, SHARE
from providerhub._values.value import Value, frozen

# The ways to order candidates that are otherwise equal.
STRATEGIES = ("priority", "round_robin", "weighted", "fastest", "cheapest")
ON_INTERRUPT = ("raise", "restart", "continue")  # the ways to treat a stream that breaks after its first content


@frozen(eq=False, repr=False, kw_only=True)
class Timeout(Value):
    """The timeouts of the phases of a call, each a positive number of seconds. No phase lasts longer than the rest of `total`.

    Args:
        connect: Seconds until the connection is open, including all addresses of the host and the TLS handshake. Default 5.
        first_token: Seconds from the start of a streaming attempt to its first content, including the upload of the request.
            Default `None`: only `total` ends the attempt, since reasoning models are silent for minutes. For a slow attempt, the
            call also asks the next candidate; see `RetryPolicy.beside_after`.
        head: The same for a whole answer: seconds until the first byte of its body. Default `None`: no limit.
        byte_idle: Seconds between two chunks of bytes, after the first content that is not reasoning. Default 60. Comments and
            pings are bytes too.
        token_idle: Seconds between two events of a stream, after the first content that is not reasoning. The time of the
            caller's own code does not count. Default 120.
        total: Seconds for the whole call: attempts, waits, fallbacks, and the caller's time while it reads a stream. Default 600.
    """

    connect: float = attrs.field(default=5.0, validator=SECONDS)
    first_token: float | None = attrs.field(default=None, validator=SECONDS.or_none)
    head: float | None = attrs.field(default=None, validator=SECONDS.or_none)
    byte_idle: float = attrs.field(default=60.0, validator=SECONDS)
    token_idle: float = attrs.field(default=120.0, validator=SECONDS)
    total: float = attrs.field(default=600.0, validator=SECONDS)

    def __getstate__(self) -> dict[str, Any]:
        # A pickle would lose the identity of a value, which tells a given phase from a default phase.
        return {field.name: value for field in attrs.fields(Timeout) if (value := getattr(self, field.name)) is not field.default}


def _classes(classes: Sequence[type[Exception]]) -> tuple[type[Exception], ...]:
    """Make a tuple of a list, since `isinstance` needs a tuple. The validator refuses any other value."""
    return tuple(classes) if isinstance(classes, list) else classes  # type: ignore[return-value]


@frozen(eq=False, repr=False, kw_only=True)
class RetryPolicy(Value):
    """The number of attempts of a call, and the waits between them.

    Args:
        attempts: The maximum number of attempts of one call; 1 or more, default 4. With more candidates, each candidate may be
            tried once.
        attempts_per_provider: The maximum number of attempts at one provider and model; 1 or more, default 2.
        patience: Seconds, default 2.5. Before a call goes on to the next *model* of a sequence, it tries the same provider once
            more. It does not after a timeout, or if the wait is longer than `patience`. 0: go on at once.
        beside: Whether the call asks the next candidate in parallel to a slow attempt. Default true. False ends the slow attempt
            instead, so that the call never pays for two answers.
        beside_after: Seconds without content after which an attempt is slow. Default `None`: half of the remaining time, at most
            60, and at least twice the model's usual time.
        also_on: Error classes, such as `(ContentPolicyError,)`, after which the call asks the next candidate too. Without this
            setting, they end the call. Default: none.
        backoff: Seconds, default 0.5. The wait before the same provider is tried again is random, from
            `U(0, min(backoff_max, backoff * 2**n))`; n counts the repeats of the call from 0 (full jitter).
        backoff_max: Seconds, default 8: the upper limit of this wait.
        throttle_backoff: Seconds, default 1: the first pause of a model after a rate limit without `Retry-After`. The pause
            doubles each time that the next call is refused, up to 60 s.
        retry_after_max: Seconds. The call does not wait for a longer `Retry-After`. Default `None`: only the deadline limits the
            wait, which must end at least 1 s before it.
        pause_max: Seconds, default 600: the longest pause of a provider because of its `Retry-After`.
        hedge_quantile: A number from 0 to 1, default 0.95. With hedging, a second attempt starts when the first attempt takes
            longer than this quantile of the model's past times to first content (without streaming: to the whole answer).
        hedge_samples: The number of past times that hedging needs; 1 or more, default 20.
    """

    attempts: int = attrs.field(default=4, validator=COUNT)
    attempts_per_provider: int = attrs.field(default=2, validator=COUNT)
    patience: float = attrs.field(default=2.5, validator=NOT_NEGATIVE)
    beside: bool = attrs.field(default=True, validator=FLAG)
    beside_after: float | None = attrs.field(default=None, validator=SECONDS.or_none)
    also_on: tuple[type[Exception], ...] = attrs.field(default=(), converter=_classes, validator=ERROR_CLASSES)
    backoff: float = attrs.field(default=0.5, validator=NOT_NEGATIVE)
    backoff_max: float = attrs.field(default=8.0, validator=NOT_NEGATIVE)
    throttle_backoff: float = attrs.field(default=1.0, validator=NOT_NEGATIVE)
    retry_after_max: float | None = attrs.field(default=None, validator=NOT_NEGATIVE.or_none)
    pause_max: float = attrs.field(default=600.0, validator=NOT_NEGATIVE)
    hedge_quantile: float = attrs.field(default=0.95, validator=SHARE)
    hedge_samples: int = attrs.field(default=20, validator=COUNT)


@frozen(eq=False, repr=False, kw_only=True)
class BreakerRules(Value):
    """The rules of the circuit breaker of a provider's model.

    Args:
        window: Seconds, default 30: older calls do not count.
        calls: With fewer calls in the window, `share` is ignored; 1 or more, default 5.
        share: The breaker opens when this share of the calls in the window has failed; from 0 to 1, default 0.5.
        in_a_row: The breaker also opens after this number of consecutive failures; 1 or more, default 5.
        open_first: Seconds for which the breaker is open at first, default 5. The time doubles with each failed probe. Half of it
            is random.
        open_most: Seconds, default 20: the upper limit of this time, if the probe failed quickly.
        open_most_slow: Seconds, default 300: the upper limit if the probe timed out, since such a probe costs a caller much time.
        stall: Seconds, default 10. An attempt that lost a race or reached its deadline counts as a failure if it had no content
            for this time. Shorter silences of 2 s or more count after `in_a_row` of them without an answer.
    """

    window: float = attrs.field(default=30.0, validator=SECONDS)
    calls: int = attrs.field(default=5, validator=COUNT)
    share: float = attrs.field(default=0.5, validator=SHARE)
    in_a_row: int = attrs.field(default=5, validator=COUNT)
    open_first: float = attrs.field(default=5.0, validator=SECONDS)
    open_most: float = attrs.field(default=20.0, validator=SECONDS)
    open_most_slow: float = attrs.field(default=300.0, validator=SECONDS)
    stall: float = attrs.field(default=10.0, validator=SECONDS)


@frozen(eq=False, repr=False, kw_only=True)
class BudgetRules(Value):
    """The retry budget of one provider, shared by all calls: a token bucket. Each repeated attempt takes one token.

    Args:
        capacity: The maximum and initial number of tokens; zero or more, default 10. 0: no repeats.
        per_success: Tokens that each successful attempt adds; zero or more, default 0.1.
        interval: Seconds in which one token is added; a positive number, default 10.
    """

    capacity: float = attrs.field(default=10.0, validator=NOT_NEGATIVE)
    per_success: float = attrs.field(default=0.1, validator=NOT_NEGATIVE)
    interval: float = attrs.field(default=10.0, validator=SECONDS)
