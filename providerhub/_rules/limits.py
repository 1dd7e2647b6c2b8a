"""The limits that the caller sets for a provider or a model, and the arithmetic that keeps to them.

Pure: the caller passes the time, in seconds on one monotonic clock, and holds a lock. The spacing of calls is the generic cell
rate algorithm (ITU-T I.371), which is a token bucket with a single number as its state.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

MINUTE = 60.0
NEVER = float("-inf")

# The share of a rate that is used. A service counts when a call arrives, not when it starts: the rest covers the difference.
MARGIN = 0.95
# Seconds by which a call may be early. A late start is made up for, and the burst is at most one call and the rate's 50 ms.
# Services that count by the second or two refuse larger bursts: with 3,000 calls a minute, 98 start in 2 s, and 100 would be the
# limit of a service that counts over 2 s. In any 60 s start at most `0.95 * rpm * (60 + 0.05) / 60`, rounded up: never more than
# `rpm`.
SLACK = 0.05


class Limits(NamedTuple):
    """The limits of one provider instance or of one model; `None` for no limit."""

    concurrency: int | None = None  # the most calls under way at once; 1 or more
    rpm: float | None = None  # the most calls that start in a minute; a positive number
    tpm: float | None = None  # the most tokens in a minute, input and output; a positive number
    # `"elsewhere"` asks the next candidate while a limit is reached, `"wait"` waits for a turn. `None`, the default: as the
    # instance says, or else as the kind of call does.
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
    """Amounts by the second, for the last minute. It is never empty, and the latest second is the last one."""

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
        self._tpm = tpm

    def due(self, now: float, tokens: float) -> float:
        """The time from which a call may start that needs so many tokens; at most the whole `tpm` is asked for."""
        counted = [second for second in self if _end(second) > now]
        excess = sum(second.amount for second in counted) + min(tokens, self._tpm) - self._tpm
        due = NEVER
        for second in counted:
            if excess <= 0:
                break
            excess -= second.amount
            due = _end(second)
        return due

    def reserve(self, now: float, tokens: float) -> Second:
        """Reserve tokens, at most the whole `tpm`. Return the second that holds them, for `correct`."""
        return self.add(now, min(tokens, self._tpm))

    def correct(self, second: Second, reserved: float, used: float) -> None:
        """Replace the reservation of a call by its usage."""
        second.amount += used - min(reserved, self._tpm)


def _end(second: Second) -> float:
    """The time from which a second is no longer counted: its last moment is 60 s old."""
    return second.since + 1.0 + MINUTE
