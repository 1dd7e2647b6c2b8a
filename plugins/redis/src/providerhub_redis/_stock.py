"""The turns that this process has taken in advance, so that most calls need not ask the server.

Calls at once are kept while they are used and no other process waits. Starts and tokens expire: a start 50 ms after its time,
tokens after a second. The stock is as large as the use at the present rate.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from providerhub import Claim

IDLE = 5.0  # seconds without a call after which free calls at once are given back
WANTED = 2.0  # seconds for which nothing is kept in stock after another process had to wait
LATE = 0.05  # seconds by which a start may be later than its moment
TOKENS_LAST = 0.9  # seconds for which tokens are kept; for them, the server's window is a second longer than a minute
STARTS_FOR, TOKENS_FOR = 0.03, 0.3  # starts and tokens are taken in advance for so many seconds
SHORTEST = 0.01  # the shortest time in seconds over which the rate of use is measured
DEMAND = 0.2  # seconds; if calls at once run out twice within this time, more are taken
MOST_CALLS = 64  # the most calls at once beyond the need
FORGET = 120.0  # seconds without a call after which a lane is forgotten


class Wish(NamedTuple):
    """A question about one lane: its name, its limits, and the calls, starts and tokens for the claim and for the stock."""

    lane: str
    most: int | None
    interval: float | None
    tpm: float | None
    calls: int = 0
    starts: int = 0
    tokens: float = 0.0
    more_calls: int = 0
    more_starts: int = 0
    more_tokens: float = 0.0


class Found(NamedTuple):
    """The units from a lane: calls, starts, seconds to the last start, tokens, and the second of the tokens."""

    calls: int
    starts: int
    last: float
    tokens: float
    second: float


class Supply:
    """Units of one limit that are already counted. `left` of them may be used until `until`; then the units of `later`."""

    __slots__ = ("base", "later", "left", "low", "second", "since", "until")

    def __init__(self) -> None:
        self.left = self.second = self.low = 0.0
        self.until = math.inf
        self.later: tuple[float, float, float] | None = None  # the next units, their end, and the second in which they count
        self.base = 0.0  # the units at the time `since`, to measure the rate of use
        self.since = -math.inf

    def has(self, now: float, need: float, lost: list[tuple[float, float]]) -> bool:
        """Whether enough units are left. Expired units are added to `lost`, each with its second."""
        while self.left < need or self.until < now:
            if self.left and (self.until < now or self.later):
                self.drop(lost)
            if self.later is None:
                return False
            (self.left, self.until, self.second), self.later = self.later, None
        return True

    def drop(self, lost: list[tuple[float, float]]) -> None:
        """Add the remaining units to `lost`."""
        lost.append((self.second, self.left))
        self.base -= self.left
        self.left = 0.0

    def wanted(self, now: float, need: float, seconds: float) -> float:
        """The units to take in advance: the use in some seconds, at the rate since the last time."""
        used = self.base - self.left - (self.later[0] if self.later else 0.0) + need
        self.base, self.since, since = self.base - used, now, self.since
        return used / max(now - since, SHORTEST) * seconds

    def add(self, units: float, until: float, second: float) -> None:
        """Add units to the stock."""
        self.base = self.left + units
        self.low = units / 2
        if self.left:
            self.later = units, until, second
        else:
            self.left, self.until, self.second = units, until, second

    @property
    def is_low(self) -> bool:
        """Whether half of the stock is used."""
        return self.left < self.low and self.later is None


class Lane:
    """The supplies of one lane, and the calls that use it."""

    __slots__ = ("calls", "emptied", "in_use", "limits", "lost", "more", "starts", "tokens", "used_at", "wanted_until")

    def __init__(self) -> None:
        self.limits: tuple[Any, ...] = "", None, None, None  # of the latest claim at the server
        self.starts, self.tokens = Supply(), Supply()
        self.calls = self.in_use = self.more = 0  # calls at once: free, in use, and to take beyond the need
        self.emptied = -math.inf  # the last time at which no call at once was free
        self.used_at = self.wanted_until = -math.inf
        self.lost: list[tuple[float, float]] = []  # unused tokens, with the second in which they count

    def has(self, now: float, tokens: float) -> bool:
        """Whether a turn is there."""
        _, most, interval, tpm = self.limits
        if self.wanted_until > now or (most is not None and self.calls < 1):
            return False
        if interval is not None and not ((self.starts.left >= 1 and self.starts.until >= now) or self.starts.has(now, 1, [])):
            return False
        return tpm is None or self.tokens.has(now, min(tokens, tpm), self.lost)

    def ran_out(self, now: float) -> int:
        """Note that no call at once is free. Return the number to take for the stock."""
        self.more = min(2 * self.more + 1, MOST_CALLS) if now - self.emptied < DEMAND else self.more
        self.emptied = now
        return self.more


class Stock:
    """The lanes of one process. `take` and `give_back` may be called in any thread, other methods only in the store's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane] = {}
        self._turns: dict[str, list[float]] = {}  # claim → for each of its lanes, the second in which its tokens count
        # Filled without the lock: the garbage collector may give a turn back at any line.
        self._ended: deque[tuple[Claim, float | None]] = deque()
        self._owed: dict[tuple[str, float], float] = {}  # lane and second → the tokens to add to the server's count
        self.is_low = False
        self.wanted_until = -math.inf

    def take(self, claim: Claim) -> bool:
        """Take a turn; false when the server must be asked."""
        if not self._lock.acquire(blocking=False):
            return False  # no wait: the garbage collector may call this in a thread that holds the lock
        try:
            if self._ended:
                self._settle()
            return self._take(claim, time.monotonic())
        finally:
            self._lock.release()

    def _take(self, claim: Claim, now: float) -> bool:
        found, tokens = [], claim.tokens
        for limited in claim.lanes:
            lane = self._lanes.get(limited[0])
            if lane is None or lane.limits != limited or not lane.has(now, tokens):
                return False
            found.append(lane)
        seconds = self._turns[claim.id] = []
        for lane in found:
            _, most, interval, tpm = lane.limits
            lane.in_use += 1
            lane.used_at = now
            if most is not None:
                lane.calls -= 1
            if interval is not None:
                lane.starts.left -= 1
                self.is_low = self.is_low or lane.starts.is_low
            if tpm is not None:
                lane.tokens.left -= min(tokens, tpm)
                self.is_low = self.is_low or lane.tokens.is_low
            seconds.append(lane.tokens.second)
        return True

    def give_back(self, claim: Claim, used: float | None) -> None:
        """Give a turn back; see `RedisState.give_back`."""
        self._ended.append((claim, used))

    def wishes(self, claim: Claim) -> list[Wish] | None:
        """The questions to the server for a claim; `None` if the stock is enough. The available part is put aside."""
        now = time.monotonic()
        with self._lock:
            self._settle()
            for limited in claim.lanes:
                self._lanes.setdefault(limited[0], Lane()).limits = limited
            if self._take(claim, now):
                return None
            return [self._wish(name, self._lanes[name], claim.tokens, now) for name, *_ in claim.lanes]

    def _wish(self, name: str, lane: Lane, tokens: float, now: float) -> Wish:
        _, most, interval, tpm = lane.limits
        need = 0.0 if tpm is None else min(tokens, tpm)
        calls = int(most is not None and lane.calls < 1)
        starts = int(interval is not None and not lane.starts.has(now, 1, []))
        lacking = need if tpm is not None and not lane.tokens.has(now, need, lane.lost) else 0.0
        lane.calls -= most is not None and not calls
        lane.starts.left -= interval is not None and not starts
        lane.tokens.left -= need - lacking
        more_starts = int(lane.starts.wanted(now, 1, STARTS_FOR)) if starts else 0
        more_tokens = lane.tokens.wanted(now, need, TOKENS_FOR) if lacking else 0.0
        more_calls = lane.ran_out(now) if calls else 0
        return Wish(name, most, interval, tpm, calls, starts, lacking, more_calls, more_starts, more_tokens)

    def refused(self, wishes: Sequence[Wish], tokens: float) -> None:
        """Put back the part of a claim that the server did not grant."""
        with self._lock:
            for wish in wishes:
                lane = self._lanes[wish.lane]
                lane.calls += wish.most is not None and not wish.calls
                lane.starts.left += wish.interval is not None and not wish.starts
                lane.tokens.left += 0.0 if wish.tpm is None or wish.tokens else min(tokens, wish.tpm)

    def granted(self, claim: Claim | None, wishes: Sequence[Wish], found: Sequence[Found], asked_at: float) -> None:
        """Take in the units from the server for a claim, or only for the stock."""
        with self._lock:
            seconds = []
            for wish, one in zip(wishes, found, strict=True):
                lane = self._lanes[wish.lane]
                lane.calls += one.calls - wish.calls
                if wish.starts or wish.more_starts:
                    lane.starts.add(one.starts - wish.starts, asked_at + one.last + LATE, 0.0)
                if wish.tokens or wish.more_tokens:
                    lane.tokens.add(one.tokens - wish.tokens, asked_at + TOKENS_LAST, one.second)
                if claim is not None:
                    lane.in_use += 1
                    lane.used_at = asked_at
                    seconds.append(one.second if wish.tokens else lane.tokens.second)
            if claim is not None:
                self._turns[claim.id] = seconds

    def low(self) -> list[Wish]:
        """The questions to the server for lanes with a half-used stock."""
        self.is_low, now = False, time.monotonic()
        with self._lock:
            found = [_more(name, lane, now) for name, lane in self._lanes.items() if lane.wanted_until < now]
        return [wish for wish in found if wish.more_starts or wish.more_tokens]

    def wanted(self, name: str) -> None:
        """Keep no stock of a lane for some time, because another process waits for it."""
        lane = self._lanes.get(name)
        if lane is not None:
            self.wanted_until = lane.wanted_until = time.monotonic() + WANTED

    def surplus(self) -> list[tuple[str, int]]:
        """The lanes with unneeded calls at once, each with the needed number."""
        now, found = time.monotonic(), []
        with self._lock:
            self._settle()
            for name, lane in tuple(self._lanes.items()):
                if lane.calls and (lane.wanted_until > now or now - lane.used_at > IDLE):
                    lane.calls = lane.more = 0
                    found.append((name, lane.in_use))
                if not lane.in_use and now - lane.used_at > FORGET:
                    del self._lanes[name]
        return found

    def held(self) -> list[tuple[str, int]]:
        """The calls at once that this process has in each lane."""
        with self._lock:
            return [(name, lane.calls + lane.in_use) for name, lane in self._lanes.items() if lane.limits[1] is not None]

    def owed(self) -> dict[tuple[str, float], float]:
        """The corrections of counted tokens, by lane and second, since the last call."""
        now = time.monotonic()
        with self._lock:
            self._settle()
            for name, lane in self._lanes.items():
                if lane.tokens.left and (lane.wanted_until > now or lane.tokens.until < now):
                    lane.tokens.drop(lane.lost)
                for second, tokens in lane.lost:
                    self._owe(name, second, -tokens)
                lane.lost.clear()
            owed, self._owed = self._owed, {}
        return owed

    def _settle(self) -> None:
        while self._ended:
            claim, used = self._ended.popleft()
            seconds = self._turns.pop(claim.id, None)
            for (name, most, _, tpm), second in zip(claim.lanes, seconds or (), strict=False):
                lane = self._lanes[name]
                lane.in_use -= 1
                lane.calls += most is not None
                if tpm is not None and used is not None:
                    self._owe(name, second, used - min(claim.tokens, tpm))

    def _owe(self, name: str, second: float, tokens: float) -> None:
        self._owed[name, second] = self._owed.get((name, second), 0.0) + tokens


def _more(name: str, lane: Lane, now: float) -> Wish:
    _, _, interval, tpm = lane.limits
    starts = int(lane.starts.wanted(now, 0, STARTS_FOR)) if lane.starts.is_low else 0
    tokens = lane.tokens.wanted(now, 0, TOKENS_FOR) if lane.tokens.is_low else 0.0
    lane.starts.low = lane.tokens.low = 0.0  # no further wish until these have come
    return Wish(name, None, interval, tpm, more_starts=starts, more_tokens=tokens)
