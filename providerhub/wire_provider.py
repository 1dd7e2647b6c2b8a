"""The base of providers that speak HTTP: an author writes the translation, and gets both transports.

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
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import attrs

from providerhub._rules.mapping import map_exception
from providerhub._threads import PromptThread
from providerhub._values import EmbeddingRequest, Embeddings, ModelInfo, ProviderConfig, Request, Timeout
from providerhub._values.checks import CALLABLE, HEADERS, MAPPING
from providerhub._values.errors import (
    CapabilityError,
    InvalidRequestError,
    PluginError,
    ProviderConnectionError,
    ProviderError,
    ProviderHubError,
    ProviderTimeoutError,
)
from providerhub._values.provider import CallContext, Piece
from providerhub._values.value import Value
from providerhub.http import AsyncHttpClient, HttpAnswer, HttpClient, HttpRequest, Wire
from providerhub.http._async_client import is_installed
from providerhub.wire import JsonReading, Reading

if TYPE_CHECKING:  # slow to import; only a generator that blocks needs it
    from concurrent.futures import Future


@attrs.frozen(eq=False, repr=False)
class Blocking(Value):
    """Work that blocks, such as a library that fetches credentials. It runs in a thread, within the call's deadline.

    Args:
        work: Called without arguments. The generator that yielded this gets its result, or the exception that it raised.
    """

    work: Callable[[], Any] = attrs.field(validator=CALLABLE)


__all__ = ["Blocking", "HttpAnswer", "HttpRequest", "JsonReading", "Reading", "WireProvider", "listed"]

AnyRequest = TypeVar("AnyRequest", bound=Request)

Order = HttpRequest | Blocking
"""An order of a generator. The generator gets an `HttpAnswer`, or the result of the work."""

Built = HttpRequest | Generator[Order, Any, HttpRequest]
"""The result of `build`."""

LISTING_TIMEOUT = Timeout(connect=5.0, byte_idle=10.0, total=20.0)
"""The timeouts of `listed` without a call."""

_EXTRAS = {"extra_headers": HEADERS, "extra_query": MAPPING, "extra_body": MAPPING}
"""Options that every wire has, as the vendors' own clients have them."""


