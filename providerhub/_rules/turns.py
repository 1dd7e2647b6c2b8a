"""The turns of one call at providers with limits, and the candidates whose limits are reached."""

from __future__ import annotations

import math
from collections.abc import Callable

from providerhub._rules.lanes import Full
from providerhub._rules.pacing import Pacer, Turn
from providerhub._rules.policy import LEAVE_BEFORE_DEADLINE
from providerhub._values import Candidate


class Turns:
    """The turns of one call.

    Args:
        pacer: Gives the turns.
        deadline: The moment at which the call is over.
        patient: Whether the call waits for a turn where the settings say nothing.
        tokens: Returns an estimate of the input tokens, and the most output tokens (`None` when unknown).
    """

    __slots__ = ("_deadline", "_pacer", "_patient", "_tokens", "awaited", "full")

    def __init__(self, pacer: Pacer, *, deadline: float, patient: bool, tokens: Callable[[], tuple[int, int | None]]) -> None:
        self._pacer = pacer
        self._deadline = deadline
        self._patient = patient
        self._tokens = tokens
        self.full: dict[Candidate, Full] = {}
        """The candidates whose limits were reached, and the time of the next turn there."""
        self.awaited: dict[Candidate, Full] = {}
        """The candidates at which the call waited last."""

    def take(self, candidate: Candidate, now: float) -> Turn | None:
        """Take a turn; `None` when the candidate's limit is reached."""
        tokens = self._tokens() if self._pacer.counts_tokens(candidate) else ()
        taken = self._pacer.take(candidate, now, *tokens)
        if isinstance(taken, Full):
            self.full[candidate] = taken
            return None
        return taken

    def is_awaited(self, candidate: Candidate) -> bool:
        """Whether the call waits for a turn at this candidate rather than go to another model or to a lower priority."""
        when_full = self._pacer.when_full(candidate)
        return candidate in self.full and (self._patient if when_full is None else when_full == "wait")

    def in_time(self) -> tuple[Candidate, ...]:
        """The candidates whose turn comes in time, or at an unknown moment. Forgets all candidates if there is one."""
        latest = self._deadline - LEAVE_BEFORE_DEADLINE
        due = tuple(c for c, full in self.full.items() if full.until <= latest or full.until == math.inf)
        if due:
            self.awaited = {candidate: self.full[candidate] for candidate in due}
            self.full.clear()
        return due
