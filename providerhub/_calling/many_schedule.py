"""Decides which of many requests is sent next, without clock and threads. Rows beyond a limit wait in a file.

A driver reports each event, and asks for the next order, in one thread. Every time is in seconds on the hub's clock.
"""

from __future__ import annotations

import itertools
import math
import sys
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import IO, Any, NamedTuple

import attrs

from providerhub._calling.many_outcome import Outcome
from providerhub._calling.observers import call_of
from providerhub._rules.policy import Rng
from providerhub._values import Completion, RetryPolicy, errors

IDLE = 0.1  # seconds without an item after which the input counts as idle
FREE = 20  # the maximum uncounted tries of a row after a rate limit, while other rows are answered
_LONGEST = 60.0
_GROWTH = 4.0
IN_MEMORY = 10_000  # the most waiting rows in memory; further rows wait in a file
LONGEST_PAUSE = 600.0  # seconds; if a provider states a longer pause, many calls stop in place of waiting


@attrs.define(eq=False)
class Row:
    index: int
    item: Any
    request: Any
    tries: int = 0  # the number of further tries
    free: int = 0  # the number of uncounted tries after a rate limit
    seen: int = -1  # the number of answers at this row's latest rate limit
    error: Exception | None = None  # the error of the latest try
    resent: bool = False  # whether the row was sent again after its process was killed
    call: str | None = None  # the identifier of the first call; `None` without observers


class WaitingRows:
    """Rows that wait for a further try, by time. Rows beyond the limit wait in a temporary file without a name in `folder`."""

    def __init__(self, folder: str | None = None, limit: int = IN_MEMORY) -> None:
        self._folder = folder
        self._limit = limit
        self._numbers = itertools.count()
        self._rows: list[tuple[float, int, Row]] = []
        self._file: IO[bytes] | None = None
        self._stored = 0
        self._read = 0

    def __len__(self) -> int:
        return len(self._rows) + self._stored

    @property
    def due(self) -> float | None:
        if not self._rows and self._stored:
            self._load()
        return self._rows[0][0] if self._rows else None

    def put(self, row: Row, due: float) -> None:
        """Let a row wait until a time. A row that cannot be written to the file stays in memory."""
        if len(self._rows) < self._limit or not self._store(row, due):
            insort(self._rows, (due, next(self._numbers), row))

    def pop(self) -> Row:
        return self._rows.pop(0)[2]

    def hurry(self, chosen: Callable[[Row], bool]) -> None:
        """Let the chosen rows wait no longer. Rows in the file keep their times."""
        self._rows = sorted((-math.inf if chosen(row) else due, number, row) for due, number, row in self._rows)

    def close(self) -> None:
        self._rows.clear()
        self._stored = 0
        if self._file is not None:
            self._file.close()

    def _store(self, row: Row, due: float) -> bool:
        import pickle  # slow to import, and few programs need it

        size = 0 if self._file is None else self._file.seek(0, 2)
        try:
            data = pickle.dumps((due, row))
            pickle.loads(data)  # noqa: S301 -- our own bytes; some objects can be pickled but not unpickled
            if self._file is None:
                import tempfile  # slow to import, and few programs need it

                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 -- `close` closes it
            self._file.write(data)
            self._file.flush()
        except Exception:  # any object of a request; no writable folder, or a full disk
            if self._file is not None:
                self._file.truncate(size)
            return False
        self._stored += 1
        return True

    def _load(self) -> None:
        import pickle  # see above

        assert self._file is not None  # noqa: S101 -- rows are stored in it
        self._file.seek(self._read)
        for _ in range(min(self._stored, self._limit)):
            due, row = pickle.load(self._file)  # noqa: S301 -- a file without a name, which no other program can write
            insort(self._rows, (due, next(self._numbers), row))
            self._stored -= 1
        self._read = self._file.tell()
        if not self._stored:
            self._file.truncate(0)
            self._read = 0


Holds = Callable[..., float | None]
"""The arguments of a call → seconds until any candidate may be tried again; `None` if a candidate may be tried now."""


