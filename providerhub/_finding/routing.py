"""(request, instances, health records, settings) → the plan of one call.

Making a plan sends nothing, and changes only a strategy's turn. `Preparer` does the necessary I/O before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import attrs

from providerhub._finding.instance import Instance
from providerhub._finding.needs import Needs
from providerhub._finding.registry import Described, Entry, Index, Match, ModelSpec, Registry, Target
from providerhub._log import log as _log
from providerhub._rules.health import Health, Unavailable
from providerhub._rules.limits import Limits
from providerhub._rules.pacing import Pacer
from providerhub._rules.policy import Rng
from providerhub._settings.refined import own_timeout
from providerhub._settings.settings import Settings
from providerhub._values import Candidate, Model, ProviderConfig, RoutePlan, Skip
from providerhub._values.capabilities import DOLLARS, ModelInfo
from providerhub._values.errors import AttemptError, ModelNotFoundError

_MOST_ROTATIONS = 1024


class RankedCandidate(NamedTuple):
    """A candidate with the values that order it."""

    candidate: Candidate  # the candidate as the plan holds it
    rank: tuple[int, ...]  # its place in the default order; a smaller rank is tried first
    # Strategies spread calls over the candidates of a group. They are the same model for the caller, with a name that matched
    # exactly, as an alias or as a prefix. A smaller group is tried first.
    group: tuple[int, ...]
    weight: float  # the weight of its provider
    price: tuple[bool, str, float]  # the sort key of the model's price
    window: int | None  # the context window of its model, declared or from a catalogue

    def less_sure(self, unknown: int) -> RankedCandidate:
        """The candidate with more undeclared capabilities, which is the last number of `rank` and `group`."""
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
        """Order candidates that are sorted by rank. The strategy `priority` keeps this order."""
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
        # Sorting by u ** (1 / weight) draws without replacement, in proportion to the weights (Efraimidis and Spirakis, 2006).
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


_KINDS = {"exact": 0, "alias": 1, "prefix": 2, "any": 3}
_MOST_REMEMBERED = 1024
_NAMES = (str, Model)


class Planned(NamedTuple):
    """A plan. With `force`, no candidate is available, and the plan has the candidate that is available again first."""

    plan: RoutePlan
    force: bool = False


class _Suitable(NamedTuple):
    """The candidates of a request regardless of their health, and its plan if all are healthy and no window is known."""

    entries: tuple[Entry, ...]
    candidates: Ranking
    skipped: tuple[Skip, ...]
    usual: Planned | None


class Router:
    """Makes plans. Thread-safe: its memory is replaced entry by entry."""

    def __init__(self, registry: Registry, health: Health, settings: Settings, rng: Rng, pacer: Pacer) -> None:
        self._registry = registry
        self._health = health
        self._pacer = pacer
        self._settings = settings
        self._strategies = Strategies(health, rng)
        self._memory: dict[Any, tuple[int, _Suitable]] = {}
        self._told: set[str] = set()  # the unknown models that were logged

    def plan(
        self,
        model: ModelSpec,
        needs: Needs,
        *,
        now: float,
        tokens: Callable[[], tuple[int, int | None]],
        uses: Callable[[str, str], bool] = lambda _provider, _capability: False,
        strategy: str | None = None,
        dry: bool = False,
    ) -> Planned:
        """Decide which candidates are tried, and in which order. Without a candidate, the error names the reason and the fix.

        `now` is in seconds on the clock of the health records. With `dry`, the strategy keeps its state. `tokens` returns an
        estimate of the input tokens, and the most output tokens (`None` when unknown); it is called only when a candidate has a
        known window. `uses` returns whether the request uses a capability at a provider; it is called only after a service has
        denied one.
        """
        strategy = self._settings.strategy if strategy is None else strategy
        suitable = self._suitable(model, needs)
        if suitable.usual is not None and strategy == "priority" and self._health.all_healthy:
            return suitable.usual
        fitting, too_long = _within_windows(suitable.candidates, tokens)
        ordered = self._strategies.order(fitting, strategy, stream=needs.stream, dry=dry)
        return self._by_health(suitable, [ranked.candidate for ranked in ordered], too_long, now, uses)

    def hold(self, model: ModelSpec, needs: Needs, *, now: float) -> float | None:
        """The seconds for which every candidate is paused, other than by a breaker; `None` if one may be tried or none exists."""
        if self._health.all_healthy:
            return None
        obstacles = [self._health.unavailable(ranked.candidate, now) for ranked in self._suitable(model, needs).candidates]
        waits = [obstacle.until - now for obstacle in obstacles if obstacle is not None and not obstacle.is_breaker]
        return min(waits) if waits and len(waits) == len(obstacles) else None

    def _suitable(self, model: ModelSpec, needs: Needs) -> _Suitable:
        key = (model if isinstance(model, _NAMES) else self._registry.entries(model), needs)
        known = self._memory.get(key)
        if known is not None and known[0] == self._registry.version:
            return known[1]
        entries = self._registry.entries(model)
        version = self._registry.version
        ranked, skipped = self._rank(entries, needs)
        has_usual = bool(ranked) and all(choice.window is None for choice in ranked)
        usual = Planned(RoutePlan(tuple(choice.candidate for choice in ranked), skipped)) if has_usual else None
        found = _Suitable(entries, ranked, skipped, usual)
        if len(self._memory) >= _MOST_REMEMBERED:
            self._memory.clear()
        if version == self._registry.version:
            self._memory[key] = (version, found)
        return found

    def _rank(self, entries: tuple[Entry, ...], needs: Needs) -> tuple[Ranking, tuple[Skip, ...]]:
        candidates: dict[tuple[str, str], RankedCandidate] = {}
        skipped: list[Skip] = []
        missing: list[ModelNotFoundError | AttemptError] = []
        sames = [entry.same for entry in entries]
        for place, (name, same) in enumerate(entries):
            target = self._registry.target(name)
            matches = self._registry.find(target)
            unusable = self._unusable(target, matches)
            skipped += unusable
            if not matches and not unusable:
                from providerhub._finding.no_candidate import model_not_found, unknown  # only errors need it

                missing.append(model_not_found(self._registry, str(name)))
                skipped.append(unknown(str(name), missing[-1]))
            for match in matches:
                instance = self._registry.ready(match.provider)
                key = match.provider, match.sent
                known = self._registry.described(match)
                if skip := _unsuitable(instance, match, known, needs):
                    skipped.append(skip)
                elif key not in candidates:
                    set_limits(self._pacer, (match.provider, match.model.name), match.model, instance.config.when_full)
                    candidates[key] = _ranked(instance, match, known, needs, (place, sames.index(same)))
        if not candidates and missing and len(skipped) == len(missing):
            missing[0].args = ("\n".join(map(str, missing)),)
            raise missing[0]
        for skip in skipped:
            if candidates and not skip.provider and skip.model not in self._told:
                self._told.add(skip.model)
                _log.warning("the model %s", skip)
        return tuple(sorted(candidates.values(), key=_place)), tuple(skipped)

    def _unusable(self, target: Target, matches: tuple[Match, ...]) -> list[Skip]:
        """The plugins that are not ready and may have the target, and the instances that serve it only by a pinned name."""
        if target.provider is None:
            found = [Skip(r.name, "", r.state, r.reason) for r in self._registry.unusable()] if matches else []
            return [*found, *_pinned_only(self._registry, target.model)]
        if matches or self._registry.instance(target.provider) is not None:
            return []
        record = self._registry.record(target.provider)
        return [Skip(target.provider, "", record.state, record.reason)]

    def _by_health(
        self,
        suitable: _Suitable,
        candidates: Sequence[Candidate],
        too_long: list[Skip],
        now: float,
        uses: Callable[[str, str], bool],
    ) -> Planned:
        """The plan of the available candidates; if none is available, of the candidate that will be available first."""
        skipped = (*suitable.skipped, *too_long)
        available: list[Candidate] = []
        unavailable: list[Skip] = []
        soonest: tuple[tuple[bool, bool, float], Candidate, Skip] | None = None
        for candidate in candidates:
            obstacle = self._health.unavailable(candidate, now) or self._denied(candidate, now, uses)
            if obstacle is None:
                available.append(candidate)
                continue
            said = "the service said so; " if obstacle.is_lack else ""
            skip = Skip(candidate.provider, candidate.model, obstacle.reason, f"{said}for {obstacle.until - now:.1f} s more")
            unavailable.append(skip)
            # The call tries an open breaker before it waits for a rate limit. It skips a refused key or a used-up quota.
            rank = (obstacle.is_lack, not obstacle.is_breaker, obstacle.until)
            may_end = obstacle.is_breaker or obstacle.is_lack or obstacle.reason == "rate limited"
            if may_end and (soonest is None or rank < soonest[0]):
                soonest = rank, candidate, skip
        if available:
            return Planned(RoutePlan(tuple(available), (*skipped, *unavailable)))
        if soonest is None:
            from providerhub._finding.no_candidate import no_candidate  # only errors need it

            raise no_candidate(tuple(entry.name for entry in suitable.entries), (*skipped, *unavailable))
        _, candidate, own = soonest
        rest = (*skipped, *(skip for skip in unavailable if skip is not own))
        return Planned(RoutePlan((candidate,), rest, (own,)), force=True)

    def _denied(self, candidate: Candidate, now: float, uses: Callable[[str, str], bool]) -> Unavailable | None:
        """The used capability that the service denied, unless the model declares it."""
        for capability, until in self._health.lacking(candidate, now).items():
            models = self._registry.ready(candidate.provider).models
            model = next((one for one in models if one.name == candidate.entry), None)
            declared = getattr(model, f"supports_{capability}", None)
            if declared is None and uses(candidate.provider, capability):
                return Unavailable(f"no {capability.replace('_', ' ')}", until)
        return None


def set_limits(pacer: Pacer, key: tuple[str, str], values: ProviderConfig | ModelInfo, when_full: str | None) -> None:
    """Set the limits of an instance (the entry `""`) or a model. `when_full` is the default reaction to a full limit."""
    found = Limits(values.concurrency, values.rpm, values.tpm, values.when_full or when_full)
    if found.any:
        pacer.set_limits(key, found)


def set_all_limits(pacer: Pacer, name: str, config: ProviderConfig) -> None:
    """Set the limits of the settings, so that `health()` shows them. A plan sets the limits of plugins' models."""
    entries: dict[str, ProviderConfig | ModelInfo] = {"": config}
    entries |= {model.name: model for model in config.models if isinstance(model, ModelInfo)} | dict(config.model)
    for entry, values in entries.items():
        set_limits(pacer, (name, entry), values, config.when_full)


