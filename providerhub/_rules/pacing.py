"""Turns: a call takes a turn before it asks a provider, waits at a limit, and gives the turn back at the end.

No I/O, and one lock, which is never held while a callback runs: the caller passes the time, in seconds on one monotonic clock.
The limits are the caller's limits and the learned rates (both in `limits.py`), for each model and for each provider instance; all
of them hold. Waiting calls get their turns first in, first out, for each limit.

    full = pacer.take(candidate, now)             a `Turn`, or `Full` with a reason and a time: ask another candidate
    turn = pacer.join(candidate, now)             a `Turn` that may have to wait
    turn.wake = event.set                         called from any thread when `ready` or `due` has changed
    while not turn.ready:
        event.wait(min(turn.due, deadline) - clock())
        event.clear()
        pacer.look(turn, clock())
    pacer.accepted(turn, now)                     at the first content
    pacer.settle(turn, now, tokens, output)       at the end; or `refused` after a 429, or `release` when nothing was sent
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping

import attrs

from providerhub._rules.health import RATE_LIMITED, Health, Key
from providerhub._rules.lanes import (
    ASKED,
    NOT_SENT,
    NOTHING_USED,
    OVER,
    READY,
    UNKNOWN,
    UNKNOWN_ROOM,
    WAITING,
    Back,
    Claims,
    Desk,
    Full,
    Lane,
    Place,
    until,
)
from providerhub._rules.limits import FIRST_PAUSE, NEVER, Limits, Throttle
from providerhub._rules.policy import Rng
from providerhub._threads import renewed_at_fork
from providerhub._values import Candidate, HealthRecord
from providerhub._values.shared import Claim

# Seconds between two looks of a waiting call, if the first call in the queue has a time and no rate is known. Only the first call
# has to look. The others look in case its event loop is blocked.
SPARE = 1.0


class Turn:
    """The turn of one call, ready or waiting. A garbage-collected turn is given back."""

    __slots__ = ("_pacer", "place")

    def __init__(self, pacer: Pacer | None, place: Place | None) -> None:
        self._pacer = pacer
        self.place = place

    @property
    def ready(self) -> bool:
        return self.place is None or self.place.state == READY

    @property
    def is_asked(self) -> bool:
        return self.place is not None and self.place.state == ASKED

    @property
    def due(self) -> float:
        """The time in seconds at which to look again; infinite when `wake` will be called."""
        return NEVER if self.place is None else self.place.due

    @property
    def wake(self) -> Callable[[], object] | None:
        """Called without arguments, in any thread, after `ready` or `due` has changed. Set it, then look at both."""
        return None if self.place is None else self.place.wake

    @wake.setter
    def wake(self, callback: Callable[[], object] | None) -> None:
        if self.place is not None:
            self.place.wake = callback

    def __del__(self) -> None:
        place = getattr(self, "place", None)
        if place is not None and place.state != OVER and self._pacer is not None:
            self._pacer.give_back(place, UNKNOWN if place.state == READY else NOT_SENT)


OUTAGE = 1.0  # seconds until the shared store is asked again, if calls are refused without it
FREE = Turn(None, None)  # the turn of every call at a provider without limits
# Returns an estimate of a call's input tokens, and the most output tokens (`None` when unknown).
Tokens = Callable[[], tuple[int, int | None]]


def no_tokens() -> tuple[int, int | None]:
    return 0, None


class Pacer:
    """The turns of all providers of one hub. Thread-safe.

    With shared limits, a call that this process would let start asks the store for its turn. The turn is ready at once if this
    process has stock. Otherwise it `is_asked`, until the store has answered or its time is over.

    For each provider, at most `size` models without limits and calls are kept.
    """

    def __init__(self, rng: Rng, *, size: int = 4096) -> None:
        self._rng = rng
        self._size = size
        self._lock = renewed_at_fork(threading.Lock())
        renewed_at_fork(self)
        self._desks: dict[str, Desk] = {}
        self._number = 0
        self._latest = NEVER
        # Called when a refusal begins a pause, with the key, `"rate limited"` and the seconds of the pause.
        self.on_fact: Callable[[Key, str, float], object] | None = None
        # The store of limits that several processes keep together, and the turns that it has answered.
        self.claims: Claims | None = None
        self._answers: deque[tuple[Place, Claim, Full | None]] = deque()
        # Both are filled without the lock: the garbage collector may give a turn back at any line.
        self._returned: deque[tuple[Place, Back]] = deque()
        self._woken: deque[Place] = deque()

    def _at_fork_reinit(self) -> None:
        """Let a forked process begin with all turns free, since their calls run in the parent."""
        desks, self._desks = self._desks, {}
        for given_back in (self._returned, self._woken, self._answers):
            given_back.clear()
        for name, desk in desks.items():
            fresh = self._desk(name)
            for entry, lane in desk.lanes():
                fresh.lane(entry).set_limits(lane.limits)
            for entry, lane in desk.throttled.items():
                fresh.throttled[entry] = fresh.lane(entry)
                fresh.throttled[entry].throttle = lane.throttle
            fresh.update()

    def set_limits(self, key: Key, limits: Limits) -> None:
        """Set the limits of a model, or of a whole instance (the entry `""`). They hold for calls that start later."""
        with self._lock:
            desk = self._desk(key[0])
            if limits == desk.lane(key[1]).limits:
                return
            desk.lane(key[1]).set_limits(limits)
            desk.update()
            self._pump(desk)
        self._flush()

    def when_full(self, candidate: Candidate) -> str | None:
        """The reaction of a candidate to a reached limit: the model's, or else the instance's, or else `None`."""
        desk = self._desks.get(candidate.provider)
        if desk is None:
            return None
        return desk.models.get(candidate.entry, desk.whole).limits.when_full or desk.whole.limits.when_full

    def take(self, candidate: Candidate, now: float, tokens: Tokens = no_tokens) -> Turn | Full:
        """Take a turn, or ask the store of shared limits; `Full` when the call would wait. `tokens` serves a `tpm` only."""
        desk = self._desks.get(candidate.provider)
        if desk is not None and not desk.is_limited:
            lane = desk.models.get(candidate.entry)
            if lane is not None:
                latest = lane.starts[-1]
                if now - latest.since < 1.0:
                    latest.amount += 1
                else:
                    lane.starts.add(now, 1)
                return FREE
        return self._enter(candidate, now, tokens, stay=False)

    def join(self, candidate: Candidate, now: float, tokens: Tokens = no_tokens) -> Turn:
        """Take a turn or a place in the queue. Until it is `ready`, call `look` at its `due` and after `wake`, or `release`."""
        return self._enter(candidate, now, tokens, stay=True)  # type: ignore[return-value]  # never `Full` with `stay`

    def obstacle(self, candidate: Candidate, now: float) -> Full | None:
        """The limit that a call would meet now, or `None`. Changes nothing."""
        with self._lock:
            desk = self._desks.get(candidate.provider)
            if desk is None or not desk.is_limited:
                return None
            lane = desk.models.get(candidate.entry, desk.whole)
            found = [full for one in (lane, desk.whole) if (full := one.obstacle(now, lane.mean_output)) is not None]
        return max(found, key=lambda full: full.until, default=None)

    def look(self, turn: Turn, now: float) -> bool:
        """Look whether a turn is ready; if not, `due` is renewed."""
        place = turn.place
        if place is None or place.state not in {WAITING, ASKED}:
            return turn.ready
        with self._lock:
            self._collect(now)
            if place.state == ASKED and now >= place.due:
                place.claim = None
                self._no_answer(place, now)
            self._pump(place.desk)
            if place.state == WAITING:
                self._foresee(place)
        self._flush()
        return turn.ready

    def accepted(self, turn: Turn, now: float) -> None:
        """Report the first content: the service has accepted the call. This lets other calls follow earlier."""
        place = turn.place
        if place is None or (throttle := place.lane.throttle) is None:
            return
        with self._lock:
            self._collect(now)
            throttle.decided(place.number, refused=False)
            self._pump(place.desk)
        self._flush()

    def settle(self, turn: Turn, now: float, used: float | None = None, output: float | None = None) -> None:
        """Give back the turn of a call that was sent. `used` are its tokens (`None`: as reserved), `output` the answer's."""
        if turn.place is not None:
            self.give_back(turn.place, Back(sent=True, used=used, output=output, now=now))

    def release(self, turn: Turn) -> None:
        """Give back a turn or a place in the queue, if nothing was sent. A second call does nothing."""
        if turn.place is not None:
            self.give_back(turn.place, NOT_SENT)

    def refused(self, turn: Turn, candidate: Candidate, now: float, after: float | None, *, first: float = FIRST_PAUSE) -> float:
        """Give back the turn of a refused call, pause its model for `after` or growing `first` seconds; return the end."""
        with self._lock:
            self._collect(now)
            desk = self._desk(candidate.provider)
            lane = desk.lane(candidate.entry)
            end = lane.refused(now, after, self._rng(), place=turn.place, first=first)
            desk.throttled[candidate.entry] = lane
            desk.is_limited = True
            if turn.place is not None:
                self._end(turn.place, NOTHING_USED)
            self._pump(desk)
        self._flush()
        if self.on_fact is not None:
            self.on_fact((candidate.provider, candidate.entry), RATE_LIMITED, end - now if after is None else after)
        return end

    def hold(self, key: Key, now: float, until: float) -> None:
        """Pause a model that has refused another process. No rate is learned; after the pause one call goes first."""
        with self._lock:
            self._collect(now)
            desk = self._desk(key[0])
            lane = desk.throttled[key[1]] = desk.lane(key[1])
            lane.throttle = lane.throttle or Throttle()
            lane.throttle.hold(until)
            desk.is_limited = True
            self._pump(desk)
        self._flush()

    def forgive(self, provider: str) -> None:
        """Forget the pauses and learned rates of an instance."""
        with self._lock:
            desk = self._desk(provider)
            for lane in desk.throttled.values():
                lane.throttle = None
            desk.throttled.clear()
            desk.update()
            self._pump(desk)
        self._flush()

    def snapshot(self, now: float) -> Mapping[Key, HealthRecord]:
        """The state of all keys with limits, learned rates, calls or waiting calls."""
        with self._lock:
            self._collect(now)
            lanes = {(name, entry): lane for name, desk in self._desks.items() for entry, lane in desk.lanes()}
            return {key: lane.record(*key, now) for key, lane in lanes.items() if not lane.is_idle}

    def _desk(self, provider: str) -> Desk:
        desk = self._desks.get(provider)
        if desk is None:
            desk = self._desks[provider] = Desk(provider)
        return desk

    def _enter(self, candidate: Candidate, now: float, tokens: Tokens, *, stay: bool) -> Turn | Full:
        known = self._desks.get(candidate.provider)
        counts = known and (known.whole.counts_tokens or known.models.get(candidate.entry, known.whole).counts_tokens)
        prompt, output = tokens() if counts else (0, None)
        with self._lock:
            self._collect(now)
            desk = self._desk(candidate.provider)
            if candidate.entry not in desk.models and len(desk.models) >= self._size:  # forget the oldest idle lane
                desk.models.pop(next((entry for entry, lane in desk.models.items() if lane.is_idle), ""), None)
            lane = desk.lane(candidate.entry)
            desk.forget(now)
            turn: Turn | Full = FREE
            if desk.is_limited:
                self._number += 1
                place = Place(desk, candidate.entry, self._number, prompt + (lane.mean_output if output is None else output))
                turn = self._place(place, lane, now, stay=stay) or Turn(self, place)
            else:
                lane.starts.add(now, 1)
        self._flush()
        return turn

    def _place(self, place: Place, lane: Lane, now: float, *, stay: bool) -> Full | None:
        """Give a turn or a place in the queue to a call. Return the reason if the call gets neither."""
        desk = place.desk
        if not desk.queued and place.obstacle(now) is None:
            self._begin(place, now)  # a faster way to the result below
        else:
            lane.waiting.append(place)
            desk.queued[place.entry] = lane
            self._pump(desk)
        if place.state != WAITING:
            return None
        self._foresee(place)
        if stay:
            return None
        place.state = OVER
        lane.waiting.remove(place)
        return place.obstacle(now) or Full("others wait", place.due)

    def _pump(self, desk: Desk) -> None:
        """Give turns to waiting calls while there is room. Tell the first of each model the time at which to look again."""
        now = self._latest
        first, due = desk.next(now)
        while first is not None and due <= now:
            first.lane.waiting.popleft()
            self._begin(first, now)
            first, due = desk.next(now)
        for lane in desk.queued.values():
            head = lane.waiting[0]
            exact = until(head.obstacle(now))
            if first is not None:
                exact = max(exact, due)  # the instance is full for a call that came earlier
            if exact < head.due - 0.001:
                head.due = exact
                self._woken.append(head)

    def _begin(self, place: Place, now: float) -> None:
        place.begin(now)
        if self.claims is not None:
            place.state, place.due = ASKED, now + self.claims.answer
            place.claim, is_given = self.claims.take(place, self.answered)
            if is_given:
                place.state = READY
            elif place.claim is None:
                self._no_answer(place, now)
        if place.wake is not None:
            self._woken.append(place)

    def _no_answer(self, place: Place, now: float) -> None:
        """Put a call back, or let it go on, as the settings say for an outage of the store of shared limits."""
        if self.claims is not None and self.claims.refuses:
            place.put_back(now + OUTAGE, UNKNOWN_ROOM)
        else:
            place.state = READY

    def answered(self, place: Place, claim: Claim, full: Full | None) -> None:
        """Report the answer of the store: `None` for a turn, else the reached limit. Called in any thread."""
        self._answers.append((place, claim, full))
        self._flush()

    def _take_answer(self, place: Place, claim: Claim, full: Full | None) -> None:
        if full is None:
            if place.state in {ASKED, READY}:  # READY: the call went on before this late answer, and counts
                place.claim, place.state = claim, READY
                self._woken.append(place)
            elif self.claims is not None:
                self.claims.give_back(claim, NOT_SENT)
        elif place.state == ASKED:
            place.claim = None
            if full.reason == UNKNOWN_ROOM:
                self._no_answer(place, self._latest)
            else:
                place.put_back(full.until, full.reason)
            self._woken.append(place)

    def _foresee(self, place: Place) -> None:
        """Renew the time at which a waiting call looks again: its turn if the rate stays as it is."""
        head, now = place.lane.head() or place, self._latest
        exact = until(head.obstacle(now))
        first, due = place.desk.next(now)
        place.due = exact if first is None else max(exact, due)
        if place is not head:
            interval = max(place.lane.interval(now), place.desk.whole.interval(now))
            place.due += (place.number - head.number) * (interval or SPARE)

    def _collect(self, now: float = NEVER) -> None:
        self._latest = max(self._latest, now)
        while self._answers:
            self._take_answer(*self._answers.popleft())
        while self._returned:
            place, back = self._returned.popleft()
            self._latest = max(self._latest, back.now)
            self._end(place, back)
            self._pump(place.desk)

    def _end(self, place: Place, back: Back) -> None:
        claim, place.claim = place.claim, None
        if claim is not None and place.state == READY and self.claims is not None:
            self.claims.give_back(claim, back)
        place.end(back)

    def give_back(self, place: Place, back: Back) -> None:
        """Give a turn back. Never waits, so that the garbage collector may call it in a thread that holds the lock."""
        self._returned.append((place, back))
        self._flush()

    def _flush(self) -> None:
        """Take in returned turns, and call the callbacks."""
        while True:
            if self._woken:
                with contextlib.suppress(IndexError):  # another thread was faster
                    place = self._woken.popleft()
                    try:
                        (place.wake or bool)()
                    except Exception:  # its event loop is closed, so the call will never look
                        self._returned.append((place, NOT_SENT))
            elif (self._returned or self._answers) and self._lock.acquire(blocking=False):
                # A thread that holds the lock now comes here afterwards.
                try:
                    self._collect()
                finally:
                    self._lock.release()
            else:
                return


def health_records(health: Health, pacer: Pacer, now: float) -> tuple[HealthRecord, ...]:
    """The breakers, pauses and latencies, joined with the limits and the turns; sorted by provider and model."""
    records = health.records(now)
    for key, pace in pacer.snapshot(now).items():
        known = records.get(key) or HealthRecord(provider=key[0], model=key[1], budget=health.budget(key[0], now))
        longer = pace if pace.retry_in > known.retry_in else known
        records[key] = attrs.evolve(
            pace, pause=longer.pause, retry_in=longer.retry_in, state=known.state, first_token=known.first_token,
            whole=known.whole, budget=known.budget, lacking=known.lacking,
        )  # fmt: skip
    return tuple(record for _, record in sorted(records.items()))
