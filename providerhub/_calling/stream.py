"""A streamed answer, read by a thread or a task."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from providerhub._calling.chain import Chain
from providerhub._calling.driver import Driver
from providerhub._values import Completion, Event, Route

AnyDriver = TypeVar("AnyDriver", bound=Driver[Any])


class BaseStream(Generic[AnyDriver]):
    """The part of `Stream` and `AsyncStream` that does not wait."""

    __slots__ = ("_chain", "_reader")

    def __init__(self, chain: AnyDriver) -> None:
        self._chain = chain
        self._reader: Any = None  # the driver's generator, as soon as it is read

    @property
    def completion(self) -> Completion:
        """The whole answer after the stream's end; before that, the answer so far."""
        return self._chain.completion

    @property
    def route(self) -> Route:
        """Every attempt so far, and the skipped candidates."""
        return self._chain.route

    def when_whole(self, function: Callable[[Completion], object]) -> None:
        """Call a function when the stream has been read to its end, for example to store the answer.

        It is not called if the stream breaks or is closed early. The reader gets its exception.

        Args:
            function: Called once with the whole answer, by the thread or task that reads.
        """
        self._chain.endings += (function,)

    def _refuse_second_reader(self) -> None:
        if self._reader is not None:
            raise RuntimeError("this stream is being read already; call events() before the first piece is taken")


class Stream(BaseStream[Chain], Iterator[str]):
    """An answer that comes in pieces. Iterating yields its text; `events()` yields every event.

    The call returns a stream after the first content, so earlier failures do not appear here. If your code may stop before the
    end, use a `with` block or call `close()` to release the connection.
    """

    __slots__ = ("_pieces",)

    def __init__(self, chain: Chain, pieces: Generator[Any, bool, None]) -> None:
        super().__init__(chain)
        self._pieces = pieces

    def __iter__(self) -> Iterator[str]:  # noqa: PYI034 -- the driver's generator, so that a token costs no call through this object
        if self._reader is None:
            self._begin(as_text=True)
        elif self._reader.gi_running:
            raise RuntimeError("another thread is reading this stream; one thread at a time can read it")
        else:
            self._chain.refuse_lost()
        return self._reader  # type: ignore[no-any-return]

    def __next__(self) -> str:
        return next(iter(self))

    def events(self) -> Iterator[Event]:
        """Read every event.

        Yields:
            `TextDelta`, `ReasoningDelta`, `RefusalDelta`, `ToolCallDelta`, `UsageDelta`, `Finish`, and `Restarted` where
            `on_interrupt` allows it.

        Raises:
            StreamInterruptedError: The stream broke after its first content.
            RuntimeError: The stream is already read as text.
        """
        self._refuse_second_reader()
        self._begin(as_text=False)
        return self._reader  # type: ignore[no-any-return]

    def _begin(self, *, as_text: bool) -> None:
        self._reader = self._pieces
        self._pieces.send(as_text)

    def close(self) -> None:
        """Release the connection. Unread pieces are lost. A second call does nothing."""
        self._chain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncStream(BaseStream[Any], AsyncIterator[str]):  # not `AsyncChain`, whose module is imported late
    """An answer that comes in pieces. Iterating yields its text; `events()` yields every event.

    The call returns a stream after the first content, so earlier failures do not appear here. If your code may stop before the
    end, use an `async with` block or await `aclose()`: after it, nothing of the stream is running. Only one task at a time may
    read.
    """

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[str]:  # noqa: PYI034 -- the driver's generator, so that a token costs no call through this object
        if self._reader is None:
            self._reader = self._chain.read(as_text=True)
        else:
            self._chain.refuse_lost()
        return self._reader  # type: ignore[no-any-return]

    async def __anext__(self) -> str:
        return await anext(aiter(self))

    def events(self) -> AsyncIterator[Event]:
        """Read every event.

        Yields:
            The same events as `Stream.events()`.

        Raises:
            StreamInterruptedError: The stream broke after its first content.
            RuntimeError: The stream is already read as text, or the call began in another event loop.
        """
        self._refuse_second_reader()
        self._reader = self._chain.read(as_text=False)
        return self._reader  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """Release the connection, and wait for the end of the provider's thread. Unread pieces are lost.

        A second call does nothing. A provider that ignores its `CallContext` ends at its next piece.
        """
        self._chain.close()
        reader = self._reader
        if reader is not None and not reader.ag_running:
            await reader.aclose()
        await self._chain.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()
