"""Observers, gates and rankers: the implementations of their hooks, each called in a separate `try`."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from providerhub._calling.assembly import Assembly
from providerhub._calling.intake import CallSpec
from providerhub._log import log as _log
from providerhub._rules.orders import Open
from providerhub._values import Attempt, AttemptGate, CallRecord, Candidate, Completion, Request, Route, RoutePlan, Usage
from providerhub._values.errors import BudgetExceededError, ProviderConnectionError, ProviderHubError, ProviderTimeoutError

Observer = Callable[..., Any]


_EVENTS = ("call_started", "attempt_started", "chunk", "attempt_finished", "call_finished")
OBSERVED = tuple(f"providerhub_{event}" for event in _EVENTS)
"""The hooks of observers."""

RANK = "providerhub_rank"  # the hook of rankers

PARENT: ContextVar[str | None] = ContextVar("providerhub_parent", default=None)
"""The `id` of the earlier call that the calls of this context repeat."""

NO_ROUTE = Route()

_RANDOM = os.urandom(6).hex()
_numbers = itertools.count(1)


def call_of(error: Exception) -> str | None:
    """The identifier of the call that failed; `None` without an attempt or an observer."""
    attempts = error.route.attempts if isinstance(error, ProviderHubError) else ()
    return (attempts[0].call_id or None) if attempts else None


class Observers:
    """The implementations of the observer hooks or of `RANK`, by the names of the hooks, and the gates. False without any."""

    def __init__(self, hooks: Mapping[str, Sequence[Observer]], gates: Sequence[AttemptGate] = ()) -> None:
        self.hooks = {name: found for name, found in hooks.items() if found}
        self.gates = gates
        self._faulty: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.gates) or bool(self.hooks)

    def begin(self, spec: CallSpec, plan: RoutePlan | None = None) -> Report:
        report = Report(self, spec, plan)
        if "providerhub_call_started" in self.hooks:
            report.tell("providerhub_call_started", call=report.record())
        return report

    def tell(self, hook: str, arguments: Mapping[str, Any]) -> None:
        for observer in self.hooks[hook]:
            self._safely("an observer", observer, arguments)

    def order(self, request: Request, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Return the order of the first ranker that returns one, without objects that are not candidates."""

        def among(order: Sequence[Candidate] | None) -> tuple[Candidate, ...]:
            listed = tuple(order or ())
            found = tuple(dict.fromkeys(one for one in listed if one in candidates))
            if listed and not found:
                kind = type(listed[0]).__name__
                raise TypeError(f"it returned none of the candidates that it got, but {kind}; return some of them, or None")
            return found

        asked, what = {"request": request, "candidates": candidates}, f"a {RANK} implementation"
        found = (self._safely(what, ranker, asked, among) for ranker in self.hooks[RANK])
        return next(filter(None, found), candidates)

    def _safely(self, what: str, one: Observer, arguments: Mapping[str, Any], read: Callable[[Any], Any] = bool) -> Any:
        """Call an implementation, and read its result. It cannot make a call fail."""
        try:
            return read(one(**arguments))
        except (Exception, SystemExit):
            if id(one) not in self._faulty:
                self._faulty.add(id(one))
                _log.warning("%s raised; further errors of it are not logged", what, exc_info=True)
            return None


class Report:
    """Tells the observers about one call, in copies of the context in which the call began."""

    def __init__(self, observers: Observers, spec: CallSpec, plan: RoutePlan | None) -> None:
        self._observers = observers
        self.id = f"{_RANDOM}-{os.getpid():x}-{next(_numbers):x}"  # a forked process has the same random bytes
        self._spec = spec
        self._plan = plan
        self._parent = PARENT.get()
        self._started = time.time()
        self.gates = observers.gates
        self._context = contextvars.copy_context()
        self._reservations: dict[int, Reservation] = {}

    def tell(self, hook: str, **arguments: object) -> None:
        # A copy, since two threads cannot be in one context at once.
        self._context.copy().run(self._observers.tell, hook, arguments)

    def record(self, route: Route = NO_ROUTE, answer: Completion | None = None, error: BaseException | None = None) -> CallRecord:
        """Make the record of the call; the defaults are for its start."""
        spec = self._spec
        return CallRecord(
            self.id, spec.model, spec.request, self._started, spec.timeout.total, self._parent, self._plan, route, answer,
            error, dict(spec.metadata) if spec.metadata else {},
        )  # fmt: skip

    def wants(self, hook: str) -> bool:
        return hook in self._observers.hooks

    def reservation(self, order: Open) -> Reservation:
        bound = self._spec.most_tokens(order.candidate)
        found = self._reservations[order.number] = Reservation(self.gates, self.record(), order.candidate, bound)
        return found

    def attempt_finished(self, attempt: Attempt) -> None:
        if self._reservations and (reservation := self._reservations.pop(attempt.number, None)):
            reservation.settle(attempt)
        if "providerhub_attempt_finished" in self._observers.hooks:
            self.tell("providerhub_attempt_finished", attempt=attempt)

    def call_finished(self, route: Route, completion: Completion | None = None, error: BaseException | None = None) -> None:
        if self._reservations:
            for reservation in tuple(self._reservations.values()):  # the reservations of attempts that have not begun
                reservation.release()
        if self.wants("providerhub_call_finished"):
            self.tell("providerhub_call_finished", route=route, call=self.record(route, completion, error))


class Reservation:
    """The reservations of the gates for one attempt, until it has ended; `bound` is the maximum number of tokens."""

    assembly: Assembly | None = None  # gathers the pieces of the attempt; `None` before it is sent
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
            except Exception as error:  # if a gate fails, no money may be spent
                self.refusal = BudgetExceededError(f"{type(gate).__name__} could not decide, so nothing was sent: {error!r}")
                self.refusal.__cause__ = error
            else:
                if token is not None:
                    self._held.append((gate, token))
            if self.refusal is not None or self._over:
                self.release()
                return

    def release(self) -> None:
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
                except Exception:  # the caller gets the answer; the gate's lease ends the reservation
                    _log.warning("a gate could not end a reservation", exc_info=True)
