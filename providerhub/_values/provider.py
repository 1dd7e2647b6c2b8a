"""The interface of a plugin's provider object, and the context that it gets with every call."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from providerhub._log import log as _log
from providerhub._values.events import Event, ReasoningDelta, ToolCallDelta
from providerhub._values.knobs import Timeout
from providerhub._values.request import Request
from providerhub._values.value import public

Piece = str | Event
"""A piece of an answer: a plain text, or an event."""


@public
class CallContext:
    """The timeouts, the deadline and the cancellation of a call.

    A provider that obeys its context can be stopped at any time. A provider that ignores it is stopped only between two pieces.
    `cancel()` and the properties may be used from any thread.

    Args:
        timeout: The timeouts of the phases, in seconds.
        deadline: The time, on `clock`, at which the whole call ends. Default: `timeout.total` seconds from now.
        clock: A function that returns monotonic seconds. Default `time.monotonic`.
        reasoning: Whether the model may think in silence: the request sets `reasoning`, or the model `supports_reasoning`. A
            piece of reasoning then does not start the idle timeouts. Default false.
        headers: Headers to send with this call's request, in addition to the provider's headers. Default none.

    Attributes:
        content_at: The time, on `clock`, at which the first content came; `None` before. For an answer without streaming, the
            time of the whole answer.
        idles: Whether the idle timeouts have started. They start at the first content; without streaming, at the first byte that
            is not white space.
        request_id: The service's identifier of the HTTP request; empty before the answer. The toolkit reads it from the headers.
            A provider without the toolkit sets it, or yields `Detail("request_id", ...)`.
        reads: Whether a reading of the toolkit has begun to read the answer. After this, a wrong piece counts as a fault of the
            service, not of the plugin.
        fetched: Functions that discard values fetched for the call, such as a token; see `Fetched`.
        waiting_since: The time, on `clock`, at which the caller began to wait for the next piece; idle timeouts count from this
            time. Infinity while a thread reads ahead and the caller does not wait. Minus infinity if the provider runs in the
            caller's own thread.
    """

    __slots__ = (
        "_callbacks", "_cancelled", "clock", "content_at", "deadline", "fetched", "headers", "idles", "notes", "reads",
        "reasoning", "request_id", "started", "timeout", "waiting_since",
    )  # fmt: skip

    def __init__(
        self,
        timeout: Timeout,
        deadline: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        reasoning: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.clock = clock
        self.started = clock()
        self.timeout = timeout
        self.deadline = self.started + timeout.total if deadline is None else deadline
        self.notes: list[str] = []
        self.reasoning = reasoning
        self.headers = headers or {}
        self.request_id = ""
        self.waiting_since = -math.inf
        self.content_at: float | None = None
        self.idles = self.reads = False
        self.fetched: tuple[Callable[[], object], ...] = ()
        self._cancelled = False
        self._callbacks: list[Callable[[], object]] = []

    def remaining(self, phase: float | None = None) -> float:
        """Return the seconds until the deadline of the call.

        Args:
            phase: The timeout of a phase, in seconds. The result is not larger.

        Returns:
            Seconds, zero or more.
        """
        left = max(0.0, self.deadline - self.clock())
        return left if phase is None else min(left, phase)

    def came(self, piece: Piece | None = None) -> bool:
        """Record a piece from the service. The toolkit calls this for its providers.

        Args:
            piece: The piece; `None`, the default, for content that is not reasoning. A piece without content is ignored.

        Returns:
            Whether the idle timeouts have started; see `idles`.
        """
        if not self.idles and (piece is None or _is_content(piece)):
            if self.content_at is None:
                self.content_at = self.clock()
            self.idles = not (self.reasoning and isinstance(piece, ReasoningDelta))
        return self.idles

    @property
    def cancelled(self) -> bool:
        """Whether the call is cancelled, so that the caller no longer waits for the answer."""
        return self._cancelled

    def on_cancel(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Register a function that is called when the call is cancelled, for example to shut down a socket.

        Args:
            callback: Called at most once, without arguments, in the thread that cancels; at once if the call is already
                cancelled. It must not block. Its exception is logged.

        Returns:
            A function that removes the callback. Call it when the resource is released.
        """
        # No lock: append and pop of a list are atomic, and the thread that pops a callback calls it.
        self._callbacks.append(callback)
        if self._cancelled:
            self._fire()
        return lambda: self._forget(callback)

    def note(self, text: str) -> None:
        """Add a note to the attempt, for an oddity that does not fail the call.

        Args:
            text: One sentence without secrets.
        """
        self.notes.append(text)

    def cancel(self) -> None:
        """Cancel the call and run the callbacks. A second call does nothing."""
        self._cancelled = True
        self._fire()

    def _fire(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:  # pragma: no cover -- another thread popped the last callback after the test
                return
            try:
                callback()
            except Exception:  # the other callbacks must run, and the exception is not the caller's fault
                _log.warning("a callback given to on_cancel raised", exc_info=True)

    def _forget(self, callback: Callable[[], object]) -> None:
        with contextlib.suppress(ValueError):
            self._callbacks.remove(callback)


def _is_content(piece: Piece) -> bool:
    return bool(piece if isinstance(piece, str) else getattr(piece, "text", "")) or isinstance(piece, ToolCallDelta)


@public
@runtime_checkable
class Provider(Protocol):
    """The provider object from the factory. Several threads may call `stream` at the same time.

    These methods are optional: `async def astream(request, call)`, an asynchronous generator of the same pieces, `close()`,
    `async aclose()`.
    """

    def stream(self, request: Request, call: CallContext) -> Iterable[Piece]:
        """Answer a request.

        Args:
            request: The request. When `request.stream` is false, the answer may be one piece.
            call: The timeouts and the cancellation of the call.

        Yields:
            Texts or events as they arrive, and `Finish` when the service marks the end.

        Raises:
            ProviderError: The service failed to answer. The subclass decides the reaction of the call.
        """
        ...  # pragma: no cover -- a protocol's method is never run
