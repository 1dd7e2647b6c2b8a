"""The module's functions: the methods of one default hub."""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from providerhub._calling.async_stream import AsyncStream
from providerhub._calling.embedding import EmbeddingKnobs
from providerhub._calling.keywords import Function, Knobs
from providerhub._calling.many_open import PASSES
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.messages import Conversation
from providerhub._calling.stream import Stream
from providerhub._finding.jobs import Job, Task, arun_all
from providerhub._finding.registry import ModelSpec
from providerhub._hub import Hub
from providerhub._values import Completion, Embeddings, RoutePlan
from providerhub._values.errors import ConfigurationError

if TYPE_CHECKING:  # slow to import; most programs need none of it
    from concurrent.futures import Executor

_default: Hub | None = None
_default_lock = threading.Lock()
_making = threading.local()

MOST_WAIT = 5.0
"""Seconds that a thread waits for the hub that another thread makes. That one may wait for a module that this thread imports."""


def default_hub() -> Hub:
    """The hub of the module's functions. The first call makes it from settings file and environment; it closes at exit.

    Raises:
        ConfigurationError: A plugin uses the default hub while it is imported for that hub.
    """
    if _default is None:
        _refuse_circle()
        is_alone = _default_lock.acquire(timeout=MOST_WAIT)
        _making.is_under_way = True
        try:
            _make()
        finally:
            _making.is_under_way = False
            if is_alone:
                _default_lock.release()
    assert _default is not None  # noqa: S101 -- made above
    return _default


async def adefault_hub() -> Hub:
    """`default_hub` under asyncio: the event loop goes on while the first call makes the hub.

    Raises:
        ConfigurationError: As at `default_hub`.
    """
    if _default is None:
        _refuse_circle()
        # An error is raised by the next line, not in the thread.
        await arun_all([Job(Task("make the default hub", _try_to_make))], float("inf"))
    return default_hub()


def _try_to_make() -> None:
    with contextlib.suppress(Exception):
        default_hub()


def _make() -> None:
    global _default  # noqa: PLW0603 -- there is one default hub, and this is where it lives
    if _default is None:
        made = Hub()
        if _default is None:  # another thread may have stopped waiting for this one
            _default = made
            atexit.register(made.close)


def _refuse_circle() -> None:
    if getattr(_making, "is_under_way", False):
        msg = "a plugin uses the default hub while it is imported for this hub: use the hub in a function of the plugin instead"
        raise ConfigurationError(msg)


def documented_as_method(function: Function) -> Function:
    """Give a function the docstring of the hub's method with the same name, so that `help()` shows every argument."""
    function.__doc__ = getattr(Hub, function.__name__).__doc__
    return function


@overload
def complete(
    model: ModelSpec, messages: Conversation, *, stream: Literal[False] = False, **knobs: Unpack[Knobs]
) -> Completion: ...
@overload
def complete(model: ModelSpec, messages: Conversation, *, stream: Literal[True], **knobs: Unpack[Knobs]) -> Stream: ...
@overload
def complete(model: ModelSpec, messages: Conversation, *, stream: bool, **knobs: Unpack[Knobs]) -> Completion | Stream: ...
@documented_as_method
def complete(model: ModelSpec, messages: Conversation, *, stream: bool = False, **knobs: Unpack[Knobs]) -> Completion | Stream:
    """`Hub.complete` of the default hub."""
    return default_hub().complete(model, messages, stream=stream, **knobs)


@overload
async def acomplete(
    model: ModelSpec, messages: Conversation, *, stream: Literal[False] = False, **knobs: Unpack[Knobs]
) -> Completion: ...
@overload
async def acomplete(
    model: ModelSpec, messages: Conversation, *, stream: Literal[True], **knobs: Unpack[Knobs]
) -> AsyncStream: ...
@overload
async def acomplete(
    model: ModelSpec, messages: Conversation, *, stream: bool, **knobs: Unpack[Knobs]
) -> Completion | AsyncStream: ...
@documented_as_method
async def acomplete(
    model: ModelSpec, messages: Conversation, *, stream: bool = False, **knobs: Unpack[Knobs]
) -> Completion | AsyncStream:
    """`Hub.acomplete` of the default hub."""
    return await (await adefault_hub()).acomplete(model, messages, stream=stream, **knobs)


@documented_as_method
def embed(
    model: ModelSpec, texts: str | Sequence[str], *, dimensions: int | None = None, **knobs: Unpack[EmbeddingKnobs]
) -> Embeddings:
    """`Hub.embed` of the default hub."""
    return default_hub().embed(model, texts, dimensions=dimensions, **knobs)


@documented_as_method
async def aembed(
    model: ModelSpec, texts: str | Sequence[str], *, dimensions: int | None = None, **knobs: Unpack[EmbeddingKnobs]
) -> Embeddings:
    """`Hub.aembed` of the default hub."""
    return await (await adefault_hub()).aembed(model, texts, dimensions=dimensions, **knobs)


@documented_as_method
def explain(model: ModelSpec, messages: Conversation = "?", *, stream: bool = False, **knobs: Unpack[Knobs]) -> RoutePlan:
    """`Hub.explain` of the default hub."""
    return default_hub().explain(model, messages, stream=stream, **knobs)


@documented_as_method
def complete_many(
    requests: Iterable[Mapping[str, Any]], *, concurrency: int = 8, executor: Executor | str | None = None, passes: int = PASSES
) -> Generator[Outcome, None, None]:
    """`Hub.complete_many` of the default hub."""
    return default_hub().complete_many(requests, concurrency=concurrency, executor=executor, passes=passes)


@documented_as_method
def acomplete_many(
    requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]], *, concurrency: int = 8, passes: int = PASSES
) -> AsyncGenerator[Outcome, None]:
    """`Hub.acomplete_many` of the default hub."""
    return default_hub().acomplete_many(requests, concurrency=concurrency, passes=passes)
