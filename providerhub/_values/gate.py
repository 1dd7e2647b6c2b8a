"""The interface of what decides, before anything is sent, whether an attempt may be sent: a budget, or a shared limit."""

from __future__ import annotations

from typing import Any, Protocol

from providerhub._values.cost import Usage
from providerhub._values.record import CallRecord
from providerhub._values.route import Attempt, Candidate
from providerhub._values.value import public


@public
class AttemptGate(Protocol):
    """Decides whether an attempt may be sent. A plugin offers one by the hook `providerhub_gate`.

    Each reservation ends by exactly one call of `settle` or `release`, unless the process ends before. All methods may be called
    from several threads at once.
    """

    def reserve(self, call: CallRecord, candidate: Candidate, bound: Usage) -> Any:
        """Reserve what an attempt may use at most. It may wait for a disk or the network.

        It is called in the thread of `complete`; for `acomplete`, in a thread of its own.

        Args:
            call: The record of the call at its start. It ends `timeout` seconds after `started` at the latest.
            candidate: The provider and model to ask, with the model's `prices`.
            bound: The most tokens that the attempt may use: `input_tokens` is an upper estimate; `output_tokens` is the
                call's `max_tokens`, else the most that the model may answer, else its context window; `None` when none is known.

        Returns:
            The reservation, as any object; `None` when there is nothing to settle.

        Raises:
            BudgetExceededError: The attempt must not be sent. Another candidate is tried, the cheapest first. Any other
                exception counts as such a refusal too.
        """

    def settle(self, token: Any, attempt: Attempt, used: Usage) -> None:
        """End the reservation of an attempt that was sent. It must not wait, since it may be called in an event loop.

        Args:
            token: The result of `reserve`.
            attempt: The attempt, with its `cost` as far as it is known.
            used: The tokens of the attempt. Counts that the service did not tell are upper estimates from what was seen.
        """

    def release(self, token: Any) -> None:
        """End the reservation of an attempt that cost nothing: it was not sent, or it was refused. It must not wait.

        Args:
            token: The result of `reserve`.
        """
