"""From the `model` of a call to targets: aliases resolved, providers' names split off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from providerhub._finding.index import Target
from providerhub._finding.no_candidate import provider_not_found
from providerhub._finding.registry import Registry
from providerhub._settings.settings import Settings
from providerhub._values import Model
from providerhub._values.errors import InvalidRequestError


class Entry(NamedTuple):
    """One model of a call, as the caller or an alias of the settings names it.

    Entries of one call with the same text in `same` are the same model for the caller: the alias that names them, else the name
    without the provider's.
    """

    name: str | Model
    same: str


class Targets:
    """Resolves the models of calls."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._aliases = settings.aliases

    def entries(self, model: str | Model | Sequence[str | Model]) -> tuple[Entry, ...]:
        """The models of a call in the caller's order, each once."""
        if isinstance(model, str) and model not in self._aliases:
            return (Entry(model, ""),)
        if isinstance(model, Model):
            return (Entry(model, ""),)
        items = (model,) if isinstance(model, str) else model
        if not isinstance(items, Sequence) or not items or not all(isinstance(item, str | Model) for item in items):
            msg = f"model must be a name, a Model, or a non-empty sequence of these, not {model!r}"
            raise InvalidRequestError(msg)
        seen: set[str | Model] = set()
        return tuple(Entry(name, self._same(item)) for item in items for name in self._names(item, seen))

    def target(self, name: str | Model) -> Target:
        """The model and the provider to which a name is pinned. Raises `ModelNotFoundError` where that does not exist."""
        if isinstance(name, Model):
            if name.provider is not None and not self._registry.knows(name.provider):
                raise provider_not_found(self._registry, name.provider)
            return Target(name.name, name.provider)
        first, slash, rest = name.partition("/")
        return Target(rest, first) if slash and rest and self._registry.knows(first) else Target(name)

    def _names(self, item: str | Model, seen: set[str | Model]) -> Iterator[str | Model]:
        if item in seen:  # each name and alias once: aliases of aliases would double from level to level
            return
        seen.add(item)
        targets = self._aliases.get(item) if isinstance(item, str) else None
        if targets is None:
            yield item
        else:
            for target in targets:
                yield from self._names(target, seen)

    def _same(self, item: str | Model) -> str:
        if isinstance(item, str) and item in self._aliases:
            return item
        return item.name if isinstance(item, Model) else self.target(item).model
