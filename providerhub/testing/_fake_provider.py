"""Providers with scripted answers, for tests of code that calls a hub. They need no network and no waiting."""

from __future__ import annotations

import contextlib
import copy
import functools
import re
import threading
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, Union

import attrs

from providerhub._hub import Hub
from providerhub._settings.settings import Settings
from providerhub._values import EmbeddingRequest, Embeddings, Finish, ProviderConfig, Request, Usage
from providerhub._values.capabilities import ModelInfo, ProviderInfo
from providerhub._values.checks import Check, hinted, list_of
from providerhub._values.errors import PluginError, ProviderConnectionError, ProviderTimeoutError
from providerhub._values.provider import CallContext
from providerhub.testing._clock import FakeClock
from providerhub.testing._steps import Gate, Hold, Mark, Pause

Answer: TypeAlias = Union[str, BaseException, Iterable[Any], Callable[[Request], "Answer"]]  # noqa: UP007 -- recursive
"""The answer to one call.

* A text: the whole answer, followed by `Finish("stop")`. A stream yields the text word by word. An empty text is an empty answer
  without an end mark, for which a hub raises `EmptyAnswerError`.
* An exception: raised before the first piece, each time as a new copy.
* A sequence, played in order: `Gate`, `Mark`, `Pause` and `Hold` work as in the fault server. An exception is raised at its
  place. Any other object is yielded unchanged, even a wrong object.
* A function that gets the `Request` and returns an answer as above.
"""

WAIT = 10.0
"""Seconds of real time: the default wait of a test for a script, and the wait of a call on a fake clock for a gate."""

_LENGTH = 4
"""The length of the vectors of `embed`."""

_MODELS = Check("a list of names or ModelInfo(...)", lambda models: list_of(models, str | ModelInfo))
_ANSWER = Check(
    "a text, an exception, a sequence of pieces and steps, or a function of the request",
    lambda answer: (
        isinstance(answer, str | BaseException)
        or (isinstance(answer, Iterable) and not isinstance(answer, bytes | Mapping))
        or (callable(answer) and not isinstance(answer, type))
    ),
)


@attrs.define(eq=False)
class FakeCall:
    """One call of a fake provider.

    Attributes:
        request: The request of the call.
        call: The context of the call; `call.cancelled` shows whether the caller cancelled it.
        native: Whether the call came through `astream`.
        answer: The answer of the call.
        state: `"open"` while pieces are left; then `"ended"`, `"failed"`, or `"closed"` when the caller stopped early.
    """

    request: Request
    call: CallContext
    native: bool
    answer: Answer
    state: str = "open"


class _Silence(NamedTuple):
    """A time without pieces, of at most `seconds`.

    Args:
        gate: The gate whose opening ends the silence; `""` for none.
        clock: The fake clock on which the seconds pass; `None` for real time.
    """

    seconds: float
    gate: str = ""
    clock: FakeClock | None = None


