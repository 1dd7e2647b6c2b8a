"""The asynchronous driver: carries out the engine's orders in the caller's own task.

A provider with `astream` is awaited; any other one works in a thread of its own (`_pump`). No event loop is ever started
here, and `asyncio` is imported by whoever has a loop running already. Only hedged attempts are tasks of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from providerhub._calling.driver import Driver, Flight, Landing, close_quietly, event_of, iterator, note_unclosed, overdue
from providerhub._calling.pump import Pump
from providerhub._rules.engine import Drain, Finish, Open, Order, Pull, Wait
from providerhub._values import Event, Request, Restarted
from providerhub._values.errors import PluginError, ProviderHubError
from providerhub._values.provider import CallContext, Piece, Provider

GRACE = 0.1
"""Seconds that a failed or cancelled call waits for a provider's thread to end; one that ignores `call` may take longer."""


class AsyncChain(Driver):
    """One call under way; its arguments are those of `Driver`."""

    __slots__ = ("_loop",)

    async def run(self) -> None:
        """Go on until the answer is whole (no streaming) or its first content is there.

        Raises:
            ProviderHubError: The chain is at its end.
        """
        self._loop = _running_loop()
        try:
            await self._carry_out(self._engine.start(self._now()))
        except BaseException:
            await self.aclose(GRACE)
            raise

    async def texts(self) -> AsyncIterator[str]:  # noqa: C901 -- a token must not pay for calls that would only divide it
        """Hand the committed stream over as text.

        Yields:
            Each non-empty text as it comes.

        Raises:
            StreamInterruptedError: The stream broke.
            RuntimeError: Another event loop runs than the one that began the call.
        """
        self._stay()
        now, deadline = self._now, self._deadline
        try:
            for head in self._head_texts():
                yield head
            while not self.done:
                text = self._current.assembly.text
                try:
                    async for piece in self._current.pieces:
                        found = piece if type(piece) is str else self._added(piece)
                        if found:
                            if found is piece:
                                text.append(found)
                            yield found
                        if now() > deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    if self.closed():  # by another task: what its cut line raises is nobody's failure
                        return
                    # Text alone cannot show that an answer begins anew, and nothing is repeated silently.
                    await self._mend(error, allowed=self._prefill)
                    for head in self._head_texts():
                        yield head
                else:
                    await self._end()
        except BaseException:
            await self.aclose(GRACE)
            raise

    async def events(self) -> AsyncIterator[Event]:
        """Hand the committed stream over as events; the same as `texts` otherwise."""
        self._stay()
        try:
            for head in self._current.head:
                yield event_of(head)
            while not self.done:
                try:
                    async for piece in self._current.pieces:
                        self._current.assembly.add(piece)
                        yield event_of(piece)
                        if self._now() > self._deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    if self.closed():
                        return
                    cause = await self._mend(error, allowed=True)
                    candidate = self._current.candidate
                    yield Restarted(candidate.provider, candidate.model, self._prefill, cause)
                    for head in self._current.head:
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
        self._cut_others(None)
        self._engine.abandoned(self._now())
        self._report(last=True)

    async def aclose(self, seconds: float | None = None) -> None:
        """`abandon`, then wait until nothing of the call is running any more.

        Args:
            seconds: How long to wait for a provider's thread; `None` for as long as it takes.
        """
        self.abandon()
        await self._land(seconds)

    def __del__(self) -> None:
        # Dropped without an end: the thread, if there is one, holds no reference to this object.
        if not getattr(self, "done", True):  # missing where its making was interrupted
            self.abandon()

    def _stay(self) -> None:
        """Refuse to go on in another event loop: the first one may have closed what is read here, which would pass for its end.

        Raises:
            RuntimeError: Another one runs.
        """
        if not self.done and _running_loop() is not self._loop:
            self.abandon()
            msg = "another event loop runs than the one that began this stream; read it in the loop that called acomplete()"
            raise RuntimeError(msg)

    async def _carry_out(self, order: Order) -> None:
        while True:
            if isinstance(order, Open):
                order = self._begin(order)
            elif isinstance(order, Pull):
                order = await self._pulled(order)
            elif isinstance(order, Wait):
                await self._clock.asleep(order.seconds)
                order = self._engine.waited(self._now())
            else:
                if not isinstance(order, Drain):
                    await self._over(self.flight if isinstance(order, Finish) else None)
                self._arrived(order)
                return
            if self._observers:
                self._report()

    async def _pulled(self, order: Pull) -> Order:
        flight = self._current
        if self._race is None and order.hedge_after is None:
            landing = await self._pull(flight)
        else:
            left = max(0.0, self._deadline - self._now())
            landed = await self._raced(left if order.hedge_after is None else min(left, order.hedge_after))
            if landed is None and order.hedge_after is not None:
                return self._engine.hedge_due(self._now())
            flight, landing = landed or (flight, overdue())
        if isinstance(landing, Exception):
            _cut(flight)
            await self._land(GRACE, flight)
            self._turn_to_rival()
        else:
            self.flight, self._race = flight, None
            self._cut_others(flight)
        return self._landed(flight, landing)

    async def _raced(self, seconds: float) -> tuple[Flight, Landing] | None:
        """Wait for whichever attempt lands first; `None` when the time is over."""
        import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

        flight = self._current
        if flight.runner is None:
            flight.runner = asyncio.create_task(self._pull(flight))
        self._race = running = [one for one in self._flights if one.runner is not None]
        done, _ = await asyncio.wait([one.runner for one in running], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        first = next((one for one in running if one.runner in done), None)
        if first is None:
            return None
        runner, first.runner = first.runner, None
        return first, runner.result()

    def _open(self, flight: Flight) -> None:
        loop = self._loop
        provider = self._instance(flight.candidate).provider(loop)
        request = self._request_for(flight)
        if callable(getattr(provider, "astream", None)):
            flight.pieces = _native(provider, request, flight.call)
        else:
            flight.pieces = Pump(partial(_begun, provider, request, flight.call), loop, flight.call)

    async def _pull(self, flight: Flight) -> Landing:
        """Ask the provider, up to its first content when streaming, else to its end."""
        add, now, deadline, stream = flight.assembly.add, self._now, self._deadline, self._request.stream
        try:
            self._open(flight)
            async for piece in flight.pieces:
                content = add(piece)
                if now() > deadline:
                    return overdue()
                if stream:
                    flight.head.append(piece)
                    if content:
                        return True
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return error
        return False

    async def _mend(self, error: Exception, *, allowed: bool) -> ProviderHubError:
        """Carry on after an interruption where the caller opted in; raises where that is not so, or does not succeed."""
        _cut(self._current)
        await self._land(GRACE)
        mapped, order = self._broken(error, allowed=allowed)
        await self._carry_out(order)
        return mapped

    async def _end(self) -> None:
        if self.done:  # closed by its reader, whose loop then runs out
            return
        self._landed(self._current, landing=False)
        await self._over(self.flight)

    async def _over(self, winner: Flight | None) -> None:
        self.done = True
        self._cut_others(winner)
        await self._land(GRACE)
        self._report(last=True)

    def _cut_others(self, winner: Flight | None) -> None:
        for flight in self._flights:
            if flight is not winner:
                _cut(flight)

    async def _land(self, seconds: float | None, *flights: Flight) -> None:
        """Wait for the end of attempts, by default of all; those that take longer are waited for when the call is closed."""
        for flight in flights or tuple(self._flights):
            if await _landed(flight, seconds) and flight in self._flights:  # another task may have waited as well
                self._flights.remove(flight)


def _cut(flight: Flight) -> None:
    """Shut an attempt's connection down, and have its thread or task end."""
    flight.call.cancel()
    if isinstance(flight.pieces, Pump):
        flight.pieces.stop()
    if flight.runner is not None:
        flight.runner.cancel()


async def _landed(flight: Flight, seconds: float | None) -> bool:
    """Wait for an attempt's end, and close it; false when it takes longer."""
    if flight.runner is not None and not flight.runner.done():
        import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

        await asyncio.wait([flight.runner], timeout=seconds)
        if not flight.runner.done():
            return False
    pieces = flight.pieces
    if isinstance(pieces, Pump):
        pieces.stop()
        return await pieces.joined(seconds)
    flight.pieces = None
    close = getattr(pieces, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception:  # noqa: BLE001 -- a plugin that fails while it is closed must not hide the answer or the first error
            note_unclosed()
    return True


def _running_loop() -> Any:
    import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

    return asyncio.get_running_loop()


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
