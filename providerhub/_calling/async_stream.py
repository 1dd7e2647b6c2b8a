"""A streamed answer, read by a task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from providerhub._calling.stream import BaseStream
from providerhub._values import Event


class AsyncStream(BaseStream[Any], AsyncIterator[str]):  # not `AsyncChain`, whose module is imported late
    """An answer that comes in pieces. Iterating yields its text; `events()` yields every event.

    The first content has come when the call returns a stream, so a failure before it never shows here. Use the stream in an
    `async with` block, or await `aclose()`, unless it is read to its end: after that nothing of it is running. One task at a
    time reads it.
    """

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[str]:  # noqa: PYI034 -- the driver's generator, so that a token costs no call through this object
        if self._reader is None:
            self._reader = self._chain.read(as_text=True)
        else:
            self._refuse_after_cut()
        return self._reader  # type: ignore[no-any-return]

    async def __anext__(self) -> str:
        return await anext(aiter(self))

    def events(self) -> AsyncIterator[Event]:
        """Read every event.

        Yields:
            The same events as `Stream.events()`.

        Raises:
            StreamInterruptedError: The stream broke after its first content.
            RuntimeError: The stream is already read as text, or another event loop runs than the one that began it.
        """
        self._refuse_second_reader()
        self._reader = self._chain.read(as_text=False)
        return self._reader  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """Release the connection and wait for the end of the provider's thread. Unread pieces are lost.

        A second call does nothing. A provider that ignores its `CallContext` ends at its next piece.
        """
        self._closed = True
        self._chain.abandon()
        reader = self._reader
        if reader is not None and not reader.ag_running:
            await reader.aclose()
        await self._chain.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()
