"""The orders of the engine to a driver, and the state of an open attempt."""

from __future__ import annotations

import math
from collections.abc import Callable

from providerhub._rules.health import Permit
from providerhub._rules.pacing import Turn
from providerhub._rules.policy import LONGEST_SHARE
from providerhub._values import Attempt, Candidate, Prices, Usage
from providerhub._values.errors import AttemptError, ProviderHubError


class Order:
    """One order. A plain class: several are made in each call, and attrs would compile nine classes at each import."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


class Open(Order):
    """Begin an attempt: make the provider's iterator."""

    __slots__ = ("candidate", "number")

    def __init__(self, candidate: Candidate, number: int) -> None:
        self.candidate = candidate
        self.number = number


class Pull(Order):
    """Pull from the open attempts: to the first content, or to the end when the call does not stream.

    After `slow_after` seconds without content, report `slow`; `None` waits for the end of the pull.
    """

    __slots__ = ("slow_after",)

    def __init__(self, slow_after: float | None = None) -> None:
        self.slow_after = slow_after


class Wait(Order):
    """Sleep, then make the plan again and report it with `waited`."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Queue(Order):
    """Wait for a turn at any of several candidates, in the order of arrival, then report `turn`. This costs no attempt.

    With a `turn`, the store of shared limits is asked for the turn at the one candidate. After its answer, wait for
    `policy.SHORT` seconds at most; without a `turn`, until the deadline, or until the earlier time `until`.
    """

    __slots__ = ("candidates", "turn", "until")

    def __init__(self, candidates: tuple[Candidate, ...], turn: Turn | None = None, until: float = math.inf) -> None:
        self.candidates = candidates
        self.turn = turn
        self.until = until


class Cut(Order):
    """End an open attempt that is too slow, and report its failure."""

    __slots__ = ("error", "number")

    def __init__(self, number: int, error: AttemptError) -> None:
        self.number = number
        self.error = error


class Renew(Order):
    """Read the key of a provider again, and report with `renewed` whether it has changed."""

    __slots__ = ("candidate",)

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate


class Drain(Order):
    """Commit: pass all pieces of the open attempt to the caller. The engine is asked again only at their end."""


class Done(Order):
    """The call has its answer."""


class Fail(Order):
    """The call has failed. The route of the error is filled in."""

    __slots__ = ("error",)

    def __init__(self, error: ProviderHubError) -> None:
        self.error = error


PULL, PULL_USUAL, DRAIN, DONE = Pull(), Pull(LONGEST_SHARE), Drain(), Done()


Told = tuple[tuple[str, ...], str | None, Usage | None, str | None, Prices | None, str]
"""The part of an attempt that only the driver knows: `Attempt.notes`, `.request_id`, `.usage` and the fields after it.

A plain tuple: every call makes one, and a named one takes five times as long.
"""


def untold() -> Told:
    return (), None, None, None, None, ""


class OpenAttempt:
    """A running attempt. Times are in seconds; `started` counts from the start of the call. The driver sets `told`."""

    __slots__ = ("candidate", "first_token", "number", "permit", "share", "slow_at", "started", "told", "turn", "waited")

    def __init__(self, number: int, candidate: Candidate, permit: Permit, turn: Turn, *, started: float, waited: float) -> None:
        self.number = number
        self.candidate = candidate
        self.permit = permit
        self.turn = turn
        self.started = started
        self.waited = waited
        self.first_token: float | None = None
        self.told: Callable[[], Told] = untold
        self.share = self.slow_at = math.inf

    def attempt(self, outcome: str, error: BaseException | None, duration: float) -> Attempt:
        candidate = self.candidate
        notes, request_id, usage, served_model, prices, call_id = self.told()
        if error is not None and not request_id:
            request_id = getattr(error, "request_id", None) or None
        return Attempt(
            self.number, candidate.provider, candidate.model, outcome, error, self.waited, self.started, duration,
            self.first_token, notes, request_id, usage, served_model, prices, call_id,
        )  # fmt: skip
