"""The I/O that a plan may need, done before the plan is made: listing of models, renewal of refused keys."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from providerhub._finding.index import Target
from providerhub._finding.registry import Registry
from providerhub._rules.health import Health
from providerhub._values import Candidate


class Preparer:
    """Brings instances and health records up to date for one plan.

    Args:
        registry: The instances.
        health: The health records.
    """

    def __init__(self, registry: Registry, health: Health) -> None:
        self._registry = registry
        self._health = health

    def list_models(self, targets: Iterable[Target]) -> None:
        """Ask services for their models where no declared model fits a target. Each service is asked once."""
        for target in targets:
            if all(match.kind == "any" for match in self._registry.find(target)):
                self._registry.discover(target.provider)

    def renew_keys(self, candidates: Iterable[Candidate], now: float) -> None:
        """Read the keys of candidates again that their services refused; a changed key lifts the pause.

        Args:
            candidates: The candidates of the plan.
            now: Seconds on the clock of the health records.
        """
        for candidate in candidates:
            obstacle = self._health.unavailable(candidate, now)
            if obstacle is not None and obstacle.reason == "key rejected":
                self._registry.ready(candidate.provider).renew_key(partial(self._health.forgive, candidate.provider))
