"""A value that a provider fetches once for many calls, such as a token."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from providerhub._threads import renewed_at_fork
from providerhub._values.errors import PluginError
from providerhub._values.provider import CallContext
from providerhub.http._orders import Awaited, Order

if TYPE_CHECKING:  # slow to import; only calls that wait need it
    from concurrent.futures import Future

Found = TypeVar("Found")

Fetch = Callable[[], Generator[Order, Any, tuple[Found, float | None]]]

_PAIR = 2

_KEPT = 3
"""The number of older values that are kept out of errors too."""


class _Held(NamedTuple):
    """A value, and its end on `time.monotonic`."""

    value: Any
    until: float


class Fetched(Generic[Found]):
    """A value that one call fetches for all calls, such as a token. The other calls wait for it.

    If the service refuses the value, the call fetches a new value and begins again at once. If the new value is refused too, the
    provider is paused as after a wrong key. Threads and event loops share the value. If this object is an attribute of its
    provider, a text never appears in errors and in the wire log.

    Args:
        fetch: A function without arguments that returns a generator. The generator yields orders, as in `WireProvider.build`. It
            returns the value and its lifetime in seconds, or `None` for no limit.

    Attributes:
        values: The latest values, the newest first, even if no longer used: a late refusal may quote an old value.
    """

    def __init__(self, fetch: Fetch[Found]) -> None:
        self._fetch = fetch
        self._held: _Held | None = None
        self.values: tuple[Found, ...] = ()
        self._at_fork_reinit()
        renewed_at_fork(self)

    def _at_fork_reinit(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Future[None]] | None = None  # the calls that wait for the fetching call; `None` if no call fetches

    def get(self, call: CallContext | None = None) -> Generator[Order, Any, Found]:
        """Return the value; fetch it first if necessary: `token = yield from self.token.get(call)`.

        Args:
            call: The call that uses the value; `None`, the default, without a call, as in `WireProvider.models`.

        Yields:
            The orders of `fetch`.

        Returns:
            The value.

        Raises:
            ProviderError: The value could not be fetched. Waiting calls get the same error.
        """
        held = self._held
        while held is None or time.monotonic() >= held.until:
            mine = self._place(held)
            if mine is None:
                held = yield from self._led(call)
                break
            yield Awaited(mine.result, mine)
            held = self._held
        if call is not None:
            call.fetched = (*call.fetched, partial(self._forget, held))
        return held.value  # type: ignore[no-any-return]  # `Any`

    def forget(self) -> None:
        """Discard the value, so that the next call fetches a new value."""
        self._held = None

    def _forget(self, held: _Held) -> None:
        if self._held is held:  # keep a newer value of another call
            self._held = None

    def _place(self, known: _Held | None) -> Future[None] | None:
        """Return the wait of a call; `None` for the call that must fetch the value."""
        from concurrent.futures import Future  # see above

        with self._lock:
            if self._waiting is None and self._held is known:
                self._waiting = []
                return None
            mine: Future[None] = Future()
            if self._waiting is None:
                mine.set_result(None)
            else:
                self._waiting.append(mine)
            return mine

    def _checked(self, found: object) -> tuple[Any, float | None]:
        if isinstance(found, tuple) and len(found) == _PAIR and isinstance(found[1], int | float | None):
            return found
        msg = f"{self._fetch.__qualname__}() returned {type(found).__name__}; return the value, and its seconds or None"
        raise PluginError(msg)

    def _led(self, call: CallContext | None) -> Generator[Order, Any, _Held]:
        """Fetch the value for this call and the waiting calls."""
        from concurrent.futures import InvalidStateError  # see above

        failure: Exception | None = None
        try:
            found = yield from self._fetch()
            value, seconds = self._checked(found)
            self.values = (value, *self.values[:_KEPT])
            held = self._held = _Held(value, math.inf if seconds is None else time.monotonic() + seconds)
        except Exception as error:
            if call is None or (not call.cancelled and call.remaining()):  # the error is not this call's cancellation or timeout
                failure = error
            raise
        finally:
            with self._lock:
                waiting, self._waiting = self._waiting or (), None
            for mine in waiting:
                with suppress(InvalidStateError):  # the waiting call has ended
                    mine.set_result(None) if failure is None else mine.set_exception(copy.copy(failure))
        return held
