"""What the synchronous and the asynchronous driver share: the call's state, requests, mapping and reports."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping

from providerhub._assembly import Assembly
from providerhub._engine import Drain, Engine, Fail, Finish, Open, Order
from providerhub._errors import AttemptError, AuthenticationError, PluginError, ProviderTimeoutError
from providerhub._mapping import map_exception
from providerhub._observers import Observers
from providerhub._provider import CallContext, Piece
from providerhub._registry import Instance, Registry
from providerhub._types import Candidate, Completion, Event, Options, Request, Route, TextDelta, Timeout

_log = logging.getLogger("providerhub")


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
        clock: Monotonic seconds.
    """

    __slots__ = (
        "_assembly", "_call", "_clock", "_deadline", "_engine", "_head", "_observers", "_options", "_registry", "_reported",
        "_request", "_timeout", "candidate", "done", "prefill",
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._request = request
        self._options = options
        self._timeout = timeout
        self._deadline = deadline
        self._observers = observers
        self._clock = clock
        self._call: CallContext | None = None
        self._head: list[Piece] = []
        self._assembly = Assembly()
        self._reported = 0
        self.candidate: Candidate | None = None
        self.done = False
        self.prefill = False

    @property
    def completion(self) -> Completion:
        """All that has come so far, with the route."""
        candidate = self.candidate
        provider, model = (candidate.provider, candidate.model) if candidate else ("", "")
        return self._assembly.completion(provider, model, self._engine.route)

    @property
    def route(self) -> Route:
        """The way so far."""
        return self._engine.route

    def _begin(self, order: Open) -> CallContext:
        """Turn to the next candidate."""
        self.candidate = order.candidate
        if self._observers and (attempt := self._engine.attempt):
            self._observers.attempt_started(attempt)
        self._head = []
        if not self.prefill:
            self._assembly = Assembly()
        self._call = CallContext(self._timeout, self._deadline, clock=self._clock)
        return self._call

    def _instance(self, candidate: Candidate) -> Instance:
        instance = self._registry.instance(candidate.provider)
        assert instance is not None  # noqa: S101 -- a plan holds ready instances only
        return instance

    def _request_for(self, candidate: Candidate) -> Request:
        messages = self._request.messages
        if self.prefill and (partial := "".join(self._assembly.text)):
            messages = [*messages, {"role": "assistant", "content": partial}]
        request = self._request
        return Request(
            model=candidate.model,
            messages=messages,
            stream=request.stream and candidate.stream,
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            stop=request.stop,
            tools=request.tools,
            tool_choice=request.tool_choice,
            response_format=request.response_format,
            seed=request.seed,
            options=self._options.get(candidate.provider) or {},
        )

    def _arrived(self, order: Order) -> Order:
        """One of the orders that end a round of attempts; raises what `Fail` says."""
        if isinstance(order, Fail):
            raise order.error
        assert isinstance(order, Drain | Finish)  # noqa: S101 -- the engine has no other orders
        return order

    def _head_texts(self) -> Iterator[str]:
        """The texts that came before the commit point; they are in the assembly already."""
        return filter(None, map(text_of, self._head))

    def _added(self, piece: Piece) -> str:
        self._assembly.add(piece)
        return text_of(piece)

    def _note(self) -> None:
        if self._call is not None:
            self._engine.note(self._call.notes)

    def _ended(self) -> Order:
        self._note()
        return self._engine.ended(self._clock(), empty=self._assembly.empty)

    def _failed(self, error: Exception) -> Order:
        return self._engine.failed(self._mapped(error), self._clock())

    def _interrupted(self, error: AttemptError, *, allowed: bool) -> Order:
        # Who has closed the stream wants no further attempt.
        allowed = allowed and not self.done
        return self._engine.interrupted(error, self._clock(), self.completion, may_restart=allowed)

    def _mapped(self, error: Exception) -> AttemptError:
        candidate = self.candidate
        assert candidate is not None  # noqa: S101 -- only an open attempt can fail
        mapped = map_exception(error, provider=candidate.provider, model=candidate.model)
        if isinstance(mapped, AuthenticationError):
            _log.warning(
                "provider %s refused its key (status %s); it is left alone until the key changes",
                candidate.provider,
                mapped.status,
            )
        self._note()
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