def _ranked(instance: Instance, match: Match, known: Described, needs: Needs, places: tuple[int, int]) -> RankedCandidate:
    """The candidate of a match. `places` are the places in the call of its model and of the first equal model."""
    model, (place, group), prices = known.model, places, known.prices
    if prices is not None and instance.info.tariffs:
        prices = attrs.evolve(prices, tariffs=tuple(instance.info.tariffs.items()))
    candidate = Candidate(
        instance.name, match.sent, model.name, match.kind, context_window=known.window,
        prefill=bool(model.supports_prefill), stream=model.supports_stream is not False, group=group,
        priority=instance.config.priority, slow=bool(model.supports_reasoning) or instance.info.slow_start,
        reasoning=bool(model.supports_reasoning), timeout=own_timeout(instance.config, model),
        headers=tuple(model.headers.items()), prices=prices, max_output=model.max_output_tokens or model.context_window,
    )  # fmt: skip
    longest_first = -len(model.name) if match.kind == "prefix" else 0
    priority, unknown = -instance.config.priority, needs.unknown(model)
    rank = (place, priority, _KINDS[match.kind], longest_first, unknown)
    window = model.context_window
    return RankedCandidate(candidate, rank, (group, priority, unknown), instance.config.weight, _price(model), window)


def _place(ranked: RankedCandidate) -> tuple[tuple[int, ...], str]:
    return ranked.rank, ranked.candidate.provider


