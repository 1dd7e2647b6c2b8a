"""The values for one model of one instance. The user's values take precedence over the plugin and the service's list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from providerhub._values import ModelInfo, ProviderConfig, Timeout
from providerhub._values.capabilities import DOLLARS, PRICES


def own_timeout(config: ProviderConfig, model: ModelInfo) -> Timeout | None:
    """Return the timeouts that are set for a model or its provider; `None` without any. The model's phases come first."""
    own = [timeout for timeout in (config.timeout, model.timeout) if timeout is not None]
    return attrs.evolve(own[0], **given(own[-1])) if own else None


def timeout_of(call: Timeout, own: Timeout, explicit: Timeout | None) -> Timeout:
    """The timeouts of an attempt, phase by phase: of the caller, or else of the model, or else of the call."""
    return attrs.evolve(call, **given(own)) if explicit is None else attrs.evolve(call, **{**given(own), **given(explicit)})


def given(timeout: Timeout) -> dict[str, Any]:
    """Return the phases that a caller set. A phase with its default value counts as not set."""
    # Compared by identity: a number that a caller gives is another object, even if it equals the default.
    values = ((field, getattr(timeout, field.name)) for field in attrs.fields(Timeout))
    return {field.name: value for field, value in values if value is not field.default}


def refined(models: Iterable[ModelInfo], config: ProviderConfig) -> tuple[ModelInfo, ...]:
    """Apply the user's `models` and `model` to an instance's models, one entry a name. Names below a prefix get their own."""
    own = {model.name: model for model in config.models}
    if not own and not config.model:
        return tuple(models)
    found: dict[str, ModelInfo] = {}
    for model in models:
        if model.name not in found:
            found[model.name] = merged(model, own[model.name]) if model.name in own else model
    for name in config.model:
        prefixes = [entry for entry in found.values() if entry.name != name and covers(entry, name)]
        if name not in found and prefixes:
            found[name] = attrs.evolve(max(prefixes, key=lambda entry: len(entry.name)), name=name, aliases=())
    return tuple(refined_one(model, config) for model in found.values())


def over(table: Iterable[ModelInfo], listed: ModelInfo) -> ModelInfo:
    """Apply the values of a service's list over the plugin's values for the same name, or else for the longest prefix."""
    near = [entry for entry in table if entry.name == listed.name or covers(entry, listed.name)]
    if not near:
        return listed
    # An entry with this name comes first, then the longest prefix.
    own = max(near, key=lambda entry: (not entry.is_prefix or entry.name == listed.name, len(entry.name)))
    aliases = own.aliases if own.name == listed.name else ()
    return merged(attrs.evolve(own, name=listed.name, aliases=aliases), listed)


def refined_one(model: ModelInfo, config: ProviderConfig) -> ModelInfo:
    """Apply the tables of `config.model` that fit a model, the longest name last."""
    for name in sorted(config.model, key=len):
        table = config.model[name]
        if name == model.name or covers(attrs.evolve(table, name=name), model.name):
            model = merged(model, table)
    return model


def covers(entry: ModelInfo, name: str) -> bool:
    """Whether an entry is a prefix of a name, or of another prefix."""
    return entry.is_prefix and name.startswith(entry.name[:-1])


def merged(model: ModelInfo, own: ModelInfo) -> ModelInfo:
    """An entry with the values of another that are not `None` or empty. Prices in another currency replace all prices."""
    changes = {name: value for name, value in own.__getstate__().items() if name != "name" and value not in (None, "", (), {})}
    if own.price_currency != model.price_currency:
        prices = {name: getattr(own, name) for name in PRICES}
        if any(price is not None for price in prices.values()):
            changes |= prices
        elif own.price_currency == DOLLARS:  # the default
            del changes["price_currency"]
    if "aliases" in changes:
        changes["aliases"] = tuple(dict.fromkeys((*model.aliases, *own.aliases)))
    if "headers" in changes:
        changes["headers"] = {**model.headers, **own.headers}
    if model.timeout is not None and own.timeout is not None:
        changes["timeout"] = attrs.evolve(model.timeout, **given(own.timeout))
    return attrs.evolve(model, **changes)
