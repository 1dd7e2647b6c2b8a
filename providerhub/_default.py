"""The module's functions: the methods of one default hub."""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable
from inspect import iscoroutinefunction
from types import MethodType
from typing import TYPE_CHECKING, Any

from providerhub._finding.jobs import Job, Task, arun_all
from providerhub._hub import Hub
from providerhub._threads import renewed_at_fork
from providerhub._values.errors import ConfigurationError

_default: Hub | None = None
_default_lock = renewed_at_fork(threading.Lock())
_making = threading.local()

MOST_WAIT = 5.0
"""Seconds that a thread waits for the hub that another thread makes. The other thread may wait for a module that this thread
imports."""


def default_hub() -> Hub:
    """The hub of the module's functions. The first call makes the hub from settings file and environment; it is closed at exit.

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
        # The next line raises an error of the thread.
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


def _function(method: Callable[..., Any]) -> Any:
    """The function of the module that calls a method of the default hub, with its docstring and its arguments."""
    name = method.__name__
    function: Any
    if iscoroutinefunction(method):

        async def function(*args: Any, **knobs: Any) -> Any:
            awaited = getattr(await adefault_hub(), name)(*args, **knobs)
            del args, knobs  # as in `hinted`
            return await awaited

    else:

        def function(*args: Any, **knobs: Any) -> Any:
            return getattr(default_hub(), name)(*args, **knobs)

    function.__name__ = function.__qualname__ = name
    function.__doc__, function.__annotations__ = method.__doc__, method.__annotations__
    function.__wrapped__ = MethodType(method, Hub)  # its signature has no `self`
    return function


if TYPE_CHECKING:  # a checker reads the overloads of the methods
    _hub = Hub()
    complete, acomplete, embed, aembed = _hub.complete, _hub.acomplete, _hub.embed, _hub.aembed
    count_tokens, acount_tokens = _hub.count_tokens, _hub.acount_tokens
    explain, complete_many, acomplete_many = _hub.explain, _hub.complete_many, _hub.acomplete_many
else:
    complete, acomplete, embed, aembed = map(_function, (Hub.complete, Hub.acomplete, Hub.embed, Hub.aembed))
    count_tokens, acount_tokens = map(_function, (Hub.count_tokens, Hub.acount_tokens))
    explain, complete_many, acomplete_many = map(_function, (Hub.explain, Hub.complete_many, Hub.acomplete_many))
