"""The limits of the caller, the rates learned from refusals (429), and the arithmetic for both.

No I/O: the caller passes the time, in seconds on one monotonic clock, and holds a lock. The spacing of calls is the generic cell
rate algorithm (ITU-T I.371), which is a token bucket with a single number as its state.

After a refusal, nothing is sent until the time that the service named. Then one call goes first. If the service accepts it, the
other calls follow at the accepted rate. If this rate is unknown, each accepted call lets two more start (the slow start of TCP,
RFC 5681). The accepted rate is the number of calls accepted since some moment before the refusal, divided by the time from this
moment to the end of the pause. It rises again slowly, and is forgotten after five minutes without refusal. It is also forgotten
if it does not help, because the service refuses calls at random.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import takewhile
from typing import NamedTuple

from providerhub._rules.policy import RETRY_AFTER_JITTER

MINUTE = 60.0
NEVER = float("-inf")

# The share of a rate that is used. A service counts a call when it arrives, not when it starts. The rest covers this difference.
MARGIN = 0.95
# Seconds by which a call may be early, to make up for a late start. A burst has at most one call more than the rate allows in
# 50 ms. Services that count over a second or two refuse larger bursts: with 3,000 calls a minute, 98 calls start in 2 s, and a
# service that counts over 2 s allows 100. In any 60 s, at most `0.95 * rpm * (60 + 0.05) / 60` calls start, rounded up, so never
# more than `rpm`.
SLACK = 0.05

# Seconds of the pause after a refusal that names no time. It doubles each time that the first call is refused again.
FIRST_PAUSE, LONGEST_BACKOFF = 1.0, 60.0
MEMORY = 300.0  # seconds after the last pause in which the lessons are kept
SURE = 4  # the number of accepted calls from which a rate is taken seriously
VAIN = 4  # the number of refusals in a row, each before the learned rate had risen, after which this rate is forgotten
STRIKES = 3  # the number of pauses after which a rate counts even if fewer calls were accepted
# Seconds before a rate rises: the least, the most after the first pause, and the most.
PATIENCE, FIRST_PATIENCE, LONGEST_PATIENCE = 10.0, 60.0, 120.0
GRACE, LONGEST_GRACE = 1.0, 10.0  # seconds after which a call counts as not refused: the least, and the most
WIDE_OPEN = 64  # the number of calls without verdict from which the slow start is over


class Limits(NamedTuple):
    """The limits of one provider instance or of one model; `None` for no limit."""

    concurrency: int | None = None  # the most running calls; 1 or more
    rpm: float | None = None  # the most calls that start in a minute; a positive number
    tpm: float | None = None  # the most tokens in a minute, input and output; a positive number
    # `"elsewhere"` asks the next candidate while a limit is reached, `"wait"` waits for a turn. `None`, the default: the
    # value of the instance, or else the value for the kind of call.
    when_full: str | None = None

    @property
    def any(self) -> bool:
        return self.concurrency is not None or self.rpm is not None or self.tpm is not None


NO_LIMITS = Limits()


class Second:
    __slots__ = ("amount", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.amount = 0.0


class Seconds(deque[Second]):
    """Amounts per second, for the last minute. Never empty; the latest second is the last entry."""

    def __init__(self) -> None:
        super().__init__([Second(NEVER)], maxlen=int(MINUTE) + 2)

    def add(self, now: float, amount: float) -> Second:
        if now - self[-1].since >= 1.0:
            self.append(Second(now))
        self[-1].amount += amount
        return self[-1]


class TokenWindow(Seconds):
    """Counts the tokens of each of the last 60 seconds. `tpm` is their limit."""

    def __init__(self, tpm: float) -> None:
        super().__init__()
        self.tpm = tpm

    def due(self, now: float, tokens: float) -> float:
        """The time from which a call with some tokens may start; at most the whole `tpm` is needed."""
        counted = [second for second in self if _end(second) > now]
        excess = sum(second.amount for second in counted) + min(tokens, self.tpm) - self.tpm
        due = NEVER
        for second in counted:
            if excess <= 0:
                break
            excess -= second.amount
            due = _end(second)
        return due


def _end(second: Second) -> float:
    """The time from which a second no longer counts, because its end is 60 s old."""
    return second.since + 1.0 + MINUTE


class Starts(Seconds):
    """Counts the calls that start, by the second, for the last minute."""

    def drop(self) -> None:
        """Remove the latest call, which was refused or not sent."""
        while len(self) > 1 and not self[-1].amount:
            self.pop()
        self[-1].amount = max(0.0, self[-1].amount - 1)

    def accepted(self, at: float) -> float:
        """The number of calls in the minute before a moment. The calls of the latest second always count."""
        return sum(second.amount for second in self if second is self[-1] or at - second.since <= MINUTE)

    def rate(self, at: float, until: float, least: int) -> float:
        """The calls per second accepted until a refusal, including the pause after it; at least `least` calls."""
        best = total = 0.0
        for second in takewhile(lambda second: at - second.since <= MINUTE, reversed(self)):
            total += second.amount
            best = max(best, max(total, least) / (until - second.since))
        return best


class Throttle:
    """The state of one model at one provider after a refusal."""

    def __init__(self) -> None:
        self._evidence = Starts()
        self._refusals = self._strikes = self._silent = self._vain = 0
        self._at = self.until = NEVER
        self._base: float | None = None
        self._rate: float | None = None
        self._patience = 0.0
        self.grace = GRACE  # grows with the time that the service takes to refuse a call
        self._window: int | None = 1
        self._undecided: dict[int, float] = {}

    def refused(self, now: float, after: float | None, luck: float, *, starts: Starts, late: bool, first: float) -> bool:
        """Record a refusal, with the arguments of `Pacer.refused`. Return whether a new count of starts begins after it.

        `luck` is a random number from 0 up to 1, for the jitter of the pause. `starts` are the calls since the last pause, with
        this one. A `late` call began before the last refusal.
        """
        fresh = not late and (starts.accepted(now) > 1 or not self._strikes)
        if late:
            self._evidence.drop()
        elif not fresh:
            self._silent += 1  # the first call after a pause was refused, so the pause goes on
        else:
            starts.drop()
            self._vain = self._vain + 1 if self._rate is not None and now <= self.until + self._patience else 0
            self._base, self._evidence, self._at = self.rate(now), starts, now
            self._refusals = self._silent = 0
            self._strikes += 1
        self._refusals += 1
        pause = min(LONGEST_BACKOFF, first * 2.0 ** min(self._silent, 60)) if after is None else after
        if fresh:
            least = min(max(PATIENCE, 5 * pause), FIRST_PATIENCE)
            self._patience = least if self._strikes == 1 else min(2 * self._patience, LONGEST_PATIENCE)
        self.until = max(self.until, now + pause * (1 + RETRY_AFTER_JITTER * luck))
        self._window, self._undecided = 1, {}
        self._learn()
        return not late

    def hold(self, until: float) -> None:
        if until > self.until:
            self.until, self._window, self._undecided = until, 1, {}

    def rate(self, now: float) -> float | None:
        """The calls per second that the service accepts; `None` when that is not known."""
        if self._rate is None:
            return None
        rising = now - self.until - self._patience
        return self._rate if rising <= 0 else self._rate * 2.0 ** min(rising / (2 * self._patience), 60)

    def due(self, now: float) -> float:
        """The time from which pause and slow start allow the next call."""
        while self._undecided and (first := next(iter(self._undecided.items())))[1] + self.grace <= now:
            self.decided(first[0], refused=False)
        if now < self.until:
            return self.until
        if self._window is None or len(self._undecided) < self._window:
            return NEVER
        return next(iter(self._undecided.values())) + self.grace

    def began(self, number: int, now: float) -> None:
        if self._window is not None:
            self._undecided[number] = now

    def decided(self, number: int, *, refused: bool | None) -> None:
        """Record whether the service refused a call; `None` if the call ended before this was known."""
        if self._undecided.pop(number, None) is None or refused is not False or self._window is None:
            return
        self._window += 1
        if self._rate is not None or self._window > WIDE_OPEN:
            self._window, self._undecided = None, {}

    def _learn(self) -> None:
        if self._vain >= VAIN:  # fewer calls a second are refused as often: the service is short of room, and counts no calls
            self._rate = self._base = None
            self._vain = self._strikes = 0
            return
        accepted = self._evidence.accepted(self._at)
        # If most calls were refused, the few accepted calls do not show a rate.
        if accepted >= max(SURE, self._refusals):
            measured = self._evidence.rate(self._at, self.until, SURE)
        elif accepted and self._strikes >= STRIKES:
            measured = self._evidence.rate(self._at, self.until, 1)
        else:
            self._rate = self._base
            return
        self._rate = MARGIN * min(measured, math.inf if self._base is None else self._base)
