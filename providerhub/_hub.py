"""The hub: one set of settings, plugins and health records, and the calls that go through them."""

from __future__ import annotations

import atexit
import math
import os
import random
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack, overload

import attrs

from providerhub._async_chain import AsyncChain
from providerhub._async_stream import AsyncStream
from providerhub._capabilities import ProviderInfo
from providerhub._chain import Chain
from providerhub._discovery import Malformed, PluginRecord, Plugins
from providerhub._engine import Engine
from providerhub._errors import InvalidRequestError
from providerhub._handle import handle
from providerhub._health import Health
from providerhub._many import Outcome, complete_many_by
from providerhub._messages import checked
from providerhub._needs import Needs, has_images, token_bound
from providerhub._observers import Observers, rank
from providerhub._provider import Provider
from providerhub._registry import Registry
from providerhub._routing import Planned, Router
from providerhub._settings import Settings
from providerhub._stream import Stream
from providerhub._types import (
    Completion,
    Message,
    Model,
    Options,
    ProviderConfig,
    Request,
    RetryPolicy,
    RoutePlan,
    Timeout,
)

if TYPE_CHECKING:  # slow to import; most programs need none of it
    from concurrent.futures import Executor

ModelSpec = str | Model | Sequence[str | Model]
"""What may stand for a model: a name, `"provider/name"`, a `Model`, or a sequence of these, tried in order."""

ON_INTERRUPT = ("raise", "restart", "continue")
"""What may happen when a stream breaks after content was handed over."""

AnyChain = TypeVar("AnyChain", Chain, AsyncChain)


class Knobs(TypedDict, total=False):
    """The keywords of `complete` beyond `stream`; each is described at `Hub.complete`."""

    temperature: float | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    response_format: Mapping[str, Any] | None
    seed: int | None
    timeout: float | Timeout | None
    retry: RetryPolicy | None
    strategy: str | None
    on_interrupt: Literal["raise", "restart", "continue"]
    emulate_stream: bool
    options: Mapping[str, Options] | None


