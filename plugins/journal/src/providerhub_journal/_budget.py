"""Budgets as the settings describe them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from providerhub import ConfigurationError
from providerhub_journal._rows import as_units

_PERIODS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "ever": "ever"}
_MOST = 4_000_000_000  # in billionths, the spent and the reserved amount together fit into 64 bits
_KEYS = ("limit", "per", "match", "unknown_price", "on_outage", "currency")
_CHOICES = ("refuse", "allow")


class Budget(NamedTuple):
    """One budget.

    Args:
        name: Its name.
        limit: The most that the calls of one span of time may cost, in billionths of the currency's unit.
        per: The span of time, of UTC: `"hour"`, `"day"`, `"week"`, `"month"` or `"ever"`.
        match: The values that a call must have, by `provider`, `model` or the key of its metadata; a text, or several.
        unknown_price: Whether a call whose highest cost is unknown passes: `"refuse"` or `"allow"`.
        on_outage: Whether a call passes while the database does not work: `"refuse"` or `"allow"`.
        currency: The currency of the limit.
    """

    name: str
    limit: int
    per: str = "day"
    match: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unknown_price: str = "refuse"
    on_outage: str = "refuse"
    currency: str = "USD"

    def fits(self, provider: str, model: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a call counts."""
        found = {**metadata, "provider": provider, "model": model}
        return all(name in found and _is_among(str(found[name]), values, name) for name, values in self.match)

    def period(self, now: float) -> str:
        """The name of the span of time."""
        return time.strftime(_PERIODS[self.per], time.gmtime(now))


def _is_among(text: str, values: tuple[str, ...], name: str) -> bool:
    return any(
        text == value or (name == "model" and value.endswith("*") and text.startswith(value.removesuffix("*")))
        for value in values
    )


def read(tables: Mapping[str, Mapping[str, Any]]) -> tuple[Budget, ...]:
    """Check the tables `[budgets.NAME]` of the settings.

    Raises:
        ConfigurationError: A key is unknown or missing, or a value is wrong. The message names both.
    """
    return tuple(_one(name, table) for name, table in sorted(tables.items()))


def _one(name: str, table: Mapping[str, Any]) -> Budget:
    here = f"budgets.{name}"
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise ConfigurationError(f"unknown key '{here}.{unknown[0]}'; the known ones are {', '.join(_KEYS)}")
    limit = table.get("limit")
    if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 < limit <= _MOST:
        raise ConfigurationError(
            f"{here}.limit must be a positive amount of money up to {_MOST}, such as limit = 20.00, not {limit!r}"
        )
    for key, choices in (("per", tuple(_PERIODS)), ("unknown_price", _CHOICES), ("on_outage", _CHOICES)):
        if table.get(key, choices[0]) not in choices:
            raise ConfigurationError(f"{here}.{key} must be one of {', '.join(choices)}, not {table[key]!r}")
    match = table.get("match", {})
    if not isinstance(match, Mapping):
        raise ConfigurationError(f'{here}.match must be a table, such as match = {{ team = "search" }}, not {match!r}')
    values = {key: value if isinstance(value, list | tuple) else (value,) for key, value in match.items()}
    for key in match.keys() & {"provider", "model"}:
        if not all(isinstance(item, str) for item in values[key]):
            raise ConfigurationError(f'{here}.match.{key} must be a name or names, such as "gpt-4*", not {match[key]!r}')
    rest = {key: table[key] for key in ("per", "unknown_price", "on_outage", "currency") if key in table}
    return Budget(name, as_units(limit), match=tuple((key, tuple(map(str, items))) for key, items in values.items()), **rest)
