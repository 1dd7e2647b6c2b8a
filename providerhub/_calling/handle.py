"""Hubs in other processes: a hub pickles as its settings, and each process makes one hub of equal settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from providerhub._settings.settings import Settings
from providerhub._values.errors import ConfigurationError

_KEPT = 16
"""The most hubs that a process keeps for pickled ones. A worker that serves one application after another needs a limit."""

_made: list[tuple[int, Callable[[Settings], Any], Settings, Any]] = []


def handle(
    make: Callable[[Settings], Any], settings: Settings, objects: Iterable[str]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the value of a hub's `__reduce__`.

    Args:
        make: Makes a hub of settings: the hub's class.
        settings: The hub's settings, with the keys given there: the other process needs them.
        objects: The names of providers and of callables around the calls that the application gave.

    Raises:
        ConfigurationError: There are such objects. Another process could not make them.
    """
    names = ", ".join(objects)
    if names:
        msg = f"a hub with objects of the application ({names}) cannot go to another process; make them plugins, or use threads"
        raise ConfigurationError(msg)
    return in_this_process, (make, settings)


def in_this_process(make: Callable[[Settings], Any], settings: Settings) -> Any:
    """Return this process's hub of some settings; make it at the first call.

    Args:
        make: Makes a hub of settings: the hub's class.
        settings: The settings of the hub.
    """
    # No lock, since a fork could leave it held. Two threads may make a hub each; both then return the first. The process
    # id is part of the key: a forked child has its parent's list, with connections and locks that it must not use.
    key = (os.getpid(), make, settings)
    if not any(entry[:3] == key for entry in _made):
        _made.append((*key, make(settings)))
        del _made[:-_KEPT]
    return next(entry[3] for entry in tuple(_made) if entry[:3] == key)
