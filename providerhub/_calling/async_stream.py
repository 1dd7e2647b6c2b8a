"""A streamed answer in the hands of a task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from providerhub._calling.async_chain import AsyncChain
from providerhub._values import Completion, Event, Route


class AsyncStream(AsyncIterator[str]):
    """An answer that comes in pieces. Iterating yields its text; `events()` yields everything.

    Its first content has come already: what failed before was handled, or was raised by the call. Use it in an
    `async with` block, or await `aclose()`, when it may not be read to its end: after that nothing of it is running.
    One task reads it at a time.
    """

    __slots__ = ("_chain", "_reader")

    def __init__(self, chain: AsyncChain) -> None:
        self._chain = chain
        self._reader: Any = None  # one of the driver's two asynchronous generators

    def __aiter__(self) -> AsyncIterator[str]:  # noqa: PYI034 -- the driver's generator serves, at no cost per token
        # The driver's own generator: a token costs no call through this object.
        if self._reader is None:
            self._reader = self._chain.texts()
        return self._reader  # type: ignore[no-any-return]

    async def __anext__(self) -> str:
        return await anext(aiter(self))

    def events(self) -> AsyncIterator[Event]:
        """Read everything, not just text.

        Yields:
            The same events as `Stream.events()`.

        Raises:
            StreamInterruptedError: The stream broke after content had been handed over.
            RuntimeError: The stream is being read as text already, or another event loop runs than the one that began it.
        """
        if self._reader is not None:
            msg = "this stream is being read already; call events() before the first piece is taken"
            raise RuntimeError(msg)
        self._reader = self._chain.events()
        return self._reader  # type: ignore[no-any-return]

    @property
    def completion(self) -> Completion:
        """The whole answer after the stream's end; before that, what has come so far."""
        return self._chain.completion

    @property
    def route(self) -> Route:
        """Every attempt so far, and what was left out."""
        return self._chain.route

    async def aclose(self) -> None:
        """Release the connection, and wait for the provider's thread to end; what has not been read is lost.

        A second call does nothing. A provider that ignores its `CallContext` is waited for until its next piece.
        """
        self._chain.abandon()
        reader = self._reader
        if reader is not None and not reader.ag_running:
            await reader.aclose()
        await self._chain.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()
