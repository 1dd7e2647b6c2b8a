"""The turns of one call at providers with limits, and the candidates whose limits are reached."""

from __future__ import annotations

import math

from providerhub._rules.lanes import Full
from providerhub._rules.pacing import Pacer
from providerhub._rules.policy import LEAVE_BEFORE_DEADLINE
from providerhub._values import Candidate


class Turns:
    """The turns of one call. A `patient` call waits for a turn where the settings say nothing."""

    __slots__ = ("_deadline", "_pacer", "_patient", "awaited", "full")

    def __init__(self, pacer: Pacer, deadline: float, *, patient: bool) -> None:
        self._pacer = pacer
        self._deadline = deadline
        self._patient = patient
        self.full: dict[Candidate, Full] = {}  # the candidates whose limits were reached, and the time of the next turn there
        self.awaited: dict[Candidate, Full] = {}  # the candidates at which the call waited last

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
