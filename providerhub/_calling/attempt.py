"""A running attempt, the running calls, and the parts of a hub that they use."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from providerhub._calling.assembly import Assembly
from providerhub._calling.intake import CallSpec
from providerhub._calling.observers import Observers
from providerhub._finding.jobs import Job
from providerhub._finding.registry import Registry
from providerhub._rules.clock import Clock
from providerhub._rules.orders import Told
from providerhub._rules.pacing import Pacer
from providerhub._values import Candidate, RoutePlan
from providerhub._values.provider import CallContext, Piece

Pieces = TypeVar("Pieces")  # a provider's iterator, synchronous or asynchronous

Runner = TypeVar("Runner")  # the thread or task that pulls an attempt in a race


_USUAL_TARIFFS = {"default", "standard", "auto", "on_demand"}
"""The names of the usual tariffs. Other tariffs, such as `"flex"` and `"priority"`, have other prices."""

PullResult = bool | Exception  # how a pull ended: true at the first content of a stream, false at the end, else the exception


class RunningAttempt(Generic[Pieces, Runner]):
    result: PullResult | None = None  # how the latest pull ended; `None` if another thread or task has continued the call
    pieces: Pieces | None = None  # the provider's iterator, once the provider has been asked
    runner: Runner | None = None  # the attempt's own thread or task, while one pulls it
    task: Any = None  # the asyncio task that currently pulls the attempt
    is_cut = is_late = False
    has_failed = False  # it takes no part in a race, although its thread or task may not have ended
    has_turns = False  # whether the request holds a turn in the provider's own form
    call_id = ""  # the identifier of the call's record; empty without an observer

    def __init__(self, candidate: Candidate, number: int, call: CallContext, assembly: Assembly) -> None:
        self.candidate = candidate
        self.number = number
        self.call = call
        self.assembly = assembly
        self.head: list[Piece] = []  # the pieces that came before the commit point

    @property
    def request_id(self) -> str | None:
        """The service's identifier of the HTTP request; `None` when unknown."""
        return self.assembly.detail("request_id") or self.call.request_id or None

    def told(self) -> Told:
        assembly, call, prices = self.assembly, self.call, self.candidate.prices
        if assembly.beside is None:
            notes = tuple(call.notes) if call.notes else ()
            return notes, call.request_id or None, assembly.usage, None, prices, self.call_id
        notes = tuple(call.notes)
        if (tariff := str(assembly.detail("tier") or "default")) not in _USUAL_TARIFFS and prices is not None:
            prices = prices.under(tariff)
            if prices is None:
                notes += (f"the service charged the tariff {tariff!r}, whose prices are not known; the cost is unknown",)
        return notes, self.request_id, assembly.usage, assembly.detail("model"), prices, self.call_id


POLL = 0.2
"""Seconds. The caller's thread waits in parts of this length: a signal just before a part is noticed only after the part, and
under Windows no signal ends a wait."""


class Running:
    """The running calls of this process, so that they can be cancelled. Pickles as an empty object. Thread-safe."""

    def __init__(self) -> None:
        self.calls: set[Any] = set()  # the calls without an answer; each call adds itself, for `stop`
        self._waiting: set[Any] = set()
        self._over = threading.Event()
        self.is_over = False  # whether `stop` was called

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return type(self), ()

    @contextlib.contextmanager
    def holding(self, call: Any) -> Iterator[None]:
        """Let `stop` and `forgive` call `stop()` and `forgiven(provider)` of a call, in any thread, to end its wait."""
        self._waiting.add(call)
        if self.is_over:
            call.stop()
        try:
            yield
        finally:
            self._waiting.discard(call)

    def stop(self) -> None:
        self.is_over = True
        self._over.set()
        for call in self.calls | self._waiting:
            call.stop()

    def forgive(self, provider: str) -> None:
        for call in self._waiting.copy():
            call.forgiven(provider)

    def sleep(self, seconds: float) -> bool:
        """Wait; false when `stop` ended the wait."""
        return not self._over.wait(seconds)


class Services(NamedTuple):
    registry: Registry
    observers: Observers | None
    clock: Clock
    # Gives the clock of a test the time when an attempt is slow, and the function to call at this time.
    watch: Callable[[CallContext, float, Callable[[], bool] | None], object] | None
    pacer: Pacer
    replan: Callable[[CallSpec], RoutePlan | None]  # makes the plan again after a wait; returns `None` without a candidate
    renewal: Callable[[str], Job | None]  # the job that reads a provider's key again
    key_changes: Callable[[str], int]  # the number of times that a provider's key has changed
    waiting: Running  # the waiting calls; closing the hub ends their waits


CLOSED = "this hub is closed: call it before close(), or inside the `with` block; or make another Hub"
"""The message of a call of a closed hub."""

ENDED = "this hub is closed, and the call had no answer yet: close a hub after its calls"
"""The message of a call that was running when the hub was closed."""


class StoppedError(Exception):
    """Another thread cancelled the call. The thread of the call ends with this error, which reaches no caller."""
