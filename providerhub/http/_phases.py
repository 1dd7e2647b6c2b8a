"""The clocks of one answer: first token, token idle, byte idle and total, in the one guard that the watchdog looks at."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from providerhub._values.errors import ProviderConnectionError, ProviderError, ProviderTimeoutError
from providerhub._values.provider import CallContext
from providerhub.http._watchdog import Guard


class Phases(Guard):
    """The guard of one answer; whoever reads it moves the clocks, and asks what an end meant.

    Args:
        call: How long there is, and since when the caller waits.
        end: Ends the reading.
        stream: Whether the clocks of a stream apply.

    Attributes:
        token_due: When something of use must have come; the call's deadline where only that holds.
        byte_due: When the read under way must have brought a byte; infinite before the body.
        ahead: Seconds that the watchdog's clock, the system's, is ahead of the call's, which a test may have handed in.
    """

    __slots__ = ("_call", "_phase", "_stream", "ahead", "byte_due", "token_due")

    def __init__(self, call: CallContext, end: Callable[[], object], *, stream: bool) -> None:
        self.token_due = min(call.started + call.timeout.first_token, call.deadline) if stream else call.deadline
        self.ahead = 0.0 if call.clock is time.monotonic else time.monotonic() - call.clock()
        super().__init__(self.token_due + self.ahead, end)
        self.byte_due = math.inf
        self._call = call
        self._stream = stream
        self._phase = "first token"

    def token(self) -> None:
        """Start the token-idle clock, again or for the first time."""
        if self._stream:
            call = self._call
            self._phase = "token idle"
            self.token_due = min(call.clock() + call.timeout.token_idle, call.deadline)

    def due(self, now: float) -> float:
        """The moment that holds.

        Args:
            now: What time it is, in monotonic seconds.
        """
        # Put off, but not moved: `deadline` is its owner's, who may be moving it at this very moment.
        deadline = self.deadline
        if deadline > now:
            return deadline
        return min(self._token_moment(), self._put_off(self.byte_due, self._call.timeout.byte_idle)) + self.ahead

    def late(self) -> bool:
        """Whether nothing of use has come for too long, however many bytes have."""
        self.token_due = self._token_moment()
        self.expired = self.expired or self._call.clock() > self.token_due
        return self.expired

    def ended(self) -> ProviderError:
        """What it means that the reading was ended from here."""
        call = self._call
        if call.cancelled:
            return ProviderConnectionError("the call was cancelled", retryable=False)
        if call.remaining() == 0:
            return ProviderTimeoutError("the call's total time is over")
        if self.byte_due < math.inf and call.clock() < self._token_moment():
            return ProviderTimeoutError(f"no byte for {call.timeout.byte_idle:g} s (byte idle)")
        seconds = call.timeout.first_token if self._phase == "first token" else call.timeout.token_idle
        return ProviderTimeoutError(f"nothing came for {seconds:g} s ({self._phase})")

    def _token_moment(self) -> float:
        """When something of use must have come, the consumer's own time left out."""
        if self._phase == "first token":  # nothing was handed over yet that anybody could hold
            return self.token_due
        return min(self._put_off(self.token_due, self._call.timeout.token_idle), self._call.deadline)

    def _put_off(self, due: float, idle: float) -> float:
        """Nobody is late with what nobody waits for: a thread may read ahead of a consumer that holds what came before."""
        call = self._call
        return max(due, min(call.waiting_since, call.clock()) + idle)
