"""(what is asked, who has it, how they have been doing, settings) → the plan of one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import attrs

from providerhub._finding.needs import Needs
from providerhub._finding.registry import Match, Registry
from providerhub._rules.health import Health
from providerhub._rules.policy import Rng
from providerhub._settings.settings import STRATEGIES, Settings
from providerhub._values import Candidate, Model, Route, RoutePlan, Skip
from providerhub._values.errors import (
    AmbiguousProviderError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    ModelNotFoundError,
    NoCapableProviderError,
    ProviderHubError,
)
from providerhub._values.value import Value

_KINDS = {"exact": 0, "alias": 1, "prefix": 2, "any": 3}
_REMEMBERED = 1024


class _Choice(NamedTuple):
    """A candidate with what ordering needs to know; choices of one `rank` are equal but for the strategy."""

    candidate: Candidate
    rank: tuple[int, ...]
    match: Match


@attrs.frozen(eq=False, repr=False)
class Planned(Value):
    """A plan, and whether its only candidate is to be tried in spite of its state.

    Args:
        plan: What would be tried.
        force: Everybody is unavailable; this is the one that comes back soonest.
    """

    plan: RoutePlan
    force: bool = False


class _Fitting(NamedTuple):
    """Who fits a request, and the plan that follows when everybody is well and no context window is known."""

    choices: tuple[_Choice, ...]
    skipped: tuple[Skip, ...]
    usual: Planned | None


class Router:
    """Makes plans. Thread-safe: its memory is only ever replaced entry by entry.

    Args:
        registry: Who there is.
        health: How they have been doing.
        settings: Aliases and the default strategy.
        rng: The random source of the strategy `weighted`.
    """

    def __init__(self, registry: Registry, health: Health, settings: Settings, rng: Rng) -> None:
        self._registry = registry
        self._health = health
        self._settings = settings
        self._rng = rng
        self._memory: dict[Any, tuple[int, _Fitting]] = {}
        self._turns: dict[Any, int] = {}

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
        """Decide what would be tried.

        Args:
            model: A name, a `Model`, or a sequence of these, in order of preference.
            needs: The capabilities that the request needs.
            now: Seconds on the clock that the health records use.
            tokens: Gives an upper bound on the request's tokens; called only when a candidate has a known window.
            strategy: One of `STRATEGIES`, or `None` for that of the settings.
            dry: Change no state.

        Raises:
            CallerError: Nobody can be tried; the class and the message say why and what to do.
            AuthenticationError: Everybody who could be tried has refused its key before.
        """
        strategy = self._settings.strategy if strategy is None else strategy
        if strategy not in STRATEGIES:
            msg = f"unknown strategy {strategy!r}; the known ones are {', '.join(STRATEGIES)}"
            raise InvalidRequestError(msg)
        names = self._targets(model)
        choices, skipped, usual = self._fitting(names, needs)
        if usual is not None and strategy == "priority" and self._health.untroubled:
            return usual
        if strategy != "priority":
            choices = self._arrange(choices, strategy, stream=needs.stream, dry=dry)
        fitting, narrow = _windowed(choices, tokens)
        ready, waiting, until = self._available(fitting, now)
        skipped = (*skipped, *narrow, *waiting)
        if ready:
            return Planned(RoutePlan(ready, skipped))
        soonest = min(zip(until, fitting, waiting, strict=True), key=lambda item: item[0], default=None)
        if soonest is None or soonest[0] == float("inf"):
            raise self._nobody(names, skipped)
        rest = tuple(skip for skip in skipped if skip is not soonest[2])
        return Planned(RoutePlan((soonest[1].candidate,), rest), force=True)

    def _targets(self, model: str | Model | Sequence[str | Model]) -> tuple[str | Model, ...]:
        if isinstance(model, str):
            aliases = self._settings.aliases.get(model)
            # Each name once, at every level: aliases of aliases would double from level to level.
            return (model,) if aliases is None else tuple(dict.fromkeys(t for a in aliases for t in self._targets(a)))
        if isinstance(model, Model):
            return (model,)
        if not isinstance(model, Sequence) or not model or not all(isinstance(item, str | Model) for item in model):
            msg = f"model must be a name, a Model, or a non-empty sequence of these, not {model!r}"
            raise InvalidRequestError(msg)
        return tuple(target for item in model for target in self._targets(item))

    def _fitting(self, names: tuple[str | Model, ...], needs: Needs) -> _Fitting:
        key = (names, needs)
        known = self._memory.get(key)
        if known is not None and known[0] == self._registry.version:
            return known[1]
        version = self._registry.version
        choices, skipped = self._choose(names, needs)
        candidates = tuple(choice.candidate for choice in choices)
        plain = bool(candidates) and all(candidate.context_window is None for candidate in candidates)
        found = _Fitting(choices, skipped, Planned(RoutePlan(candidates, skipped)) if plain else None)
        if len(self._memory) >= _REMEMBERED:
            self._memory.clear()
        if version == self._registry.version:
            self._memory[key] = (version, found)
        return found

    def _choose(self, names: tuple[str | Model, ...], needs: Needs) -> tuple[tuple[_Choice, ...], tuple[Skip, ...]]:
        choices: dict[tuple[str, str], _Choice] = {}
        skipped: list[Skip] = []
        missing: ModelNotFoundError | None = None
        for place, name in enumerate(names):
            matches, lost = self._matches(name)
            skipped += lost
            if not matches and not lost:
                missing = missing or self._registry.not_found(str(name))
            for match in matches:
                skip = _unfit(match, needs)
                if skip is not None:
                    skipped.append(skip)
                else:
                    choice = _choice(match, needs, place)
                    choices.setdefault((choice.candidate.provider, choice.candidate.model), choice)
        if not choices and not skipped and missing is not None:
            raise missing
        ordered = sorted(choices.values(), key=lambda c: (c.rank, c.candidate.provider))
        return tuple(ordered), tuple(skipped)

    def _matches(self, name: str | Model) -> tuple[tuple[Match, ...], list[Skip]]:
        provider, model = self._split(name)
        if provider is None:
            found = self._registry.find(model)
            if not found:
                self._registry.discover()
                # Looked for again in any case: it may have been another thread that asked the services.
                found = self._registry.find(model)
            return found, [_lost(r.name, r.state, r.reason) for r in self._registry.lost()] if found else []
        instance = self._registry.instance(provider)
        if instance is None:
            record = self._registry.record(provider)
            return (), [_lost(provider, record.state, record.reason)]
        return self._registry.find_at(instance, model), []

    def _split(self, name: str | Model) -> tuple[str | None, str]:
        if isinstance(name, Model):
            if name.provider is not None and not self._registry.knows(name.provider):
                known = ", ".join(self._registry.names()) or "none"
                msg = f"no provider is named {name.provider!r}; known providers: {known}"
                raise ModelNotFoundError(msg)
            return name.provider, name.name
        first, slash, rest = name.partition("/")
        return (first, rest) if slash and rest and self._registry.knows(first) else (None, name)

    def _arrange(self, choices: tuple[_Choice, ...], strategy: str, *, stream: bool, dry: bool) -> tuple[_Choice, ...]:
        groups: dict[tuple[int, ...], list[_Choice]] = {}
        for choice in choices:
            groups.setdefault(choice.rank, []).append(choice)
        arrange = getattr(self, f"_by_{strategy}")
        return tuple(choice for group in groups.values() for choice in arrange(group, stream=stream, dry=dry))

    def _by_round_robin(self, group: list[_Choice], *, dry: bool, **_: bool) -> list[_Choice]:
        key = tuple(str(choice.candidate) for choice in group)
        turn = self._turns.get(key, 0)
        if not dry:
            if len(self._turns) >= _REMEMBERED:
                self._turns.clear()
            self._turns[key] = turn + 1
        turn %= len(group)
        return group[turn:] + group[:turn]

    def _by_weighted(self, group: list[_Choice], *, dry: bool, **_: bool) -> list[_Choice]:
        # Efraimidis and Spirakis, 2006: sorting by u ** (1 / weight) draws without replacement in proportion to the weights.
        # A dry run draws nothing: it shows the most likely first.
        def key(choice: _Choice) -> float:
            weight = choice.match.instance.config.weight
            return weight if dry else (float(self._rng()) ** (1.0 / weight) if weight > 0 else -1.0)

        return sorted(group, key=key, reverse=True)

    def _by_fastest(self, group: list[_Choice], *, stream: bool, **_: bool) -> list[_Choice]:
        # One that was never measured comes first, so that it gets measured.
        def key(choice: _Choice) -> float:
            known = (self._health.latency(choice.candidate, 0.5, stream=form) for form in (stream, not stream))
            return next((seconds for seconds in known if seconds is not None), 0.0)

        return sorted(group, key=key)

    def _by_cheapest(self, group: list[_Choice], **_: bool) -> list[_Choice]:
        return sorted(group, key=lambda c: _price(c.match))

    def _available(self, choices: Iterable[_Choice], now: float) -> tuple[tuple[Candidate, ...], list[Skip], list[float]]:
        ready: list[Candidate] = []
        skipped: list[Skip] = []
        until: list[float] = []
        for choice in choices:
            candidate = choice.candidate
            obstacle = self._health.unavailable(candidate, now)
            if obstacle is not None and obstacle.reason == "key rejected":
                choice.match.instance.reconfigured(partial(self._health.forgive, candidate.provider))
                # Looked at again in any case: it may have been another thread that found the new key.
                obstacle = self._health.unavailable(candidate, now)
            if obstacle is None:
                ready.append(candidate)
                continue
            again = "until its key changes" if obstacle.until == float("inf") else f"for {obstacle.until - now:.1f} s more"
            skipped.append(Skip(candidate.provider, candidate.model, obstacle.reason, again))
            until.append(obstacle.until)
        return tuple(ready), skipped, until

    def _nobody(self, names: tuple[str | Model, ...], skipped: tuple[Skip, ...]) -> ProviderHubError:
        asked = ", ".join(map(str, names))
        reasons = {skip.reason for skip in skipped if skip.model} or {skip.reason for skip in skipped}
        # Plugins whose models are not known matter only when nothing else explains the failure.
        listing = "\n".join(f"  {skip}" for skip in ([s for s in skipped if s.model] or skipped))
        error: ProviderHubError
        if reasons == {"conflict"}:
            error = AmbiguousProviderError(f"{asked}: two distributions offer the provider\n{listing}")
        elif reasons == {"not configured"}:
            error = ConfigurationError(f"{asked}: the provider is not configured\n{listing}")
        elif reasons == {"key rejected"}:
            provider = next(skip.provider for skip in skipped if skip.reason == "key rejected")
            error = AuthenticationError(
                f"{asked}: the key was rejected before, and has not changed since\n{listing}", provider=provider
            )
        else:
            error = NoCapableProviderError(f"nobody can answer this request to {asked}\n{listing}")
        error.route = Route(skipped=skipped)
        return error


def _choice(match: Match, needs: Needs, place: int) -> _Choice:
    instance, model = match.instance, match.model
    candidate = Candidate(
        provider=instance.name,
        model=match.sent,
        entry=model.name,
        match=match.kind,
        context_window=model.context_window,
        prefill=bool(model.supports_prefill),
        stream=model.supports_stream is not False,
    )
    longest_first = -len(model.name) if match.kind == "prefix" else 0
    rank = (place, -instance.config.priority, _KINDS[match.kind], longest_first, needs.unknown(model))
    return _Choice(candidate, rank, match)


def _unfit(match: Match, needs: Needs) -> Skip | None:
    instance = match.instance
    if instance.missing:
        return Skip(instance.name, match.sent, "not configured", instance.reason)
    reason = needs.lacking(match.model)
    return Skip(instance.name, match.sent, reason, "declared so by the plugin") if reason else None


def _windowed(choices: tuple[_Choice, ...], tokens: Callable[[], int]) -> tuple[list[_Choice], list[Skip]]:
    bound: int | None = None
    fitting: list[_Choice] = []
    narrow: list[Skip] = []
    for choice in choices:
        window = choice.candidate.context_window
        if window is not None:
            bound = tokens() if bound is None else bound
            if bound > window:
                detail = f"up to {bound} tokens are asked for, {window} fit"
                narrow.append(Skip(choice.candidate.provider, choice.candidate.model, "context window", detail))
                continue
        fitting.append(choice)
    return fitting, narrow


def _price(match: Match) -> float:
    prices = (match.model.price_in, match.model.price_out)
    return float("inf") if None in prices else sum(price for price in prices if price is not None)


def _lost(provider: str, state: str, reason: str) -> Skip:
    return Skip(provider, "", state, reason)
