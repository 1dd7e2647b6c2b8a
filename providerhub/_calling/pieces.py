"""The pieces that a provider yields, and the closing of its iterator."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import GeneratorType
from typing import Any, Self

from providerhub._log import log as _log
from providerhub._rules.mapping import chained
from providerhub._values import Event, Media, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from providerhub._values.errors import PluginError, ProviderTimeoutError
from providerhub._values.provider import Piece


def iterator(pieces: object) -> Iterator[Piece]:
    """Make an iterator of what `stream()` returned. A text or a mapping is refused: its characters or keys are not pieces."""
    if type(pieces) is GeneratorType:
        return pieces
    if isinstance(pieces, (str, bytes, Mapping)):
        msg = f"stream() returned {type(pieces).__name__}; it must return an iterable of pieces: `yield` each, as a generator"
        raise PluginError(msg)
    try:
        return iter(pieces)  # type: ignore[call-overload, no-any-return]
    except TypeError as error:
        fix = "make it a generator"
        if hasattr(pieces, "__anext__") or hasattr(pieces, "__await__"):
            fix = "rename an `async def stream` to astream, and write a generator stream() for synchronous calls"
            close_quietly(getattr(pieces, "close", None))  # a coroutine that is not awaited would warn
        raise PluginError(f"stream() returned {type(pieces).__name__}, which is not iterable; {fix}") from error


class Seen:
    """A provider's iterator, synchronous or asynchronous. `tell` gets the seconds of `clock` between two pieces of content."""

    def __init__(self, pieces: Any, clock: Callable[[], float], tell: Callable[[float], object]) -> None:
        self._pieces, self._clock, self._tell = pieces, clock, tell
        self._last: float | None = None
        for name in ("close", "aclose"):
            if hasattr(pieces, name):
                setattr(self, name, getattr(pieces, name))

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        return self._seen(next(self._pieces))

    async def __anext__(self) -> Piece:
        return self._seen(await self._pieces.__anext__())

    def _seen(self, piece: Piece) -> Piece:
        if isinstance(piece, _CONTENT):
            now = self._clock()
            if self._last is not None:
                self._tell(now - self._last)
            self._last = now
        return piece


_CONTENT = (str, TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, Media)


def text_of(piece: Piece) -> str:
    if isinstance(piece, str):
        return piece
    return piece.text if type(piece) is TextDelta else ""


def event_of(piece: Piece) -> Event:
    return TextDelta(piece) if isinstance(piece, str) else piece


def overdue() -> ProviderTimeoutError:
    return ProviderTimeoutError("the call's total time is over", retryable=False)


def is_cancellation(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")  # slow to import; without it there is no such exception
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def stray_cancel() -> PluginError:
    """The error of a provider that raised `CancelledError`, but the call was not cancelled."""
    return PluginError("the provider raised CancelledError, but the call was not cancelled")


def failure_of(error: BaseException) -> Exception | None:
    """The failure of a provider in a thread. A thread is never cancelled, so `CancelledError` is a failure too.

    `None` for another exception that is not an `Exception`, such as `KeyboardInterrupt`. The caller's `except` clause raises it
    again: a function that raises its own argument would keep all frames of the traceback, and so the sockets, until the garbage
    collector runs.
    """
    if isinstance(error, Exception):
        return unsignalled(error)
    return stray_cancel() if is_cancellation(error) else None


def unsignalled(error: Exception) -> Exception:
    """Return the error. Raises `SignalledError` for an exception of a signal handler that ran during the provider's code."""
    own = _of_signal(error)
    if own is not None:
        raise SignalledError(own)
    return error


class SignalledError(BaseException):
    """Carries the exception of an application's signal handler, such as a time limit, out of the call: no provider has failed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def _of_signal(error: Exception) -> BaseException | None:
    """Return the exception of a signal handler in the chain of an error."""
    signal: Any = sys.modules.get("signal")  # without this import, the program has no handler
    if signal is None or threading.current_thread() is not threading.main_thread():
        return None
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {code for one in handlers if (code := getattr(getattr(one, "__func__", one), "__code__", None)) is not None}
    for link in chained(error) if codes else ():
        step = link.__traceback__
        while step is not None:
            if step.tb_frame.f_code in codes:
                return link
            step = step.tb_next
    return None


def close_quietly(close: Callable[[], object] | None) -> None:
    """Call a provider's `close`. Its error is only logged, so that it does not hide the answer or the first error."""
    if close is None:
        return
    try:
        close()
    except Exception:  # as the docstring says
        note_unclosed()


def note_unclosed() -> None:
    """Log the error of a provider's `close`. Call it in the `except` clause."""
    _log.debug("closing a provider's stream raised", exc_info=True)
