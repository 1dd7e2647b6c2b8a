"""The orders of a provider's generators: requests, and work that blocks. The transports execute them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from providerhub._threads import PromptThread
from providerhub._values import EmbeddingRequest, Request
from providerhub._values.checks import CALLABLE, HEADERS, MAPPING
from providerhub._values.errors import (
    InvalidRequestError,
    PluginError,
    ProviderConnectionError,
    ProviderTimeoutError,
)
from providerhub._values.provider import CallContext
from providerhub._values.value import Value, frozen
from providerhub.http._request import HttpRequest

if TYPE_CHECKING:  # slow to import; only a generator that blocks needs it
    from concurrent.futures import Future

Result = TypeVar("Result")
AnyRequest = TypeVar("AnyRequest", Request, EmbeddingRequest)

_EXTRAS = {"extra_headers": HEADERS, "extra_query": MAPPING, "extra_body": MAPPING}
"""Options of every wire, as in the vendors' own clients."""


@frozen(eq=False, repr=False)
class Blocking(Value):
    """Work that blocks, such as a library that fetches credentials. It runs in a thread, within the call's deadline.

    Args:
        work: Called without arguments. The generator gets its result, or its exception.
    """

    work: Callable[[], Any] = attrs.field(validator=CALLABLE)


@frozen(eq=False, repr=False)
class Awaited(Blocking):
    """A wait for another call's work, without a thread."""

    future: Future[Any]


Order = HttpRequest | Blocking
"""An order of a generator. The generator gets an `HttpAnswer`, or the result of the work."""


def begun(steps: Generator[Order, Any, Result]) -> Callable[[], Order]:
    """Return a function that begins a generator of orders, and returns the first order."""
    given: object = steps
    if not isinstance(given, Generator):
        raise PluginError(
            f"{type(given).__name__} in place of a generator; yield each HttpRequest, and return the result at the end"
        )
    return partial(next, steps)


def parted(request: AnyRequest) -> tuple[AnyRequest, Mapping[str, Any]]:
    """Separate the options of every wire from a request."""
    given = request.options
    extras = {name: given[name] for name in _EXTRAS if given.get(name) is not None} if given else {}
    if not extras:
        return request, extras
    for name, value in extras.items():
        try:
            _EXTRAS[name].check(value, name)
        except ValueError as error:
            raise InvalidRequestError(f"the option {error}") from None
    options = {name: value for name, value in request.options.items() if name not in _EXTRAS}
    return attrs.evolve(request, options=options), extras


def extended(request: HttpRequest, extras: Mapping[str, Any]) -> HttpRequest:
    """Return a request with the options of every wire."""
    if not extras:
        return request
    body = request.body
    if more := extras.get("extra_body"):
        if not isinstance(body, Mapping):
            raise InvalidRequestError("the option extra_body needs a request with a JSON object; leave it out")
        body = {**body, **more}
    return attrs.evolve(
        request,
        body=body,
        headers={**request.headers, **extras.get("extra_headers", {})},
        query={**request.query, **_written(extras.get("extra_query", {}))},
    )


def _written(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a query in the form of the vendors' SDKs: `true` and `false`; `None` is left out."""
    words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    return {name: value for name, value in words.items() if value is not None}


def _started(order: Blocking) -> Future[Any]:
    """Run work in a daemon thread, since the work cannot be stopped."""
    from concurrent.futures import Future, InvalidStateError

    if isinstance(order, Awaited):
        return order.future
    future: Future[Any] = Future()
    in_context = copy_context().run

    def run() -> None:
        with suppress(InvalidStateError):  # the call has ended
            try:
                future.set_result(in_context(order.work))
            except Exception as error:
                future.set_exception(error)

    PromptThread(run, "providerhub-blocking").start()
    return future


def worked(order: Blocking, call: CallContext) -> Any:
    """Do work that blocks, and return its result."""
    from concurrent.futures import CancelledError  # loaded by `_started`

    future = _started(order)
    forget = call.on_cancel(future.cancel)
    try:
        with suppress(TimeoutError, CancelledError):
            future.result(call.remaining())
        return _result(future, call)
    finally:
        forget()


async def aworked(order: Blocking, call: CallContext) -> Any:
    """Do blocking work in a thread beside the event loop, and return its result."""
    import asyncio  # slow to import; a caller with a running loop has imported it

    future = _started(order)
    forget = call.on_cancel(future.cancel)
    try:
        waiting = asyncio.wrap_future(future)
        await asyncio.wait([waiting], timeout=call.remaining())
        return _result(waiting, call)
    finally:
        forget()
        future.cancel()


def _result(work: Any, call: CallContext) -> Any:
    """Return the result of work, or raise its error; raise another one if the work has not ended."""
    if work.done() and not work.cancelled():
        return work.result()
    if call.cancelled:
        raise ProviderConnectionError("the call was cancelled", retryable=False)
    raise ProviderTimeoutError("the call's total timeout expired while the provider fetched credentials")
