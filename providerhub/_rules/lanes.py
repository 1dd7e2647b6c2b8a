"""The queues and counters of turns: a lane for each limited model or provider, a desk for each provider, a place for each call.

No I/O: the caller passes the time, in seconds on one monotonic clock, and holds a lock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from providerhub._rules.health import RATE_LIMITED
from providerhub._rules.limits import (
    LONGEST_GRACE,
    MARGIN,
    MEMORY,
    MINUTE,
    NEVER,
    NO_LIMITS,
    SLACK,
    Limits,
    Second,
    Starts,
    Throttle,
    TokenWindow,
)
from providerhub._values import HealthRecord
from providerhub._values.shared import Claim

# The output tokens that are reserved for a call without `max_tokens`, while no answer of the model has been counted.
FIRST_OUTPUT = 1024.0
MANY = 64  # the number of answers over which the mean output is taken


class Full(NamedTuple):
    reason: str  # `"concurrency"`, `"rpm"`, `"tpm"`, `"rate limited"`, `"others wait"` or `UNKNOWN_ROOM`
    until: float  # the expected time of the turn in seconds; infinite while it depends on other calls


UNKNOWN_ROOM = "shared limits unknown"  # the answer of a store of shared limits that cannot count
NOT_HELD = Full("", NEVER)


def until(full: Full | None) -> float:
    """The time at which a call may start; long past if it may start now."""
    return NEVER if full is None else full.until


class Back(NamedTuple):
    sent: bool  # whether the request was sent
    used: float | None = None  # the tokens that it used, input and output; `None` keeps the reservation
    output: float | None = None  # the output tokens of a complete answer
    now: float = NEVER  # the time in seconds, as far as the caller knows it


NOT_SENT, UNKNOWN, NOTHING_USED = Back(sent=False), Back(sent=True), Back(sent=True, used=0.0)


WAITING, ASKED, READY, OVER = "waiting", "asked", "ready", "over"  # ASKED: the store of shared limits has not answered yet


class Place:
    """The place of a call in the queue, and later its turn. The caller holds a lock."""

    __slots__ = ("claim", "cycle", "desk", "due", "entry", "lane", "number", "seconds", "started", "state", "tokens", "wake")

    def __init__(self, desk: Desk, entry: str, number: int, tokens: float) -> None:
        self.desk = desk
        self.entry = entry
        self.lane = desk.lane(entry)
        self.number = number
        self.tokens = tokens
        self.state = WAITING
        self.due = math.inf
        self.wake: Callable[[], object] | None = None
        self.claim: Claim | None = None
        self.cycle = 0
        self.started = 0.0
        self.seconds: tuple[Second | None, Second | None] = (None, None)

    def obstacle(self, now: float) -> Full | None:
        """The limit of the model or of the instance that lasts longer; `None` if the call may start."""
        own, whole = self.lane.obstacle(now, self.tokens), self.desk.whole.obstacle(now, self.tokens)
        return own if whole is None or (own is not None and own.until >= whole.until) else whole

    def begin(self, now: float) -> None:
        self.state = READY
        self.started = self.due = now
        self.cycle = self.lane.cycle
        self.seconds = self.lane.enter(now, self.tokens, self.number), self.desk.whole.enter(now, self.tokens, self.number)

    def put_back(self, until: float, reason: str) -> None:
        """Take back a turn for which the store of shared limits has no room. The call then waits at the head."""
        wake = self.wake
        self.end(NOT_SENT)
        self.state, self.wake, self.due = WAITING, wake, until
        self.lane.held = Full(reason, until)
        self.lane.waiting.appendleft(self)
        self.desk.queued[self.entry] = self.lane

    def end(self, back: Back) -> None:
        """Take back the turn, if the call has one."""
        was, self.state = self.state, OVER
        self.wake = None
        if was in {READY, ASKED}:
            if back.output is not None:
                lane = self.lane
                lane.outputs = min(lane.outputs + 1, MANY)
                lane.mean_output += (back.output - lane.mean_output) / lane.outputs
            for lane, second in zip((self.lane, self.desk.whole), self.seconds, strict=True):
                lane.leave(self, second, back)


class Lane:
    """The limits and the calls of one key. The caller holds a lock."""

    def __init__(self) -> None:
        self.in_use = 0
        self.starts = Starts()
        self.throttle: Throttle | None = None
        self.cycle = 0
        self.waiting: deque[Place] = deque()
        self.mean_output = FIRST_OUTPUT
        self.outputs = 0
        # The time from which the next call may start; the value of this time before the latest call; the latest call's number.
        self._next = self._before = NEVER
        self._last = 0
        self._tokens: TokenWindow | None = None
        self.limits = NO_LIMITS
        self.held = NOT_HELD  # the shared limit that the store named last
        # Of the latest call: the scope, its own limits, its instance's limits, and the store's form of these limits.
        self.named: tuple[Any, Any, Any, tuple[Any, ...]] = None, None, None, ()

    def set_limits(self, limits: Limits) -> None:
        if limits.tpm != self.limits.tpm:
            self._tokens = None if limits.tpm is None else TokenWindow(limits.tpm)
        self.limits = limits

    @property
    def is_idle(self) -> bool:
        return not (self.in_use or self.waiting or self.limits.any or self.throttle)

    @property
    def counts_tokens(self) -> bool:
        return self._tokens is not None

    def interval(self, now: float) -> float:
        """Seconds between two calls at the present rate; 0 without a rate."""
        rate = math.inf if self.limits.rpm is None else MARGIN * self.limits.rpm / MINUTE
        if self.throttle is not None:
            rate = min(rate, self.throttle.rate(now) or math.inf)
        return 1.0 / rate

    def obstacle(self, now: float, tokens: float) -> Full | None:
        """The limit that lasts longest, or `None` if the call may start."""
        if self.limits.concurrency is not None and self.in_use >= self.limits.concurrency:
            return Full("concurrency", math.inf)
        reason, due = "", now
        if self.throttle is not None and (time := self.throttle.due(now)) > due:
            reason, due = "rate limited", time
        if self._tokens is not None and (time := self._tokens.due(now, tokens)) > due:
            reason, due = "tpm", time
        if (time := self._next - SLACK) > due and self.interval(now):
            reason, due = "rate limited" if self.limits.rpm is None else "rpm", time
        return self.held if self.held.until > due else Full(reason, due) if reason else None

    def head(self) -> Place | None:
        while self.waiting and self.waiting[0].state != WAITING:
            self.waiting.popleft()
        return self.waiting[0] if self.waiting else None

    def enter(self, now: float, tokens: float, number: int) -> Second | None:
        """Count a call that starts. Return the second that counts its tokens."""
        self.in_use += 1
        self.starts.add(now, 1)
        if interval := self.interval(now):
            self._before, self._last = self._next, number
            self._next = max(self._next, now) + interval
        if self.throttle is not None:
            self.throttle.began(number, now)
        return None if self._tokens is None else self._tokens.add(now, min(tokens, self._tokens.tpm))

    def leave(self, place: Place, second: Second | None, back: Back) -> None:
        self.in_use -= 1
        if self.held.reason == "concurrency":
            self.held = NOT_HELD  # this call has made room
        if not back.sent:
            if place.number == self._last:  # no other call has started since
                self._next = self._before
            self.starts.drop()
        if self.throttle is not None:
            self.throttle.decided(place.number, refused=False if back.sent else None)
        used = back.used if back.sent else 0.0
        if second is not None and self._tokens is not None and used is not None:
            second.amount += used - min(place.tokens, self._tokens.tpm)  # the used tokens replace the reservation

    def record(self, provider: str, model: str, now: float) -> HealthRecord:
        throttle, limits = self.throttle, self.limits
        rate = None if throttle is None else throttle.rate(now)
        pause = 0.0 if throttle is None else max(0.0, throttle.until - now)
        return HealthRecord(
            provider=provider, model=model, pause=RATE_LIMITED if pause else "", retry_in=pause, concurrency=limits.concurrency,
            rpm=limits.rpm, tpm=limits.tpm, in_use=self.in_use, waiting=sum(place.state == WAITING for place in self.waiting),
            learned_rpm=None if rate is None else rate * MINUTE,
        )  # fmt: skip

    def refused(self, now: float, after: float | None, luck: float, *, place: Place | None, first: float) -> float:
        """Learn from a refusal. The call has a place, unless it began without limits. Return the end of the pause."""
        late = self.throttle is not None and (place is None or place.lane is not self or place.cycle < self.cycle)
        if self.throttle is None:
            self.throttle = Throttle()
        if place is not None:
            self.throttle.decided(place.number, refused=True)
            self.throttle.grace = min(max(self.throttle.grace, 2 * (now - place.started)), LONGEST_GRACE)
        if self.throttle.refused(now, after, luck, starts=self.starts, late=late, first=first):
            self.starts = Starts()
            self.cycle += 1
        return self.throttle.until


class Claims(Protocol):
    answer: float  # the seconds within which the store must answer
    refuses: bool  # whether calls are refused while the store does not answer

    def take(self, place: Place, answer: Callable[[Place, Claim, Full | None], object]) -> tuple[Claim | None, bool]:
        """Ask for a turn. Return the claim, if the store answers, and whether the turn is taken; else `answer` decides."""

    def give_back(self, claim: Claim, back: Back) -> None:
        """Give a turn back."""


class Desk:
    """One provider instance: its own lane, and the lanes of its models. The caller holds a lock."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.whole = Lane()
        self.models: dict[str, Lane] = {}
        self.queued: dict[str, Lane] = {}
        self.throttled: dict[str, Lane] = {}
        self.is_limited = False

    def lane(self, entry: str) -> Lane:
        """The lane of a model, or of the whole instance for the entry `""`."""
        if not entry:
            return self.whole
        lane = self.models.get(entry)
        if lane is None:
            lane = self.models[entry] = Lane()
        return lane

    def lanes(self) -> Iterator[tuple[str, Lane]]:
        yield "", self.whole
        yield from self.models.items()

    def update(self) -> None:
        self.is_limited = bool(self.throttled) or any(lane.limits.any for _, lane in self.lanes())

    def forget(self, now: float) -> None:
        """Forget old lessons. While calls wait, a learned rate rises instead: all calls at once would be refused."""
        for entry, lane in tuple(self.throttled.items()):
            if lane.throttle is not None and now >= lane.throttle.until + MEMORY and lane.head() is None:
                del self.throttled[entry]
                lane.throttle = None
                self.update()

    def next(self, now: float) -> tuple[Place | None, float]:
        """The first waiting call whose model has room, and the time from which it may start."""
        first: Place | None = None
        for entry, lane in tuple(self.queued.items()):
            head = lane.head()
            if head is None:
                del self.queued[entry]
            elif (first is None or head.number < first.number) and lane.obstacle(now, head.tokens) is None:
                first = head
        if first is None:
            return None, math.inf
        return first, until(self.whole.obstacle(now, first.tokens))
