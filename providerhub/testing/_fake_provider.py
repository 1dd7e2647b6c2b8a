"""A provider that answers as told: for tests of what is built on a hub, without a network and without waiting."""

from __future__ import annotations

import contextlib
import copy
import functools
import re
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, Union

import attrs

from providerhub._hub import Hub
from providerhub._settings.settings import Settings
from providerhub._values import Finish, ProviderConfig, Request
from providerhub._values.capabilities import ModelInfo, ProviderInfo
from providerhub._values.errors import ProviderConnectionError, ProviderTimeoutError
from providerhub._values.provider import CallContext
from providerhub.testing._clock import FakeClock
from providerhub.testing._steps import Gate, Hold, Mark, Pause

Answer: TypeAlias = Union[str, BaseException, Iterable[Any], Callable[[Request], "Answer"]]  # noqa: UP007 -- recursive
"""What one call gets.

* A text: the whole answer, word by word where a stream is asked for, and `Finish("stop")`.
* An exception: raised before the first piece, each time as a new copy.
* A sequence, played in order: `Gate`, `Mark`, `Pause` and `Hold` are what they are to the fault server, an exception is
  raised at its place, and anything else is yielded as it is: texts and events, and what no provider may yield.
* A function, which is given the `Request` and returns one of these.
"""

WAIT = 10.0
"""Seconds that a test waits for a script at most, unless it says otherwise."""


@attrs.define(eq=False)
class FakeCall:
    """One call of a fake provider.

    Attributes:
        request: What was asked.
        call: What the provider was told; `call.cancelled` shows whether it was given up.
        native: Whether it came through `astream`.
        answer: What was to be played.
        state: `"open"` until its pieces are at an end; then `"ended"`, `"failed"` or, when it was left early, `"closed"`.
    """

    request: Request
    call: CallContext
    native: bool
    answer: Answer
    state: str = "open"


class _Silence(NamedTuple):
    """A stretch in which nothing comes.

    Args:
        seconds: How long at most; `None` for however long it takes.
        gate: The gate whose opening ends it; `""` for none.
    """

    seconds: float | None
    gate: str = ""


