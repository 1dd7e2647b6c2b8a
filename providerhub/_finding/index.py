"""From a model's name to the instances that have it.

An index is built from names and declarations alone. It does not know plugins, settings or provider objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from providerhub._values.capabilities import ModelInfo


class Target(NamedTuple):
    """A model name, and the instance that the call pins it to; `None` allows every instance."""

    model: str
    provider: str | None = None


class Match(NamedTuple):
    """A model entry of an instance that fits a target."""

    provider: str  # the name of the instance
    model: ModelInfo  # the declared entry, which may be a prefix
    sent: str  # the model's name as it is sent to the provider
    kind: str  # `"exact"`, `"alias"`, `"prefix"`, or `"any"` for a pinned instance that declares no models


class Index:
    """The models of several instances: one dictionary for names and aliases, and one for each length of prefix.

    Finding an exact name takes the same time for any number of instances.
    """

    def __init__(self, models: Iterable[tuple[str, Iterable[ModelInfo]]]) -> None:
        self._exact: dict[str, list[Match]] = {}
        self._prefix: dict[int, dict[str, list[tuple[str, ModelInfo]]]] = {}
        for provider, entries in models:
            for model in entries:
                self._enter(provider, model)
        self._lengths = sorted(self._prefix, reverse=True)

    def _enter(self, provider: str, model: ModelInfo) -> None:
        if model.is_prefix:
            start = model.name[:-1]
            self._prefix.setdefault(len(start), {}).setdefault(start, []).append((provider, model))
            return
        self._exact.setdefault(model.name, []).append(Match(provider, model, model.name, "exact"))
        for alias in model.aliases:
            self._exact.setdefault(alias, []).append(Match(provider, model, model.name, "alias"))

    def find(self, name: str) -> tuple[Match, ...]:
        """The best match of each instance, in no particular order: exact name, then alias, then longest prefix."""
        best: dict[str, Match] = {}
        for match in self._exact.get(name, ()):
            if match.kind == "exact" or match.provider not in best:
                best[match.provider] = match
        for length in self._lengths:
            for provider, model in self._prefix[length].get(name[:length], ()) if len(name) >= length else ():
                best.setdefault(provider, Match(provider, model, name, "prefix"))
        return tuple(best.values())
