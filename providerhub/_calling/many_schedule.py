"""Which of many requests is sent next. Decides only: it has no clock, no threads and does no I/O.

A driver reports each event, and asks for the next order; both in one thread. Every time is in seconds on the hub's clock.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import attrs

from providerhub._calling.many_gates import LONGEST_PAUSE, Gates, causes, may_pass, stated_wait
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.many_rows import IN_MEMORY, Row, WaitingRows
from providerhub._calling.observers import call_of
from providerhub._rules.policy import Rng
from providerhub._values import Completion, RetryPolicy
from providerhub._values.errors import RateLimitError

IDLE = 0.1  # seconds without an item after which the input counts as idle
FREE = 20  # the most tries of a row after a rate limit that are not counted, since other rows were answered meanwhile
_LONGEST = 60.0
_GROWTH = 4.0


class Send(NamedTuple):
    """Make a row's call, then report `answered`, `failed` or `refused`."""

    row: Row


class Ask(NamedTuple):
    """Ask the input for one item, then report `taken` or `ended`. Do not wait for it."""


class Give(NamedTuple):
    """Yield an outcome."""

    item: Any
    outcome: Outcome


class Rest(NamedTuple):
    """Wait for an event, at most for some seconds; `None` for as long as it takes."""

    seconds: float | None


class Over(NamedTuple):
    """End, with an error or without one."""

    error: Exception | None


Order = Send | Ask | Give | Rest | Over