class WireProvider(Wire):
    """Answers a request by one HTTP request, synchronously and, with the extra `async`, under asyncio.

    A subclass writes `build` and `reading`, and may override the other methods and attributes. It writes no I/O.

    Args:
        config: The configuration of the instance.

    Raises:
        ConfigurationError: The configuration cannot be used; see `HttpClient`.

    Attributes:
        config: The instance's configuration.
        http: The client that sends the requests of synchronous calls.
    """

    astream: Any
    aembed: Any

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.http = HttpClient(config, wire=self)
        self._aio: AsyncHttpClient | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "stream" in vars(cls) and "astream" not in vars(cls):
            cls.astream = None

    def build(self, request: Request, call: CallContext) -> Built:
        """Write a request of the wire.

        Args:
            request: The request. Its options `extra_headers`, `extra_query` and `extra_body` are applied by the toolkit.
            call: The call, for notes.

        Returns:
            The HTTP request. Or a generator that yields other `HttpRequest`s first, such as one that fetches a token, gets their
            `HttpAnswer`s, and returns the request at its end. It may yield `Blocking` for work that has to run in a thread. A
            failure is raised at the `yield`.

        Raises:
            InvalidRequestError: The wire cannot express a part of the request.
        """
        raise NotImplementedError

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        """Make the reader of one answer, streamed or not.

        Args:
            request: The request that is answered.
            call: The call, for notes.
            headers: The headers of the answer; their names are looked up without regard to case.

        Returns:
            A new reader, such as a `JsonReading`.
        """
        raise NotImplementedError

    embedding_limit = 100
    """The most texts of one request for embeddings."""

    embedding_characters: float = float("inf")
    """The most characters of all texts of one request for embeddings, unless one text alone has more."""

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings. Override this for a service that has them.

        Args:
            request: The request, within the limits above. Its options `extra_headers`, `extra_query` and `extra_body` are applied
                by the toolkit.
            call: The call, for notes.

        Returns:
            A generator that yields `HttpRequest`s or `Blocking`, gets their results, and returns the vectors at its end.

        Raises:
            CapabilityError: The service has no embeddings. The default raises this.
        """
        del request, call
        raise CapabilityError("the provider has no embeddings", capability="embeddings")

    def models(self) -> Generator[Order, Any, Iterable[ModelInfo | str]]:
        """List the models of the service, for `discover`. Override this for a service that has a list.

        Returns:
            A generator that yields `HttpRequest`s (one a page, or one a model) or `Blocking`, gets their results, and returns the
            models at its end.
        """
        raise NotImplementedError

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
        try:
            found: Embeddings = self._run(self._extended(request, call), call)
        except ProviderError as error:
            raise self.failed(self.http.redacted(error)) from error.__cause__
        return found

    async def _aembed(self, request: EmbeddingRequest, call: CallContext) -> Embeddings:
        """Turn texts into vectors under asyncio, as `embed` does."""
        try:
            found: Embeddings = await self._arun(self._extended(request, call), call)
        except ProviderError as error:
            raise self.failed(self.http.redacted(error)) from error.__cause__
        return found

    def failed(self, error: ProviderError) -> ProviderError:
        """Return the error to raise for a failure of any kind. The default returns the error itself.

        Args:
            error: The failure, without secrets.

        Returns:
            The same error, changed or not, or another one.
        """
        return error

    def stream(self, request: Request, call: CallContext) -> Iterator[Piece]:
        """Answer a request; see `Provider.stream`.

        Args:
            request: The request to answer.
            call: The call: its timeouts and whether it is cancelled.

        Yields:
            The pieces of the answer, as they come.
        """
        try:
            asked = self._built(request, call)
            if not isinstance(asked, HttpRequest):
                asked = self._run(asked, call)
            with self.http.send(asked, call) as answer:
                reading = self._reading(request, call, answer.headers)
                idles = False
                with _Lingering(reading, call):
                    for data in answer:
                        given = None
                        for given in reading.feed(data):
                            yield given
                            idles = idles or answer.token(given)
                        if idles and given is not None:
                            # Once for all pieces of a read: the token-idle timeout is checked at the next read.
                            answer.token()
                        if reading.done:
                            if not reading.surplus:
                                answer.finished()
                            break
                        if reading.linger is not None:
                            answer.linger(reading.linger)
                yield from reading.end()
        except ProviderError as error:
            # Some services repeat the refused key, or other parts of the request, in the error.
            found = self.failed(self.http.redacted(error))
            if found is error:
                raise
            raise found from error.__cause__

    async def _astream(self, request: Request, call: CallContext) -> AsyncIterator[Piece]:
        """Answer a request under asyncio. The same as `stream`, with the other transport."""
        client = self._async_client()
        try:
            asked = self._built(request, call)
            if not isinstance(asked, HttpRequest):
                asked = await self._arun(asked, call)
            with await client.send(asked, call) as answer:
                reading = self._reading(request, call, answer.headers)
                idles = False
                with _Lingering(reading, call):
                    while not reading.done and (data := await answer.next()):
                        given = None
                        for given in reading.feed(data):
                            yield given
                            idles = idles or answer.token(given)
                        if idles and given is not None:
                            answer.token()
                        if reading.linger is not None:
                            answer.linger(reading.linger)
                    if reading.done and not reading.surplus:
                        await answer.finished()
                for piece in reading.end():
                    yield piece
        except ProviderError as error:
            found = self.failed(self.http.redacted(error))
            if found is error:
                raise
            raise found from error.__cause__

    def carry_out(self, steps: Generator[Order, Any, Any], call: CallContext) -> Any:
        """Carry out the orders of a generator, such as one of the methods for batches, and return its result.

        Args:
            steps: The generator. It yields `HttpRequest`s, gets their `HttpAnswer`s, and may yield `Blocking`.
            call: The timeouts of all requests together.

        Returns:
            The result of the generator.

        Raises:
            ProviderError: A request failed, and the generator did not handle it.
        """
        try:
            return self._run(steps, call)
        except ProviderError as error:
            self.http.redacted(error)
            raise

    def asked(self, request: Request, call: CallContext) -> Generator[Order, Any, HttpRequest]:
        """Write a request as one of a batch.

        Args:
            request: The request, which does not stream.
            call: The call, for notes.

        Yields:
            The orders of `build`.

        Returns:
            The HTTP request, which is not sent.
        """
        built = self._built(request, call)
        return built if isinstance(built, HttpRequest) else (yield from built)

    def answered(self, request: Request, call: CallContext, body: bytes) -> Iterator[Piece]:
        """Read a whole answer that came in the results of a batch.

        Args:
            request: The request that is answered.
            call: The call, for notes.
            body: The answer as JSON.

        Yields:
            The pieces of the answer.
        """
        reading = self._reading(request, call, {"Content-Type": "application/json"})
        yield from reading.feed(body)
        yield from reading.end()

    def close(self) -> None:
        """Close the idle connections. An event loop closes its own as soon as it runs."""
        self.http.close()
        if self._aio is not None:
            self._aio.close()

    async def aclose(self) -> None:
        """Close the idle connections, and wait until those of the running event loop are closed."""
        self.http.close()
        if self._aio is not None:
            await self._aio.aclose()

    def _async_client(self) -> AsyncHttpClient:
        if self._aio is None:
            self._aio = AsyncHttpClient(self.http.config, body_limit=self.http.body_limit, wire=self.http.wire)
        return self._aio

    def _built(self, request: Request, call: CallContext) -> Generator[Order, Any, HttpRequest] | HttpRequest:
        """Call `build`, and apply the options that every wire has. Return a generator only if `build` does."""
        request, extras = _parted(request)
        try:
            built = self.build(request, call)
        except _MISTAKES as error:
            _unwritten(self, error)
        if isinstance(built, HttpRequest) and not extras:
            return built
        return self._rest(built, extras)

    def _extended(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings, with the options that every wire has."""
        request, extras = _parted(request)
        steps = self.embedding(request, call)
        turn = partial(next, steps)
        while True:
            try:
                order = turn()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            try:
                outcome = yield _with_extras(order, extras) if extras and isinstance(order, HttpRequest) else order
            except Exception as error:  # the generator may know what to do
                turn = partial(steps.throw, error)
            else:
                turn = partial(steps.send, outcome)

    def _rest(self, built: object, extras: Mapping[str, Any]) -> Generator[Order, Any, HttpRequest]:
        if isinstance(built, Generator):
            built = yield from built
        if not isinstance(built, HttpRequest):
            raise _wrong(self, "build() returned", built, "return an HttpRequest, or a generator that returns one")
        return _with_extras(built, extras) if extras else built

    def _reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        reading: object = self.reading(request, call, headers)
        if not isinstance(reading, Reading):
            raise _wrong(self, "reading() returned", reading, "return a Reading, such as a JsonReading")
        if isinstance(reading, JsonReading):
            reading.refusal = partial(self.refusal, 200, headers)
        return reading

    def _run(self, steps: Generator[Order, Any, Any], call: CallContext) -> Any:
        """Carry out the orders of a generator, and return its result."""
        turn = partial(next, steps)
        while True:
            try:
                order = turn()
            except StopIteration as end:
                return end.value
            try:
                outcome = _worked(order, call) if isinstance(order, Blocking) else self.http.fetch(_request(order, self), call)
            except Exception as error:  # the generator may know what to do
                turn = partial(steps.throw, error)
            else:
                turn = partial(steps.send, outcome)

    async def _arun(self, steps: Generator[Order, Any, Any], call: CallContext) -> Any:
        """Carry out the orders of a generator under asyncio, and return its result."""
        turn = partial(next, steps)
        while True:
            try:
                order = turn()
            except StopIteration as end:
                return end.value
            try:
                if isinstance(order, Blocking):
                    outcome = await _aworked(order, call)
                else:
                    outcome = await self._async_client().fetch(_request(order, self), call)
            except Exception as error:
                turn = partial(steps.throw, error)
            else:
                turn = partial(steps.send, outcome)


