"""The I/O that a plan may need, done before the plan is made: listing of models, renewal of refused keys."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from providerhub._finding.index import Target
from providerhub._finding.registry import Registry
from providerhub._rules.health import Health
from providerhub._values import Candidate


class Preparer:
    """Brings the models of instances and the pauses of refused keys up to date."""

    def __init__(self, registry: Registry, health: Health) -> None:
        self._registry = registry
        self._health = health

    def list_models(self, targets: Iterable[Target]) -> None:
        """Ask services for their models where no declared model fits a target. Each service is asked once."""
        for target in targets:
            if any(match.kind != "any" for match in self._registry.find(target)):
                continue
            if target.provider is None:
                self._registry.discover()
            else:
                self._registry.discover_at(target.provider)

    def renew_keys(self, candidates: Iterable[Candidate], now: float) -> None:
        """Read the keys that services have refused again; a changed key lifts the pause."""
        for candidate in candidates:
            obstacle = self._health.unavailable(candidate, now)
            if obstacle is not None and obstacle.reason == "key rejected":
                self._registry.ready(candidate.provider).renew_key(partial(self._health.forgive, candidate.provider))
