"""The orders that the engine gives to a driver, and the state of an attempt that is open."""

from __future__ import annotations

import math

import attrs

from providerhub._rules.health import Permit
from providerhub._rules.pacing import Turn
from providerhub._values import Attempt, Candidate
from providerhub._values.errors import AttemptError, ProviderHubError
from providerhub._values.value import Value


@attrs.frozen(eq=False, repr=False)
class Open(Value):
    """Begin an attempt: make the provider's iterator.

    Args:
        candidate: The provider and model to ask.
        number: The attempt's number in the call, from 1.
    """

    candidate: Candidate
    number: int


@attrs.frozen(eq=False, repr=False)
class Pull(Value):
    """Pull from the open attempts: to the first content, or to the end when the call does not stream.

    Args:
        slow_after: Seconds without content after which to report `slow`; `None` waits for the end of the pull.
    """

    slow_after: float | None = None


@attrs.frozen(eq=False, repr=False)
class Wait(Value):
    """Sleep, then make the plan again and report it with `waited`.

    Args:
        seconds: The length of the wait.
    """

    seconds: float


@attrs.frozen(eq=False, repr=False)
class Queue(Value):
    """Wait for a turn at any of some candidates, in the order of arrival, then report `turn`. It costs no attempt.

    Args:
        candidates: The candidates whose limits are reached, or which asked to be left alone for a time.
    """

    candidates: tuple[Candidate, ...]


@attrs.frozen(eq=False, repr=False)
class Cut(Value):
    """End an open attempt that is too slow, and report its failure.

    Args:
        number: The number of the attempt in its call, from 1.
        error: The error of the attempt that is ended.
    """

    number: int
    error: AttemptError


@attrs.frozen(eq=False, repr=False)
class Renew(Value):
    """Read the key of a provider again, and report with `renewed` whether it is another one.

    Args:
        candidate: The candidate whose provider refused its key.
    """

    candidate: Candidate


@attrs.frozen(eq=False, repr=False)
class Drain(Value):
    """Commit: hand all pieces of the open attempt to the caller. The engine is not asked again before their end."""


@attrs.frozen(eq=False, repr=False)
class Done(Value):
    """The call has its answer."""


@attrs.frozen(eq=False, repr=False)
class Fail(Value):
    """The call has failed.

    Args:
        error: The error to raise. Its route is filled in.
    """

    error: ProviderHubError


Order = Open | Pull | Wait | Queue | Cut | Renew | Drain | Done | Fail

PULL, DRAIN, DONE = Pull(), Drain(), Done()


class OpenAttempt:
    """An attempt under way. All times are seconds on the engine's clock; `started` counts from the start of the call."""

    __slots__ = ("candidate", "first_token", "notes", "number", "permit", "share", "slow_at", "started", "turn", "waited")

    def __init__(self, number: int, candidate: Candidate, permit: Permit, turn: Turn, *, started: float, waited: float) -> None:
        self.number = number
        self.candidate = candidate
        self.permit = permit
        self.turn = turn
        self.started = started
        self.waited = waited
        self.first_token: float | None = None
        self.notes: tuple[str, ...] = ()
        self.share = self.slow_at = math.inf

    def attempt(self, outcome: str, error: BaseException | None, duration: float) -> Attempt:
        """The attempt as a route shows it."""
        candidate = self.candidate
        return Attempt(
            self.number, candidate.provider, candidate.model, outcome, error, self.waited, self.started, duration,
            self.first_token, self.notes,
        )  # fmt: skip

    def shown(self) -> Attempt:
        """The attempt while it runs."""
        return self.attempt("open", None, 0.0)
