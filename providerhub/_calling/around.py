"""The callables around the calls of a hub, such as guardrails and caches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Self

import attrs

from providerhub._calling.intake import CallSpec, call_spec
from providerhub._calling.keywords import KEYWORDS
from providerhub._calling.observers import Observers
from providerhub._calling.other_calls import embedding_spec
from providerhub._calling.pieces import text_of
from providerhub._calling.stream import AsyncStream, Stream
from providerhub._finding.registry import ModelSpec, Registry
from providerhub._settings.settings import Settings
from providerhub._values import Completion, EmbeddingRequest, Options, Request, Route
from providerhub._values.errors import ConfigurationError, InvalidRequestError
from providerhub._values.events import Detail, Event, Finish, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, UsageDelta

_SENT = tuple(name for name, keyword in KEYWORDS.items() if keyword.sent)


class GoOn:
    """Continues a call: `go_on(request)` makes the plan, asks the providers, and returns the `Completion` or the stream.

    A callable around a call gets it as its second argument. It may call `go_on` more than once; each time is a separate call.

    Attributes:
        asked: The model or models that the caller named.
        options: The vendor-specific keywords by provider.
        metadata: The caller's keyword `metadata`.
        cache: The caller's keyword `cache`; `None` when it was not given.
        awaited: Whether the call is made by `acomplete`. If true, the result must be awaited, and a stream is an `AsyncStream`.
    """

    __slots__ = ("_go", "asked", "awaited", "cache", "metadata", "options")

    def __init__(self, spec: CallSpec, go: Callable[[Request], Any], *, awaited: bool) -> None:
        self.asked: ModelSpec = spec.model
        self.options: Mapping[str, Options] = spec.options
        self.metadata: Mapping[str, Any] = dict(spec.metadata or {})
        self.cache = spec.cache
        self.awaited = awaited
        self._go = go

    def __call__(self, request: Request) -> Any:
        """Continue the call.

        Args:
            request: The request, changed or not. A changed `model` replaces `asked`.

        Returns:
            The `Completion`, or the `Stream` if the request streams; for `acomplete`, an awaitable.

        Raises:
            InvalidRequestError: The changed request is wrong.
            ProviderHubError: The call failed.
        """
        return self._go(request)


class Around:
    """The callables `(request, go_on)` around each call of a hub, the outermost first."""

    def __init__(
        self,
        callables: Sequence[Callable[[Request, GoOn], Any]],
        settings: Settings,
        registry: Registry,
        observers: Observers | None,
    ) -> None:
        self._callables = callables
        self._settings = settings
        self._registry = registry
        self._observers = observers
        awaited = [one for one in callables if any(map(iscoroutinefunction, (one, getattr(one, "__call__", None))))]  # noqa: B004
        self._coroutines = [_name(one) for one in awaited]

    def call(self, spec: CallSpec, answer: Callable[[CallSpec], Any]) -> Any:
        if self._coroutines:
            msg = f"around holds the coroutine function {self._coroutines[0]}, which complete() cannot await; use acomplete()"
            raise ConfigurationError(msg)
        with _Told(self._observers, spec, answer) as told:
            return told.end(self._checked(self._step(0, spec, told.answer, awaited=False), spec, Stream))

    async def acall(self, spec: CallSpec, answer: Callable[[CallSpec], Any]) -> Any:
        with _Told(self._observers, spec, answer) as told:
            return told.end(self._checked(await self._astep(0, spec, told.answer), spec, AsyncStream))

    def _step(self, index: int, spec: CallSpec, answer: Callable[[CallSpec], Any], *, awaited: bool) -> Any:
        if index == len(self._callables):
            return answer(spec)
        step: Callable[..., Any] = self._astep if awaited else lambda *rest: self._step(*rest, awaited=False)
        go_on = GoOn(spec, lambda request: step(index + 1, self._changed(spec, request), answer), awaited=awaited)
        return self._callables[index](spec.request, go_on)

    async def _astep(self, index: int, spec: CallSpec, answer: Callable[[CallSpec], Any]) -> Any:
        result = self._step(index, spec, answer, awaited=True)
        return await result if isawaitable(result) else result

    def _changed(self, spec: CallSpec, request: Request) -> CallSpec:
        """The call with a changed request, which is checked like the caller's request."""
        old = spec.request
        if request is old:
            return spec
        if not isinstance(request, type(old)) or request.stream != old.stream:
            said = "another value of stream" if isinstance(request, type(old)) else type(request).__name__
            raise InvalidRequestError(f"go_on() takes the Request, changed by attrs.evolve() where needed, not {said}")
        model = spec.model if request.model == old.model else request.model
        if isinstance(request, EmbeddingRequest) and isinstance(old, EmbeddingRequest):
            return self._other_texts(spec, model, request, old)
        sent: dict[str, Any] = {name: value for name in _SENT if (value := getattr(request, name)) is not None}
        sent["emulate_stream"] = request.stream and not spec.needs.stream
        new = call_spec(self._settings, self._registry, model, request.messages, stream=request.stream, **sent)
        output = spec.output if request.response_format == old.response_format else None
        return attrs.evolve(spec, model=model, request=new.request, needs=new.needs, has_turns=new.has_turns, output=output)

    def _other_texts(self, spec: CallSpec, model: ModelSpec, request: EmbeddingRequest, old: EmbeddingRequest) -> CallSpec:
        texts = [one["content"] for one in request.messages] if request.texts == old.texts else request.texts
        if len(texts) != len(old.texts):
            msg = f"go_on() got {len(texts)} texts, but the call has {len(old.texts)}; pass one text for each vector"
            raise InvalidRequestError(msg)
        new = embedding_spec(self._settings, self._registry, model, texts, dimensions=request.dimensions)
        return attrs.evolve(spec, model=model, request=new.request)

    def _checked(self, result: Any, spec: CallSpec, stream: type[Stream | AsyncStream]) -> Any:
        if isinstance(result, Completion) and spec.output is not None and result.parsed is None:  # for example from a cache
            result = attrs.evolve(result, parsed=spec.output.read(result))
        if spec.request.stream and isinstance(result, Completion):
            replay = Replay(result)
            return AsyncStream(replay) if stream is AsyncStream else Stream(replay, replay.begun())  # type: ignore[arg-type]
        if not isinstance(result, stream if spec.request.stream else Completion):
            names = ", ".join(map(_name, self._callables))
            fix = "return the result of go_on(), or a Completion"
            raise ConfigurationError(f"a callable of around ({names}) returned {type(result).__name__}; {fix}")
        return result


