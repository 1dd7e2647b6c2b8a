"""The values that catalogues give for models: the implementations of the hook `providerhub_model`, each in a `try` of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from providerhub._settings.refined import merged
from providerhub._values import Prices
from providerhub._values.capabilities import DESCRIBED, ModelInfo

_log = logging.getLogger("providerhub")


class Described(NamedTuple):
    """A model with the values of catalogues where its provider, its service and its user give none."""

    model: ModelInfo
    guessed: Mapping[str, str] = {}  # the fields with a value of a catalogue → the name of the catalogue

    @property
    def window(self) -> int | None:
        """The context window that is certain; `None` without one."""
        return None if "context_window" in self.guessed else self.model.context_window

    @property
    def prices(self) -> Prices | None:
        """The prices, with the catalogue that gave them; `None` when none is known."""
        found, said = self.model.prices, self.guessed.get("price_in") or self.guessed.get("price_out")
        if found is None:
            return None
        if not said:  # another's prices of long prompts do not belong to these
            return attrs.evolve(found, tiers=()) if "price_tiers" in self.guessed else found
        name, _, day = said.rpartition(" ")
        is_dated = day.count("-") == 2 and day.replace("-", "").isdecimal()  # noqa: PLR2004 -- year, month, day
        return attrs.evolve(found, source=name if is_dated else said, date=day if is_dated else None)


class Catalogues:
    """All catalogues of a hub, of the first implementation first. False when there are none."""

    def __init__(self, hooks: Sequence[Callable[..., Any]] = ()) -> None:
        self._hooks = tuple(hooks)
        self._faulty: set[object] = set()

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def described(self, model: ModelInfo, entry: tuple[str, str]) -> Described:
        """Fill in the values of a model that are `None`. The entry names the vendor and its model."""
        guessed: dict[str, str] = {}
        for hook in self._hooks:
            found = self._asked(hook, *entry)
            if found is not None:
                said = ModelInfo(model.name, **{name: getattr(found, name) for name in DESCRIBED})
                filled = merged(said, model)
                new = [name for name in DESCRIBED if getattr(filled, name) != getattr(model, name)]
                guessed |= dict.fromkeys(new, found.source or "a catalogue")
                model = filled
        if not guessed and model.catalog:
            self._warn(entry, "no catalogue has the entry %r of the model %s", model.catalog, model.name)
        return Described(model, guessed)

    def _asked(self, hook: Callable[..., Any], provider: str, model: str) -> ModelInfo | None:
        try:
            found = hook(provider=provider, model=model)
        except (Exception, SystemExit):  # a catalogue cannot make a call fail
            self._warn(hook, "a catalogue raised; further errors of it are not logged", exc_info=True)
            return None
        if found is None or isinstance(found, ModelInfo):
            return found
        self._warn(hook, "a catalogue must return a ModelInfo or None, not %s", type(found).__name__)
        return None

    def _warn(self, key: object, text: str, *values: object, **how: Any) -> None:
        if key not in self._faulty:
            self._faulty.add(key)
            _log.warning(text, *values, **how)