def causes(error: BaseException) -> list[BaseException]:
    """The errors of the attempts of a failed call; the error itself if there is only one class."""
    if isinstance(error, errors.AllProvidersFailedError):
        return [attempt.error for attempt in error.attempts if attempt.error is not None] or [error]
    return [error]


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later. An answer that does not fit has already been repeated, and costs money."""
    found = [cause for cause in causes(error) if not isinstance(cause, errors.InvalidOutputError)]
    return any(isinstance(cause, errors.DeadlineExceededError) or getattr(cause, "retryable", False) for cause in found)


def stated_wait(error: Exception) -> float:
    """The shortest wait that a refusing provider named, in seconds; 0 if one provider named no wait."""
    return min(getattr(cause, "retry_after", None) or 0.0 for cause in causes(error))


@attrs.define(eq=False)
class Gate:
    until: float = 0.0  # the known end of the pause, in seconds
    probe: int | None = None  # the index of the row that is sent first after the pause
    refused: Exception | None = None  # the error of a refused key or a used-up quota
    shut: Exception | None = None  # the error if the pause does not end; no more rows of the model are sent


class Gates:
    """The pauses of the requested models. A model without a pause has no gate."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self.gates: dict[str, Gate] = {}

    @property
    def error(self) -> Exception | None:
        """The error after which no more rows are sent; else `None`."""
        return next((gate.shut for gate in self.gates.values() if gate.shut is not None), None)

    def delay(self, row: Row, now: float) -> float | None:
        """The seconds for which a row must not be sent: infinite during a probe, `None` for a row to send now."""
        key = _model(row)
        gate = self.gates.get(key)
        if gate is not None:
            if gate.shut is not None or gate.probe is not None:
                return math.inf
            if gate.until > now:
                return gate.until - now
        try:
            request = row.request if isinstance(row.request, Mapping) else {}
            seconds = self._holds(**{name: value for name, value in request.items() if name != "stream"})
        except Exception:  # the call itself will report the error
            seconds = None
        if seconds is None or seconds <= 0:
            return None
        gate = self.gates.setdefault(key, Gate())
        gate.until = now + seconds
        if seconds > LONGEST_PAUSE:
            msg = f"every provider of {key} is paused for {seconds:.0f} s more; run the rest of the requests after that"
            gate.shut = gate.refused or errors.RateLimitError(msg, retry_after=seconds)
            return math.inf
        return seconds

    def sent(self, row: Row) -> None:
        gate = self.gates.get(_model(row))
        if gate is not None:
            gate.probe = row.index

    def ended(self, row: Row) -> None:
        """Record an answer, or an error that is not a refusal: the pause of the probe's model is over."""
        gate = self.gates.get(_model(row))
        if gate is not None and gate.probe == row.index:
            del self.gates[_model(row)]

    def refused(self, row: Row, error: Exception, now: float) -> bool:
        """Record an error. Returns whether the row must wait until the refusal of the key or the quota is over."""
        found = causes(error)
        if all(isinstance(cause, errors.AuthenticationError | errors.QuotaExceededError) for cause in found):
            gate = self.gates.setdefault(_model(row), Gate())
            if gate.probe == row.index or all(isinstance(cause, errors.QuotaExceededError) for cause in found):
                gate.shut = gate.shut or error
            gate.refused, gate.probe = error, None
            return True
        self.ended(row)
        seconds = stated_wait(error)
        if seconds and all(isinstance(cause, errors.RateLimitError) for cause in found):
            gate = self.gates.setdefault(_model(row), Gate())
            gate.until = max(gate.until, now + seconds)
            if seconds > LONGEST_PAUSE:
                gate.shut = gate.shut or error
                return True
        return False


def _model(row: Row) -> str:
    model: Any = row.request.get("model") if isinstance(row.request, Mapping) else None
    return model if isinstance(model, str) else repr(model)


class Ask(NamedTuple):
    """Ask the input for one item, then report `taken` or `ended`. Do not wait for it."""


class Give(NamedTuple):
    item: Any
    outcome: Outcome


class Rest(NamedTuple):
    """Wait for an event, at most for some seconds; `None` for no limit."""

    seconds: float | None


class Over(NamedTuple):
    error: Exception | None


Order = Row | Ask | Give | Rest | Over  # a row is to be sent: make its call, then report `answered`, `failed` or `refused`


