"""The base of HTTP providers: an author writes the translation, and gets both transports.

>>> from providerhub import Finish, ProviderConfig
>>> from providerhub.wire_provider import HttpRequest, JsonReading, WireProvider
>>> class Acme(WireProvider):
...     def build(self, request, call):
...         return HttpRequest("/talk", {"say": request.messages[-1]["content"]}, stream=request.stream)
...
...     def reading(self, request, call, headers):
...         return AcmeReading(call, headers)
>>> class AcmeReading(JsonReading):  # an answer is one object, or server-sent events with an object in each
...     def event(self, data, name):
...         yield data["text"]
...         if data.get("end"):
...             self.done = True
...             yield Finish("stop")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from time import monotonic
from typing import Any

from providerhub._rules.mapping import UNREADABLE, map_exception
from providerhub._values import EmbeddingRequest, Embeddings, ModelInfo, ProviderConfig, Request, Timeout
from providerhub._values.errors import BadRequestError, CapabilityError, PluginError, ProviderError, ProviderHubError
from providerhub._values.provider import CallContext, Piece
from providerhub.http import AsyncHttpClient, HttpAnswer, HttpClient, HttpRequest, Wire
from providerhub.http._answer import Answer
from providerhub.http._async_answer import AsyncAnswer
from providerhub.http._blocks import Failures, held_up, lingering
from providerhub.http._fetched import Fetched
from providerhub.http._orders import AnyRequest, Blocking, Order, Result, aworked, begun, extended, parted, worked
from providerhub.wire import JsonReading, Reading
from providerhub.wire.reading import awaited

__all__ = ["Blocking", "Fetched", "HttpAnswer", "HttpRequest", "JsonReading", "Order", "Reading", "WireProvider", "listed"]

Built = HttpRequest | Generator[Order, Any, HttpRequest]
"""The result of `build`."""

Steps = Callable[[AnyRequest, CallContext], Generator[Order, Any, Result]]

_NONE: Mapping[str, Any] = {}

LISTING_TIMEOUT = Timeout(connect=5.0, byte_idle=10.0, total=20.0)
"""The timeouts of `listed` without a call."""


class WireProvider(Wire):
    """Answers a request by one HTTP request, synchronously and under asyncio.

    A subclass writes `build` and `reading`, and may override the other methods and attributes. It writes no I/O.

    Args:
        config: The configuration of the instance.

    Raises:
        ConfigurationError: The configuration cannot be used; see `HttpClient`.

    Attributes:
        config: The instance's configuration.
        http: The client that sends the requests of synchronous calls.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.http = HttpClient(config, wire=self)
        self._aio: AsyncHttpClient | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "stream" in vars(cls) and "astream" not in vars(cls):
            cls.astream = None  # type: ignore[assignment,method-assign]  # a thread runs `stream`

    def build(self, request: Request, call: CallContext) -> Built:
        """Write a request in the form of the service.

        Args:
            request: The request. Its options `extra_headers`, `extra_query` and `extra_body` are applied by the toolkit.
            call: The call, for notes.

        Returns:
            The HTTP request. Or a generator that yields other `HttpRequest`s first, for example to fetch a token, gets their
            `HttpAnswer`s, and returns the request at its end. It may yield `Blocking` for work that has to run in a thread. A
            failure is raised at the `yield`. If it leaves `build`, the next provider is asked.

        Raises:
            InvalidRequestError: The wire cannot express a part of the request.
        """
        del request, call
        raise _missing(self, "build")

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        """Make the reader of one answer, streamed or not.

        Args:
            request: The request that is answered.
            call: The call, for notes.
            headers: The headers of the answer; their names are looked up without regard to case.

        Returns:
            A new reader, such as a `JsonReading`.
        """
        del request, call, headers
        raise _missing(self, "reading")

    embedding_limit = 100
    """The maximum number of texts in one request for embeddings."""

    embedding_characters: float = float("inf")
    """The maximum number of characters in one request for embeddings, unless a single text has more."""

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings. Override this for a service with embeddings.

        Args:
            request: The request, within the limits above. Its options `extra_headers`, `extra_query` and `extra_body` are applied
                by the toolkit.
            call: The call, for notes.

        Returns:
            A generator that yields `HttpRequest`s or `Blocking`, gets their results, and returns the vectors.

        Raises:
            CapabilityError: The service has no embeddings. The default raises this.
        """
        del request, call
        raise CapabilityError("the provider has no embeddings", capability="embeddings")

    def counting(self, request: Request, call: CallContext) -> Generator[Order, Any, int]:
        """Ask for the number of input tokens of a request. Override this for a service that counts tokens.

        Args:
            request: The request, as in `build`.
            call: The call, for notes.

        Returns:
            A generator that yields `HttpRequest`s or `Blocking`, gets their results, and returns the number, for example from
            `HttpAnswer.number`.

        Raises:
            CapabilityError: The service does not count tokens. The default raises this.
        """
        del request, call
        raise CapabilityError("the service does not count tokens; name a model of another provider")

    def models(self) -> Generator[Order, Any, Iterable[ModelInfo | str]]:
        """List the models of the service, for `discover`. Override this for a service with a list.

        Returns:
            A generator that yields `HttpRequest`s (one for each page or model) or `Blocking`, gets their results, and returns the
            models.
        """
        raise _missing(self, "models")

    @classmethod
    def discover(cls, config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo | str]:
        """Ask the service for its models: `ProviderInfo(discover="acme.provider:Acme.discover")`.

        Args:
            config: The configuration of the instance.
            call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT`.

        Returns:
            The models.

        Raises:
            ProviderError: The service refused, or its answer is not a list of models.
        """
        provider = cls(config)
        return listed(provider, provider.models(), call)

    def embed(self, request: EmbeddingRequest, call: CallContext) -> Embeddings:
        """Turn texts into vectors.

        Args:
            request: The request, within the provider's limits.
            call: The call: its timeouts and whether it is cancelled.

        Returns:
            The vectors.
        """
        return self._found(self.embedding, request, call)

    async def aembed(self, request: EmbeddingRequest, call: CallContext) -> Embeddings:
        """Turn texts into vectors under asyncio, as `embed` does.

        Args:
            request: The request, within the provider's limits.
            call: The call: its timeouts and whether it is cancelled.

        Returns:
            The vectors.
        """
        return await self._afound(self.embedding, request, call)

    def count_tokens(self, request: Request, call: CallContext | None = None) -> int:
        """Ask the service for the number of input tokens of a request.

        Args:
            request: The request, with its system text, tools and media.
            call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT`.

        Returns:
            The number of tokens, as the service counts or estimates it.

        Raises:
            CapabilityError: The service does not count tokens.
            ProviderError: The service refused, or its answer has no number.
        """
        return self._found(self.counting, request, call or CallContext(LISTING_TIMEOUT))

    async def acount_tokens(self, request: Request, call: CallContext | None = None) -> int:
        """Ask for the number of input tokens under asyncio, as `count_tokens` does.

        Args:
            request: The request, with its system text, tools and media.
            call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT`.

        Returns:
            The number of tokens, as the service counts or estimates it.
        """
        return await self._afound(self.counting, request, call or CallContext(LISTING_TIMEOUT))

    def failed(self, error: ProviderError) -> ProviderError:
        """Return the error to raise for a failure of any kind. The default returns the error itself.

        Args:
            error: The failure, without secrets.

        Returns:
            The same error, changed or not, or another error.
        """
        return error

    def stream(self, request: Request, call: CallContext) -> Iterator[Piece]:
        """Answer a request; see `Provider.stream`."""
        with Failures(self, call) as block:
            asked = self._built(request, call)
            if not isinstance(asked, HttpRequest):
                asked = self._run(asked, call)
            with self.http.send(asked, call) as answer:
                reading = self._reading(request, call, answer.headers)
                with lingering(reading, call):
                    for data in answer:
                        block.data = data
                        given = None
                        for given in reading.feed(data):
                            yield given
                            if not call.idles:
                                answer.token(given)
                        _passed(given, reading, answer, call)
                        if reading.done:
                            if not reading.surplus:
                                answer.finished()
                            break
                yield from reading.end()

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Piece]:
        """Answer a request under asyncio, as `stream` does. A subclass that overrides only `stream` has no `astream`.

        Args:
            request: The request.
            call: The call: its timeouts and whether it is cancelled.

        Yields:
            The pieces of the answer.
        """
        with Failures(self, call) as block:
            since = monotonic()
            asked = self._built(request, call)
            held_up(self, since, call)
            if not isinstance(asked, HttpRequest):
                asked = await self._arun(asked, call)
            with await self._async_client().send(asked, call) as answer:
                reading = self._reading(request, call, answer.headers)
                with lingering(reading, call):
                    while not reading.done and (data := await answer.next()):
                        block.data = data
                        given = None
                        for given in reading.feed(data):  # as above, since a piece must not pay for a generator that both share
                            yield given
                            if not call.idles:
                                answer.token(given)
                        _passed(given, reading, answer, call)
                    if reading.done and not reading.surplus:
                        await answer.finished()
                for piece in reading.end():
                    yield piece

    def carry_out(self, steps: Generator[Order, Any, Result], call: CallContext) -> Result:
        """Execute the orders of a generator, such as a method for batches, and return its result.

        Args:
            steps: The generator. It yields `HttpRequest`s, gets their `HttpAnswer`s, and may yield `Blocking`.
            call: The timeouts of all requests together.

        Returns:
            The result of the generator.

        Raises:
            ProviderError: A request failed, and the generator did not handle it.
        """
        with Failures(self, call):
            return self._run(steps, call)

    def asked(self, request: Request, call: CallContext) -> Generator[Order, Any, HttpRequest]:
        """Write a request for a batch.

        Args:
            request: The request, without streaming.
            call: The call, for notes.

        Yields:
            The orders of `build`.

        Returns:
            The HTTP request; it is not sent.
        """
        built = self._built(request, call)
        return built if isinstance(built, HttpRequest) else (yield from built)

    def answered(self, request: Request, call: CallContext, body: bytes) -> Iterator[Piece]:
        """Read a whole answer from the results of a batch.

        Args:
            request: The request that is answered.
            call: The call, for notes.
            body: The answer as JSON.

        Yields:
            The pieces of the answer.
        """
        with Failures(self, call, body):
            reading = self._reading(request, call, {"Content-Type": "application/json"})
            yield from reading.feed(body)
            yield from reading.end()

    def close(self) -> None:
        """Close the idle connections. An event loop closes its connections when it runs next."""
        self.http.close()
        if self._aio is not None:
            self._aio.close()

    async def aclose(self) -> None:
        """Close the idle connections, and wait for the connections of the running event loop."""
        self.http.close()
        if self._aio is not None:
            await self._aio.aclose()

    def _async_client(self) -> AsyncHttpClient:
        if self._aio is None:
            self._aio = AsyncHttpClient(self.http.config, body_limit=self.http.body_limit, wire=self.http.wire)
        return self._aio

    def _built(self, request: Request, call: CallContext) -> Generator[Order, Any, HttpRequest] | HttpRequest:
        """Call `build`, and apply the options that every wire has. Return a generator only if `build` does."""
        request, extras = parted(request)
        try:
            built = self.build(request, call)
        except UNREADABLE as error:
            if isinstance(error, ProviderHubError):
                raise
            found = map_exception(error, provider=self.http.config.name, model="")
            found.uncounted = isinstance(found, PluginError)  # no service took part, so none is blamed
            raise found from error
        return built if isinstance(built, HttpRequest) and not extras else self._rest(built, extras)

    def _rest(self, built: object, extras: Mapping[str, Any]) -> Generator[Order, Any, HttpRequest]:
        if isinstance(built, Generator):
            try:
                built = yield from built
            except BadRequestError as error:
                error.uncounted = error.status is not None  # the service refused a request that `build` yielded
                raise
        if not isinstance(built, HttpRequest):
            raise _wrong(
                self, "build() returned", built, f"return an HttpRequest, or a generator that returns one{awaited(built)}"
            )
        return extended(built, extras)

    def _reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        reading: object = self.reading(request, call, headers)
        if not isinstance(reading, Reading):
            raise _wrong(self, "reading() returned", reading, "return a Reading, such as a JsonReading")
        if isinstance(reading, JsonReading):
            reading.refusal = partial(self.refusal, 200, headers)
        call.reads = True
        return reading

    def _found(self, steps: Steps[AnyRequest, Result], request: AnyRequest, call: CallContext) -> Result:
        """Carry out the orders for a request that is not one for an answer, with the options that every wire has."""
        with Failures(self, call):
            request, extras = parted(request)
            return self._run(steps(request, call), call, extras)

    async def _afound(self, steps: Steps[AnyRequest, Result], request: AnyRequest, call: CallContext) -> Result:
        with Failures(self, call):
            request, extras = parted(request)
            return await self._arun(steps(request, call), call, extras)

    def _run(self, steps: Generator[Order, Any, Result], call: CallContext, extras: Mapping[str, Any] = _NONE) -> Result:
        """Carry out the orders of a generator, and return its result. `extras`: options that each request gets."""
        turn = begun(steps)
        while True:
            try:
                order = turn()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            try:
                if isinstance(order, Blocking):
                    turn = partial(steps.send, worked(order, call))
                else:
                    turn = partial(steps.send, self.http.fetch(extended(_request(order, self), extras), call))
            except Exception as error:  # the generator may know what to do
                turn = partial(steps.throw, error)
            except BaseException:  # the call ends, and others may wait for the generator
                steps.close()
                raise

    async def _arun(self, steps: Generator[Order, Any, Result], call: CallContext, extras: Mapping[str, Any] = _NONE) -> Result:
        turn = begun(steps)
        while True:
            since = monotonic()
            try:
                order = turn()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                held_up(self, since, call)
            try:
                if isinstance(order, Blocking):
                    turn = partial(steps.send, await aworked(order, call))
                else:
                    fetched = await self._async_client().fetch(extended(_request(order, self), extras), call)
                    turn = partial(steps.send, fetched)
            except Exception as error:
                turn = partial(steps.throw, error)
            except BaseException:
                steps.close()
                raise


def listed(
    provider: WireProvider, steps: Generator[Order, Any, Iterable[ModelInfo | str]], call: CallContext | None = None
) -> list[ModelInfo | str]:
    """Ask a service for its models, for a plugin's `discover(config, call)`.

    Args:
        provider: A provider object; closed at the end.
        steps: A generator that yields `HttpRequest`s (one for each page or model), gets their `HttpAnswer`s, and returns the
            models. It may yield `Blocking`.
        call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT`.

    Returns:
        The models.

    Raises:
        ProviderError: The service refused, or its answer is not a list of models.
        PluginError: `steps` is not a generator, or returned no list.
    """
    try:
        found = provider.carry_out(steps, call or CallContext(LISTING_TIMEOUT))
        if isinstance(found, str | Mapping) or not isinstance(found, Iterable):
            raise _wrong(provider, "the generator of models returned", found, "return a list of ModelInfo or names")
        return list(found)
    finally:
        provider.close()


def _passed(given: Piece | None, reading: Reading, answer: Answer | AsyncAnswer, call: CallContext) -> None:
    """Restart the timeouts of the answer after a read, whose last piece is given."""
    if call.idles and given is not None:
        answer.token()  # once for all pieces of a read: the token-idle timeout is checked at the next read
    if reading.linger is not None:
        answer.linger(reading.linger)


def _request(order: object, provider: WireProvider) -> HttpRequest:
    if not isinstance(order, HttpRequest):
        raise _wrong(provider, "a generator yielded", order, "yield an HttpRequest or Blocking")
    return order


def _wrong(provider: WireProvider, what: str, value: object, fix: str) -> PluginError:
    return PluginError(f"{type(provider).__qualname__}: {what} {type(value).__name__}; {fix}")


def _missing(provider: WireProvider, method: str) -> PluginError:
    return PluginError(f"{type(provider).__qualname__}: the method {method}() is missing; write it as WireProvider.{method} says")
