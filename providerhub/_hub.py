"""The hub: one set of settings, plugins and health records, and the calls that go through them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

import attrs

from providerhub._calling.around import GoOn
from providerhub._calling.handle import Handle, handle, let_keys_through_pipes
from providerhub._calling.keywords import Knobs, as_awaited, documented
from providerhub._calling.making import CallMaker, async_chain, check_objects, settings_of
from providerhub._calling.many_outcome import PASSES, Outcome
from providerhub._calling.messages import Conversation
from providerhub._calling.other_calls import EmbeddingKnobs, count_of, counting_spec, embedding_spec, embeddings_of
from providerhub._calling.stream import AsyncStream, Stream
from providerhub._finding.discovery import Malformed, PluginRecord
from providerhub._finding.instance import lack_of
from providerhub._finding.registry import ModelSpec
from providerhub._finding.routing import set_all_limits
from providerhub._finding.views import InstanceView, views
from providerhub._rules.clock import Clock
from providerhub._rules.pacing import health_records
from providerhub._rules.sharing import FORGIVEN
from providerhub._settings.settings import Settings
from providerhub._values import Candidate, Completion, Embeddings, HealthRecord, ProviderConfig, Request, RoutePlan, TokenCount
from providerhub._values.capabilities import ProviderInfo
from providerhub._values.checks import hinted
from providerhub._values.errors import ConfigurationError
from providerhub._values.provider import Provider
from providerhub._values.shared import Shared, SharedState

if TYPE_CHECKING:  # slow to import; most programs need none of it
    from concurrent.futures import Executor

    from providerhub._calling.many import Many
    from providerhub._calling.vendor_batches import VendorBatches


class Hub(CallMaker):
    """Providers, their health records, and the calls to them. Most applications need one hub.

    Thread-safe: every method may be called from any thread at any time, even `register` and `close`. Read a returned `Stream` in
    one thread only; its `close` may be called from another thread.

    Args:
        settings: Defaults, aliases and configured providers. Missing values come from the environment. Default:
            `Settings.load()`, which also reads the settings file.
        providers: Provider objects, each as a pair `(info, provider)`, as for `register`.
        observers: Objects whose methods marked with `@hookimpl` are called like the hooks of a plugin in group
            `providerhub.hooks`: `providerhub_call_started`, `providerhub_attempt_started`, `providerhub_chunk`,
            `providerhub_attempt_finished`, `providerhub_call_finished`.
        rankers: Callables `(request, candidates)` that return the candidates in the order to try, like the hook
            `providerhub_rank`. They run before the plugins' rankers. The first ranker that returns an order decides.
        around: Callables `(request, go_on)` around each call, the outermost first, for guardrails and redaction. Each is called
            once per call, before the plan is made, with the `Request` and a `GoOn`. It returns the result of `go_on(request)` or
            another `Completion`, or raises. It may change the request; the hub checks the changed request again. Content that the
            callable gets counts as delivered to the caller. For `embed`, the request is an `EmbeddingRequest`, and the vectors
            are in `Completion.details["vectors"]`. `explain` skips the callables. Coroutine functions work only with `acomplete`
            and `aembed`.
        cache: The cache of answers (needs `providerhub-cache`): `"memory"`, a folder, the address of a server, a mapping of the
            keys of the table `[cache]`, true for `"memory"`, or false for no cache. Default: `cache` of the settings.
        wire_log: Path of a file to which each request and answer is appended, without keys; `"-"` for standard error. Default:
            `wire_log` of the settings.
        shared: The store through which several processes share pauses and limits: an address, a `Shared`, or an object with the
            methods of `SharedState`. Default: `shared` of the settings. The hub closes a store that it has created.
        clock: The clock for monotonic time and sleeping. A test may pass `providerhub.testing.FakeClock()`, whose waits take no
            time.
        rng: A function that returns random numbers from 0 up to 1, for waits and choices. A test may pass a repeatable function.

    Raises:
        ConfigurationError: The settings file is wrong, the settings or the environment name a provider that is not installed,
            or an argument has the wrong type.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        providers: Sequence[tuple[ProviderInfo, Provider]] = (),
        observers: Sequence[object] = (),
        rankers: Sequence[Callable[..., Sequence[Candidate] | None]] = (),
        around: Sequence[Callable[[Request, GoOn], Any]] = (),
        cache: Mapping[str, Any] | str | bool | None = None,
        wire_log: str | None = None,
        shared: Shared | SharedState | str | None = None,
        clock: Clock | None = None,
        rng: Callable[[], float] | None = None,
    ) -> None:
        check_objects(rankers=rankers, around=around, observers=observers, providers=providers)
        self._objects: list[str] = [getattr(one, "__qualname__", type(one).__name__) for one in around]
        found = settings_of(settings, cache=cache, wire_log=wire_log)
        super().__init__(found, observers=observers, rankers=rankers, around=around, shared=shared, clock=clock, rng=rng)
        for pair in providers:
            self.register(*pair)

    def register(self, info: ProviderInfo, provider: Provider, *, config: ProviderConfig | None = None) -> None:
        """Add a provider object, without packaging.

        Args:
            info: The provider's name, models and capabilities.
            provider: The object. It needs a method `stream(request, call)`; `astream`, `close` and `aclose` are optional.
            config: Priority, weight, and values for the settings that `info` declares.

        Raises:
            AmbiguousProviderError: The name is taken.
            ConfigurationError: `info` is not a `ProviderInfo`, or the object has no method `stream(request, call)`.
        """
        wanted = "register a ProviderInfo, and an object with a method stream(request, call), not "
        if not isinstance(info, ProviderInfo):
            raise ConfigurationError(f"{wanted}{type(info).__name__}")
        if lack := lack_of(provider):
            raise ConfigurationError(f"{wanted}{type(provider).__name__}, {lack}")
        self._registry.add(info, provider, config)
        if config is not None:
            set_all_limits(self._pacer, info.name, config)
        self._objects.append(info.name)

    @overload
    def complete(
        self, model: ModelSpec, messages: Conversation, *, stream: Literal[False] = False, **knobs: Unpack[Knobs]
    ) -> Completion: ...
    @overload
    def complete(self, model: ModelSpec, messages: Conversation, *, stream: Literal[True], **knobs: Unpack[Knobs]) -> Stream: ...
    @overload
    def complete(
        self, model: ModelSpec, messages: Conversation, *, stream: bool, **knobs: Unpack[Knobs]
    ) -> Completion | Stream: ...
    @documented
    def complete(
        self, model: ModelSpec, messages: Conversation, *, stream: bool = False, **knobs: Unpack[Knobs]
    ) -> Completion | Stream:
        """Ask for an answer. The hub chooses the provider. When a provider fails, it asks the next provider.

        Args:
            model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
            messages: A text, or a list of messages in the OpenAI chat shape. `Completion`s may stand among them; texts and parts
                such as `image("cat.png")` become one user message.
            stream: Return a `Stream` as soon as the first content has come.
            **knobs: Each keyword of the table in `_calling/keywords.py`.

        Returns:
            A `Completion`, or a `Stream` with `stream=True`.

        Raises:
            CallerError: The call is wrong, or no provider can serve it. Nothing was sent.
            ProviderError: Every attempt failed with this class of error, or the call stopped because of this error.
            AllProvidersFailedError: The attempts failed with different classes of errors.
            DeadlineExceededError: The total time of the call is over.
        """
        return self._call(self._spec(model, messages, stream=stream, **knobs))  # type: ignore[no-any-return]

    @overload
    async def acomplete(
        self, model: ModelSpec, messages: Conversation, *, stream: Literal[False] = False, **knobs: Unpack[Knobs]
    ) -> Completion: ...
    @overload
    async def acomplete(
        self, model: ModelSpec, messages: Conversation, *, stream: Literal[True], **knobs: Unpack[Knobs]
    ) -> AsyncStream: ...
    @overload
    async def acomplete(
        self, model: ModelSpec, messages: Conversation, *, stream: bool, **knobs: Unpack[Knobs]
    ) -> Completion | AsyncStream: ...
    @as_awaited(complete)
    async def acomplete(
        self, model: ModelSpec, messages: Conversation, *, stream: bool = False, **knobs: Unpack[Knobs]
    ) -> Completion | AsyncStream:
        """`complete`, awaited in the running event loop.

        A provider without `astream` runs in a separate thread. When the task is cancelled, a provider that obeys its
        `CallContext` closes the connection at once. Any other provider is stopped at its next piece.
        """
        async_chain()
        return await self._acall(self._spec(model, messages, stream=stream, **knobs))  # type: ignore[no-any-return]

    @documented
    def embed(
        self, model: ModelSpec, texts: str | Sequence[str], *, dimensions: int | None = None, **knobs: Unpack[EmbeddingKnobs]
    ) -> Embeddings:
        """Turn texts into vectors. The hub chooses the provider, and asks another provider after a failure, as in `complete`.

        A long list of texts is split into several requests. All vectors of a call come from one model: after a failure, the next
        candidate gets all texts again. To compare vectors of two calls, name one model, not a sequence.

        Args:
            model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
            texts: At least one text; no text may be empty. A single `str` counts as a list of one.
            dimensions: The length of the vectors, if the model supports several; `None`, the default, for the model's own length.
            **knobs: `timeout`, `retry`, `strategy`, `hedge`, `metadata` and `options`, as in `complete`.

        Returns:
            The vectors in the order of the texts, with the model and the provider that answered.

        Raises:
            ProviderHubError: The same errors as `complete`.
        """
        return embeddings_of(self._call(self._special(embedding_spec, model, texts, dimensions=dimensions, **knobs)))

    @as_awaited(embed)
    async def aembed(
        self, model: ModelSpec, texts: str | Sequence[str], *, dimensions: int | None = None, **knobs: Unpack[EmbeddingKnobs]
    ) -> Embeddings:
        """`embed`, awaited in the running event loop."""
        async_chain()
        return embeddings_of(await self._acall(self._special(embedding_spec, model, texts, dimensions=dimensions, **knobs)))

    @documented
    def count_tokens(self, model: ModelSpec, messages: Conversation, **knobs: Unpack[Knobs]) -> TokenCount:
        """Ask a service for the number of input tokens of a request. The hub chooses the provider as in `complete`.

        After a failure, or if a provider cannot count, the call asks the next candidate. Providers count differently. To compare
        two counts, name one model, or pin a provider. A count is free; `tpm` and budgets do not apply.

        Args:
            model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
            messages: The conversation, as in `complete`.
            **knobs: The keywords of `complete`. Keywords that the provider gets, such as `tools`, count.

        Returns:
            The service's count or estimate, with the model and the provider.

        Raises:
            CapabilityError: No candidate can count.
            ProviderHubError: The same errors as `complete`.
        """
        return count_of(self._call(self._special(counting_spec, model, messages, **knobs)))

    @as_awaited(count_tokens)
    async def acount_tokens(self, model: ModelSpec, messages: Conversation, **knobs: Unpack[Knobs]) -> TokenCount:
        """`count_tokens`, awaited in the running event loop."""
        async_chain()
        return count_of(await self._acall(self._special(counting_spec, model, messages, **knobs)))

    @documented
    def complete_many(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = 8,
        executor: Executor | str | None = None,
        passes: int = PASSES,
    ) -> Generator[Outcome, None, None]:
        """Make many calls at once. Each outcome is yielded as soon as its call has ended, in any order.

        An error of one call, even a malformed request, becomes the outcome of this request and stops no other call. After a
        temporary failure (a rate limit, a timeout, a failed connection, a server error), the request is tried again after the end
        of the input, or while the input is idle; see `passes`. An exception of the input, or of an executor that refuses work, is
        raised after the outcomes of all requests that were read.

        While every candidate of a request is paused, the request waits; its timeout begins when it is sent. If a provider refuses
        its key again after the pause, has no quota left, or asks for a wait of more than 10 minutes, its error is raised after
        the outcomes of the running calls. Requests without an outcome were not answered. `forgive` lets requests that wait for
        the provider go at once. After `close`, nothing more is sent, and an error is raised. While a service cannot list its
        models, a request for an unknown model is tried again after a minute.

        The caller's thread reads a list or tuple. A separate thread reads any other input. Leaving early cancels the calls. The
        guide to batches has the details.

        Args:
            requests: One mapping of `complete`'s arguments for each call, such as `{"model": ..., "messages": ...}`; `stream`
                is refused.
            concurrency: The maximum number of calls at once; 1 or more, default 8. Running calls and outcomes that are not yet
                yielded count. A request that waits for a further try does not count.
            executor: Any `concurrent.futures.Executor`, which stays open. Or `"processes"`, `"processes:4"`, or an executor of a
                plugin, such as `"dask://host:8786"`, which ends with the last outcome. Default: `concurrency` threads. Each other
                process makes one hub from this hub's settings, with its own breakers, budgets and connections. When a process is
                killed, its running requests are sent once more; see `Outcome.resent`.
            passes: The maximum number of further tries after a temporary failure; 0 or more, default 3. Each try follows a
                random, growing backoff, and may use all `RetryPolicy.attempts` at one provider. At most 10,000 requests wait in
                memory; the others wait in a temporary file.

        Yields:
            One `Outcome` for each request; its `index` is the request's place in the input, from 0.

        Raises:
            InvalidRequestError: An argument has the wrong shape. Nothing was taken from the input.
            ConfigurationError: The executor is not installed or cannot be opened.
            ProviderError: The providers refuse further requests, as described above.
        """
        return self._many(requests, concurrency=concurrency, executor=executor, passes=passes).outcomes()

    @documented
    def acomplete_many(
        self,
        requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        concurrency: int = 8,
        passes: int = PASSES,
    ) -> AsyncGenerator[Outcome, None]:
        """`complete_many` in the running event loop: `async for outcome in hub.acomplete_many(requests)`.

        Each call is a task. An async iterable is read in a separate task, a list or tuple at once, and any other iterable in a
        thread. To leave early, use `async with contextlib.aclosing(...)`: its end cancels the tasks and waits for them.

        Args:
            requests: One mapping of `acomplete`'s arguments for each call, as an iterable or async iterable.
            concurrency: The maximum number of calls at once; 1 or more, default 8.
            passes: The maximum number of further tries after a temporary failure; 0 or more, default 3.

        Returns:
            An async generator of one `Outcome` for each request.

        Raises:
            InvalidRequestError: An argument has the wrong shape. Nothing was taken from the input.
            ProviderError: The providers refuse further requests, as in `complete_many`.
        """
        from providerhub._calling.many_async import AsyncMany

        return self._many_of(AsyncMany, self._patiently, requests, concurrency=concurrency, passes=passes).outcomes()

    @property
    def batches(self) -> VendorBatches:
        """Batches at the vendors, which answer within a day at about half the price. It has `outcomes`, `states` and `cancel`."""
        from providerhub._calling.vendor_batches import VendorBatches

        return VendorBatches(self._clock, self._registry, self._spec, self._candidates, self.complete_many, self._waiting)

    @documented
    def explain(
        self, model: ModelSpec, messages: Conversation = "?", *, stream: bool = False, **knobs: Unpack[Knobs]
    ) -> RoutePlan:
        """Return the plan that `complete` would follow with the same arguments. Send nothing and change no state.

        Args:
            model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
            messages: A text, or a list of messages in the OpenAI chat shape. `Completion`s may stand among them; texts and parts
                such as `image("cat.png")` become one user message.
            stream: Whether the call would stream.
            **knobs: Each keyword of the table in `_calling/keywords.py`.

        Returns:
            The candidates in order, and the excluded providers, each with its reason.

        Raises:
            CallerError: As in `complete`.
        """
        return self._explain(self._spec(model, messages, stream=stream, **knobs))

    def plugins(self) -> tuple[PluginRecord, ...]:
        """Every installed plugin with its state. A plugin without a required setting is shown as *not configured*."""
        return tuple(map(self._shown, self._plugins.load_all()))

    def instances(self) -> tuple[InstanceView, ...]:
        """Every provider that is installed, configured or registered, with its plugin, state and models; sorted by name."""
        return views(self._registry)

    def refresh(self) -> bool:
        """Ask each service that can list its models for the list now. `instances()` shows the result.

        Returns:
            Whether a service listed any model.
        """
        return self._preparer.refresh(self._clock.monotonic())

    def malformed(self) -> tuple[Malformed, ...]:
        """The distributions and hook plugins that could not be read, each with the reason."""
        return tuple(self._plugins.malformed)

    def health(self) -> tuple[HealthRecord, ...]:
        """The health of each provider and model that was asked or has limits, sorted by name. Sends nothing."""
        return health_records(self._health, self._pacer, self._clock.monotonic())

    def forgive(self, name: str) -> None:
        """Let the next calls ask a provider again at once, for example after the end of an outage.

        This lifts pauses, closes breakers, and forgets learned rates and missing abilities. Calls that wait for the provider go
        on at once. Limits of the settings stay.

        Args:
            name: The name of the provider instance, as in `instances()`.

        Raises:
            ConfigurationError: There is no provider of this name.
        """
        if name not in (known := self._registry.names()):
            msg = f"cannot forgive {name!r}: there is no provider of this name; the providers are: {', '.join(known) or 'none'}"
            raise ConfigurationError(msg)
        self._lift(name)
        if self._sharing is not None:
            self._sharing.tell((name, ""), FORGIVEN, 0.0)

    def close(self) -> None:
        """Close the provider objects that the hub made. Later calls, and calls without an answer yet, raise `RuntimeError`.

        Returned streams and running calls of `complete_many` go on. The caller closes the objects that it registered. After calls
        in an event loop, use `await hub.aclose()` in that loop, which also closes asynchronous connections.
        """
        self._end_calls()
        self._registry.close()

    async def aclose(self) -> None:
        """`close`, in an event loop. It also awaits `aclose()` of this loop's provider objects.

        An open stream of this loop raises `StreamInterruptedError`.
        """
        self._end_calls()
        await self._registry.aclose()

    def _end_calls(self) -> None:
        for many in tuple(self._open_many):
            many.report(many.schedule.closed)
        self._waiting.stop()
        if self._sharing is not None:
            self._sharing.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> Handle:
        """Pickle the hub as its settings, without keys. Each process makes one hub of equal settings."""
        return handle(type(self), self._registry, self._objects)

    def _many(self, items: Iterable[Any], *, executor: Executor | str | None = None, **how: Any) -> Many:
        """The calls of `complete_many`, as an object to which the command line gives further items, and which it stops."""
        from providerhub._calling.many import Many

        if executor is not None:
            let_keys_through_pipes(type(self))
        if isinstance(executor, str) and not executor.startswith("processes"):
            self.__reduce__()  # raises for objects that cannot go to another machine, before the input is read
        return self._many_of(Many, self._stoppable, items, executor=executor, **how)

    def _shown(self, record: PluginRecord) -> PluginRecord:
        instance = self._registry.instance(record.name) if record.state == "ready" else None
        if instance is None or not instance.missing:
            return record
        return attrs.evolve(record, state="misconfigured" if instance.is_wrong else "not configured", reason=instance.reason)


Hub.__init__ = hinted(Hub.__init__, "Hub")  # type: ignore[method-assign]
