"""The synchronous driver: carries out the engine's orders in the caller's own thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping

from providerhub._assembly import Assembly
from providerhub._engine import Drain, Engine, Fail, Finish, Open, Order, Pull, Wait
from providerhub._errors import AttemptError, AuthenticationError, PluginError, ProviderHubError, ProviderTimeoutError
from providerhub._mapping import map_exception
from providerhub._observers import Observers
from providerhub._provider import CallContext, Piece
from providerhub._registry import Registry
from providerhub._types import (
    Candidate,
    Completion,
    Event,
    Options,
    Request,
    Restarted,
    Route,
    TextDelta,
    Timeout,
)

_log = logging.getLogger("providerhub")


class Chain:
    """One call under way.

    Args:
        engine: Decides.
        registry: Knows the provider objects.
        request: What is asked; model, options and `stream` are filled in for each candidate.
        options: Vendor-specific keywords by provider instance.
        timeout: The phases.
        deadline: The moment on `clock` at which the call is over.
        observers: Who is told.
        clock: Monotonic seconds.
        sleep: Sleeps for some seconds.
    """

    __slots__ = (
        "_assembly", "_call", "_clock", "_deadline", "_engine", "_head", "_observers", "_options", "_pieces", "_registry",
        "_reported", "_request", "_sleep", "_timeout", "candidate", "done", "prefill",
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
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._request = request
        self._options = options
        self._timeout = timeout
        self._deadline = deadline
        self._observers = observers
        self._clock = clock
        self._sleep = sleep
        self._call: CallContext | None = None
        self._pieces: Iterator[Piece] = iter(())
        self._head: list[Piece] = []
        self._assembly = Assembly()
        self._reported = 0
        self.candidate: Candidate | None = None
        self.done = False
        self.prefill = False

    def run(self) -> None:
        """Go on until the answer is whole (no streaming) or its first content is there.

        Raises:
            ProviderHubError: The chain is at its end.
        """
        try:
            self._carry_out(self._engine.start(self._clock()))
        except BaseException:
            self.abandon()
            raise

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

    def texts(self) -> Iterator[str]:
        """Hand the committed stream over as text.

        Yields:
            Each non-empty text as it comes.

        Raises:
            StreamInterruptedError: The stream broke.
        """
        clock, deadline = self._clock, self._deadline
        try:
            yield from self._head_texts()
            while not self.done:
                text = self._assembly.text
                try:
                    for piece in self._pieces:
                        found = piece if type(piece) is str else self._added(piece)
                        if found:
                            if found is piece:
                                text.append(found)
                            yield found
                        if clock() > deadline:
                            raise _overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    # Text alone cannot show that an answer begins anew, and nothing is repeated silently.
                    self._mend(error, allowed=self.prefill)
                    yield from self._head_texts()
                else:
                    self._end()
        except BaseException:
            self.abandon()
            raise

    def events(self) -> Iterator[Event]:
        """Hand the committed stream over as events; the same as `texts` otherwise."""
        try:
            yield from map(_event, self._head)
            while not self.done:
                try:
                    for piece in self._pieces:
                        self._assembly.add(piece)
                        yield _event(piece)
                        if self._clock() > self._deadline:
                            raise _overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    cause = self._mend(error, allowed=True)
                    candidate = self.candidate
                    if candidate is not None:
                        yield Restarted(candidate.provider, candidate.model, self.prefill, cause)
                    yield from map(_event, self._head)
                else:
                    self._end()
        except BaseException:
            self.abandon()
            raise

    def _head_texts(self) -> Iterator[str]:
        """The texts that came before the commit point; they are in the assembly already."""
        return filter(None, map(_text, self._head))

    def _added(self, piece: Piece) -> str:
        self._assembly.add(piece)
        return _text(piece)

    def abandon(self) -> None:
        """Give the call up: the connection is released, and the breaker does not move. A second call does nothing."""
        if self.done:
            return
        self.done = True
        if self._call is not None:
            self._call.cancel()
        self._close_pieces()
        self._engine.abandoned(self._clock())
        self._report(last=True)

    def __del__(self) -> None:
        # The readers' generators release the connection at their own end, but one that was made and never begun has no end.
        self.abandon()

    def _carry_out(self, order: Order) -> None:
        while True:
            kind = type(order)
            if kind is Open:
                order = self._open(order)  # type: ignore[arg-type]
            elif kind is Pull:
                order = self._pull_content() if self._request.stream else self._pull_all()
            elif kind is Wait:
                self._sleep(order.seconds)  # type: ignore[union-attr]
                order = self._engine.waited(self._clock())
            elif kind is Fail:
                self._over()
                raise order.error  # type: ignore[union-attr]
            else:
                if kind is Finish:
                    self._over()
                assert kind in {Drain, Finish}  # noqa: S101 -- the engine has no other orders
                return
            if self._observers:
                self._report()

    def _open(self, order: Open) -> Order:
        candidate = self.candidate = order.candidate
        if self._observers and (attempt := self._engine.attempt):
            self._observers.attempt_started(attempt)
        self._head = []
        if not self.prefill:
            self._assembly = Assembly()
        self._call = CallContext(self._timeout, self._deadline, clock=self._clock)
        try:
            instance = self._registry.instance(candidate.provider)
            assert instance is not None  # noqa: S101 -- a plan holds ready instances only
            pieces = instance.provider().stream(self._request_for(candidate), self._call)
            self._pieces = _iterator(pieces)
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return self._failed(error)
        return self._engine.opened()

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

    def _pull_all(self) -> Order:
        add, clock, deadline = self._assembly.add, self._clock, self._deadline
        try:
            for piece in self._pieces:
                add(piece)
                if clock() > deadline:
                    return self._failed(_overdue())
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return self._failed(error)
        return self._ended()

    def _pull_content(self) -> Order:
        try:
            for piece in self._pieces:
                self._head.append(piece)
                content = self._assembly.add(piece)
                if self._clock() > self._deadline:
                    return self._failed(_overdue())
                if content:
                    return self._engine.content(self._clock())
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return self._failed(error)
        return self._ended()

    def _ended(self) -> Order:
        if self._call is not None:
            self._engine.note(self._call.notes)
        return self._engine.ended(self._clock(), empty=self._assembly.empty)

    def _failed(self, error: Exception) -> Order:
        self._close_pieces()
        mapped = self._mapped(error)
        return self._engine.failed(mapped, self._clock())

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
        if self._call is not None:
            self._engine.note(self._call.notes)
        return mapped

    def _mend(self, error: Exception, *, allowed: bool) -> ProviderHubError:
        """Carry on after an interruption where the caller opted in; raises where that is not so, or does not succeed."""
        self._close_pieces()
        mapped = self._mapped(error)
        order = self._engine.interrupted(mapped, self._clock(), self.completion, may_restart=allowed)
        self._carry_out(order)
        return mapped

    def _end(self) -> None:
        if self.done:  # closed by its reader, whose loop then runs out
            return
        if self._call is not None:
            self._engine.note(self._call.notes)
        self._engine.ended(self._clock(), empty=False)
        self._over()

    def _over(self) -> None:
        self.done = True
        self._close_pieces()
        self._report(last=True)

    def _close_pieces(self) -> None:
        close = getattr(self._pieces, "close", None)
        self._pieces = iter(())
        if close is None:
            return
        try:
            close()
        except Exception:  # noqa: BLE001 -- a plugin that fails while it is closed must not hide the answer or the first error
            _log.debug("closing a provider's stream raised", exc_info=True)

    def _report(self, *, last: bool = False) -> None:
        if not self._observers:
            return
        for attempt in self._engine.attempts[self._reported :]:
            self._observers.attempt_finished(attempt)
        self._reported = len(self._engine.attempts)
        if last:
            self._observers.call_finished(self._engine.route)


def _iterator(pieces: object) -> Iterator[Piece]:
    if isinstance(pieces, str | bytes):
        msg = f"stream() returned {type(pieces).__name__}; it must return an iterable of pieces, such as a generator"
        raise PluginError(msg)
    try:
        return iter(pieces)  # type: ignore[call-overload, no-any-return]
    except TypeError as error:
        msg = f"stream() returned {type(pieces).__name__}, which is not iterable; make it a generator"
        raise PluginError(msg) from error


def _text(piece: Piece) -> str:
    if isinstance(piece, str):
        return piece
    return piece.text if type(piece) is TextDelta else ""


def _event(piece: Piece) -> Event:
    return TextDelta(piece) if isinstance(piece, str) else piece


def _overdue() -> ProviderTimeoutError:
    return ProviderTimeoutError("the call's total time is over", retryable=False)