class Hub:
    """Providers, their health, and the calls to them. Thread-safe; one for a whole application is usual.

    Args:
        settings: What to do and with whom. What it leaves open is taken from the environment.
        providers: Provider objects to take directly, each as `(info, provider)`.

    Raises:
        ConfigurationError: The settings or the environment name what is not installed.
    """

    def __init__(self, settings: Settings | None = None, *, providers: Sequence[tuple[ProviderInfo, Provider]] = ()) -> None:
        self.settings = (settings or Settings()).with_environment(os.environ)
        rng = random.Random()  # noqa: S311 -- spreads waits; nothing depends on its being hard to guess
        self._rng = rng.random
        self._plugins = Plugins(self.settings)
        self._registry = Registry(self._plugins, self.settings)
        self._health = Health(self._rng)
        self._router = Router(self._registry, self._health, self.settings, self._rng)
        self._rankers = self._plugins.hooks("providerhub_rank")
        hooks = ("providerhub_attempt_started", "providerhub_attempt_finished", "providerhub_call_finished")
        self._observers = Observers(*map(self._plugins.hooks, hooks))
        self._objects: list[str] = []
        for info, provider in providers:
            self.register(info, provider)

    def register(self, info: ProviderInfo, provider: Provider, *, config: ProviderConfig | None = None) -> None:
        """Take a provider object directly, without packaging.

        Args:
            info: Its name, models and capabilities.
            provider: The object; only `stream(request, call)` is required of it.
            config: Its priority and weight, and settings where it declares any.

        Raises:
            AmbiguousProviderError: The name is taken.
        """
        self._registry.add(info, provider, config)
        self._objects.append(info.name)

    @overload
    def complete(
        self, model: ModelSpec, messages: str | Sequence[Message], *, stream: Literal[False] = False, **knobs: Unpack[Knobs]
    ) -> Completion: ...
    @overload
    def complete(
        self, model: ModelSpec, messages: str | Sequence[Message], *, stream: Literal[True], **knobs: Unpack[Knobs]
    ) -> Stream: ...
    @overload
    def complete(
        self, model: ModelSpec, messages: str | Sequence[Message], *, stream: bool, **knobs: Unpack[Knobs]
    ) -> Completion | Stream: ...
    def complete(
        self, model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
    ) -> Completion | Stream:
        """Ask for an answer, from whoever can give it.

        Args:
            model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
            messages: A text (one user message), or messages in the OpenAI chat shape.
            stream: Return a `Stream` as soon as the first content has come.
            temperature: Randomness, in the vendor's own range.
            max_tokens: The most tokens to answer with.
            stop: A text or texts that end the answer.
            tools: Tool definitions in the OpenAI shape.
            tool_choice: `"auto"`, `"none"`, `"required"`, or the OpenAI shape that names one tool.
            response_format: `{"type": "json_object"}` or `{"type": "json_schema", ...}`.
            seed: Asks the vendor for repeatable sampling.
            timeout: Seconds for the whole call, or a `Timeout` with all phases.
            retry: How far to go; by default as the settings say.
            strategy: How equal candidates are ordered; by default as the settings say.
            on_interrupt: When a stream breaks after content was handed over: `"raise"`; `"restart"` elsewhere, which
                `Stream.events()` shows as `Restarted` (read as text it raises, since text cannot show it); `"continue"` from
                the partial text, at providers that declare prefill.
            emulate_stream: Let a provider that cannot stream answer in one piece.
            options: Vendor-specific keywords by provider instance; nobody gets another's.

        Returns:
            A `Completion`, or a `Stream` with `stream=True`.

        Raises:
            CallerError: The call is wrong, or nobody can serve it; nothing was sent.
            ProviderError: Every attempt failed in this same way, or in a way that asking elsewhere cannot mend.
            AllProvidersFailedError: The attempts failed in different ways.
            DeadlineExceededError: The total time is over.
        """
        _refuse_unknown(knobs)
        chain = self._chain(Chain, model, messages, stream=stream, **knobs)
        chain.run()
        return Stream(chain) if stream else chain.completion

    @overload
    async def acomplete(
        self, model: ModelSpec, messages: str | Sequence[Message], *, stream: Literal[False] = False, **knobs: Unpack[Knobs]
    ) -> Completion: ...
    @overload
    async def acomplete(
        self, model: ModelSpec, messages: str | Sequence[Message], *, stream: Literal[True], **knobs: Unpack[Knobs]
    ) -> AsyncStream: ...
    @overload
    async def acomplete(
        self, model: ModelSpec, messages: str | Sequence[Message], *, stream: bool, **knobs: Unpack[Knobs]
    ) -> Completion | AsyncStream: ...
    async def acomplete(
        self, model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
    ) -> Completion | AsyncStream:
        """`complete`, awaited in the running event loop.

        A provider without `astream` works in a thread of its own. Cancelling the task shuts the connection down at once,
        where the provider obeys its `CallContext`; one that does not is stopped at its next piece.

        Args:
            model: As for `complete`.
            messages: As for `complete`.
            stream: Return an `AsyncStream` as soon as the first content has come.
            **knobs: As for `complete`.

        Returns:
            A `Completion`, or an `AsyncStream` with `stream=True`.

        Raises:
            ProviderHubError: As `complete` would.
        """
        _refuse_unknown(knobs)
        chain = self._chain(AsyncChain, model, messages, stream=stream, **knobs)
        await chain.run()
        return AsyncStream(chain) if stream else chain.completion

    def complete_many(
        self, requests: Iterable[Mapping[str, Any]], *, concurrency: int = 8, executor: Executor | None = None
    ) -> Generator[Outcome, None, None]:
        """Ask for many answers at once. Each outcome is handed over as soon as there is one, in whatever order.

        One call's error, a request of the wrong shape included, is that request's outcome and stops no other. Requests are
        taken from the input in the caller's own thread, between outcomes. What the input itself raises is raised here once
        all that had been taken is handed over; so is the refusal of an executor that takes no more work.

        Leaving early (`close()`, a `break` that drops the last reference, an error such as `KeyboardInterrupt`) cancels what
        has not begun; calls under way in threads of its own are waited for, those in another executor are left to it.

        Args:
            requests: A mapping of `complete`'s keywords for each call, such as `{"model": ..., "messages": ...}`;
                `stream` is refused.
            concurrency: The most requests that have been taken from the input and whose outcome has not been handed over.
            executor: Any `concurrent.futures.Executor`, which stays open; by default as many threads as `concurrency`, which
                end with the last outcome. Where it works in other processes, each of them makes its own hub once, from
                this one's settings, keys included: breakers, budgets and connections are not shared.

        Yields:
            One `Outcome` for each request; `index` is the request's place in the input.

        Raises:
            InvalidRequestError: An argument has the wrong shape; nothing was taken.
        """
        return complete_many_by(self.complete, requests, concurrency=concurrency, executor=executor)

    def explain(
        self, model: ModelSpec, messages: str | Sequence[Message] = "?", *, stream: bool = False, **knobs: Unpack[Knobs]
    ) -> RoutePlan:
        """What `complete` would do with the same arguments. Sends nothing and changes no state.

        Args:
            model: As for `complete`.
            messages: As for `complete`.
            stream: As for `complete`.
            **knobs: As for `complete`.

        Returns:
            The candidates in order, and what is left out, each with its reason.

        Raises:
            CallerError: As `complete` would.
        """
        _refuse_unknown(knobs)
        request = Request(
            _first(model),
            checked(messages),
            stream,
            max_tokens=knobs.get("max_tokens"),
            tools=knobs.get("tools"),
            response_format=knobs.get("response_format"),
        )
        self._timeout(knobs.get("timeout"))
        planned = self._plan(
            model, request, knobs.get("on_interrupt", "raise"), time.monotonic(), strategy=knobs.get("strategy"),
            emulate=knobs.get("emulate_stream", False), options=knobs.get("options"), dry=True,
        )  # fmt: skip
        return planned.plan

    def plugins(self) -> tuple[PluginRecord, ...]:
        """All installed plugins with their state; a ready one without its settings is shown as *not configured*."""
        return tuple(map(self._shown, self._plugins.load_all()))

    def malformed(self) -> tuple[Malformed, ...]:
        """Distributions and hook plugins that could not be read."""
        return tuple(self._plugins.malformed)

    def close(self) -> None:
        """Close all provider objects. The hub may be used again; it then makes new ones."""
        self._registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as its settings, keys included; each process makes one hub of equal settings."""
        return handle(type(self), self.settings, self._objects)

    def _shown(self, record: PluginRecord) -> PluginRecord:
        instance = self._registry.instance(record.name) if record.state == "ready" else None
        if instance is None or not instance.missing:
            return record
        return attrs.evolve(record, state="not configured", reason=instance.reason)

    def _chain(
        self,
        driver: type[AnyChain],
        model: ModelSpec,
        messages: str | Sequence[Message],
        *,
        stream: bool,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: str | Mapping[str, Any] | None = None,
        response_format: Mapping[str, Any] | None = None,
        seed: int | None = None,
        timeout: float | Timeout | None = None,
        retry: RetryPolicy | None = None,
        strategy: str | None = None,
        on_interrupt: Literal["raise", "restart", "continue"] = "raise",
        emulate_stream: bool = False,
        options: Mapping[str, Options] | None = None,
    ) -> AnyChain:
        """Whatever a call needs before its first attempt."""
        request = Request(
            _first(model), checked(messages), stream, temperature, max_tokens, (stop,) if isinstance(stop, str) else stop,
            tools, tool_choice, response_format, seed,
        )  # fmt: skip
        if retry is not None and not isinstance(retry, RetryPolicy):
            msg = f"retry must be a RetryPolicy, such as RetryPolicy(attempts=2), not {retry!r}"
            raise InvalidRequestError(msg)
        if response_format is not None and not isinstance(response_format, Mapping):
            msg = f"response_format must be a mapping such as {{'type': 'json_object'}}, not {response_format!r}"
            raise InvalidRequestError(msg)
        clocks = self._timeout(timeout)
        now = time.monotonic()
        planned = self._plan(model, request, on_interrupt, now, strategy=strategy, emulate=emulate_stream, options=options)
        deadline = now + clocks.total
        engine = Engine(
            planned.plan, retry or self.settings.retry, self._health, deadline=deadline, rng=self._rng, now=now,
            stream=stream, on_interrupt=on_interrupt, force=planned.force,
        )  # fmt: skip
        chain = driver(
            engine, self._registry, request, options or {}, timeout=clocks, deadline=deadline, observers=self._observers
        )
        chain.prefill = on_interrupt == "continue"
        return chain

    def _timeout(self, given: float | Timeout | None) -> Timeout:
        if given is None:
            return self.settings.timeout
        if isinstance(given, Timeout):
            return given
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given) or given <= 0:
            msg = f"timeout must be a positive, finite number of seconds or a Timeout, not {given!r}"
            raise InvalidRequestError(msg)
        return attrs.evolve(self.settings.timeout, total=given)

    def _plan(
        self,
        model: ModelSpec,
        request: Request,
        on_interrupt: str,
        now: float,
        *,
        strategy: str | None,
        emulate: bool,
        options: Mapping[str, Options] | None,
        dry: bool = False,
    ) -> Planned:
        if on_interrupt not in ON_INTERRUPT:
            msg = f"on_interrupt must be one of {', '.join(ON_INTERRUPT)}, not {on_interrupt!r}"
            raise InvalidRequestError(msg)
        form = request.response_format.get("type") if request.response_format else None
        if on_interrupt == "continue" and (request.tools or form in {"json_object", "json_schema"}):
            msg = "on_interrupt='continue' cannot be used with tools or JSON output: a partial one cannot be carried on safely"
            raise InvalidRequestError(msg)
        self._check_options(options)
        needs = Needs(
            request.stream and not emulate, bool(request.tools), has_images(request.messages), form == "json_schema",
            on_interrupt == "continue",
        )  # fmt: skip
        planned = self._router.plan(
            model, needs, now=now, strategy=strategy, dry=dry,
            tokens=lambda: token_bound(request.messages) + (request.max_tokens or 0),
        )  # fmt: skip
        return self._ranked(planned, request) if self._rankers else planned

    def _check_options(self, options: Any) -> None:
        if options is not None and not isinstance(options, Mapping):
            msg = f"options must be a mapping keyed by provider, as in {{'acme': {{...}}}}, not {options!r}"
            raise InvalidRequestError(msg)
        for name, value in (options or {}).items():
            if not self._registry.knows(name) or not isinstance(value, Mapping):
                known = ", ".join(self._registry.names()) or "none"
                msg = f"options are keyed by provider, as in {{'acme': {{...}}}}, not {name!r}: {value!r}; providers: {known}"
                raise InvalidRequestError(msg)

    def _ranked(self, planned: Planned, request: Request) -> Planned:
        for ranker in self._rankers:
            order = rank(ranker, request, planned.plan.candidates)
            if order:
                return attrs.evolve(planned, plan=attrs.evolve(planned.plan, candidates=order))
        return planned


def _refuse_unknown(knobs: Knobs) -> None:
    """Name the keyword that nobody knows, and what may be meant.

    Raises:
        TypeError: There is one, as for any function.
    """
    for name in knobs.keys() - Knobs.__annotations__.keys():
        msg = f"unknown keyword argument {name!r}; the known ones are {', '.join(('stream', *Knobs.__annotations__))}"
        raise TypeError(msg)


def _first(model: ModelSpec) -> str:
    """The name that a request bears until a candidate is chosen."""
    if isinstance(model, str):
        return model
    if isinstance(model, Model):
        return model.name
    return str(model[0]) if isinstance(model, Sequence) and model else ""


_default: Hub | None = None
_default_lock = threading.Lock()


def default_hub() -> Hub:
    """The hub of the module's functions: made at the first call, from the environment, and closed at exit."""
    global _default  # noqa: PLW0603 -- there is one default hub, and this is where it lives
    with _default_lock:
        if _default is None:
            _default = Hub()
            atexit.register(_default.close)
        return _default