def _pinned_only(registry: Registry, model: str) -> Iterator[Skip]:
    instances = registry.pinned_only()
    for found in Index((one.name, one.models) for one in instances if one.list.read() or one.models).find(model):
        fix = f"ask for {found.provider}/{found.sent}, or add [providers.{found.provider}] to the settings"
        yield Skip(found.provider, found.sent, "pinned only", fix)


_SAYS = {"settings": "declared so in the settings", "service": "its service says so in the list of models"}


def _unsuitable(instance: Instance, match: Match, known: Described, needs: Needs) -> Skip | None:
    if instance.missing:
        return Skip(instance.name, match.sent, "not configured", instance.reason)
    reason = needs.lacking(known.model, known.guessed)
    if not reason:
        return None
    source = instance.sources(match.model).get(f"supports_{reason.removeprefix('no ').replace(' ', '_')}")
    return Skip(instance.name, match.sent, reason, _SAYS.get(source or "", "declared so by the plugin"))


def _within_windows(ranked: Ranking, tokens: Callable[[], tuple[int, int | None]]) -> tuple[Ranking, list[Skip]]:
    """The candidates whose windows may hold the request, and the others.

    If the request is too long for one of them, the order is: a large enough window, an unknown window, a window that is too small
    by a catalogue.
    """
    if all(choice.window is None for choice in ranked):
        return ranked, []
    prompt, output = tokens()
    bound = prompt + (output or 0)
    if not any(bound > (choice.window or 0) for choice in ranked if choice.window is not None):
        return ranked, []
    small = [choice.candidate for choice in ranked if bound > (choice.candidate.context_window or float("inf"))]
    # An unknown window counts as one more needed capability that the model does not declare.
    others = [choice for choice in ranked if choice.candidate not in small]
    fitting = [choice.less_sure(1 if choice.window is None else 2 * (bound > choice.window)) for choice in others]
    needed = f"the request needs at least {bound} tokens, the context window has"
    skips = [Skip(one.provider, one.model, "context window", f"{needed} {one.context_window}") for one in small]
    return tuple(sorted(fitting, key=_place)), skips


def _price(model: ModelInfo) -> tuple[bool, str, float]:
    """The sort key of a price: first dollars, then each other currency, then unknown prices."""
    if model.price_in is None or model.price_out is None:
        return True, "unknown", 0.0  # "unknown" sorts after the codes of currencies, which are in capitals
    return model.price_currency != DOLLARS, model.price_currency, model.price_in + model.price_out
