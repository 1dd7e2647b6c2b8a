"""The asynchronous driver: carries out the engine's orders in the caller's own task.

A provider with `astream` is awaited; any other one works in a thread of its own (`_pump`). No event loop is ever started
here, and `asyncio` is imported by whoever has a loop running already.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import Any

from providerhub._driver import Driver, close_quietly, event_of, iterator, note_unclosed, overdue
from providerhub._engine import Engine, Fail, Finish, Open, Order, Pull, Wait
from providerhub._errors import PluginError, ProviderHubError
from providerhub._observers import Observers
from providerhub._provider import CallContext, Piece, Provider
from providerhub._pump import Pump
from providerhub._registry import Registry
from providerhub._types import Event, Options, Request, Restarted, Timeout

GRACE = 0.1
"""Seconds that a failed or cancelled call waits for a provider's thread to end; one that ignores `call` may take longer."""


class AsyncChain(Driver):
    """One call under way.

    Args:
        engine: As for `Driver`, like all others.
        registry: The same.
        request: The same.
        options: The same.
        timeout: The same.
        deadline: The same.
        observers: The same.
        clock: The same.
    """

    __slots__ = ("_pieces", "_pumps")

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        request: Request,
        options: Mapping[str, Options],
        *,
        timeout: Timeout,
        deadline: float,
        observers: Observers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(engine, registry, request, options, timeout=timeout, deadline=deadline, observers=observers, clock=clock)
        self._pieces: AsyncIterator[Piece] | None = None
        self._pumps: list[Pump] = []

    async def run(self) -> None:
        """Go on until the answer is whole (no streaming) or its first content is there.

        Raises:
            ProviderHubError: The chain is at its end.
        """
        try:
            await self._carry_out(self._engine.start(self._clock()))
        except BaseException:
            await self.aclose(GRACE)
            raise

    async def texts(self) -> AsyncIterator[str]:  # noqa: C901 -- a token must not pay for calls that would only divide it
        """Hand the committed stream over as text.

        Yields:
            Each non-empty text as it comes.

        Raises:
            StreamInterruptedError: The stream broke.
        """
        clock, deadline = self._clock, self._deadline
        try:
            for head in self._head_texts():
                yield head
            while not self.done:
                text = self._assembly.text
                try:
                    async for piece in self._open_pieces():
                        found = piece if type(piece) is str else self._added(piece)
                        if found:
                            if found is piece:
                                text.append(found)
                            yield found
                        if clock() > deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    # Text alone cannot show that an answer begins anew, and nothing is repeated silently.
                    await self._mend(error, allowed=self.prefill)
                    for head in self._head_texts():
                        yield head
                else:
                    await self._end()
        except BaseException:
            await self.aclose(GRACE)
            raise

    async def events(self) -> AsyncIterator[Event]:
        """Hand the committed stream over as events; the same as `texts` otherwise."""
        try:
            for head in self._head:
                yield event_of(head)
            while not self.done:
                try:
                    async for piece in self._open_pieces():
                        self._assembly.add(piece)
                        yield event_of(piece)
                        if self._clock() > self._deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    cause = await self._mend(error, allowed=True)
                    candidate = self.candidate
                    if candidate is not None:
                        yield Restarted(candidate.provider, candidate.model, self.prefill, cause)
                    for head in self._head:
                        yield event_of(head)
                else:
                    await self._end()
        except BaseException:
            await self.aclose(GRACE)
            raise

    def abandon(self) -> None:
        """Give the call up: the connection is shut down, and the breaker does not move. Does not wait for a thread's end."""
        if self.done:
            return
        self.done = True
        self._cut()
        self._engine.abandoned(self._clock())
        self._report(last=True)

    async def aclose(self, seconds: float | None = None) -> None:
        """`abandon`, then wait until nothing of the call is running any more.

        Args:
            seconds: How long to wait for a provider's thread; `None` for as long as it takes.
        """
        self.abandon()
        await self._close_pieces(seconds)

    def __del__(self) -> None:
        # Dropped without an end: the thread, if there is one, holds no reference to this object.
        self.abandon()

    async def _carry_out(self, order: Order) -> None:
        while True:
            if isinstance(order, Open):
                order = await self._open(order)
            elif isinstance(order, Pull):
                order = await (self._pull_content() if self._request.stream else self._pull_all())
            elif isinstance(order, Wait):
                import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

                await asyncio.sleep(order.seconds)
                order = self._engine.waited(self._clock())
            else:
                if isinstance(order, Fail | Finish):
                    await self._over()
                self._arrived(order)
                return
            if self._observers:
                self._report()

    async def _open(self, order: Open) -> Order:
        import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

        call = self._begin(order)
        loop = asyncio.get_running_loop()
        try:
            provider = self._instance(order.candidate).provider(loop)
            request = self._request_for(order.candidate)
            if callable(getattr(provider, "astream", None)):
                self._pieces = _native(provider, request, call)
            else:
                pump = Pump(partial(_begun, provider, request, call), loop)
                self._pumps.append(pump)
                self._pieces = pump
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return await self._lost(error)
        return self._engine.opened()

    def _open_pieces(self) -> AsyncIterator[Piece]:
        assert self._pieces is not None  # noqa: S101 -- only an open attempt is read
        return self._pieces

    async def _pull_all(self) -> Order:
        add, clock, deadline = self._assembly.add, self._clock, self._deadline
        try:
            async for piece in self._open_pieces():
                add(piece)
                if clock() > deadline:
                    return await self._lost(overdue())
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return await self._lost(error)
        return self._ended()

    async def _pull_content(self) -> Order:
        try:
            async for piece in self._open_pieces():
                self._head.append(piece)
                content = self._assembly.add(piece)
                if self._clock() > self._deadline:
                    return await self._lost(overdue())
                if content:
                    return self._engine.content(self._clock())
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return await self._lost(error)
        return self._ended()

    async def _lost(self, error: Exception) -> Order:
        self._cut()
        await self._close_pieces(GRACE)
        return self._failed(error)

    async def _mend(self, error: Exception, *, allowed: bool) -> ProviderHubError:
        """Carry on after an interruption where the caller opted in; raises where that is not so, or does not succeed."""
        self._cut()
        await self._close_pieces(GRACE)
        mapped = self._mapped(error)
        await self._carry_out(self._interrupted(mapped, allowed=allowed))
        return mapped

    async def _end(self) -> None:
        if self.done:  # closed by its reader, whose loop then runs out
            return
        self._note()
        self._engine.ended(self._clock(), empty=False)
        await self._over()

    async def _over(self) -> None:
        self.done = True
        await self._close_pieces(GRACE)
        self._report(last=True)

    def _cut(self) -> None:
        """Shut the open attempt's connection down, and have its thread end."""
        if self._call is not None:
            self._call.cancel()
        for pump in self._pumps:
            pump.stop()

    async def _close_pieces(self, seconds: float | None) -> None:
        pieces, self._pieces = self._pieces, None
        for pump in tuple(self._pumps):
            pump.stop()
            if await pump.joined(seconds):
                self._pumps.remove(pump)
        close = getattr(pieces, "aclose", None)
        if close is None:
            return
        try:
            await close()
        except Exception:  # noqa: BLE001 -- a plugin that fails while it is closed must not hide the answer or the first error
            note_unclosed()


def _begun(provider: Provider, request: Request, call: CallContext) -> Iterator[Piece]:
    return iterator(provider.stream(request, call))


def _native(provider: Any, request: Request, call: CallContext) -> AsyncIterator[Piece]:
    pieces = provider.astream(request, call)
    begin = getattr(type(pieces), "__aiter__", None)
    if begin is None:
        close_quietly(getattr(pieces, "close", None))  # a coroutine, which would complain that nobody awaited it
        msg = f"astream() returned {type(pieces).__name__}, which is no asynchronous iterable; make it an asynchronous generator"
        raise PluginError(msg)
    return begin(pieces)  # type: ignore[no-any-return]