@overload
def complete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: Literal[False] = False, **knobs: Unpack[Knobs]
) -> Completion: ...
@overload
def complete(model: ModelSpec, messages: str | Sequence[Message], *, stream: Literal[True], **knobs: Unpack[Knobs]) -> Stream: ...
@overload
def complete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool, **knobs: Unpack[Knobs]
) -> Completion | Stream: ...
def complete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
) -> Completion | Stream:
    """`Hub.complete` on the default hub; all arguments are described there."""
    return default_hub().complete(model, messages, stream=stream, **knobs)


@overload
async def acomplete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: Literal[False] = False, **knobs: Unpack[Knobs]
) -> Completion: ...
@overload
async def acomplete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: Literal[True], **knobs: Unpack[Knobs]
) -> AsyncStream: ...
@overload
async def acomplete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool, **knobs: Unpack[Knobs]
) -> Completion | AsyncStream: ...
async def acomplete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
) -> Completion | AsyncStream:
    """`Hub.acomplete` on the default hub."""
    return await default_hub().acomplete(model, messages, stream=stream, **knobs)


def explain(
    model: ModelSpec, messages: str | Sequence[Message] = "?", *, stream: bool = False, **knobs: Unpack[Knobs]
) -> RoutePlan:
    """`Hub.explain` on the default hub."""
    return default_hub().explain(model, messages, stream=stream, **knobs)


def complete_many(
    requests: Iterable[Mapping[str, Any]], *, concurrency: int = 8, executor: Executor | None = None
) -> Generator[Outcome, None, None]:
    """`Hub.complete_many` on the default hub."""
    return default_hub().complete_many(requests, concurrency=concurrency, executor=executor)
