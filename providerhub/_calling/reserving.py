"""The reservations of one call at the gates, such as budgets."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from providerhub._calling.assembly import Assembly
from providerhub._values import Attempt, AttemptGate, CallRecord, Candidate, Usage
from providerhub._values.errors import BudgetExceededError, ProviderConnectionError, ProviderTimeoutError

_log = logging.getLogger("providerhub")


class Reservation:
    """The amounts that the gates hold for one attempt, from before it is sent until it has ended; `bound` is the most tokens."""

    assembly: Assembly | None = None
    """Gathers the pieces of the attempt; `None` before it is sent."""
    refusal: BudgetExceededError | None = None

    def __init__(self, gates: Sequence[AttemptGate], call: CallRecord, candidate: Candidate, bound: Usage) -> None:
        self._gates = gates
        self._call = call
        self._candidate = candidate
        self._bound = bound
        self._held: list[tuple[AttemptGate, Any]] = []
        self._over = False

    def reserve(self) -> None:
        """Ask all gates; set `refusal` if one of them refuses. May run in a thread while the call ends."""
        for gate in self._gates:
            try:
                token = gate.reserve(self._call, self._candidate, self._bound)
            except BudgetExceededError as error:
                self.refusal = error
            except Exception as error:  # a gate that fails must not let money be spent
                self.refusal = BudgetExceededError(f"{type(gate).__name__} could not decide, so nothing was sent: {error!r}")
                self.refusal.__cause__ = error
            else:
                if token is not None:
                    self._held.append((gate, token))
            if self.refusal is not None or self._over:
                self.release()
                return

    def release(self) -> None:
        """Give everything back. A second call does nothing."""
        self._over = True
        self._end(lambda gate, token: gate.release(token))

    def settle(self, attempt: Attempt) -> None:
        """End the reservation of an attempt that has ended. A second call does nothing."""
        error, used = attempt.error, attempt.usage
        refused = error is not None and not isinstance(error, ProviderTimeoutError) and attempt.first_token is None
        seen = self.assembly.size if self.assembly is not None else 0
        if self.assembly is None or (used is None and refused and (not seen or isinstance(error, ProviderConnectionError))):
            self.release()
            return
        known = used or Usage()
        estimate = Usage(
            self._bound.input_tokens if known.input_tokens is None else known.input_tokens,
            seen if known.output_tokens is None else known.output_tokens,
        )
        self._end(lambda gate, token: gate.settle(token, attempt, estimate.updated(known)))

    def _end(self, how: Callable[[AttemptGate, Any], None]) -> None:
        while self._held:
            with contextlib.suppress(IndexError):  # another thread was faster
                gate, token = self._held.pop()
                try:
                    how(gate, token)
                except Exception:  # the answer is there; the gate's own lease ends the reservation
                    _log.warning("a gate could not end a reservation", exc_info=True)
