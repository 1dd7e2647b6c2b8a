"""What the synchronous and the asynchronous driver share: the call's state, requests, mapping and reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from providerhub._calling.assembly import Assembly
from providerhub._calling.observers import Observers
from providerhub._finding.registry import Instance, Registry
from providerhub._rules.clock import Clock
from providerhub._rules.engine import Drain, Engine, Fail, Finish, Open, Order
from providerhub._rules.mapping import map_exception
from providerhub._rules.policy import disposition
from providerhub._values import Candidate, Completion, Event, Options, Request, Route, TextDelta, Timeout
from providerhub._values.errors import AttemptError, AuthenticationError, PluginError, ProviderTimeoutError
from providerhub._values.provider import CallContext, Piece

_log = logging.getLogger("providerhub")


class Flight:
    """One attempt under way, as a driver sees it.

    Args:
        candidate: Where.
        number: Its number in the call.
        call: What the provider is told.
        assembly: Gathers its pieces.
    """

    __slots__ = ("assembly", "call", "candidate", "head", "number", "pieces", "runner")

    def __init__(self, candidate: Candidate, number: int, call: CallContext, assembly: Assembly) -> None:
        self.candidate = candidate
        self.number = number
        self.call = call
        self.assembly = assembly
        self.head: list[Piece] = []
        """What came up to the commit point."""
        self.pieces: Any = None
        """The provider's iterator, asynchronous or not, once it has been asked for."""
        self.runner: Any = None
        """The thread or task that pulls it, where it has one of its own."""


Landing = bool | Exception
"""How a pull ended: true at the first content of a stream, false at the end, else with what was raised."""


class StoppedError(Exception):
    """The call was given up from another thread; nobody waits for what it would have raised."""


