"""One call, written once for both drivers: attempts, races, waits, interruptions and reports.

Everything up to the commit point is a generator whose steps are awaited. Threads and an event loop differ only in the effects at
the top of `Driver`, and in `_work`. The effects of the synchronous driver block and yield nothing, so `Chain` finishes such a
generator in one step. They are not coroutines, since Python warns of a coroutine that Ctrl-C interrupted before its first step.
The loops that yield pieces exist twice, to keep the cost of a token low.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import attrs

from providerhub._calling.assembly import Assembly
from providerhub._calling.attempt import ENDED, PullResult, RunningAttempt, Services, StoppedError
from providerhub._calling.intake import CallSpec
from providerhub._calling.messages import addressed, has_turns, refuses_turns
from providerhub._calling.observers import Report
from providerhub._calling.pieces import Seen, overdue, text_of
from providerhub._finding.jobs import Job, Task
from providerhub._finding.no_candidate import with_near
from providerhub._log import log as _log
from providerhub._rules.engine import Engine
from providerhub._rules.mapping import map_exception
from providerhub._rules.orders import Cut, Done, Drain, Fail, Open, Order, Pull, Queue, Renew, Wait
from providerhub._rules.pacing import Turn
from providerhub._rules.policy import SHORT
from providerhub._settings.refined import timeout_of
from providerhub._values import Candidate, Completion, Message, Request, Restarted, Route
from providerhub._values.errors import AttemptError, ProviderError
from providerhub._values.provider import CallContext, Piece

Result = TypeVar("Result")
AnAttempt = TypeVar("AnAttempt", bound=RunningAttempt[Any, Any])

Steps = Generator[Any, Any, Result]  # steps of a call: the awaited futures, and the result at the end

Effect = Iterable[Any]
"""Steps without a result. A blocking effect returns an empty tuple, which takes a third of the time of a generator."""

_INFO = 20  # `logging.INFO`


class Driver(Generic[AnAttempt]):
    """One running call, until its `deadline` on the hub's clock. A subclass supplies the effects."""

    kind: Callable[..., AnAttempt]
    # Asks the provider, and pulls to the first content of a stream, or to the end of another answer; sets `attempt.result`. After
    # the given seconds, `_supervise` begins in its own thread or task, and this pull becomes a part of the race. The result is
    # `None` if the supervisor has brought the call to its commit point or its end.
    _ask: Callable[[AnAttempt, float | None], Effect]
    # Runs all attempts in parallel. Returns the first attempt that ends its pull, or `None` after the given seconds.
    _race: Callable[[float], Steps[tuple[AnAttempt, PullResult] | None]]
    _new_signal: Callable[[], Any]  # makes a `threading.Event` or similar, which any thread may set to end a `_doze`
    _doze: Callable[[Any, float], Steps[None]]  # waits until the signal is set, at most the given seconds
    _do: Callable[[Job, float], Steps[None]]  # does a job in a thread, and waits for its end, at most the given seconds
    _cut: Callable[[AnAttempt], None]  # cancels an attempt; does not wait for its end
    _settle: Callable[..., Effect]  # closes attempts, by default all; forgets the ended attempts
    attempt: AnAttempt | None = None  # the latest attempt; from the commit point on, the attempt whose pieces the caller gets
    is_lost = False  # whether the call was given up before its end by other code than its reader
    done = True  # stays true if Ctrl-C interrupts `__init__`
    report: Report | None = None  # tells the observers of this call; `None` without any
    _whole: Completion | None = None  # the answer for observers at the end of the call
    endings: tuple[Callable[[Completion], object], ...] = ()
    """The functions to call with the whole answer of a stream, after its end."""
    _signal: Any = None
    _reported = 0
    _refusing: tuple[Candidate, ...] = ()  # the candidates that have refused the turns of the conversation

    def __init__(self, engine: Engine, spec: CallSpec, deadline: float, services: Services) -> None:
        self._engine = engine
        self._spec = spec
        self._request = spec.request
        self._deadline = deadline
        self._services = services
        self._now = services.clock.monotonic
        self._attempts: list[AnAttempt] = []
        self._racing = self._committed = self._stopped = self.done = False

    def _carry_out(self, order: Order) -> Steps[None]:  # noqa: C901, PLR0912 -- a call must not pay for helper functions
        """Execute the engine's orders, up to the commit point or the end of the call. Raises the error of a failed call."""
        while True:
            kind = type(order)
            if kind is Pull:
                if self._racing:
                    order = yield from self._pull_raced(order)  # type: ignore[arg-type]
                else:
                    attempt: AnAttempt = self.attempt  # type: ignore[assignment]  # opened before
                    yield from self._ask(attempt, order.slow_after)  # type: ignore[attr-defined]
                    result = attempt.result
                    if result is None:
                        return
                    if isinstance(result, Exception):
                        yield from self._close_failed(attempt)
                    order = self._next(attempt, result)
            elif kind is Open:
                report = self.report
                if report is not None and report.gates:
                    order = yield from self._open_if_let(order, report)  # type: ignore[arg-type]
                else:
                    order = self._open(order)  # type: ignore[arg-type]
            elif kind is Drain or kind is Done or kind is Fail:
                error = order.error if isinstance(order, Fail) else None
                if kind is not Drain:
                    yield from self._finish(won=error is None)
                    if self.report is not None:
                        self._tell(error, last=True)
                if error is not None:
                    raise with_near(self._services.registry, error)
                self._committed = True
                return
            else:
                order = yield from self._pause(order)  # type: ignore[arg-type]
            if self.report is not None and len(self._engine.attempts) > self._reported:
                self._tell()

    def _supervise(self) -> Steps[None]:
        self._racing = True
        yield from self._carry_out(self._slow())

    def _slow(self) -> Order:
        answering = [attempt.number for attempt in self._attempts if attempt.call.content_at is not None]
        return self._engine.slow(self._now(), answering)

    def _pause(self, order: Wait | Queue | Cut | Renew) -> Steps[Order]:
        """Execute an order that takes time and asks no provider."""
        if isinstance(order, Cut):
            attempt = next(one for one in self._attempts if one.number == order.number)
            yield from self._close_failed(attempt)
            return self._next(attempt, order.error)
        if isinstance(order, Renew):
            services, provider = self._services, order.candidate.provider
            job, before = services.renewal(provider), services.key_changes(provider)
            if job is not None:
                yield from self._do(job, max(0.0, self._deadline - self._now()))
            return self._engine.renewed(self._now(), changed=services.key_changes(provider) != before)
        self._signal = signal = self._new_signal()
        with self._services.waiting.holding(self):
            if isinstance(order, Queue):
                candidate, turn = yield from self._take_turn(order, signal)
                return self._engine.turn(self._now(), candidate, turn)
            if not self._stopped and not self.done:
                yield from self._doze(signal, order.seconds)
            if self._stopped or self.done:
                raise self._given_up()
        return self._engine.waited(self._now(), self._services.replan(self._spec))

    def forgiven(self, provider: str) -> None:
        """End the wait for a further attempt at a provider. May be called in any thread."""
        if provider == self._engine.awaited:
            self._wake()

    def _given_up(self) -> Exception:
        """The error of a call that its reader, `stop` or the hub's `close` cancelled."""
        return RuntimeError(ENDED) if self._stopped and self._services.waiting.is_over else StoppedError()

    def _take_turn(self, order: Queue, signal: Any) -> Steps[tuple[Candidate | None, Turn | None]]:
        """Wait for the first turn at any of the order's candidates, first in, first out."""
        pacer, now = self._services.pacer, self._now
        turns: dict[Candidate, Turn] = {}
        chosen: Candidate | None = None
        try:
            for candidate in order.candidates:
                turns[candidate] = turn = order.turn or pacer.join(candidate, now(), self._spec.tokens)
                turn.wake = signal.set
            until, asks = (order.until, False) if order.turn is None else (now() + SHORT, True)
            while True:
                chosen = next((candidate for candidate, turn in turns.items() if turn.ready), None)
                left, due = self._deadline - now(), min(turn.due for turn in turns.values())
                if self._stopped or self.done:
                    raise self._given_up()
                if asks:
                    is_over = due > until and not any(turn.is_asked for turn in turns.values())
                else:  # a turn without a known time may come at any moment, and calls `wake`
                    is_over = now() >= until or until < due < math.inf
                if chosen is not None or left <= 0 or is_over:
                    return chosen, None if chosen is None else turns[chosen]
                yield from self._doze(signal, max(0.0, min(left, due - now(), math.inf if asks else until - now())))
                signal.clear()
                for turn in turns.values():
                    pacer.look(turn, now())
        finally:
            for candidate, turn in turns.items():
                if candidate is not chosen:
                    pacer.release(turn)

    def _pull_raced(self, order: Pull) -> Steps[Order]:
        left = max(0.0, self._deadline - self._now())
        first = yield from self._race(left if order.slow_after is None else min(left, order.slow_after))
        if first is None and order.slow_after is not None and self._now() < self._deadline:
            return self._slow()
        attempt, result = first or (self._current, overdue())
        if isinstance(result, Exception):
            yield from self._close_failed(attempt)
            # One of two attempts failed. The other attempt is now the current attempt.
            self.attempt = next((one for one in self._attempts if one.runner is not None and not one.has_failed), self.attempt)
        else:
            self.attempt, self._racing = attempt, False
            self._watch(attempt)
            self._cut_others(attempt)
        return self._next(attempt, result)

    def _watch(self, attempt: AnAttempt, slow_after: float = math.inf, begin: Callable[[], bool] | None = None) -> None:
        """Give the clock of a test the time when an attempt is slow, and the function to call at this time."""
        watch = self._services.watch
        if watch is not None:
            watch(attempt.call, slow_after, begin)

    def _timed(self, seconds: float, over: Callable[[], object]) -> contextlib.AbstractContextManager[object]:
        """Let a test's clock run while the attempts of a race are silent. After `seconds`, the clock calls `over`."""
        race = getattr(self._services.clock, "race", None)
        if race is None:
            return contextlib.nullcontext()
        calls = [one.call for one in self._attempts if one.runner is not None or one is self._current]
        return race(calls, seconds, over)  # type: ignore[no-any-return]

    def _close_failed(self, attempt: AnAttempt) -> Steps[None]:
        attempt.has_failed = True
        self._cut(attempt)
        yield from self._settle(attempt)

    def _mend(self, error: Exception, *, as_text: bool) -> Steps[Iterator[Any]]:
        """Continue after an interruption; return the first pieces for the reader. With `as_text`, no answer may start again."""
        attempt = self._current
        yield from self._close_failed(attempt)
        cause = self._mapped(attempt, error)
        allowed = (self._spec.continues or not as_text) and not self.done  # after a close there is no further attempt
        yield from self._carry_out(self._engine.interrupted(cause, self._now(), self.completion, may_restart=allowed))
        attempt = self._current
        shown = self._shown(attempt.head, as_text=as_text)
        restarted = Restarted(attempt.candidate.provider, attempt.candidate.model, self._spec.continues, cause)
        return shown if as_text else itertools.chain([restarted], shown)

    def _seen(self, attempt: RunningAttempt[Any, Any]) -> Callable[[Any], Any]:
        """Wrap a stream's iterator, so that observers of pieces are called. The result does not refer to the call."""
        report = self.report
        if report is None or not self._request.stream or not report.wants("providerhub_chunk"):
            return lambda pieces: pieces
        opening, now = self._engine.opening(attempt.number), self._now
        return lambda pieces: Seen(pieces, now, lambda took: report.tell("providerhub_chunk", attempt=opening, seconds=took))

    def _shown(self, pieces: list[Piece], *, as_text: bool) -> Iterator[Any]:
        return filter(None, map(text_of, pieces)) if as_text else map(self._current.assembly.as_event, pieces)

    def _end(self) -> Steps[None]:
        if not self.done:  # the reader may have closed the stream, which ends the loop too
            self._next(self._current, result=False)
            yield from self._finish(won=True)
            self._tell(last=True)
            for ending in self.endings:
                ending(self.completion)

    def _finish(self, *, won: bool) -> Effect:
        self.done = True
        winner = self.attempt if won else None
        if winner is None or len(self._attempts) > 1:
            self._cut_others(winner)
        if winner is not None and winner.number > 1 and _log.isEnabledFor(_INFO):
            others = [one for one in self._engine.attempts if one.number != winner.number]
            reasons = "; ".join(f"{x.provider}/{x.model}: {type(x.error).__name__ if x.error else x.outcome}" for x in others)
            _log.info("%s answered in attempt %d (%s)", winner.candidate, winner.number, reasons)
        return self._settle()

    def closed(self) -> bool:
        """Whether the call has ended, or another thread or task has closed it."""
        return self.done

    @property
    def completion(self) -> Completion:
        attempt = self.attempt
        if attempt is None or self._whole:
            return self._whole or Completion(route=self._engine.route)
        candidate = attempt.candidate
        found = attempt.assembly.completion(candidate.provider, candidate.model, self._engine.route, attempt.call.request_id)
        if found.turn is None:
            return found
        origin = self._services.registry.ready(candidate.provider).origin
        return attrs.evolve(found, turn=attrs.evolve(found.turn, **origin))

    @property
    def route(self) -> Route:
        return self._engine.route

    def stop(self) -> None:
        """Cancel the call from another thread. It ends with `StoppedError`, and nothing is counted. A wait ends at once."""
        self._stopped = True
        self._wake()
        for attempt in tuple(self._attempts):
            attempt.call.cancel()

    def abandon(self) -> None:
        """Cancel the call: release the connection, without effect on the breaker. A second call does nothing."""
        if self.done:
            return
        self.done = self.is_lost = True
        self._wake()  # a reader in another thread or task may wait to go on after an interruption
        # The engine comes first: a reader in another thread wakes up as soon as its attempt is cut.
        self._engine.abandoned(self._now())
        self._cut_others(None)
        self._tell(last=True)

    def close(self) -> None:
        self.abandon()
        self.is_lost = False

    def refuse_lost(self) -> None:
        """Raise an error if the rest of the stream is lost, which would look like the end of the answer."""
        if self.is_lost:
            msg = "the rest of this stream is lost: its reading was cancelled, or it is read in another event loop than the one"
            raise RuntimeError(f"{msg} that called acomplete(); `completion` has the answer so far")

    def _wake(self) -> None:
        if self._signal is not None:
            with contextlib.suppress(RuntimeError):  # its event loop is closed
                self._signal.set()

    @property
    def _current(self) -> AnAttempt:
        return self.attempt  # type: ignore[return-value]  # the engine opens an attempt before any other order

    def _pieces(self) -> Any:
        return self._current.pieces

    def _open(self, order: Open) -> Order:
        if self._stopped or self.done:
            raise self._given_up()
        last = self.attempt
        # A stream that continues from its partial text stays in the same assembly.
        assembly = last.assembly.carried_on() if self._committed and last is not None and self._spec.continues else Assembly()
        candidate = order.candidate
        own = candidate.timeout
        spec = self._spec
        timeout = spec.timeout if own is None else timeout_of(spec.timeout, own, spec.explicit_timeout)
        call = CallContext(
            timeout, self._deadline, clock=self._now, headers=dict(candidate.headers) if candidate.headers else None,
            reasoning=candidate.reasoning or self._request.reasoning not in {None, "none"},
        )  # fmt: skip
        attempt = self.attempt = self.kind(candidate, order.number, call, assembly)
        self._attempts.append(attempt)
        report = self.report
        if report is not None:
            attempt.call_id = report.id
        following = self._engine.opened(self._now(), attempt.told)
        if report is not None and report.wants("providerhub_attempt_started"):
            report.tell("providerhub_attempt_started", attempt=self._engine.opening(order.number))
        return following

    def _open_if_let(self, order: Open, report: Report) -> Steps[Order]:
        reservation = report.reservation(order)
        yield from self._work(Job(Task("reserve what an attempt may cost", reservation.reserve)))
        if reservation.refusal is not None and not self._stopped and not self.done:
            return self._engine.over_budget(reservation.refusal, self._now())
        following = self._open(order)
        reservation.assembly = self._current.assembly
        return following

    def _work(self, job: Job) -> Effect:
        job.task.run()
        return ()

    def _request_for(self, attempt: AnAttempt) -> Request:
        """The request for one candidate: its own model name and options, and the partial text of a broken stream."""
        request, candidate = self._request, attempt.candidate
        options = self._spec.options_for(candidate.provider) if self._spec.options else None
        stream, turns = request.stream and candidate.stream, self._spec.has_turns
        if not self._committed and not options and candidate.model == request.model and stream == request.stream and not turns:
            return request
        messages = self._addressed(attempt) if turns else request.messages
        if self._committed and (partial := "".join(attempt.assembly.text)):
            messages = [*messages, {"role": "assistant", "content": partial}]
        return attrs.evolve(request, model=candidate.model, messages=messages, stream=stream, options=options or {})

    def _addressed(self, attempt: AnAttempt) -> Sequence[Message]:
        """The messages with the turns of the attempt's provider, unless it has refused them."""
        candidate, note = attempt.candidate, attempt.call.note
        refused = candidate in self._refusing
        if refused:
            note("the service refused its own form of earlier turns, so it gets their text and tool calls alone")
        instance = None if refused else self._services.registry.ready(candidate.provider)
        messages = addressed(self._request.messages, instance, note)
        attempt.has_turns = has_turns(messages)
        return messages

    def _next(self, attempt: AnAttempt, result: PullResult) -> Order:
        """The engine's order after a pull. A failed attempt has been closed by then."""
        if self._stopped or self.done:
            raise self._given_up()
        if result is True:
            return self._engine.content(self._now(), attempt.number)
        if result is False:
            return self._engine.ended(self._now(), empty=attempt.assembly.empty, number=attempt.number)
        error = self._mapped(attempt, result)
        if attempt.has_turns and refuses_turns(error):
            self._refusing = (*self._refusing, attempt.candidate)
            return self._engine.refused_part(error, self._now(), attempt.number)
        return self._engine.failed(error, self._now(), attempt.number)

    def _read_output(self, attempt: AnAttempt) -> None:
        output, assembly, candidate = self._spec.output, attempt.assembly, attempt.candidate
        if output is not None and not assembly.empty:
            answer = assembly.completion(candidate.provider, candidate.model, self._engine.route)
            assembly.fields()["parsed"] = output.read(answer)

    def _cut_others(self, winner: AnAttempt | None) -> None:
        for attempt in tuple(self._attempts):
            if attempt is not winner:
                self._cut(attempt)

    def _added(self, piece: Piece) -> str:
        self._current.assembly.add(piece)
        return text_of(piece)

    def _mapped(self, attempt: AnAttempt, error: Exception) -> AttemptError:
        candidate = attempt.candidate
        mapped = map_exception(error, provider=candidate.provider, model=candidate.model, reads=attempt.call.reads)
        if isinstance(mapped, ProviderError) and not mapped.request_id:
            mapped.request_id = attempt.request_id or ""
        return mapped

    def _tell(self, error: Exception | None = None, *, last: bool = False) -> None:
        """Tell the observers about ended attempts; with `last`, also about the end of the call."""
        report = self.report
        if report is None:
            return
        ended = self._engine.attempts
        while self._reported < len(ended):
            self._reported += 1
            report.attempt_finished(ended[self._reported - 1])
        if last:
            current = self.attempt
            if error is None and current is not None and not current.assembly.empty:
                self._whole = self.completion
            report.call_finished(self._engine.route if self._whole is None else self._whole.route, self._whole, error)
