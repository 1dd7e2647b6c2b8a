"""The order of candidates of one group: one method for each strategy of the settings that spreads calls."""

from __future__ import annotations

from typing import Any, NamedTuple

from providerhub._rules.health import Health
from providerhub._rules.policy import Rng
from providerhub._values import Candidate

_MOST_ROTATIONS = 1024


class RankedCandidate(NamedTuple):
    """A candidate with the values that order it."""

    candidate: Candidate  # the candidate as the plan holds it
    rank: tuple[int, ...]  # its place in the default order; a smaller one is tried first
    # Candidates with the same group are equal for the strategies that spread: the same model for the caller, whether its name
    # matched exactly, as an alias or as a prefix. A smaller group is tried first.
    group: tuple[int, ...]
    weight: float  # the weight of its provider
    price: tuple[bool, str, float]  # of its model; a smaller one comes first
    window: int | None  # the context window of its model, which may be a catalogue's word

    def less_sure(self, unknown: int) -> RankedCandidate:
        """The candidate with some more capabilities that its model does not declare: the last number of `rank` and `group`."""
        *rank, known = self.rank
        *group, _ = self.group
        return self._replace(rank=(*rank, known + unknown), group=(*group, known + unknown))


Ranking = tuple[RankedCandidate, ...]


class Strategies:
    """Orders candidates of equal groups. A dry run changes no state and draws no random number."""

    def __init__(self, health: Health, rng: Rng) -> None:
        self._health = health
        self._rng = rng
        self._turns: dict[Any, int] = {}

    def order(self, candidates: Ranking, strategy: str, *, stream: bool, dry: bool) -> Ranking:
        """Order candidates, which are sorted by rank already. The strategy `priority` leaves them so."""
        if strategy == "priority":
            return candidates
        groups: dict[tuple[int, ...], list[RankedCandidate]] = {}
        for ranked in candidates:
            groups.setdefault(ranked.group, []).append(ranked)
        by_strategy = getattr(self, f"_by_{strategy}")
        return tuple(ranked for group in sorted(groups) for ranked in by_strategy(groups[group], stream=stream, dry=dry))

    def _by_round_robin(self, group: list[RankedCandidate], *, dry: bool, **_: bool) -> list[RankedCandidate]:
        key = tuple(str(ranked.candidate) for ranked in group)
        turn = self._turns.get(key, 0)
        if not dry:
            if len(self._turns) >= _MOST_ROTATIONS:
                self._turns.clear()
            self._turns[key] = turn + 1
        turn %= len(group)
        return group[turn:] + group[:turn]

    def _by_weighted(self, group: list[RankedCandidate], *, dry: bool, **_: bool) -> list[RankedCandidate]:
        # Efraimidis and Spirakis, 2006: sorting by u ** (1 / weight) draws without replacement in proportion to the weights.
        def key(ranked: RankedCandidate) -> float:
            weight = ranked.weight
            return weight if dry else (float(self._rng()) ** (1.0 / weight) if weight > 0 else -1.0)

        return sorted(group, key=key, reverse=True)

    def _by_fastest(self, group: list[RankedCandidate], *, stream: bool, **_: bool) -> list[RankedCandidate]:
        # A candidate without a measurement comes first, so that it gets one.
        def key(ranked: RankedCandidate) -> float:
            known = (self._health.latency(ranked.candidate, 0.5, stream=form) for form in (stream, not stream))
            return next((seconds for seconds in known if seconds is not None), 0.0)

        return sorted(group, key=key)

    def _by_cheapest(self, group: list[RankedCandidate], **_: bool) -> list[RankedCandidate]:
        return sorted(group, key=lambda ranked: ranked.price)