def _astream_of(provider: WireProvider) -> Any:
    """Answer a request under asyncio; see `Provider`.

    It is absent without the extra `async`, and in a subclass that overrides `stream` alone: then a thread runs `stream`.
    """
    if not is_installed():
        msg = "astream() needs the extra `async`: pip install 'providerhub[async]'"
        raise AttributeError(msg)
    return provider._astream  # noqa: SLF001 -- of this module


WireProvider.astream = property(_astream_of)


def _aembed_of(provider: WireProvider) -> Any:
    """Turn texts into vectors under asyncio; see `WireProvider.embed`. It is absent without the extra `async`."""
    if not is_installed():
        msg = "aembed() needs the extra `async`: pip install 'providerhub[async]'"
        raise AttributeError(msg)
    return provider._aembed  # noqa: SLF001 -- of this module


WireProvider.aembed = property(_aembed_of)


def listed(
    provider: WireProvider, steps: Generator[Order, Any, Iterable[ModelInfo | str]], call: CallContext | None = None
) -> list[ModelInfo | str]:
    """Ask a service for its models. It is the body of a plugin's `discover(config, call)`.

    Args:
        provider: A provider object, which is closed at the end.
        steps: A generator that yields `HttpRequest`s (one a page, or one a model), gets their `HttpAnswer`s, and returns the
            models at its end. It may yield `Blocking`.
        call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT`.

    Returns:
        The models.

    Raises:
        ProviderError: The service refused, or its answer is not a list of models.
    """
    try:
        return list(provider._run(steps, call or CallContext(LISTING_TIMEOUT)))  # noqa: SLF001 -- of this module
    except ProviderError as error:
        provider.http.redacted(error)
        raise
    finally:
        provider.close()


