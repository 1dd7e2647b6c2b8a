"""What a caller can turn: timeouts and the retry policy, with the defaults that the project stands for."""

from __future__ import annotations

from typing import Any

import attrs

from providerhub._values.value import Value, is_number


def _seconds(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is not a positive finite number of seconds.

    Raises:
        ValueError: It is zero, negative, infinite, not a number, or not a number type.
    """
    if value is None and attribute.default is None:
        return
    if not is_number(value) or value <= 0:  # type: ignore[operator]
        msg = f"{attribute.name} must be a positive, finite number of seconds, not {value!r}"
        raise ValueError(msg)


def _not_negative(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is not a finite number from zero up.

    Raises:
        ValueError: It is negative, infinite, not a number, or not a number type.
    """
    if not is_number(value) or value < 0:  # type: ignore[operator]
        msg = f"{attribute.name} must be a finite number, zero or more, not {value!r}"
        raise ValueError(msg)


def _share(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is not a number from 0 to 1.

    Raises:
        ValueError: It is below 0, above 1, not a number, or not a number type.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        msg = f"{attribute.name} must be a number from 0 to 1, not {value!r}"
        raise ValueError(msg)


def _count(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is not a whole number from one up.

    Raises:
        ValueError: It is below one or not a whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{attribute.name} must be a whole number, 1 or more, not {value!r}"
        raise ValueError(msg)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Timeout(Value):
    """The phases of a call, each in seconds; every phase is also cut at what remains of `total`.

    Args:
        connect: Until the connection stands, over all addresses of a name, TLS included.
        first_token: From the start of an attempt to its first content, the sending of the request included. Applies when the
            wire request streams; otherwise `total` alone bounds the sending and the wait for the answer's head.
        byte_idle: Between two pieces of bytes, from the first byte of the body on. Comments feed this clock.
        token_idle: Between two events, the consumer's own time left out. Applies when the wire request streams.
        total: The whole call: attempts, waits, fallbacks, and the consumer's time while it reads a stream.
    """

    connect: float = attrs.field(default=5.0, validator=_seconds)
    first_token: float = attrs.field(default=60.0, validator=_seconds)
    byte_idle: float = attrs.field(default=30.0, validator=_seconds)
    token_idle: float = attrs.field(default=60.0, validator=_seconds)
    total: float = attrs.field(default=600.0, validator=_seconds)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class RetryPolicy(Value):
    """How far the chain goes before it gives up.

    Args:
        attempts: The most attempts of one call, all providers together.
        attempts_per_provider: The most attempts at one provider, when the same one is tried again.
        backoff: Seconds; before the same provider is tried again the wait is drawn from
            `U(0, min(backoff_max, backoff * 2**n))`, n counting the call's repeats from 0 (full jitter).
        backoff_max: Seconds; the cap of that range.
        throttle_backoff: Seconds; takes the place of `backoff` after a rate limit that named no time.
        retry_after_max: Seconds; a `Retry-After` longer than this is not waited for.
        pause_max: Seconds; the longest that a provider's *not before* is remembered.
        hedge_quantile: With hedging, the quantile of a model's past times to first content (or to the whole answer, of a
            call that does not stream) after which a second attempt is made beside the first; from 0 to 1.
        hedge_samples: The fewest past times from which that quantile is taken; with fewer there is no hedging.
    """

    attempts: int = attrs.field(default=4, validator=_count)
    attempts_per_provider: int = attrs.field(default=2, validator=_count)
    backoff: float = attrs.field(default=0.5, validator=_not_negative)
    backoff_max: float = attrs.field(default=8.0, validator=_not_negative)
    throttle_backoff: float = attrs.field(default=1.0, validator=_not_negative)
    retry_after_max: float = attrs.field(default=30.0, validator=_not_negative)
    pause_max: float = attrs.field(default=600.0, validator=_not_negative)
    hedge_quantile: float = attrs.field(default=0.95, validator=_share)
    hedge_samples: int = attrs.field(default=20, validator=_count)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class BreakerRules(Value):
    """When the circuit breaker of a provider's model opens, and for how long.

    Args:
        window: Seconds of the past that count.
        calls: The fewest calls in the window before a share is meaningful.
        share: The share of failing calls, from 0 to 1, from which on it opens.
        in_a_row: Failures in a row that open it whatever the share.
        open_first: Seconds that it stays open at first; doubled at each probe that fails. Half of it is drawn at random.
        open_most: Seconds; the cap of that.
    """

    window: float = attrs.field(default=30.0, validator=_seconds)
    calls: int = attrs.field(default=5, validator=_count)
    share: float = attrs.field(default=0.5, validator=_share)
    in_a_row: int = attrs.field(default=5, validator=_count)
    open_first: float = attrs.field(default=5.0, validator=_seconds)
    open_most: float = attrs.field(default=300.0, validator=_seconds)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class BudgetRules(Value):
    """How much trying again one provider is worth, all calls together: a bucket of tokens, one for each repeat.

    Args:
        capacity: The most tokens, and the number at the start; 0 for no repeats at all.
        per_success: Tokens that a success earns.
        interval: Seconds in which one token comes back.
    """

    capacity: float = attrs.field(default=10.0, validator=_not_negative)
    per_success: float = attrs.field(default=0.1, validator=_not_negative)
    interval: float = attrs.field(default=10.0, validator=_seconds)
