"""The synchronous driver: carries out the engine's orders in the caller's own thread."""

from __future__ import annotations

from collections.abc import Iterator

from providerhub._calling.driver import Driver, Flight, Landing, close_quietly, event_of, iterator, overdue
from providerhub._calling.race import Race
from providerhub._rules.engine import Drain, Finish, Open, Order, Pull, Wait
from providerhub._values import Event, Restarted
from providerhub._values.errors import ProviderHubError


class Chain(Driver):
    """One call under way; its arguments are those of `Driver`."""

    __slots__ = ()

    def run(self) -> None:
        """Go on until the answer is whole (no streaming) or its first content is there.

        Raises:
            ProviderHubError: The chain is at its end.
        """
        try:
            self._carry_out(self._engine.start(self._now()))
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
        now, deadline = self._now, self._deadline
        try:
            yield from self._head_texts()
            while not self.done:
                text = self._current.assembly.text
                try:
                    for piece in self._current.pieces:
                        found = piece if type(piece) is str else self._added(piece)
                        if found:
                            if found is piece:
                                text.append(found)
                            yield found
                        if now() > deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                    self._end()
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    if self.closed():  # by another thread: what its cut line or the end under way raises is nobody's failure
                        return
                    # Text alone cannot show that an answer begins anew, and nothing is repeated silently.
                    self._mend(error, allowed=self._prefill)
                    yield from self._head_texts()
        except BaseException:
            self.abandon()
            raise

    def events(self) -> Iterator[Event]:
        """Hand the committed stream over as events; the same as `texts` otherwise."""
        try:
            yield from map(event_of, self._current.head)
            while not self.done:
                try:
                    for piece in self._current.pieces:
                        self._current.assembly.add(piece)
                        yield event_of(piece)
                        if self._now() > self._deadline:
                            raise overdue()  # noqa: TRY301 -- one place below handles every end of the stream
                    self._end()
                except Exception as error:  # noqa: BLE001 -- whatever a plugin raises is mapped
                    if self.closed():
                        return
                    cause = self._mend(error, allowed=True)
                    candidate = self._current.candidate
                    yield Restarted(candidate.provider, candidate.model, self._prefill, cause)
                    yield from map(event_of, self._current.head)
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Give the call up: the connection is released, and the breaker does not move. A second call does nothing."""
        if self.done:
            return
        self.done = True
        # The engine first: a reader in another thread wakes up as soon as its attempt is dropped.
        self._engine.abandoned(self._now())
        self._drop_others(None)
        self._report(last=True)

    def __del__(self) -> None:
        # The readers' generators release the connection at their own end, but one that was made and never begun has no end.
        if not getattr(self, "done", True):  # missing where its making was interrupted
            self.abandon()

    def _carry_out(self, order: Order) -> None:
        while True:
            kind = type(order)
            if kind is Open:
                order = self._begin(order)  # type: ignore[arg-type]
            elif kind is Pull:
                order = self._pulled(order)  # type: ignore[arg-type]
            elif kind is Wait:
                self._clock.sleep(order.seconds)  # type: ignore[union-attr]
                order = self._engine.waited(self._now())
            else:
                if kind is not Drain:
                    self._over(self.flight if kind is Finish else None)
                self._arrived(order)
                return
            if self._observers:
                self._report()

    def _pulled(self, order: Pull) -> Order:
        if self._race is None and order.hedge_after is None:
            flight = self._current
            landing = self._pull(flight)
        else:
            race = self._race = self._race or Race(self._pull)
            race.enter(self._current)
            left = max(0.0, self._deadline - self._now())
            landed = race.landed(left if order.hedge_after is None else min(left, order.hedge_after))
            if landed is None and order.hedge_after is not None:
                return self._engine.hedge_due(self._now())
            flight, landing = landed or (self._current, overdue())
        if isinstance(landing, Exception):
            self._drop(flight)
            self._turn_to_rival()
        else:
            self.flight = flight
            if self._race is not None:
                self._race = None
                self._drop_others(flight)
        return self._landed(flight, landing)

    def _pull(self, flight: Flight) -> Landing:
        """Ask the provider, up to its first content when streaming, else to its end."""
        add, now, deadline, stream = flight.assembly.add, self._now, self._deadline, self._request.stream
        try:
            provider = self._instance(flight.candidate).provider()
            flight.pieces = iterator(provider.stream(self._request_for(flight), flight.call))
            for piece in flight.pieces:
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

    def _mend(self, error: Exception, *, allowed: bool) -> ProviderHubError:
        """Carry on after an interruption where the caller opted in; raises where that is not so, or does not succeed."""
        self._drop(self._current)
        mapped, order = self._broken(error, allowed=allowed)
        self._carry_out(order)
        return mapped

    def _end(self) -> None:
        if self.done:  # closed by its reader, whose loop then runs out
            return
        self._landed(self._current, landing=False)
        self._over(self.flight)

    def _over(self, winner: Flight | None) -> None:
        self.done = True
        if winner is not None:
            close_quietly(getattr(winner.pieces, "close", None))
            self._flights.remove(winner)
        if self._flights:
            self._drop_others(None)
        if self._observers:
            self._report(last=True)

    def _drop(self, flight: Flight) -> None:
        """Cancel an attempt and close it, here or where it runs."""
        if flight in self._flights:
            self._flights.remove(flight)
        if flight.runner is not None:
            flight.runner.drop()
        else:
            flight.call.cancel()
            close_quietly(getattr(flight.pieces, "close", None))

    def _drop_others(self, winner: Flight | None) -> None:
        for flight in tuple(self._flights):
            if flight is not winner:
                self._drop(flight)