class FakeProvider:
    """Returns one scripted answer for each call, in order. The last answer repeats for all further calls. Thread-safe.

    The provider obeys its `CallContext` like a good real provider: a wait in a script raises an error when the call is cancelled
    or a timeout ends. On a fake clock, a gate that stays closed for 10 s of real time raises `PluginError`.

    >>> from providerhub import RateLimitError
    >>> from providerhub.testing import FakeProvider
    >>> provider = FakeProvider(RateLimitError("slow down", retry_after=2), "Hello")
    >>> with provider.hub() as hub:
    ...     answer = hub.complete("any-model", "Hi")  # the wait of two seconds takes no time
    >>> answer.text, len(answer.route.attempts)
    ('Hello', 2)

    Args:
        answers: The answers, in order; default `"Hello"`.
        name: The provider's name in a hub.
        models: The models of the provider, as names or `ModelInfo`. Default: any name.
        clock: The clock that a `Pause` or `Hold` advances. With `None`, `hub()` sets a clock; without a hub, waits take real
            time.
        config: The configuration for `hub()`, such as `ProviderConfig(rpm=60, concurrency=2)`. `hub()` replaces the priority.

    Attributes:
        calls: Every call so far, in order, as a `FakeCall`.

    Raises:
        TypeError: An answer or `models` has the wrong type.
    """

    def __init__(
        self,
        *answers: Answer,
        name: str = "fake",
        models: Sequence[str | ModelInfo] = (ModelInfo("*"),),
        clock: FakeClock | None = None,
        config: ProviderConfig | None = None,
    ) -> None:
        for number, answer in enumerate(answers, 1):
            _ANSWER.check(answer, f"answer {number}", TypeError)
        _MODELS.check(models, "models", TypeError)
        self.info = ProviderInfo(name=name, models=models)
        self.clock = clock
        self.config = config or ProviderConfig()
        self.calls: list[FakeCall] = []
        self._answers = answers or ("Hello",)
        self._changed = threading.Condition()
        self._marks: dict[str, int] = {}
        self._opened: set[str] = set()
        self._sleepers: list[tuple[str, Callable[[], object]]] = []

    @property
    def requests(self) -> list[Request]:
        """The request of each call, in order."""
        return [call.request for call in self.calls]

    def hub(self, *others: FakeProvider, settings: Settings | None = None, clock: FakeClock | None = None) -> Hub:
        """Make a hub of this provider; see `fake_hub`.

        Args:
            *others: Further providers. The hub tries them after this provider, in order.
            settings: The hub's settings, as for `fake_hub`.
            clock: The clock of the hub, as for `fake_hub`.

        Returns:
            The hub.
        """
        return fake_hub(self, *others, settings=settings, clock=clock)

    def open(self, name: str) -> None:
        """Open a gate for all calls that wait at it and for all later ones.

        Args:
            name: The name of the gate.
        """
        with self._changed:
            self._opened.add(name)
            sleepers = [wake for at, wake in self._sleepers if at == name]
        for wake in sleepers:
            wake()

    def reached(self, name: str, *, times: int = 1, timeout: float = WAIT) -> None:
        """Wait until calls have reached a gate or a mark.

        Args:
            name: The name of the gate or mark.
            times: The number of times that all calls together must have reached it.
            timeout: The longest wait, in seconds.

        Raises:
            TimeoutError: The calls did not reach the place in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._marks.get(name, 0) >= times, timeout):
                msg = f"{name!r} was reached {self._marks.get(name, 0)} time(s) within {timeout:g} s, not {times}"
                raise TimeoutError(msg)

    def stream(self, request: Request, call: CallContext) -> Generator[Any, None, None]:
        """Yield the next answer; see `Provider.stream`. `calls` keeps the request and its context."""
        script = self._script(self._record(request, call, native=False))
        try:
            for piece in script:
                if isinstance(piece, _Silence):
                    woken = threading.Event()
                    with self._armed(piece, call, woken.set):
                        woken.wait(None if piece.clock else piece.seconds)
                else:
                    yield piece
        finally:
            script.close()

    def embed(self, request: EmbeddingRequest, call: CallContext) -> Embeddings:
        """Play the waits and errors of the next answer, and return a vector for each text.

        Args:
            request: The request; kept in `calls`.
            call: The context of the call; kept in `calls`, and obeyed.

        Returns:
            Vectors that depend only on the texts, with a default length of 4. Each word counts as a token.
        """
        for _ in self.stream(request, call):
            pass
        return _embeddings(request)

    def count_tokens(self, request: Request, call: CallContext) -> int:
        """Play the waits and errors of the next answer, and count a token for each word of the messages.

        Args:
            request: The request; kept in `calls`.
            call: The context of the call; kept in `calls`, and obeyed.

        Returns:
            The number of tokens.
        """
        for _ in self.stream(request, call):
            pass
        return _words(request)

    def _record(self, request: Request, call: CallContext, *, native: bool) -> FakeCall:
        with self._changed:
            answer = self._answers[min(len(self.calls), len(self._answers) - 1)]
            record = FakeCall(request, call, native, answer)
            self.calls.append(record)
        return record

    def _script(self, record: FakeCall) -> Generator[Any, None, None]:
        """The pieces to yield, and the silences to wait for."""
        content = False
        try:
            for part in _parts(record):
                if isinstance(part, Mark):
                    self._mark(part.name)
                elif isinstance(part, Gate | Hold | Pause):
                    yield from self._rest(part, record.call, _patience(record, content=content))
                elif isinstance(part, BaseException):
                    raise _fresh(part)  # noqa: TRY301 -- the handler below records the state of any end
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
        """Yield one silence, and raise when it ends the call."""
        if isinstance(step, Gate):
            self._mark(step.name)
            yield _Silence(patience if self.clock is None else WAIT, step.name)
            late = step.name not in self._opened
            if late and self.clock is not None and not call.cancelled:
                msg = (
                    f"the gate {step.name!r} stayed closed for {WAIT:g} s: call open({step.name!r}) of the fake provider before "
                    "the call, or in another thread or task"
                )
                raise PluginError(msg)
        else:
            seconds = min(patience, step.seconds if isinstance(step, Pause) else patience)
            late = seconds >= patience
            yield _Silence(seconds, clock=self.clock)
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
        """Wake a waiter when its gate opens or its call is cancelled."""
        entry = (silence.gate, wake)
        with self._changed:
            self._sleepers.append(entry)
            opened = silence.gate in self._opened
        forget = call.on_cancel(wake)
        if opened:
            wake()
        if silence.clock is not None and not call.cancelled:
            silence.clock.rest(call, silence.clock() + silence.seconds, wake)
        try:
            yield
        finally:
            forget()
            if silence.clock is not None:
                silence.clock.leave(call)
            with self._changed:
                self._sleepers.remove(entry)


FakeProvider.__init__ = hinted(FakeProvider.__init__, "FakeProvider")  # type: ignore[method-assign]


class FakeAsyncProvider(FakeProvider):
    """A `FakeProvider` with asynchronous methods: `astream` as well as `stream`."""

    async def astream(self, request: Request, call: CallContext) -> AsyncGenerator[Any, None]:
        """Yield the next answer, as `stream` does.

        Args:
            request: The request; kept in `calls`.
            call: The context of the call; kept in `calls`, and obeyed.

        Yields:
            The pieces of the answer.
        """
        import asyncio  # slow to import; a caller with a running loop has imported it

        loop = asyncio.get_running_loop()
        script = self._script(self._record(request, call, native=True))
        try:
            for piece in script:
                if isinstance(piece, _Silence):
                    woken = asyncio.Event()
                    wake = functools.partial(loop.call_soon_threadsafe, woken.set)
                    with self._armed(piece, call, wake), contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), None if piece.clock else piece.seconds)
                else:
                    await asyncio.sleep(0)
                    yield piece
        finally:
            script.close()

    async def aembed(self, request: EmbeddingRequest, call: CallContext) -> Embeddings:
        """Return a vector for each text, as `embed` does.

        Args:
            request: The request; kept in `calls`.
            call: The context of the call; kept in `calls`, and obeyed.

        Returns:
            The vectors.
        """
        async for _ in self.astream(request, call):
            pass
        return _embeddings(request)

    async def acount_tokens(self, request: Request, call: CallContext) -> int:
        """Count a token for each word, as `count_tokens` does.

        Args:
            request: The request; kept in `calls`.
            call: The context of the call; kept in `calls`, and obeyed.

        Returns:
            The number of tokens.
        """
        async for _ in self.astream(request, call):
            pass
        return _words(request)


def _words(request: Request) -> int:
    return sum(len(str(message.get("content")).split()) for message in request.messages)


def _embeddings(request: EmbeddingRequest) -> Embeddings:
    length = request.dimensions or _LENGTH
    vectors = [[zlib.crc32(f"{place}{text}".encode()) / 2**32 for place in range(length)] for text in request.texts]
    return Embeddings(vectors, Usage(input_tokens=sum(len(text.split()) for text in request.texts)))


def fake_hub(*providers: FakeProvider, settings: Settings | None = None, clock: FakeClock | None = None) -> Hub:
    """Make a hub of fake providers. Its waits take no time. It ignores installed plugins unless `settings` enables them.

    Args:
        providers: The providers, in the order in which the hub tries them. Their names must differ.
        settings: The settings of the hub.
        clock: The clock of the hub, and of providers without a clock. Default: the first provider's clock, or else a new clock.

    Returns:
        The hub. Close it, or use it in a `with` block.

    Raises:
        AmbiguousProviderError: Two providers have the same name.
    """
    clock = clock or next((provider.clock for provider in providers if provider.clock is not None), None) or FakeClock()
    hub = Hub(settings or Settings(autoload=False), clock=clock)
    for place, provider in enumerate(providers):
        provider.clock = provider.clock or clock
        hub.register(provider.info, provider, config=attrs.evolve(provider.config, priority=-place))
    return hub


def _parts(record: FakeCall) -> Iterable[Any]:
    """The parts of a scripted answer."""
    answer = record.answer
    while callable(answer):
        answer = answer(record.request)
        _ANSWER.check(answer, "the answer of the function", TypeError)
    if isinstance(answer, str):
        pieces = re.findall(r"\s*\S+\s*|\s+", answer) if record.request.stream else [answer]
        return (*pieces, Finish("stop")) if answer else ()
    return (answer,) if isinstance(answer, BaseException) else answer


def _patience(record: FakeCall, *, content: bool) -> float:
    """Seconds of silence after which a provider that obeys its `CallContext` raises a timeout."""
    timeout = record.call.timeout
    phase = (timeout.token_idle if content else timeout.first_token) if record.request.stream else None
    return record.call.remaining(phase)


def _fresh(error: BaseException) -> BaseException:
    """Return a copy, so that each call writes its route into its own error; the error itself if it cannot be copied."""
    try:
        return copy.copy(error)
    except Exception:  # an exception class may require any arguments
        return error