class _Lingering:
    """A block in which a timeout only ends the reading, if the answer is complete already."""

    def __init__(self, reading: Reading, call: CallContext) -> None:
        self._reading = reading
        self._call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        is_late = kind is not None and issubclass(kind, ProviderTimeoutError)
        return is_late and self._reading.linger is not None and not self._call.cancelled


def _request(order: object, provider: WireProvider) -> HttpRequest:
    if not isinstance(order, HttpRequest):
        raise _wrong(provider, "a generator yielded", order, "yield an HttpRequest or Blocking")
    return order


_MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""The exceptions of a `build` that meets a value that it does not expect."""


def _unwritten(provider: WireProvider, error: Exception) -> NoReturn:
    """Raise the error for a request that the plugin could not write. No service took part, so none is blamed."""
    if isinstance(error, ProviderHubError):
        raise error
    found = map_exception(error, provider=provider.http.config.name, model="")
    if isinstance(found, PluginError):
        found.unsent = True
    raise found from error


def _wrong(provider: WireProvider, what: str, value: object, fix: str) -> PluginError:
    return PluginError(f"{type(provider).__qualname__}: {what} {type(value).__name__}; {fix}")


def _parted(request: AnyRequest) -> tuple[AnyRequest, dict[str, Any]]:
    """Take the options that every wire has out of a request."""
    extras = {name: request.options[name] for name in _EXTRAS if name in request.options} if request.options else {}
    if not extras:
        return request, extras
    _check_extras(extras)
    options = {name: value for name, value in request.options.items() if name not in _EXTRAS}
    return attrs.evolve(request, options=options), extras


def _check_extras(extras: Mapping[str, Any]) -> None:
    for name, value in extras.items():
        try:
            _EXTRAS[name].check(value, name)
        except ValueError as error:
            msg = f"the option {error}"
            raise InvalidRequestError(msg) from None


def _with_extras(built: HttpRequest, extras: Mapping[str, Any]) -> HttpRequest:
    body = built.body
    if more := extras.get("extra_body"):
        if not isinstance(body, Mapping):
            msg = "the option extra_body needs a request with a JSON object; leave it out"
            raise InvalidRequestError(msg)
        body = {**body, **more}
    return attrs.evolve(
        built,
        body=body,
        headers={**built.headers, **extras.get("extra_headers", {})},
        query={**built.query, **extras.get("extra_query", {})},
    )


def _started(work: Callable[[], Any]) -> Future[Any]:
    """Run work in a thread of its own, which ends with the process: the work cannot be stopped."""
    from concurrent.futures import Future, InvalidStateError

    future: Future[Any] = Future()

    def run() -> None:
        with suppress(InvalidStateError):  # the call did not wait so long
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

    PromptThread(run, "providerhub-blocking").start()
    return future


def _worked(order: Blocking, call: CallContext) -> Any:
    from concurrent.futures import CancelledError  # loaded by `_started`

    future = _started(order.work)
    forget = call.on_cancel(future.cancel)
    try:
        return future.result(call.remaining())
    except (TimeoutError, CancelledError) as error:
        if future.done() and not future.cancelled():  # the work raised it
            raise
        raise _unfinished(call) from error
    finally:
        forget()


async def _aworked(order: Blocking, call: CallContext) -> Any:
    import asyncio  # slow to import; a caller with a running loop has imported it

    future = _started(order.work)
    forget = call.on_cancel(future.cancel)
    try:
        waiting = asyncio.wrap_future(future)
        await asyncio.wait([waiting], timeout=call.remaining())
        if waiting.cancelled() or not waiting.done():
            raise _unfinished(call)
        return waiting.result()
    finally:
        forget()
        future.cancel()


def _unfinished(call: CallContext) -> ProviderError:
    if call.cancelled:
        return ProviderConnectionError("the call was cancelled", retryable=False)
    return ProviderTimeoutError("the call's total timeout expired while the provider fetched credentials")
