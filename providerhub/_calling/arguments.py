"""The arguments of `Hub`: checked, and put into the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any

import attrs

from providerhub._settings.settings import Settings
from providerhub._values.checks import CALLABLE, Check, instance_of, shape
from providerhub._values.errors import ConfigurationError

LIST = instance_of(Sequence, "a list")
RANKER = Check("a callable that is not async", lambda value: callable(value) and not iscoroutinefunction(value), shape)
PAIR = Check(
    "a pair of a ProviderInfo and a provider object",
    lambda value: isinstance(value, Sequence) and len(value) == 2,
    shape,
)
CACHE = instance_of((Mapping, str, bool), '"memory", a folder, an address, a mapping or a flag; use around=[...] for a Cache')
SETTINGS = instance_of((Settings, type(None)), "a Settings object, such as Settings(strategy='priority')")

EACH = {"rankers": RANKER, "around": CALLABLE, "providers": PAIR}


def settings_of(settings: Settings | None, *, cache: Mapping[str, Any] | str | bool | None, wire_log: str | None) -> Settings:
    """The settings of a hub: those that it was given, else those of the file, with its other arguments in them."""
    SETTINGS.check(settings, "settings", ConfigurationError)
    found = Settings.load() if settings is None else settings.with_environment(os.environ)
    if wire_log is not None:
        found = attrs.evolve(found, wire_log=wire_log)
    if cache is not None:
        CACHE.check(cache, "cache", ConfigurationError)
        table = {"url": "memory" if cache is True else cache} if isinstance(cache, str) or cache is True else cache or {}
        found = attrs.evolve(found, cache=table)
    return found


def check_objects(**given: Sequence[Any]) -> None:
    for name, items in given.items():
        LIST.check(items, name, ConfigurationError)
        for one in items if name in EACH else ():
            EACH[name].check(one, f"each of {name}", ConfigurationError)