class Replay:
    """A whole answer as a stream, with the interface of a driver that `Stream` and `AsyncStream` need."""

    def __init__(self, completion: Completion) -> None:
        self.completion = completion
        self.route = completion.route
        self.endings: tuple[Callable[[Completion], object], ...] = ()

    def begun(self) -> Generator[Any, bool, None]:
        """The reader of `Stream`, which waits at its beginning."""
        reader = self._read()
        next(reader)
        return reader

    def _read(self) -> Generator[Any, bool, None]:
        as_text = yield
        yield  # the result of `send`
        yield from self._pieces(as_text=as_text)

    async def read(self, *, as_text: bool) -> AsyncIterator[Any]:
        for piece in self._pieces(as_text=as_text):
            yield piece

    def _pieces(self, *, as_text: bool) -> Iterator[Any]:
        yield from filter(None, map(text_of, events_of(self.completion))) if as_text else events_of(self.completion)
        for ending in self.endings:
            ending(self.completion)

    def close(self) -> None:
        """Do nothing: nothing is running or lost."""

    refuse_lost = close

    async def aclose(self) -> None:
        """Do nothing: nothing is running."""


def events_of(answer: Completion) -> Iterator[Event]:
    """The events of a whole answer, from which the answer can be assembled again."""
    if answer.reasoning:
        yield ReasoningDelta(answer.reasoning)
    if answer.text:
        yield TextDelta(answer.text)
    if answer.refusal:
        yield RefusalDelta(answer.refusal)
    for index, call in enumerate(answer.tool_calls):
        yield ToolCallDelta(index, call.id, call.name, call.arguments, call.type)
    yield from answer.citations
    yield from answer.media
    if answer.usage is not None:
        yield UsageDelta(answer.usage)
    for name, value in answer.details.items():
        yield Detail(name, value)
    if answer.turn is not None:
        yield answer.turn
    yield Finish(answer.finish_reason, answer.finish_said)


class _Told:
    """Tells the observers about a call that one of its callables answered or refused."""

    def __init__(self, observers: Observers | None, spec: CallSpec, answer: Callable[[CallSpec], Any]) -> None:
        self._observers, self._spec, self._answer = observers, spec, answer

    def answer(self, spec: CallSpec) -> Any:
        """Make the call, which itself tells the observers."""
        self._observers = None
        return self._answer(spec)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.end(error=error)

    def end(self, result: Any = None, error: BaseException | None = None) -> Any:
        observers, self._observers = self._observers, None
        if observers is not None:
            whole = result.completion if isinstance(result, Stream | AsyncStream) else result
            observers.begin(self._spec).call_finished(Route(), whole, error)
        return result


def _name(one: object) -> str:
    return getattr(one, "__qualname__", type(one).__name__)
