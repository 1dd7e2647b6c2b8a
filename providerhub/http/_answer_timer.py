"""The timeouts of one answer (first token, token idle, byte idle, total) in one timer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from providerhub._values.errors import ProviderConnectionError, ProviderError, ProviderTimeoutError
from providerhub._values.provider import CallContext
from providerhub.http._watchdog import Timer


class AnswerTimer(Timer):
    """The timer of one answer. The reader of the answer moves its deadlines.

    Args:
        call: The call: its timeouts, its deadline, and since when its caller waits.
        callback: Aborts the reading. It must not block.
        stream: Whether the first-token and token-idle timeouts apply.

    Attributes:
        token_due: When the next content must have come, in seconds of the call's clock; the call's deadline if `stream` is false.
        byte_due: When the current read must have brought a byte, on the same clock; infinite until the headers have come.
        offset: Seconds from the call's clock, which a test may replace, to `time.monotonic`.
    """

    __slots__ = ("_call", "_phase", "_stream", "byte_due", "offset", "token_due")

    def __init__(self, call: CallContext, callback: Callable[[], object], *, stream: bool) -> None:
        self.token_due = min(call.started + call.timeout.first_token, call.deadline) if stream else call.deadline
        self.offset = 0.0 if call.clock is time.monotonic else time.monotonic() - call.clock()
        super().__init__(self.token_due + self.offset, callback)
        self.byte_due = math.inf
        self._call = call
        self._stream = stream
        self._phase = "first token"

    def token(self) -> None:
        """Start the token-idle timeout, or start it again."""
        if self._stream:
            call = self._call
            self._phase = "token idle"
            self.token_due = min(call.clock() + call.timeout.token_idle, call.deadline)

    def due(self, now: float, /) -> float:
        """Return the deadline that holds.

        Args:
            now: The time, in seconds of `time.monotonic`.
        """
        # Only computed, not assigned: the reading thread may set `deadline` at the same moment.
        deadline = self.deadline
        if deadline > now:
            return deadline
        return min(self._token_deadline(), self._extended(self.byte_due, self._call.timeout.byte_idle)) + self.offset

    def token_is_late(self) -> bool:
        """Return whether no content came in time, even if other bytes did."""
        self.token_due = self._token_deadline()
        self.expired = self.expired or self._call.clock() > self.token_due
        return self.expired

    def error(self) -> ProviderError:
        """Return the error for an answer that was aborted: cancelled, or the timeout that expired."""
        call = self._call
        if call.cancelled:
            return ProviderConnectionError("the call was cancelled", retryable=False)
        if call.remaining() == 0:
            return ProviderTimeoutError("the call's total timeout expired")
        if self.byte_due < math.inf and call.clock() < self._token_deadline():
            return ProviderTimeoutError(f"no byte came for {call.timeout.byte_idle:g} s (byte idle timeout)")
        seconds = call.timeout.first_token if self._phase == "first token" else call.timeout.token_idle
        return ProviderTimeoutError(f"no content came for {seconds:g} s ({self._phase} timeout)")

    def _token_deadline(self) -> float:
        if self._phase == "first token":  # the caller has nothing yet, so it holds nothing up
            return self.token_due
        return min(self._extended(self.token_due, self._call.timeout.token_idle), self._call.deadline)

    def _extended(self, due: float, idle: float) -> float:
        """An idle timeout counts from when the caller began to wait: a thread may read ahead of a slow caller."""
        call = self._call
        return max(due, min(call.waiting_since, call.clock()) + idle)