class Driver:
    """One call under way, apart from how it waits.

    Args:
        engine: Decides.
        registry: Knows the provider objects.
        request: What is asked; model, options and `stream` are filled in for each candidate.
        options: Vendor-specific keywords by provider instance.
        timeout: The phases.
        deadline: The moment on `clock` at which the call is over.
        observers: Who is told.
        clock: What time it is.
        prefill: Whether a broken stream is carried on from its partial text.
    """

    __slots__ = (
        "_clock", "_committed", "_deadline", "_engine", "_flights", "_now", "_observers", "_options", "_prefill", "_race",
        "_registry", "_reported", "_request", "_stopped", "_timeout", "done", "flight",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        request: Request,
        options: Mapping[str, Options],
        *,
        timeout: Timeout,
        deadline: float,
        observers: Observers,
        clock: Clock,
        prefill: bool = False,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._request = request
        self._options = options
        self._timeout = timeout
        self._deadline = deadline
        self._observers = observers
        self._clock = clock
        self._now = clock.monotonic
        self._prefill = prefill
        self._flights: list[Flight] = []
        self._race: Any = None
        self._committed = False
        self._reported = 0
        self._stopped = False
        self.flight: Flight | None = None
        """The attempt that was begun last, and from the commit point on the one that is handed over."""
        self.done = False

    def closed(self) -> bool:
        """Whether nobody reads on: the call has ended, or another thread or task has closed it meanwhile."""
        return self.done

    @property
    def completion(self) -> Completion:
        """All that has come so far, with the route."""
        flight = self.flight
        if flight is None:
            return Completion(route=self._engine.route)
        return flight.assembly.completion(flight.candidate.provider, flight.candidate.model, self._engine.route)

    @property
    def route(self) -> Route:
        """The way so far."""
        return self._engine.route

    def stop(self) -> None:
        """Give a call up from another thread than the one that makes it, which ends with `StoppedError`; nothing is counted.

        A provider that obeys its `CallContext` ends at once, another one at its end; a wait before a repeat is not cut short.
        """
        self._stopped = True
        for flight in tuple(self._flights):
            flight.call.cancel()

    def _begin(self, order: Open) -> Order:
        """Turn to the next candidate."""
        if self._stopped:
            raise StoppedError
        last = self.flight
        # What is carried on from a partial text goes on in the same assembly.
        assembly = last.assembly if self._prefill and self._committed and last is not None else Assembly()
        call = CallContext(self._timeout, self._deadline, clock=self._now)
        flight = self.flight = Flight(order.candidate, order.number, call, assembly)
        self._flights.append(flight)
        if self._observers:
            self._observers.attempt_started(self._engine.opening(order.number))
        return self._engine.opened()

    @property
    def _current(self) -> Flight:
        assert self.flight is not None  # noqa: S101 -- the engine opens before it orders anything else
        return self.flight

    def _turn_to_rival(self) -> None:
        """After one of two attempts has failed: the other is the current one."""
        self.flight = next((flight for flight in self._flights if flight.runner is not None), self.flight)

    def _instance(self, candidate: Candidate) -> Instance:
        instance = self._registry.instance(candidate.provider)
        assert instance is not None  # noqa: S101 -- a plan holds ready instances only
        return instance

    def _request_for(self, flight: Flight) -> Request:
        request, candidate = self._request, flight.candidate
        messages = request.messages
        options = self._options.get(candidate.provider) if self._options else None
        stream = request.stream and candidate.stream
        if not self._committed and not options and candidate.model == request.model and stream == request.stream:
            return request
        if self._committed and (partial := "".join(flight.assembly.text)):
            messages = [*messages, {"role": "assistant", "content": partial}]
        return Request(
            candidate.model, messages, stream, request.temperature, request.max_tokens, request.stop, request.tools,
            request.tool_choice, request.response_format, request.seed, options or {},
        )  # fmt: skip

    def _landed(self, flight: Flight, landing: Landing) -> Order:
        """Tell the engine how a pull ended; a failed one has been closed by then."""
        if self._stopped:
            raise StoppedError
        self._engine.note(flight.call.notes, flight.number)
        if landing is True:
            return self._engine.content(self._now(), flight.number)
        if landing is False:
            return self._engine.ended(self._now(), empty=flight.assembly.empty, number=flight.number)
        return self._engine.failed(self._mapped(flight, landing), self._now(), flight.number)

    def _arrived(self, order: Order) -> Order:
        """One of the orders that end a round of attempts; raises what `Fail` says."""
        if type(order) is Fail:
            raise order.error
        assert isinstance(order, Drain | Finish)  # noqa: S101 -- the engine has no other orders
        self._committed = True
        return order

    def _head_texts(self) -> Iterator[str]:
        """The texts that came before the commit point; they are in the assembly already."""
        return filter(None, map(text_of, self._current.head))

    def _added(self, piece: Piece) -> str:
        self._current.assembly.add(piece)
        return text_of(piece)

    def _broken(self, error: Exception, *, allowed: bool) -> tuple[AttemptError, Order]:
        """Tell the engine that the committed stream broke; who has closed it wants no further attempt."""
        flight = self._current
        self._engine.note(flight.call.notes)
        mapped = self._mapped(flight, error)
        allowed = allowed and not self.done
        return mapped, self._engine.interrupted(mapped, self._now(), self.completion, may_restart=allowed)

    def _mapped(self, flight: Flight, error: Exception) -> AttemptError:
        candidate = flight.candidate
        mapped = map_exception(error, provider=candidate.provider, model=candidate.model)
        if isinstance(mapped, AuthenticationError):
            # After a 403 the key may be good for other models.
            what = f"{candidate.model} is" if disposition(mapped).pause == "model" else "it is"
            _log.warning(
                "provider %s refused its key (status %s); %s left alone until the key changes",
                candidate.provider,
                mapped.status,
                what,
            )
        return mapped

    def _report(self, *, last: bool = False) -> None:
        if not self._observers:
            return
        for attempt in self._engine.attempts[self._reported :]:
            self._observers.attempt_finished(attempt)
        self._reported = len(self._engine.attempts)
        if last:
            self._observers.call_finished(self._engine.route)


def iterator(pieces: object) -> Iterator[Piece]:
    """What `stream()` returned, as an iterator.

    Raises:
        PluginError: It is none, or a text, whose characters nobody wants one by one.
    """
    if isinstance(pieces, str | bytes):
        msg = f"stream() returned {type(pieces).__name__}; it must return an iterable of pieces, such as a generator"
        raise PluginError(msg)
    try:
        return iter(pieces)  # type: ignore[call-overload, no-any-return]
    except TypeError as error:
        msg = f"stream() returned {type(pieces).__name__}, which is not iterable; make it a generator"
        raise PluginError(msg) from error


def text_of(piece: Piece) -> str:
    """The text of a piece; empty when it is none."""
    if isinstance(piece, str):
        return piece
    return piece.text if type(piece) is TextDelta else ""


def event_of(piece: Piece) -> Event:
    """A piece as an event."""
    return TextDelta(piece) if isinstance(piece, str) else piece


def overdue() -> ProviderTimeoutError:
    """The whole call's time is over."""
    return ProviderTimeoutError("the call's total time is over", retryable=False)


def close_quietly(close: Callable[[], object] | None) -> None:
    """Close a provider's iterator, whose faults must not hide the answer or the first error."""
    if close is None:
        return
    try:
        close()
    except Exception:  # noqa: BLE001 -- as said above
        note_unclosed()


def note_unclosed() -> None:
    """Log that closing a provider's iterator raised; to be called while that is handled."""
    _log.debug("closing a provider's stream raised", exc_info=True)
