"""The hub: one set of settings, plugins and health records, and the calls that go through them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

import attrs

from providerhub._calling.async_chain import AsyncChain
from providerhub._calling.async_stream import AsyncStream
from providerhub._calling.chain import Chain
from providerhub._calling.handle import handle
from providerhub._calling.intake import Ask, Knobs, ModelSpec, ask, refuse_unknown
from providerhub._calling.many import Outcome, Running, complete_many_by
from providerhub._calling.observers import Observers, Rankers
from providerhub._calling.stream import Stream
from providerhub._finding.discovery import Malformed, PluginRecord, Plugins
from providerhub._finding.needs import token_bound
from providerhub._finding.registry import Registry
from providerhub._finding.routing import Planned, Router
from providerhub._finding.views import InstanceView, views
from providerhub._rules.clock import Clock, SystemClock
from providerhub._rules.engine import Engine
from providerhub._rules.health import Health
from providerhub._settings.settings import Settings
from providerhub._values import Completion, Message, ProviderConfig, RoutePlan
from providerhub._values.capabilities import ProviderInfo
from providerhub._values.errors import ConfigurationError
from providerhub._values.provider import Provider

if TYPE_CHECKING:  # slow to import; most programs need none of it
    from concurrent.futures import Executor

AnyChain = TypeVar("AnyChain", Chain, AsyncChain)


class Hub:
    """Providers, their health, and the calls to them. One for a whole application is usual.

    Thread-safe: every method may be called from any thread at any time, `register` and `close` included. What it returns
    belongs to its caller: a `Stream` is read by one thread, and only its `close` may be called from another.

    Args:
        settings: What to do and with whom; what it leaves open is taken from the environment. Without it, the settings file is
            read as well: `Settings.load()`.
        providers: Provider objects to take directly, each as `(info, provider)`.
        clock: The time to go by; a test may hand in `providerhub.testing.FakeClock()`, whose waits take no time.
        rng: Gives numbers from 0 up to 1, which spread waits and choices; a test may hand in one that repeats itself.

    Raises:
        ConfigurationError: The settings file is wrong, or the settings or the environment name what is not installed.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        providers: Sequence[tuple[ProviderInfo, Provider]] = (),
        clock: Clock | None = None,
        rng: Callable[[], float] | None = None,
    ) -> None:
        self.settings = Settings.load() if settings is None else settings.with_environment(os.environ)
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random().random  # noqa: S311 -- spreads waits; nothing depends on its being hard to guess
        self._plugins = Plugins(self.settings)
        self._registry = Registry(self._plugins, self.settings)
        self._health = Health(self._rng, self.settings.breaker, budget=self.settings.budget)
        self._router = Router(self._registry, self._health, self.settings, self._rng)
        self._rankers = Rankers(self._plugins.hooks("providerhub_rank"))
        hooks = ("providerhub_attempt_started", "providerhub_attempt_finished", "providerhub_call_finished")
        self._observers = Observers(*map(self._plugins.hooks, hooks))
        self._objects: list[str] = []
        for pair in providers:
            if not isinstance(pair, Sequence) or len(pair) != 2:  # noqa: PLR2004 -- a pair
                msg = f"providers must be pairs of a ProviderInfo and a provider object, not {type(pair).__name__}"  # type: ignore[unreachable]
                raise ConfigurationError(msg)
            self.register(*pair)

    def register(self, info: ProviderInfo, provider: Provider, *, config: ProviderConfig | None = None) -> None:
        """Take a provider object directly, without packaging.

        Args:
            info: Its name, models and capabilities.
            provider: The object; only `stream(request, call)` is required of it.
            config: Its priority and weight, and settings where it declares any.

        Raises:
            AmbiguousProviderError: The name is taken.
            ConfigurationError: That is no `ProviderInfo`, or the object has no method `stream(request, call)`.
        """
        if not isinstance(info, ProviderInfo) or not callable(getattr(provider, "stream", None)):
            wrong = provider if isinstance(info, ProviderInfo) else info
            msg = f"register a ProviderInfo, and an object with a method stream(request, call), not {type(wrong).__name__}"
            raise ConfigurationError(msg)
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
            hedge: When nothing has come for as long as 95% of the model's past answers took to begin, ask one more provider
                beside the first; the first to have content wins, the other is cancelled. It is paid for from the second
                one's retry budget, and may cost the tokens of two answers.
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
        has not begun, and calls under way as far as their provider obeys its `CallContext`; threads of its own are waited for.
        What runs in another process is left to it.

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
        return complete_many_by(self._stoppable, requests, concurrency=concurrency, executor=executor)

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
        return self._plan(self._ask(model, messages, stream=stream, **knobs), self._clock.monotonic(), dry=True).plan

    def plugins(self) -> tuple[PluginRecord, ...]:
        """All installed plugins with their state; a ready one without its settings is shown as *not configured*."""
        return tuple(map(self._shown, self._plugins.load_all()))

    def instances(self) -> tuple[InstanceView, ...]:
        """Every provider by name, with its plugin, state and models: installed, configured or registered."""
        return views(self._registry)

    def refresh(self) -> bool:
        """Ask every provider that can list its models to do so now; true when that brought any. `instances()` has them then."""
        return self._registry.discover(again=True)

    def malformed(self) -> tuple[Malformed, ...]:
        """Distributions and hook plugins that could not be read."""
        return tuple(self._plugins.malformed)

    def close(self) -> None:
        """Close all provider objects that were made here. The hub may be used again; it then makes new ones.

        Objects that were registered belong to whoever made them. Where event loops were used, `await hub.aclose()` in the
        loop closes what only awaiting can close.
        """
        self._registry.close()

    async def aclose(self) -> None:
        """`close`, in an event loop: provider objects of this loop are awaited where they have an `aclose()`."""
        await self._registry.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as its settings, keys included; each process makes one hub of equal settings."""
        return handle(type(self), self.settings, self._objects)

    def _stoppable(self, running: Running, /, **knobs: Any) -> Completion:
        """`complete`, which `running.stop()` can end from another thread."""
        chain = self._chain(Chain, stream=False, **knobs)
        with running.holding(chain):
            chain.run()
        return chain.completion

    def _shown(self, record: PluginRecord) -> PluginRecord:
        instance = self._registry.instance(record.name) if record.state == "ready" else None
        if instance is None or not instance.missing:
            return record
        return attrs.evolve(record, state="not configured", reason=instance.reason)

    def _ask(self, model: ModelSpec, messages: str | Sequence[Message], *, stream: bool, **knobs: Unpack[Knobs]) -> Ask:
        if knobs:
            refuse_unknown(knobs)
        return ask(self.settings, self._registry, model, messages, stream=stream, **knobs)

    def _chain(
        self,
        driver: type[AnyChain],
        model: ModelSpec,
        messages: str | Sequence[Message],
        *,
        stream: bool,
        **knobs: Unpack[Knobs],
    ) -> AnyChain:
        """Whatever a call needs before its first attempt."""
        asked = self._ask(model, messages, stream=stream, **knobs)
        now = self._clock.monotonic()
        deadline = now + asked.timeout.total
        planned = self._plan(asked, now)
        engine = Engine(
            planned.plan, asked.retry, self._health, deadline=deadline, rng=self._rng, now=now, stream=stream,
            on_interrupt=asked.on_interrupt, hedge=asked.hedge, force=planned.force,
        )  # fmt: skip
        return driver(
            engine, self._registry, asked.request, asked.options, timeout=asked.timeout, deadline=deadline,
            observers=self._observers, clock=self._clock, prefill=asked.needs.prefill,
        )  # fmt: skip

    def _plan(self, asked: Ask, now: float, *, dry: bool = False) -> Planned:
        request = asked.request
        planned = self._router.plan(
            asked.model, asked.needs, now=now, strategy=asked.strategy, dry=dry,
            tokens=lambda: token_bound(request.messages) + (request.max_tokens or 0),
        )  # fmt: skip
        if not self._rankers:
            return planned
        order = self._rankers.order(request, planned.plan.candidates)
        return attrs.evolve(planned, plan=attrs.evolve(planned.plan, candidates=order))