@attrs.define(eq=False, kw_only=True)
class Schedule:
    _gates: Gates = attrs.field(alias="holds", converter=Gates)
    concurrency: int
    _passes: int
    _retry: RetryPolicy  # for requests without their own policy; the base of the backoff
    _rng: Rng  # spreads the backoff
    _request: Callable[[Any], Any] = lambda item: item  # returns the mapping of an item of the input
    _folder: str | None = None  # the folder of the file for waiting rows; `None` for the system's
    _in_memory: int = IN_MEMORY  # the most waiting rows in memory
    running: dict[int, Row] = attrs.field(factory=dict)
    waiting: WaitingRows = attrs.field(init=False)
    _taken: Iterator[int] = attrs.field(factory=itertools.count)
    _held: WaitingRows = attrs.field(factory=partial(WaitingRows, limit=sys.maxsize))
    _outcomes: deque[Give] = attrs.field(factory=deque)
    _asked: float | None = None
    _open: bool = True
    _error: Exception | None = None
    _answers: int = 0
    _draining: bool = False

    @waiting.default
    def _new(self) -> WaitingRows:
        return WaitingRows(self._folder, self._in_memory)

    def next(self, now: float) -> Order:
        if self._outcomes:
            return self._outcomes.popleft()
        if self._draining:
            return Rest(None) if self.running else Over(self._error)
        row = self._sendable(now) if len(self.running) < self.concurrency else None
        if row is not None:
            self.running[row.index] = row
            self._gates.sent(row)
            return row
        if self._open and self._asked is None and self._room:
            self._asked = now
            return Ask()
        return self._rest(now)

    def taken(self, item: Any) -> None:
        self._asked = None
        if not self._draining:
            self._held.put(Row(next(self._taken), item, self._request(item)), 0.0)

    def ended(self, error: Exception | None = None) -> None:
        """Report the end of the input. Its exception, if any, is raised at the end."""
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
            # The seconds grow with each further try, and half of them is random.
            longest = min(_LONGEST, 2 * self.policy(row).backoff * _GROWTH ** (max(1, row.tries) - 1))
            seconds = max(longest / 2 * (1 + self._rng()), min(stated_wait(error), LONGEST_PAUSE))
            self.waiting.put(row, now + seconds)
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
        """Report that no further call can be made. The waiting rows keep their errors."""
        row = self.running.pop(index)
        row.error = row.error or error
        self.ended(error)
        rows = [row]
        for waiting in (self._held, self.waiting):
            while waiting.due is not None:
                rows.append(waiting.pop())
        self._outcomes.extend(Give(one.item, Outcome(one.index, error=one.error or error, resent=one.resent)) for one in rows)

    def drain(self) -> None:
        """Send nothing more. The outcomes of the running calls are still yielded, except temporary failures."""
        self._draining = True

    def forgiven(self, provider: str) -> None:
        """Report that a pause was lifted. Rows that were held back or refused by this provider are sent at once."""
        self.waiting.hurry(
            lambda row: row.error is not None and any(provider == getattr(cause, "provider", "") for cause in causes(row.error))
        )
        self._gates.gates.clear()
        self._wake()

    def closed(self) -> None:
        """Report that the hub was closed. Nothing more is sent, and rows without an outcome raise an error."""
        self.drain()
        self._error = RuntimeError("the hub was closed before all requests were sent; first read all outcomes")

    def policy(self, row: Row) -> RetryPolicy:
        own = row.request.get("retry") if isinstance(row.request, Mapping) else None
        return own if isinstance(own, RetryPolicy) else self._retry

    @property
    def _room(self) -> bool:
        return len(self.running) + len(self._held) < self.concurrency

    def _sendable(self, now: float) -> Row | None:
        while (due := self._held.due) is not None and due <= now:
            row = self._held.pop()
            if self._may_go(row, now):
                return row
        if self._open and (self._asked is None or now < self._asked + IDLE):
            return None
        while self._room and (due := self.waiting.due) is not None and due <= now:
            row = self.waiting.pop()
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
        if self._room and (due := self.waiting.due) is not None:
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
        if isinstance(error, errors.RateLimitError) and row.seen < self._answers and row.free < FREE:
            row.seen = self._answers
            row.free += 1
        else:
            row.tries += 1
        return row.tries <= self._passes