@attrs.define(eq=False, kw_only=True)
class Schedule:
    """The state of many calls."""

    _gates: Gates = attrs.field(alias="holds", converter=Gates)
    concurrency: int
    _passes: int
    _retry: RetryPolicy  # of requests that name none; the base of the backoff
    _rng: Rng  # spreads the backoff
    _request: Callable[[Any], Any] = lambda item: item  # returns the mapping of an item of the input
    _folder: str | None = None  # of the file for the waiting rows; `None` for the system's
    _in_memory: int = IN_MEMORY  # the most waiting rows in memory
    running: dict[int, Row] = attrs.field(factory=dict)
    _waiting: WaitingRows = attrs.field(init=False)
    _taken: Iterator[int] = attrs.field(factory=itertools.count)
    _held: WaitingRows = attrs.field(factory=partial(WaitingRows, limit=sys.maxsize))
    _outcomes: deque[Give] = attrs.field(factory=deque)
    _asked: float | None = None
    _open: bool = True
    _error: Exception | None = None
    _answers: int = 0
    _draining: bool = False

    def __attrs_post_init__(self) -> None:
        self._waiting = WaitingRows(self._folder, self._in_memory)

    def next(self, now: float) -> Order:
        if self._outcomes:
            return self._outcomes.popleft()
        if self._draining:
            return Rest(None) if self.running else Over(self._error)
        row = self._sendable(now) if len(self.running) < self.concurrency else None
        if row is not None:
            self.running[row.index] = row
            self._gates.sent(row)
            return Send(row)
        if self._open and self._asked is None and self._room:
            self._asked = now
            return Ask()
        return self._rest(now)

    def taken(self, item: Any) -> None:
        self._asked = None
        if not self._draining:
            self._held.put(Row(next(self._taken), item, self._request(item)), 0.0)

    def ended(self, error: Exception | None = None) -> None:
        """Report the end of the input; the exception that it raised is raised at the end."""
        self._asked, self._open = None, False
        self._error = self._error or error

    def answered(self, index: int, completion: Completion) -> None:
        row = self.running.pop(index)
        self._answers += 1
        self._gates.ended(row)
        self._wake()
        self._outcomes.append(Give(row.item, Outcome(index, completion, resent=row.resent)))

    def failed(self, index: int, error: Exception, now: float) -> None:
        row = self.running.pop(index)
        held = self._gates.refused(row, error, now)
        self._wake()
        row.error = error
        row.call = row.call or call_of(error)
        if held:
            self._held.put(row, 0.0)
        elif may_pass(error) and (self._draining or self._tries_again(row, error)):
            self._waiting.put(row, now + max(self._backoff(row), min(stated_wait(error), LONGEST_PAUSE)))
        else:
            self._outcomes.append(Give(row.item, Outcome(index, error=error, resent=row.resent)))

    def lost(self, index: int, error: Exception, now: float) -> None:
        """Report that the process of a call was killed. The row is sent once more."""
        row = self.running[index]
        if row.resent or self._draining:
            self.failed(index, error, now)
            return
        del self.running[index]
        row.resent = True
        self._gates.ended(row)
        self._wake()
        self._held.put(row, 0.0)

    def refused(self, index: int, error: Exception) -> None:
        """Report that a call cannot be made, nor any further one: the waiting rows keep the errors that they have."""
        row = self.running.pop(index)
        row.error = row.error or error
        self.ended(error)
        rows = [row]
        for waiting in (self._held, self._waiting):
            while waiting.due is not None:
                rows.append(waiting.pop())
        self._outcomes.extend(Give(one.item, Outcome(one.index, error=one.error or error, resent=one.resent)) for one in rows)

    def drain(self) -> None:
        """Send nothing more. The outcomes of the calls under way are still given out, unless the failure may pass."""
        self._draining = True

    def forgiven(self, provider: str) -> None:
        """Report that a pause was lifted: the rows that are held back ask again, and those wait no longer that it refused."""
        self._waiting.hurry(lambda row: row.error is not None and provider in map(_blamed, causes(row.error)))
        self._gates.forget()
        self._wake()

    def closed(self) -> None:
        """Report that the hub was closed: nothing more is sent, and an error tells of the rows that have no outcome."""
        self.drain()
        self._error = RuntimeError("the hub was closed before all requests were sent; first read all outcomes")

    def close(self) -> None:
        self._waiting.close()

    def policy(self, row: Row) -> RetryPolicy:
        """The retry policy of a row."""
        own = row.request.get("retry") if isinstance(row.request, Mapping) else None
        return own if isinstance(own, RetryPolicy) else self._retry

    @property
    def _room(self) -> bool:
        return len(self.running) + len(self._held) < self.concurrency

    def _sendable(self, now: float) -> Row | None:
        """Take the first row that may be sent now."""
        while (due := self._held.due) is not None and due <= now:
            row = self._held.pop()
            if self._may_go(row, now):
                return row
        if self._open and (self._asked is None or now < self._asked + IDLE):
            return None
        while self._room and (due := self._waiting.due) is not None and due <= now:
            row = self._waiting.pop()
            if self._may_go(row, now):
                return row
        return None

    def _may_go(self, row: Row, now: float) -> bool:
        delay = self._gates.delay(row, now)
        if delay is not None:
            self._held.put(row, now + delay)
        return delay is None

    def _wake(self) -> None:
        """Ask the gates again for the rows that are held back."""
        self._held.hurry(lambda _: True)

    def _rest(self, now: float) -> Rest | Over:
        moments = [due] if (due := self._held.due) is not None and due != math.inf else []
        idle = now if self._asked is None else self._asked + IDLE
        if self._room and (due := self._waiting.due) is not None:
            moments.append(max(due, idle))
        if len(self.running) < self.concurrency and self._asked is not None and self._gates.error is not None and idle > now:
            moments.append(idle)
        if moments:
            return Rest(max(0.0, min(moments) - now))
        stuck = bool(self._held) and not self.running
        if self.running or (self._asked is not None and not stuck):
            return Rest(None)
        return Over(self._gates.error if stuck else self._error)

    def _tries_again(self, row: Row, error: Exception) -> bool:
        if not self._passes:
            return False
        if isinstance(error, RateLimitError) and row.seen < self._answers and row.free < FREE:
            row.seen = self._answers
            row.free += 1
        else:
            row.tries += 1
        return row.tries <= self._passes

    def _backoff(self, row: Row) -> float:
        """Seconds before a further try: they grow with each one, and half of them is random."""
        longest = min(_LONGEST, 2 * self.policy(row).backoff * _GROWTH ** (max(1, row.tries) - 1))
        return longest / 2 * (1 + self._rng())


def _blamed(error: BaseException) -> str:
    return getattr(error, "provider", "")
