"""The interface that a plugin's provider object implements, and the context that every call hands it."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Protocol, runtime_checkable

from providerhub._values.events import Event
from providerhub._values.knobs import Timeout
from providerhub._values.request import Request

_log = logging.getLogger("providerhub")

Piece = str | Event
"""What a provider may yield: a plain text, or an event."""


class CallContext:
    """What a provider is told about the call that it serves: how long it has, and whether it is still wanted.

    A provider that obeys it can be stopped at any moment; one that ignores it is checked only between pieces.
    `cancel()` and the properties may be used from any thread.

    Args:
        timeout: The phases, in seconds.
        deadline: The moment, on `clock`, at which the whole call is over.
        clock: Monotonic seconds.

    Attributes:
        waiting_since: The moment, on `clock`, at which the caller began to wait for the next piece; infinite while it holds one
            and a thread reads ahead. Idle clocks count from there. Minus infinity where it is the caller who runs the provider,
            and so always waits.
    """

    __slots__ = ("_callbacks", "_cancelled", "clock", "deadline", "notes", "started", "timeout", "waiting_since")

    def __init__(self, timeout: Timeout, deadline: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.started = clock()
        self.timeout = timeout
        self.deadline = self.started + timeout.total if deadline is None else deadline
        self.notes: list[str] = []
        self.waiting_since = -math.inf
        self._cancelled = False
        self._callbacks: list[Callable[[], object]] = []

    def remaining(self, phase: float | None = None) -> float:
        """Seconds that are left of the whole call.

        Args:
            phase: Seconds of one phase; the answer is then the smaller of the two.

        Returns:
            Seconds, never below zero.
        """
        left = max(0.0, self.deadline - self.clock())
        return left if phase is None else min(left, phase)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._cancelled

    def on_cancel(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have something done at the moment of cancellation, such as shutting a socket down.

        Args:
            callback: Called at most once, without arguments, in the cancelling thread; at once when the call is
                cancelled already. It must not block; what it raises is logged.

        Returns:
            A function that takes the callback back; call it when the resource is given up.
        """
        # No lock: append and remove of a list are atomic, and whoever removes a callback is the one to call it.
        self._callbacks.append(callback)
        if self._cancelled:
            self._fire()
        return lambda: self._forget(callback)

    def note(self, text: str) -> None:
        """Record an oddity that does not fail the call; it is shown with the attempt.

        Args:
            text: One sentence, without secrets.
        """
        self.notes.append(text)

    def cancel(self) -> None:
        """Say that nobody waits any more. A second call does nothing."""
        self._cancelled = True
        self._fire()

    def _fire(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:  # pragma: no cover -- another thread took the last one between test and pop
                return
            try:
                callback()
            except Exception:  # noqa: BLE001 -- the others must still be called, and the canceller has done nothing wrong
                _log.warning("a callback given to on_cancel raised", exc_info=True)

    def _forget(self, callback: Callable[[], object]) -> None:
        with contextlib.suppress(ValueError):
            self._callbacks.remove(callback)


@runtime_checkable
class Provider(Protocol):
    """What `create(config)` returns. `stream` may be called concurrently from several threads.

    Optional beside it: `async def astream(request, call)` as an asynchronous generator of the same pieces, `close()`,
    `async aclose()`.
    """

    def stream(self, request: Request, call: CallContext) -> Iterable[Piece]:
        """Answer a request.

        Args:
            request: What is asked. When `request.stream` is false the answer may be yielded in one piece.
            call: How long there is, and whether the answer is still wanted.

        Yields:
            Texts or events, as they come; `Finish` where the service marks the end.

        Raises:
            ProviderError: The service could not answer; the most fitting subclass decides what the chain does next.
        """
        ...  # pragma: no cover -- a protocol's method is never run


@runtime_checkable
class AsyncProvider(Protocol):
    """The optional asynchronous side of a provider."""

    def astream(self, request: Request, call: CallContext) -> AsyncIterable[Piece]:
        """As `Provider.stream`, yielding asynchronously."""
        ...  # pragma: no cover -- a protocol's method is never run
