"""The blocks of code in which a `WireProvider` asks and reads: what their failures become."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from providerhub._log import log as _log
from providerhub._rules.mapping import UNREADABLE, unreadable
from providerhub._values.errors import AuthenticationError, ProviderError, ProviderHubError, ProviderTimeoutError
from providerhub._values.provider import CallContext
from providerhub.wire import Reading

HELD_UP = 0.25
"""Seconds for which a provider's code may hold an event loop up, without a word about it."""

_told: WeakSet[type] = WeakSet()
"""The classes of providers of which a line was logged."""


def held_up(provider: object, since: float, call: CallContext) -> None:
    """Tell of code that held the event loop up, from a time of `time.monotonic` until now."""
    seconds, kind = time.monotonic() - since, type(provider)
    if seconds > HELD_UP:
        msg = f"{kind.__qualname__}: its code held the event loop up for {seconds:.1f} s; yield Blocking(...) for what blocks"
        call.note(msg)
        if kind not in _told:
            _told.add(kind)
            _log.warning("%s", msg)


class Failures:
    """A block whose errors leave it as `failed` of a `WireProvider` wants them.

    They leave without secrets: some services repeat the refused key, or other parts of the request, in the error. While the
    answer of the call is read, its last bytes in `data` are at fault for an exception of Python.
    """

    def __init__(self, provider: Any, call: CallContext | None = None, data: bytes = b"") -> None:
        self._provider = provider
        self._call = call
        self.data = data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        failure = error
        if (
            self._call is not None
            and self._call.reads
            and isinstance(error, UNREADABLE)
            and not isinstance(error, ProviderHubError)
        ):
            failure = unreadable(error, self.data)
        if isinstance(failure, ProviderError):
            if isinstance(failure, AuthenticationError) and failure.about_key and self._call is not None and self._call.fetched:
                for forget in self._call.fetched:
                    forget()
                failure.retryable = True
            found = self._provider.failed(self._provider.http.redacted(failure))
            if found is not error:
                raise found from failure.__cause__


class Lingering:
    """A block in which a timeout only ends the reading, if the answer is complete already."""

    def __init__(self, reading: Reading, call: CallContext) -> None:
        self._reading = reading
        self._call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        is_late = kind is not None and issubclass(kind, ProviderTimeoutError)
        return is_late and self._reading.linger is not None and not self._call.cancelled
