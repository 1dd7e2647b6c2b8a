"""(request, instances, health records, settings) → the plan of one call.

The I/O that a plan may need is done by `Preparer` before; the rest of this module sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import attrs

from providerhub._finding.index import Match, Target
from providerhub._finding.instance import Instance
from providerhub._finding.needs import Needs
from providerhub._finding.no_candidate import model_not_found, no_candidate, provider_not_found
from providerhub._finding.preparing import Preparer
from providerhub._finding.registry import Registry
from providerhub._finding.strategies import RankedCandidate, Ranking, Strategies
from providerhub._rules.health import Health
from providerhub._rules.policy import Rng
from providerhub._settings.settings import STRATEGIES, Settings
from providerhub._values import Candidate, Model, RoutePlan, Skip
from providerhub._values.capabilities import ModelInfo
from providerhub._values.errors import InvalidRequestError, ModelNotFoundError
from providerhub._values.value import Value

_KINDS = {"exact": 0, "alias": 1, "prefix": 2, "any": 3}
_MOST_REMEMBERED = 1024


@attrs.frozen(eq=False, repr=False)
class Planned(Value):
    """A plan, and whether its only candidate is tried in spite of its health.

    Args:
        plan: The candidates, and the providers that are left out.
        force: Every candidate is unavailable; the plan holds the one that is available again first.
    """

    plan: RoutePlan
    force: bool = False


class _Suitable(NamedTuple):
    """The candidates of a request regardless of their health, and its plan when all are healthy and no window is known."""

    candidates: Ranking
    skipped: tuple[Skip, ...]
    usual: Planned | None


class Router:
    """Makes plans. Thread-safe: its memory is replaced entry by entry."""

    def __init__(self, registry: Registry, health: Health, settings: Settings, rng: Rng) -> None:
        self._registry = registry
        self._health = health
        self._settings = settings
        self._preparer = Preparer(registry, health)
        self._strategies = Strategies(health, rng)
        self._memory: dict[Any, tuple[int, _Suitable]] = {}

    def plan(
        self,
        model: str | Model | Sequence[str | Model],
        needs: Needs,
        *,
        now: float,
        tokens: Callable[[], int],
        strategy: str | None = None,
        dry: bool = False,
    ) -> Planned:
        """Decide which candidates are tried, and in which order.

        Args:
            model: A name, a `Model`, or a sequence of these, in order of preference.
            needs: The capabilities that the request needs.
            now: Seconds on the clock of the health records.
            tokens: Returns an upper bound on the request's tokens; called only when a candidate has a known window.
            strategy: One of `STRATEGIES`; `None` takes the settings' one.
            dry: Change no state of the strategy.

        Raises:
            CallerError: No candidate can be tried; the class and the message say why, and name the fix.
            AuthenticationError: Every candidate that could be tried has rejected its key before.
        """
        strategy = self._settings.strategy if strategy is None else strategy
        if strategy not in STRATEGIES:
            msg = f"unknown strategy {strategy!r}; the known ones are {', '.join(STRATEGIES)}"
            raise InvalidRequestError(msg)
        names = self._names(model)
        suitable = self._suitable(names, needs)
        if suitable.usual is not None and strategy == "priority" and self._health.all_healthy:
            return suitable.usual
        ordered = self._strategies.order(suitable.candidates, strategy, stream=needs.stream, dry=dry)
        candidates, too_long = _within_windows(ordered, tokens)
        self._preparer.renew_keys(candidates, now)
        return self._by_health(names, candidates, (*suitable.skipped, *too_long), now)

    def _names(self, model: str | Model | Sequence[str | Model]) -> tuple[str | Model, ...]:
        """The requested models, with the settings' aliases resolved."""
        if isinstance(model, str):
            aliases = self._settings.aliases.get(model)
            # Each name once, at every level: aliases of aliases would double from level to level.
            return (model,) if aliases is None else tuple(dict.fromkeys(n for a in aliases for n in self._names(a)))
        if isinstance(model, Model):
            return (model,)
        if not isinstance(model, Sequence) or not model or not all(isinstance(item, str | Model) for item in model):
            msg = f"model must be a name, a Model, or a non-empty sequence of these, not {model!r}"
            raise InvalidRequestError(msg)
        return tuple(name for item in model for name in self._names(item))

    def _target(self, name: str | Model) -> Target:
        if isinstance(name, Model):
            if name.provider is not None and not self._registry.knows(name.provider):
                raise provider_not_found(self._registry, name.provider)
            return Target(name.name, name.provider)
        first, slash, rest = name.partition("/")
        return Target(rest, first) if slash and rest and self._registry.knows(first) else Target(name)

    def _suitable(self, names: tuple[str | Model, ...], needs: Needs) -> _Suitable:
        key = (names, needs)
        known = self._memory.get(key)
        if known is not None and known[0] == self._registry.version:
            return known[1]
        self._preparer.list_models(map(self._target, names))
        version = self._registry.version
        ranked, skipped = self._rank(names, needs)
        candidates = tuple(choice.candidate for choice in ranked)
        has_usual = bool(candidates) and all(candidate.context_window is None for candidate in candidates)
        found = _Suitable(ranked, skipped, Planned(RoutePlan(candidates, skipped)) if has_usual else None)
        if len(self._memory) >= _MOST_REMEMBERED:
            self._memory.clear()
        if version == self._registry.version:
            self._memory[key] = (version, found)
        return found

    def _rank(self, names: tuple[str | Model, ...], needs: Needs) -> tuple[Ranking, tuple[Skip, ...]]:
        candidates: dict[tuple[str, str], RankedCandidate] = {}
        skipped: list[Skip] = []
        missing: ModelNotFoundError | None = None
        for place, name in enumerate(names):
            target = self._target(name)
            matches = self._registry.find(target)
            unusable = self._unusable(target, matches)
            skipped += unusable
            if not matches and not unusable:
                missing = missing or model_not_found(self._registry, str(name))
            for match in matches:
                instance = self._registry.ready(match.provider)
                if skip := _unsuitable(instance, match, needs):
                    skipped.append(skip)
                else:
                    candidates.setdefault((match.provider, match.sent), _ranked(instance, match, needs, place))
        if not candidates and not skipped and missing is not None:
            raise missing
        return tuple(sorted(candidates.values(), key=lambda c: (c.rank, c.candidate.provider))), tuple(skipped)

    def _unusable(self, target: Target, matches: tuple[Match, ...]) -> list[Skip]:
        """The plugins that are not ready and may have the target: the pinned one, or all beside those that match."""
        if target.provider is None:
            return [Skip(r.name, "", r.state, r.reason) for r in self._registry.unusable()] if matches else []
        if matches or self._registry.instance(target.provider) is not None:
            return []
        record = self._registry.record(target.provider)
        return [Skip(target.provider, "", record.state, record.reason)]

    def _by_health(
        self, names: tuple[str | Model, ...], candidates: Sequence[Candidate], skipped: tuple[Skip, ...], now: float
    ) -> Planned:
        """The plan of the available candidates; when none is available, of the one that is available again first."""
        available: list[Candidate] = []
        unavailable: list[Skip] = []
        soonest: tuple[float, Candidate, Skip] | None = None
        for candidate in candidates:
            obstacle = self._health.unavailable(candidate, now)
            if obstacle is None:
                available.append(candidate)
                continue
            again = "until its key changes" if obstacle.until == float("inf") else f"for {obstacle.until - now:.1f} s more"
            skip = Skip(candidate.provider, candidate.model, obstacle.reason, again)
            unavailable.append(skip)
            if obstacle.until < (soonest[0] if soonest else float("inf")):
                soonest = obstacle.until, candidate, skip
        if available:
            return Planned(RoutePlan(tuple(available), (*skipped, *unavailable)))
        if soonest is None:
            raise no_candidate(names, (*skipped, *unavailable))
        _, candidate, own = soonest
        rest = (*skipped, *(skip for skip in unavailable if skip is not own))
        return Planned(RoutePlan((candidate,), rest), force=True)


