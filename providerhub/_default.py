"""The module's functions: the methods of one default hub."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from providerhub._calling.async_stream import AsyncStream
from providerhub._calling.intake import ModelSpec
from providerhub._calling.keywords import Function, Knobs
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


def documented_as_method(function: Function) -> Function:
    """Give a function the docstring of the hub's method with the same name, so that `help()` shows every argument."""
    function.__doc__ = getattr(Hub, function.__name__).__doc__
    return function


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
@documented_as_method
def complete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
) -> Completion | Stream:
    """`Hub.complete` of the default hub."""
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
@documented_as_method
async def acomplete(
    model: ModelSpec, messages: str | Sequence[Message], *, stream: bool = False, **knobs: Unpack[Knobs]
) -> Completion | AsyncStream:
    """`Hub.acomplete` of the default hub."""
    return await default_hub().acomplete(model, messages, stream=stream, **knobs)


@documented_as_method
def explain(
    model: ModelSpec, messages: str | Sequence[Message] = "?", *, stream: bool = False, **knobs: Unpack[Knobs]
) -> RoutePlan:
    """`Hub.explain` of the default hub."""
    return default_hub().explain(model, messages, stream=stream, **knobs)


@documented_as_method
def complete_many(
    requests: Iterable[Mapping[str, Any]], *, concurrency: int = 8, executor: Executor | None = None
) -> Generator[Outcome, None, None]:
    """`Hub.complete_many` of the default hub."""
    return default_hub().complete_many(requests, concurrency=concurrency, executor=executor)