class FakeProvider:
    """Plays one answer for each call, in the order of their coming, and the last one for ever. Thread-safe.

    It obeys its `CallContext` as a real one should: while it waits in a script it ends with an error when the call is
    cancelled or one of its timeouts is over.

    >>> from providerhub import RateLimitError
    >>> from providerhub.testing import FakeProvider
    >>> provider = FakeProvider(RateLimitError("slow down", retry_after=2), "Hello")
    >>> with provider.hub() as hub:
    ...     answer = hub.complete("any-model", "Hi")  # the wait of two seconds takes no time
    >>> answer.text, len(answer.route.attempts)
    ('Hello', 2)

    Args:
        answers: What to play; `"Hello"` when there are none.
        name: The provider's name in a hub.
        models: What it serves: names or `ModelInfo`; by default any model's name.
        clock: The time that a `Pause` or `Hold` lets pass. `None`: `hub()` gives it one; without a hub they take real time.

    Attributes:
        calls: Every call so far, in order, as a `FakeCall`.
    """

    def __init__(
        self,
        *answers: Answer,
        name: str = "fake",
        models: Sequence[str | ModelInfo] = (ModelInfo("*"),),
        clock: FakeClock | None = None,
    ) -> None:
        self.info = ProviderInfo(name=name, models=tuple(ModelInfo(m) if isinstance(m, str) else m for m in models))
        self.clock = clock
        self.calls: list[FakeCall] = []
        self._answers = answers or ("Hello",)
        self._changed = threading.Condition()
        self._marks: dict[str, int] = {}
        self._opened: set[str] = set()
        self._sleepers: list[tuple[str, Callable[[], object]]] = []

    @property
    def requests(self) -> list[Request]:
        """What was asked, call by call."""
        return [call.request for call in self.calls]

    def hub(self, *others: FakeProvider, settings: Settings | None = None, clock: FakeClock | None = None) -> Hub:
        """A hub of this provider; see `fake_hub`.

        Args:
            *others: Further providers, asked after this one.
            settings: As for `fake_hub`.
            clock: As for `fake_hub`.

        Returns:
            The hub.
        """
        return fake_hub(self, *others, settings=settings, clock=clock)

    def open(self, name: str) -> None:
        """Open a gate for all calls that wait at it, and all that come later.

        Args:
            name: The gate's.
        """
        with self._changed:
            self._opened.add(name)
            sleepers = [wake for at, wake in self._sleepers if at == name]
        for wake in sleepers:
            wake()

    def reached(self, name: str, *, times: int = 1, timeout: float = WAIT) -> None:
        """Wait until calls have got to a gate or a mark.

        Args:
            name: The gate's or the mark's.
            times: How often it must have been reached, by all calls together.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: They have not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._marks.get(name, 0) >= times, timeout):
                msg = f"{name!r} was reached {self._marks.get(name, 0)} time(s) within {timeout:g} s, not {times}"
                raise TimeoutError(msg)

    def stream(self, request: Request, call: CallContext) -> Generator[Any, None, None]:
        """Answer; `Provider.stream`.

        Args:
            request: What is asked; kept.
            call: What is told; kept, and obeyed.

        Yields:
            What the answer says.
        """
        record = self._record(request, call, native=False)
        script = self._script(record)
        try:
            for piece in script:
                if isinstance(piece, _Silence):
                    woken = threading.Event()
                    with self._armed(piece, call, woken.set):
                        woken.wait(piece.seconds)
                else:
                    yield piece
        finally:
            script.close()

    def _record(self, request: Request, call: CallContext, *, native: bool) -> FakeCall:
        with self._changed:
            answer = self._answers[min(len(self.calls), len(self._answers) - 1)]
            record = FakeCall(request, call, native, answer)
            self.calls.append(record)
        return record

    def _script(self, record: FakeCall) -> Generator[Any, None, None]:
        """Pieces to hand over, and silences to sit through."""
        content = False
        try:
            for part in _parts(record):
                if isinstance(part, Mark):
                    self._mark(part.name)
                elif isinstance(part, Gate | Hold | Pause):
                    yield from self._rest(part, record.call, _patience(record, content=content))
                elif isinstance(part, BaseException):
                    raise _fresh(part)  # noqa: TRY301 -- the state is noted below however a script ends
                else:
                    content = True
                    yield part
        except GeneratorExit:
            record.state = "closed"
            raise
        except BaseException:
            record.state = "failed"
            raise
        record.state = "ended"

    def _rest(self, step: Gate | Hold | Pause, call: CallContext, patience: float) -> Iterator[_Silence]:
        """One silence, and how it ends.

        Raises:
            ProviderConnectionError: The call was cancelled.
            ProviderTimeoutError: The call's timeouts do not allow so long a silence.
        """
        if isinstance(step, Gate):
            self._mark(step.name)
            yield _Silence(patience if self.clock is None else None, step.name)
            late = step.name not in self._opened
        else:
            seconds = min(patience, step.seconds if isinstance(step, Pause) else patience)
            late = seconds >= patience
            if self.clock is None:
                yield _Silence(seconds)
            else:
                self.clock.advance(seconds)
        if call.cancelled:
            msg = "the call was cancelled"
            raise ProviderConnectionError(msg, retryable=False)
        if late:
            msg = f"nothing came for {patience:g} s, at {step}"
            raise ProviderTimeoutError(msg)

    def _mark(self, name: str) -> None:
        with self._changed:
            self._marks[name] = self._marks.get(name, 0) + 1
            self._changed.notify_all()

    @contextlib.contextmanager
    def _armed(self, silence: _Silence, call: CallContext, wake: Callable[[], object]) -> Iterator[None]:
        """Have a waiter woken when its gate is opened or its call cancelled."""
        entry = (silence.gate, wake)
        with self._changed:
            self._sleepers.append(entry)
            opened = silence.gate in self._opened
        forget = call.on_cancel(wake)
        if opened:
            wake()
        try:
            yield
        finally:
            forget()
            with self._changed:
                self._sleepers.remove(entry)


class FakeAsyncProvider(FakeProvider):
    """A `FakeProvider` that awaits: it has `astream` beside `stream`."""

    async def astream(self, request: Request, call: CallContext) -> AsyncGenerator[Any, None]:
        """Answer; `AsyncProvider.astream`.

        Args:
            request: What is asked; kept.
            call: What is told; kept, and obeyed.

        Yields:
            What the answer says.
        """
        import asyncio  # slow to import, and imported already by whoever has a running loop

        loop = asyncio.get_running_loop()
        record = self._record(request, call, native=True)
        script = self._script(record)
        try:
            for piece in script:
                if isinstance(piece, _Silence):
                    woken = asyncio.Event()
                    wake = functools.partial(loop.call_soon_threadsafe, woken.set)
                    with self._armed(piece, call, wake), contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), piece.seconds)
                else:
                    await asyncio.sleep(0)
                    yield piece
        finally:
            script.close()


def fake_hub(*providers: FakeProvider, settings: Settings | None = None, clock: FakeClock | None = None) -> Hub:
    """A hub of fake providers, whose waits take no time. It looks for no installed plugin unless the settings say so.

    Args:
        providers: Who is asked, in this order. Their names must differ.
        settings: The hub's settings.
        clock: The time that the hub and the providers go by; by default the first provider's, else a new one. Each provider
            that has none gets it as its `clock`.

    Returns:
        The hub. Close it, or use it in a `with` block.

    Raises:
        AmbiguousProviderError: Two providers have one name.
    """
    clock = clock or next((provider.clock for provider in providers if provider.clock is not None), None) or FakeClock()
    hub = Hub(settings or Settings(autoload=False), clock=clock)
    for place, provider in enumerate(providers):
        provider.clock = provider.clock or clock
        hub.register(provider.info, provider, config=ProviderConfig(priority=-place))
    return hub


def _parts(record: FakeCall) -> Iterable[Any]:
    """What an answer says, part by part."""
    answer = record.answer
    while callable(answer):
        answer = answer(record.request)
    if isinstance(answer, str):
        return (*(re.findall(r"\s*\S+\s*", answer) if record.request.stream else [answer]), Finish("stop"))
    return (answer,) if isinstance(answer, BaseException) else answer


def _patience(record: FakeCall, *, content: bool) -> float:
    """Seconds for which a provider that obeys its `CallContext` stays silent before it gives up."""
    timeout = record.call.timeout
    phase = (timeout.token_idle if content else timeout.first_token) if record.request.stream else None
    return record.call.remaining(phase)


def _fresh(error: BaseException) -> BaseException:
    """A copy, so that calls do not write their routes into one error; the error itself where it cannot be copied."""
    try:
        return copy.copy(error)
    except Exception:  # an exception class may ask for any arguments
        return error