def _ranked(instance: Instance, match: Match, needs: Needs, place: int) -> RankedCandidate:
    model = match.model
    candidate = Candidate(
        instance.name, match.sent, model.name, match.kind, context_window=model.context_window,
        prefill=bool(model.supports_prefill), stream=model.supports_stream is not False,
    )  # fmt: skip
    longest_first = -len(model.name) if match.kind == "prefix" else 0
    rank = (place, -instance.config.priority, _KINDS[match.kind], longest_first, needs.unknown(model))
    return RankedCandidate(candidate, rank, instance.config.weight, _price(model))


def _unsuitable(instance: Instance, match: Match, needs: Needs) -> Skip | None:
    if instance.missing:
        return Skip(instance.name, match.sent, "not configured", instance.reason)
    reason = needs.lacking(match.model)
    return Skip(instance.name, match.sent, reason, "declared so by the plugin") if reason else None


def _within_windows(ranked: Iterable[RankedCandidate], tokens: Callable[[], int]) -> tuple[list[Candidate], list[Skip]]:
    bound: int | None = None
    fitting: list[Candidate] = []
    too_long: list[Skip] = []
    for candidate in (choice.candidate for choice in ranked):
        window = candidate.context_window
        if window is not None:
            bound = tokens() if bound is None else bound
            if bound > window:
                detail = f"the request needs up to {bound} tokens, the context window has {window}"
                too_long.append(Skip(candidate.provider, candidate.model, "context window", detail))
                continue
        fitting.append(candidate)
    return fitting, too_long


def _price(model: ModelInfo) -> float:
    if model.price_in is None or model.price_out is None:
        return float("inf")
    return model.price_in + model.price_out
