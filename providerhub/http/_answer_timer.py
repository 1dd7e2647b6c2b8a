"""The timeouts of one answer (connect, first token or head, token idle, byte idle, total) in one timer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from providerhub._values.errors import ProviderConnectionError, ProviderError, ProviderTimeoutError
from providerhub._values.provider import CallContext, Piece
from providerhub._watchdog import Timer


class AnswerTimer(Timer):
    """The timer of one answer, whose reader moves its deadlines. The callback aborts the reading."""

    __slots__ = (
        "_call", "_lingers", "_token_idle", "byte_due", "byte_idle", "connect_due", "first", "offset", "stream", "token_due",
    )  # fmt: skip

    def __init__(self, call: CallContext, callback: Callable[[], object], *, stream: bool) -> None:
        self._call = call
        self.stream = stream
        self._lingers = False
        self.first = call.timeout.first_token if stream else call.timeout.head
        self._token_idle = call.timeout.token_idle
        self.token_due = call.deadline if self.first is None else min(call.started + self.first, call.deadline)
        self.offset = 0.0 if call.clock is time.monotonic else time.monotonic() - call.clock()
        super().__init__(self.token_due + self.offset, callback)
        self.byte_due = self.byte_idle = self.connect_due = math.inf

    def connecting(self, deadline: float | None) -> None:
        """Begin the connect phase, which ends at `deadline` in seconds of `time.monotonic`; `None` ends it."""
        self.connect_due = math.inf if deadline is None else deadline
        self.move(min(self.connect_due, self.token_due + self.offset))

    def token(self, piece: Piece | None = None) -> bool:
        """Note a piece (`None`: content that is not reasoning). Return whether the idle timeouts have started."""
        call = self._call
        if self._lingers:
            return True
        if piece is None and not self.stream:
            call.idles = True  # the first byte of a whole answer is not content: another provider may still be faster
        if not (call.idles or call.came(piece)):
            if call.content_at is not None:  # reasoning has come: no token timeout until the answer itself begins
                self.token_due = call.deadline
            return False
        self.byte_idle = call.timeout.byte_idle
        self.token_due = min(call.clock() + self._token_idle, call.deadline) if self.stream else call.deadline
        return True

    def linger(self, seconds: float) -> None:
        """Limit the wait to some seconds from the first call of this method, because the answer is complete.

        The wait ends before the call's deadline, so that the answer does not count as late.
        """
        if not self._lingers:
            self._lingers = True
            self.token_due = self._call.clock() + min(seconds, 0.9 * self._call.remaining())

    def due(self, now: float, /) -> float:
        """Return the current deadline at a time. Both are in seconds of `time.monotonic`."""
        # Only computed, not assigned: the reading thread may set `deadline` at the same moment.
        deadline = self.deadline
        if deadline > now:
            return deadline
        content_due = min(self._token_deadline(), self._extended(self.byte_due, self.byte_idle)) + self.offset
        return min(content_due, self.connect_due)

    def token_is_late(self) -> bool:
        """Return whether no content came in time, even if other bytes did."""
        self.token_due = self._token_deadline()
        self.expired = self.expired or self._call.clock() > self.token_due
        return self.expired

    def check(self) -> None:
        """Raise if a timeout has expired, or the call was cancelled."""
        if self.expired or self._call.cancelled:
            raise self.error()

    def error(self) -> ProviderError:
        """Return the error for an answer that was aborted: cancelled, or the timeout that expired."""
        call = self._call
        if call.cancelled:
            return ProviderConnectionError("the call was cancelled", retryable=False)
        if self.connect_due < math.inf and call.remaining() > 0 and call.clock() < self.token_due:
            return ProviderTimeoutError("connecting took longer than the connect timeout")
        said = "the answer had not ended when the call's total timeout expired"
        if call.remaining() > 0:
            if self.byte_due < math.inf and call.clock() < self._token_deadline():
                said = f"no byte came for {call.timeout.byte_idle:g} s (byte idle timeout)"
            elif call.idles:
                said = f"no content came for {self._token_idle:g} s (token idle timeout)"
            elif self.first is not None:
                said = f"no content came for {self.first:g} s ({'first token' if self.stream else 'head'} timeout)"
        return ProviderTimeoutError(said)

    def _token_deadline(self) -> float:
        if self._lingers or not self._call.idles:  # before the answer begins, the caller cannot delay it
            return self.token_due
        return min(self._extended(self.token_due, self._token_idle), self._call.deadline)

    def _extended(self, due: float, idle: float) -> float:
        """Count an idle timeout from the start of the caller's wait, since a thread may read ahead of a slow caller."""
        call = self._call
        return due if due == math.inf else max(due, min(call.waiting_since, call.clock()) + idle)
