"""The module's functions: the methods of one default hub."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from providerhub._calling.async_stream import AsyncStream
from providerhub._calling.intake import Knobs, ModelSpec
from providerhub._calling.many import Outcome
from providerhub._calling.stream import Stream
from providerhub._hub import Hub
from providerhub._values import Completion, Message, RoutePlan

if TYPE_CHECKING:  # slow to import; most programs need none of it
    from concurrent.futures import Executor

_default: Hub | None = None
_default_lock = threading.Lock()


def default_hub() -> Hub:
    """The hub of the module's functions: made at the first call, from settings file and environment, and closed at exit."""
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
    """`Hub.complete` on the default hub; all arguments are described there.

    Args:
        model: As for `Hub.complete`.
        messages: As for `Hub.complete`.
        stream: As for `Hub.complete`.
        **knobs: As for `Hub.complete`.

    Returns:
        A `Completion`, or a `Stream` with `stream=True`.

    Raises:
        ProviderHubError: As `Hub.complete` would.
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
async def acomplete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
) -> Completion | AsyncStream:
    """`Hub.acomplete` on the default hub.

    Args:
        model: As for `Hub.complete`.
        messages: As for `Hub.complete`.
        stream: As for `Hub.complete`.
        **knobs: As for `Hub.complete`.

    Returns:
        A `Completion`, or an `AsyncStream` with `stream=True`.

    Raises:
        ProviderHubError: As `Hub.acomplete` would.
    """
    return await default_hub().acomplete(model, messages, stream=stream, **knobs)


def explain(
    model: ModelSpec, messages: str | Sequence[Message] = "?", *, stream: bool = False, **knobs: Unpack[Knobs]
) -> RoutePlan:
    """`Hub.explain` on the default hub.

    Args:
        model: As for `Hub.complete`.
        messages: As for `Hub.complete`.
        stream: As for `Hub.complete`.
        **knobs: As for `Hub.complete`.

    Returns:
        The candidates in order, and what is left out, each with its reason.

    Raises:
        CallerError: As `Hub.explain` would.
    """
    return default_hub().explain(model, messages, stream=stream, **knobs)


def complete_many(
    requests: Iterable[Mapping[str, Any]], *, concurrency: int = 8, executor: Executor | None = None
) -> Generator[Outcome, None, None]:
    """`Hub.complete_many` on the default hub.

    Args:
        requests: As for `Hub.complete_many`.
        concurrency: As for `Hub.complete_many`.
        executor: As for `Hub.complete_many`.

    Yields:
        One `Outcome` for each request, as soon as there is one.

    Raises:
        InvalidRequestError: An argument has the wrong shape; nothing was taken.
    """
    return default_hub().complete_many(requests, concurrency=concurrency, executor=executor)
