"""The synchronous driver: carries out the engine's orders in the caller's own thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from providerhub._driver import Driver, close_quietly, event_of, iterator, overdue
from providerhub._engine import Engine, Fail, Finish, Open, Order, Pull, Wait
from providerhub._errors import ProviderHubError
from providerhub._observers import Observers
from providerhub._provider import Piece
from providerhub._registry import Registry
from providerhub._types import Event, Options, Request, Restarted, Timeout


class Chain(Driver):
    """One call under way.

    Args:
        engine: As for `Driver`, like those not listed here.
        registry: The same.
        request: The same.
        options: The same.
        timeout: The same.
        deadline: The same.
        observers: The same.
        clock: Monotonic seconds.
        sleep: Sleeps for some seconds.
    """

    __slots__ = ("_pieces", "_sleep")

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
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(engine, registry, request, options, timeout=timeout, deadline=deadline, observers=observers, clock=clock)
        self._sleep = sleep
        self._pieces: Iterator[Piece] = iter(())

    def run(self) -> None:
        """Go on until the answer is whole (no streaming) or its first content is there.

        Raises:
            ProviderHubError: The chain is at its end.
        """
        try:
            self._carry_out(self._engine.start(self._clock()))
        except BaseException:
            self.abandon()
            raise

    def texts(self) -> Iterator[str]:
        """Hand the committed stream over as text.

        Yields:
            Each non-empty text as it comes.

        Raises:
            StreamInterruptedError: The stream broke.
        """
        clock, deadline = self._clock, self._deadline
        try:
            yield from self._head_texts()
            while not self.done:
                text = self._assembly.text
                try:
                    for piece in self._pieces:
                        found = piece if type(piece) is str else self._added(piece)
                        if found:
                            if found is piece:
                                text.append(found)
                            yield found
                        if clock() > deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    # Text alone cannot show that an answer begins anew, and nothing is repeated silently.
                    self._mend(error, allowed=self.prefill)
                    yield from self._head_texts()
                else:
                    self._end()
        except BaseException:
            self.abandon()
            raise

    def events(self) -> Iterator[Event]:
        """Hand the committed stream over as events; the same as `texts` otherwise."""
        try:
            yield from map(event_of, self._head)
            while not self.done:
                try:
                    for piece in self._pieces:
                        self._assembly.add(piece)
                        yield event_of(piece)
                        if self._clock() > self._deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    cause = self._mend(error, allowed=True)
                    candidate = self.candidate
                    if candidate is not None:
                        yield Restarted(candidate.provider, candidate.model, self.prefill, cause)
                    yield from map(event_of, self._head)
                else:
                    self._end()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Give the call up: the connection is released, and the breaker does not move. A second call does nothing."""
        if self.done:
            return
        self.done = True
        if self._call is not None:
            self._call.cancel()
        self._close_pieces()
        self._engine.abandoned(self._clock())
        self._report(last=True)

    def __del__(self) -> None:
        # The readers' generators release the connection at their own end, but one that was made and never begun has no end.
        self.abandon()

    def _carry_out(self, order: Order) -> None:
        while True:
            kind = type(order)
            if kind is Open:
                order = self._open(order)  # type: ignore[arg-type]
            elif kind is Pull:
                order = self._pull_content() if self._request.stream else self._pull_all()
            elif kind is Wait:
                self._sleep(order.seconds)  # type: ignore[union-attr]
                order = self._engine.waited(self._clock())
            else:
                if kind is Fail or kind is Finish:
                    self._over()
                self._arrived(order)
                return
            if self._observers:
                self._report()

    def _open(self, order: Open) -> Order:
        call = self._begin(order)
        try:
            provider = self._instance(order.candidate).provider()
            self._pieces = iterator(provider.stream(self._request_for(order.candidate), call))
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return self._failed(error)
        return self._engine.opened()

    def _pull_all(self) -> Order:
        add, clock, deadline = self._assembly.add, self._clock, self._deadline
        try:
            for piece in self._pieces:
                add(piece)
                if clock() > deadline:
                    return self._failed(overdue())
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return self._failed(error)
        return self._ended()

    def _pull_content(self) -> Order:
        try:
            for piece in self._pieces:
                self._head.append(piece)
                content = self._assembly.add(piece)
                if self._clock() > self._deadline:
                    return self._failed(overdue())
                if content:
                    return self._engine.content(self._clock())
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
            return self._failed(error)
        return self._ended()

    def _failed(self, error: Exception) -> Order:
        self._close_pieces()
        return super()._failed(error)

    def _mend(self, error: Exception, *, allowed: bool) -> ProviderHubError:
        """Carry on after an interruption where the caller opted in; raises where that is not so, or does not succeed."""
        self._close_pieces()
        mapped = self._mapped(error)
        self._carry_out(self._interrupted(mapped, allowed=allowed))
        return mapped

    def _end(self) -> None:
        if self.done:  # closed by its reader, whose loop then runs out
            return
        self._note()
        self._engine.ended(self._clock(), empty=False)
        self._over()

    def _over(self) -> None:
        self.done = True
        self._close_pieces()
        self._report(last=True)

    def _close_pieces(self) -> None:
        close = getattr(self._pieces, "close", None)
        self._pieces = iter(())
        close_quietly(close)
