"""The `with` blocks in which a `WireProvider` asks and reads, and which translate failures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from providerhub._log import log as _log
from providerhub._rules.mapping import UNREADABLE, unreadable
from providerhub._values.errors import AuthenticationError, PluginError, ProviderError, ProviderHubError, ProviderTimeoutError
from providerhub._values.provider import CallContext
from providerhub.http._request import Wire
from providerhub.wire import JsonReading, Reading

HELD_UP = 0.25
"""Seconds for which a provider's code may block an event loop without a warning."""

_CALLERS = ("providerhub.wire_provider", "providerhub.wire.reading")
"""The modules whose lines call the methods of a plugin."""

_told: WeakSet[type] = WeakSet()
"""The classes of providers with a logged warning."""


def held_up(provider: object, since: float, call: CallContext) -> None:
    """Log code that blocked the event loop, from a time of `time.monotonic` until now."""
    seconds, kind = time.monotonic() - since, type(provider)
    if seconds > HELD_UP:
        msg = f"{kind.__qualname__}: its code blocked the event loop for {seconds:.1f} s; yield Blocking(...) for such work"
        call.note(msg)
        if kind not in _told:
            _told.add(kind)
            _log.warning("%s", msg)


class Failures:
    """A block that passes its errors through `failed` of a `WireProvider`.

    Secrets are removed, since some services repeat the refused key, or other parts of the request, in the error. While an answer
    is read, an exception of Python is blamed on its last bytes in `data`.
    """

    def __init__(self, provider: Any, call: CallContext | None = None, data: bytes = b"") -> None:
        self._provider = provider
        self._call = call
        self.data = data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        failure = error
        if isinstance(error, UNREADABLE) and not isinstance(error, ProviderHubError):
            _refuse_unfinished(error)
            if self._call is not None and self._call.reads and not _is_of_interface(error):
                failure = unreadable(error, self.data)
        if isinstance(failure, ProviderError):
            if isinstance(failure, AuthenticationError) and failure.about_key and self._call is not None and self._call.fetched:
                for forget in self._call.fetched:
                    forget()
                failure.retryable = True
            found = self._provider.failed(self._provider.http.redacted(failure))
            if not isinstance(found, Exception):
                msg = f"{type(self._provider).__qualname__}: failed() returned {found!r}; return the error, or another one"
                raise PluginError(msg) from error
            if found is not error:
                raise found from failure.__cause__


def _refuse_unfinished(error: Exception) -> None:
    """Raise an error if an object of the plugin lacks an attribute from the `__init__` of the toolkit."""
    if not isinstance(error, AttributeError):
        return
    owner: object = error.obj
    needed = "http" if isinstance(owner, Wire) else "_begin" if isinstance(owner, JsonReading) else None
    if needed is not None and needed not in vars(owner):
        arguments = "config" if isinstance(owner, Wire) else "call, headers"
        msg = f"{type(owner).__qualname__}: call super().__init__({arguments}) first in its __init__(), which sets {error.name!r}"
        raise PluginError(msg) from error


def _is_of_interface(error: Exception) -> bool:
    """Return whether the error comes from the toolkit's own line that calls the plugin or iterates over its result."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return isinstance(error, TypeError) and trace is not None and trace.tb_frame.f_globals.get("__name__") in _CALLERS


@contextmanager
def lingering(reading: Reading, call: CallContext) -> Iterator[None]:
    """Begin a block in which a timeout only ends the reading, if the answer is complete already."""
    try:
        yield
    except ProviderTimeoutError:
        if reading.linger is None or call.cancelled:
            raise
