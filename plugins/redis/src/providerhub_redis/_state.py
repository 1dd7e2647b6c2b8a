"""The store of a hub: memory of this process, which a thread synchronizes with the server.

The methods only record work for this thread. So a call never waits for the server, in a thread or in an event loop.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 -- `socket` would import it later: a fork during that import would break it
import logging
import os
import random
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from providerhub import Claim, Fact, Shared
from providerhub_redis._server import Server, client_of
from providerhub_redis._stock import Found, Stock, Wish

Place = tuple[str, str, str]  # the scope, the model and the statement of a fact

FORGIVEN = "forgiven"
UNKNOWN = "shared limits unknown"
MOST_FACTS = 1000  # the most facts of this process
FORGIVEN_FOR = 60.0  # seconds for which a "forgiven" fact waits for the server
TICK = 0.05  # seconds between two reports of used tokens
BEAT = 5.0  # seconds of silence after which the server gets a ping
FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0  # seconds between two attempts to connect; they double each time, and half of them is random
CLOSING = 0.5  # seconds that `close` waits for the last facts to be sent

_log = logging.getLogger("providerhub")
_stores: weakref.WeakSet[RedisState] = weakref.WeakSet()


class RedisState:
    """Shared state in a Redis or Valkey server. A hub makes one for an address such as `redis://127.0.0.1:6379/0`.

    While the server does not answer, the hub uses the records of its own process. The log has one line then, and one line when
    the server answers again. The processes then exchange the facts of the meantime.

    Args:
        shared: The address and the namespace. The address may have the query parameters of redis-py's `from_url`, such as
            `?ssl_ca_certs=/etc/ssl/ca.pem`. `valkey` and `valkeys` stand for `redis` and `rediss`.

    Raises:
        ConfigurationError: The address is wrong.
    """

    def __init__(self, shared: Shared) -> None:
        self.namespace = shared.namespace
        self.on_outage = shared.on_outage
        self.answer = shared.answer
        url = shared.url.reveal() if shared.url else ""
        self._url = url
        client_of(url).close()  # a wrong address is refused now, and the thread has no module to import
        self._where = urlsplit(url).netloc.rpartition("@")[2] or "its socket"
        self._told: Callable[[Fact], object] = bool
        self._begin_empty()
        self.is_up = False
        """Whether the server answered last."""

    def _begin_empty(self) -> None:
        self._server = Server(self._url, self.namespace)
        # Place → the time at which the fact ends. Facts of this process, since the server may lose them at a restart.
        self._facts: dict[Place, float] = {}
        self._unsent: dict[Place, float] = {}
        # Identifier → a claim without an answer, its callback and its time.
        self._asked: dict[str, tuple[Claim, Callable[[str, float], object], float]] = {}
        self._stock = Stock()
        self._is_restless = False  # whether the thread will soon look for returned turns
        self._renew_at = self._rest_until = self._ping_at = 0.0
        self._refusal = ""  # the error of the server at the last claim; empty for none
        self._closed = False
        self._said = ""
        # A byte in this pair of sockets wakes the thread when there is data to send.
        self._ear, self._bell = socket.socketpair()
        for end in (self._ear, self._bell):
            end.setblocking(False)  # noqa: FBT003 -- the standard library's
        self._thread: threading.Thread | None = None

    def start(self, told: Callable[[Fact], object]) -> None:
        """Connect in the background, and call `told` with each fact of other processes.

        Args:
            told: A function that takes a fact. It is called in the thread of this store.
        """
        self._told = told
        _stores.add(self)
        self._begin()

    def tell(self, fact: Fact) -> None:
        """Pass a fact on in the background.

        Args:
            fact: The fact. `"forgiven"` takes back the facts of the same scope.
        """
        place, now = (fact.scope, fact.model, fact.what), time.monotonic()
        if fact.what == FORGIVEN:
            self._forget(fact.scope)
            self._unsent[place] = now + FORGIVEN_FOR
        else:
            self._facts.pop(place, None)
            self._facts[place] = self._unsent[place] = now + fact.seconds
            while len(self._facts) > MOST_FACTS:
                self._unsent.pop(oldest := next(iter(self._facts)), None)
                self._facts.pop(oldest, None)
        self._wake()

    def _forget(self, scope: str) -> None:
        for known in [known for known in self._facts.copy() if known[0] == scope]:
            self._facts.pop(known, None)
            self._unsent.pop(known, None)

    def claim(self, claim: Claim, answer: Callable[[str, float], object]) -> bool | None:
        """Take a turn, or ask for one in the background.

        Args:
            claim: The claim for a turn.
            answer: Called in the thread of this store with `""` and 0, or with the reached limit and seconds.

        Returns:
            `None` for a turn from the stock of this process. True if the server is asked. False while the server does not answer,
            or is too slow for earlier claims.
        """
        was_low = self._stock.is_low
        if self.is_up and self._stock.take(claim):
            if self._stock.is_low and not was_low:
                self._wake()
            return None
        now = time.monotonic()
        first = next(iter(self._asked.copy().values()), None)
        if not self.is_up or now < self._rest_until or (first is not None and now - first[2] > self.answer):
            return False
        self._asked[claim.id] = claim, answer, now
        self._wake()
        return True

    def give_back(self, claim: Claim, used: float | None) -> None:
        """Give a turn back in the background.

        Args:
            claim: The claim that was answered with a turn.
            used: The tokens that the call has used; `None` leaves the reservation as it is.
        """
        self._stock.give_back(claim, used)
        if self._stock.wanted_until > time.monotonic():
            self._wake()
        elif not self._is_restless and used is not None and any(tpm for *_, tpm in claim.lanes):
            self._is_restless = True  # the thread looks every 50 ms while there are tokens to count
            self._wake()

    def close(self) -> None:
        """Send the unsent data, for at most half a second, and close the connections."""
        _stores.discard(self)
        self._closed = True
        self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSING)

    def after_fork(self) -> None:
        """Begin again in a child process, which has no thread and must not use the parent's connections."""
        self._ear.close()
        self._bell.close()
        self._begin_empty()
        self._begin()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="providerhub-shared", daemon=True)
        self._thread.start()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # a full socket wakes the thread anyway; or the socket is closed
            self._bell.send(b"!")

    def _run(self) -> None:
        wait = FIRST_WAIT
        while not self._closed:
            try:
                for fact in self._server.connect():
                    self._hear(fact)
                wait = FIRST_WAIT
                self._unsent = {**self._facts, **self._unsent}
                self._server.keep(self._stock.held())
                self._say("")
                self._serve()
            except Exception as error:  # an error of the client or the network must not end the thread
                self._fail()
                self._say(f"{type(error).__name__}: {error}")
            finally:
                self._server.close()
            if not self._closed:
                self._sleep(wait * (0.5 + random.random() / 2))  # noqa: S311 -- spreads waits
                wait = min(2 * wait, LONGEST_WAIT)
        self._ear.close()
        self._bell.close()

    def _sleep(self, seconds: float) -> None:
        """Wait, but not longer than until the store is closed."""
        end = time.monotonic() + seconds
        while not self._closed and (left := end - time.monotonic()) > 0:
            self._listen(left)

    def _serve(self) -> None:
        """Send and receive, and regularly check that the server answers."""
        while True:
            self._send()
            self._count()
            if self._closed and not self._unsent:
                self._server.keep((name, 0) for name, _ in self._stock.held())  # or they count until their leases end
                return
            if not self._listen(TICK if self._is_restless else BEAT, self._server.socket) and time.monotonic() >= self._ping_at:
                self._server.ping()
                self._ping_at = time.monotonic() + BEAT
            for heard in self._server.heard():
                self._stock.wanted(heard) if isinstance(heard, str) else self._hear(heard)

    def _listen(self, seconds: float, *others: Any) -> bool:
        """Wait until there is data to send or a readable socket; false if the time is over."""
        with selectors.DefaultSelector() as selector:
            for one in (self._ear, *others):
                selector.register(one, selectors.EVENT_READ)
            ready = selector.select(seconds)
        with contextlib.suppress(OSError):
            self._ear.recv(4096)
        return bool(ready)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, {}
        now = time.monotonic()
        try:
            for place, until in tuple(unsent.copy().items()):
                if until > now:
                    self._server.tell(Fact(*place, 0.0 if place[2] == FORGIVEN else until - now))
                del unsent[place]
        finally:
            self._unsent = {**unsent, **self._unsent}

    def _count(self) -> None:
        """Give back unused units, take turns and stock, and renew the leases."""
        self._is_restless = False  # first, so that no token that is returned from now on is missed
        if owed := self._stock.owed():
            self._is_restless = True
            self._server.correct(owed)
        if surplus := self._stock.surplus():
            self._server.keep(surplus)
        self._take()
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew_at = now + BEAT
            self._server.keep(self._stock.held())

    def _take(self) -> None:
        """Answer the claims, and fill the stock."""
        wishes: list[tuple[Claim | None, Callable[[str, float], object], list[Wish]]] = []
        for claim, answer, _ in tuple(self._asked.copy().values()):
            if (lacking := self._stock.wishes(claim)) is None:
                del self._asked[claim.id]
                answer("", 0.0)
            else:
                wishes.append((claim, answer, lacking))
        if self._stock.is_low:
            wishes += [(None, _silent, [wish]) for wish in self._stock.low()]
        if wishes:
            asked_at = time.monotonic()
            for one, found in zip(wishes, self._server.take([lanes for *_, lanes in wishes]), strict=True):
                self._answer(*one, found, asked_at)

    def _answer(
        self, claim: Claim | None, answer: Callable[[str, float], object], wishes: list[Wish],
        found: tuple[str, float] | list[Found] | Exception, asked_at: float,
    ) -> None:  # fmt: skip
        refusal = ""
        if isinstance(found, Exception):
            refusal, found = str(found), (UNKNOWN, 0.0)
            self._rest_until = time.monotonic() + BEAT
            if refusal != self._refusal:
                _log.warning("shared state: the store at %s counts no calls (%s); on_outage applies", self._where, refusal)
        self._refusal = refusal
        if isinstance(found, list):
            self._stock.granted(claim, wishes, found, asked_at)
        elif claim is not None:
            self._stock.refused(wishes, claim.tokens)
        if claim is not None:
            del self._asked[claim.id]
            answer(*(("", 0.0) if isinstance(found, list) else found))

    def _fail(self) -> None:
        """Answer the claims that the server will not answer."""
        self.is_up = False  # first, so that no new claim comes
        while self._asked:
            _, (_, answer, _) = self._asked.popitem()
            answer(UNKNOWN, 0.0)

    def _hear(self, fact: Fact) -> None:
        if fact.what == FORGIVEN:
            self._forget(fact.scope)
        try:
            self._told(fact)
        except Exception:  # an error of the hub must not end the connection
            _log.exception("shared state: a fact of another process could not be used")

    def _say(self, failure: str) -> None:
        """Log once that the server is gone, and once that it is back."""
        self.is_up = not failure
        if failure and not self._said:
            _log.warning(
                "shared state: the store at %s does not work (%s); this process goes on with its own records until it does",
                self._where, failure,
            )  # fmt: skip
        elif self._said and not failure:
            _log.warning("shared state: the store at %s works again", self._where)
        self._said = failure


def _after_fork() -> None:
    for store in tuple(_stores):
        store.after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)


def _silent(_reason: str, _seconds: float) -> None:
    """The callback of a wish that belongs to no call."""
