"""The module's functions: the methods of one default hub."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from providerhub._calling.async_stream import AsyncStream
from providerhub._calling.intake import ModelSpec
from providerhub._calling.keywords import Knobs, documented
from providerhub._calling.many import Outcome
from providerhub._calling.stream import Stream
from providerhub._hub import Hub
from providerhub._values import Completion, Message, RoutePlan

if TYPE_CHECKING:  # slow to import; most programs need none of it
    from concurrent.futures import Executor

_default: Hub | None = None
_default_lock = threading.Lock()


def default_hub() -> Hub:
    """The hub of the module's functions. The first call makes it from settings file and environment; it closes at exit."""
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
@documented
def complete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
) -> Completion | Stream:
    """Ask for an answer. The default hub chooses the provider, and moves on to the next one when a provider fails.

    Args:
        model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
        messages: A text (one user message), or messages in the OpenAI chat shape.
        stream: Return a `Stream` as soon as the first content has come.
        **knobs: Each keyword of the table in `_calling/keywords.py`.

    Returns:
        A `Completion`, or a `Stream` with `stream=True`.

    Raises:
        CallerError: The call is wrong, or no provider can serve it. Nothing was sent.
        ProviderError: Every attempt failed with this class of error, or the error is one that another provider would not mend.
        AllProvidersFailedError: The attempts failed with different classes of errors.
        DeadlineExceededError: The total time of the call is over.
    """
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
@documented
async def acomplete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
) -> Completion | AsyncStream:
    """`complete`, awaited in the running event loop; `Hub.acomplete` of the default hub.

    Args:
        model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
        messages: A text (one user message), or messages in the OpenAI chat shape.
        stream: Return an `AsyncStream` as soon as the first content has come.
        **knobs: Each keyword of the table in `_calling/keywords.py`.

    Returns:
        A `Completion`, or an `AsyncStream` with `stream=True`.

    Raises:
        ProviderHubError: The same errors as `complete`.
    """
    return await default_hub().acomplete(model, messages, stream=stream, **knobs)


@documented
def explain(
    model: ModelSpec, messages: str | Sequence[Message] = "?", *, stream: bool = False, **knobs: Unpack[Knobs]
) -> RoutePlan:
    """Return the plan that `complete` would follow with the same arguments. Sends nothing and changes no state.

    Args:
        model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
        messages: A text (one user message), or messages in the OpenAI chat shape.
        stream: Whether the call would stream.
        **knobs: Each keyword of the table in `_calling/keywords.py`.

    Returns:
        The candidates in order, and the models that are left out, each with its reason.

    Raises:
        CallerError: The same errors as `complete` raises before it sends anything.
    """
    return default_hub().explain(model, messages, stream=stream, **knobs)


def complete_many(
    requests: Iterable[Mapping[str, Any]], *, concurrency: int = 8, executor: Executor | None = None
) -> Generator[Outcome, None, None]:
    """Make many calls at once; `Hub.complete_many` of the default hub, which describes the details.

    Args:
        requests: One mapping of `complete`'s arguments for each call, such as `{"model": ..., "messages": ...}`; `stream` is
            refused.
        concurrency: The largest number of requests that are taken and whose outcomes are not yet yielded; 1 or more.
        executor: Any `concurrent.futures.Executor`; it stays open. Default: `concurrency` threads of its own.

    Yields:
        One `Outcome` for each request, as soon as its call has ended.

    Raises:
        InvalidRequestError: An argument has the wrong shape. Nothing was taken from the input.
    """
    return default_hub().complete_many(requests, concurrency=concurrency, executor=executor)
