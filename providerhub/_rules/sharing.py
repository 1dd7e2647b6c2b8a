"""The state that several processes share: facts from providers go to the other processes, and their facts come here.

Facts of other processes become pauses in the records of this process, so that a call reads only these records. Statistics are not
shared: one process with a bad network would stop all the others.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping

from providerhub._rules.clock import Clock
from providerhub._rules.health import RATE_LIMITED, Health, Key
from providerhub._rules.lanes import Back, Full, Place
from providerhub._rules.limits import MARGIN, MINUTE, NEVER
from providerhub._rules.pacing import Pacer
from providerhub._rules.policy import LACK_FOR, QUOTA_PAUSE, Rng
from providerhub._values.shared import Claim, Fact, SharedState

About = tuple[str, str, str]  # the scope, the model and the statement of a fact
FORGIVEN = "forgiven"
# The process that a provider refused asks again first. The others follow after a random share of the pause, within these bounds
# in seconds, so that they hear of a second refusal before they ask.
SPREAD, SPREAD_LEAST, SPREAD_MOST = 0.1, 0.5, 3.0
# A fact is passed on again if its end is later than the known end by more than this share of its seconds.
NOT_NEWS = 0.15
MOST_FACTS = 1000  # in memory. Pending facts are about accounts that this process does not use, or whose key is not read yet.
LOOK_AGAIN = 1.0  # seconds between two looks at the pending facts


class Sharing:
    """The shared state of one hub. Thread-safe. The `scope` of an instance is empty before its key is read."""

    def __init__(
        self,
        store: SharedState,
        health: Health,
        pacer: Pacer,
        *,
        clock: Clock,
        rng: Rng,
        forgive: Callable[[str], object],
        scope: Callable[[str], str],
        scopes: Callable[[], Mapping[str, str]],
        owned: bool = True,
    ) -> None:
        self._store = store
        self._health = health
        self._pacer = pacer
        self._now = clock.monotonic
        self._rng = rng
        self._forgive = forgive
        self._scope, self._scopes = scope, scopes
        self._owned = owned
        self.answer = store.answer
        self.refuses = store.on_outage == "refuse"
        self._name, self._numbers = os.urandom(6).hex(), itertools.count()
        self._known: dict[About, float] = {}  # the ends of the facts that were sent or heard
        self.pending: dict[About, float] = {}
        self._look_at = 0.0
        health.on_fact = pacer.on_fact = self.tell
        pacer.claims = self
        store.start(self.told)

    def tell(self, key: Key, what: str, seconds: float) -> None:
        """Pass a provider's statement on to the other processes. The key may have the sent name of a model."""
        seconds = min(seconds, LACK_FOR if what.startswith("no ") else QUOTA_PAUSE)  # the store outlives a process
        until = self._now() + seconds
        scope = self._scope(key[0])
        if scope and self._is_news((scope, key[1], what), until, seconds):
            self._store.tell(Fact(scope, key[1], what, seconds))

    def told(self, fact: Fact) -> None:
        """Take in a fact of another process. Called in the store's thread."""
        until = self._now() + fact.seconds
        news = self._is_news((fact.scope, fact.model, fact.what), until, fact.seconds)
        if news and not self._apply(fact, until) and fact.what != FORGIVEN and len(self.pending) < MOST_FACTS:
            self.pending[fact.scope, fact.model, fact.what] = until

    def settle(self, now: float) -> bool:
        """Apply pending facts whose accounts this process uses by now; true if there was any."""
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_AGAIN
        known, found = set(self._scopes().values()), False
        for place, until in tuple(self.pending.items()):
            if until <= now or place[0] in known:
                del self.pending[place]
                found |= until > now and self._apply(Fact(*place, until - now), until)
        return found

    def _is_news(self, place: About, until: float, seconds: float) -> bool:
        """Remember a fact; false if it adds little, since all running calls are refused at about the same time."""
        if place[2] == FORGIVEN:
            self._known = {one: end for one, end in self._known.items() if one[0] != place[0]}
            return True
        if until - self._known.get(place, NEVER) <= seconds * NOT_NEWS:
            return False
        self._known.pop(place, None)
        self._known[place] = until  # the newest fact is the last entry
        if len(self._known) > MOST_FACTS:
            del self._known[next(iter(self._known))]
        return True

    def take(self, place: Place, answer: Callable[[Place, Claim, Full | None], object]) -> tuple[Claim | None, bool]:
        """Ask the store for a turn. Return the claim (`None` without limits or an answer), and whether the turn is taken."""
        scope, own, whole = self._scope(place.desk.provider), place.lane.limits, place.desk.whole.limits
        known = place.lane.named
        if known[0] != scope or known[1] is not own or known[2] is not whole:
            both = ((f"{scope}:{entry}", limits) for entry, limits in ((place.entry, own), ("", whole)) if limits.any)
            lanes = tuple((name, one.concurrency, one.rpm and MINUTE / (MARGIN * one.rpm), one.tpm) for name, one in both)
            known = place.lane.named = scope, own, whole, lanes
        if not scope or not known[3]:
            return None, not known[3]
        claim = Claim(f"{self._name}-{next(self._numbers)}", known[3], place.tokens)

        def answered(reason: str, seconds: float) -> None:
            answer(place, claim, Full(reason, self._now() + seconds) if reason else None)

        asked = self._store.claim(claim, answered)
        return None if asked is False else claim, asked is None

    def give_back(self, claim: Claim, back: Back) -> None:
        self._store.give_back(claim, back.used if back.sent else 0.0)

    def close(self) -> None:
        self._health.on_fact = self._pacer.on_fact = self._pacer.claims = None
        if self._owned:
            self._store.close()

    def _apply(self, fact: Fact, until: float) -> bool:
        """Record a fact for the instances that use the account; false if no instance uses it."""
        names = [name for name, scope in self._scopes().items() if scope == fact.scope]
        now = self._now()
        for key in ((name, fact.model) for name in names):
            if fact.what == FORGIVEN:
                self._forgive(key[0])
            elif fact.what.startswith("no "):
                self._health.deny(key, fact.what.removeprefix("no "), until)
            else:
                end = until + self._rng() * min(max(SPREAD * fact.seconds, SPREAD_LEAST), SPREAD_MOST)
                self._health.pause(key, fact.what, now, end)
                if fact.what == RATE_LIMITED and fact.model:
                    self._pacer.hold(key, now, end)
        return bool(names)
