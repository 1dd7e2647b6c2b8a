"""What a hub is to another process: its settings, of which that process makes a hub of its own, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from providerhub._settings.settings import Settings
from providerhub._values.errors import ConfigurationError

_KEPT = 16
"""Hubs that a process keeps for others; a worker that serves one application after another must not keep them all."""

_made: list[tuple[int, Callable[[Settings], Any], Settings, Any]] = []


def handle(
    make: Callable[[Settings], Any], settings: Settings, objects: Iterable[str]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """How a hub pickles.

    Args:
        make: The hub's class.
        settings: Its settings, the keys given there included: they are what the other process needs.
        objects: Names of the provider objects that it was given directly.

    Returns:
        What `__reduce__` returns.

    Raises:
        ConfigurationError: There are such objects; nobody can make them anew elsewhere.
    """
    names = ", ".join(objects)
    if names:
        msg = f"a hub with provider objects of its own ({names}) cannot go to another process: make them plugins, or use threads"
        raise ConfigurationError(msg)
    return in_this_process, (make, settings)


def in_this_process(make: Callable[[Settings], Any], settings: Settings) -> Any:
    """This process's hub of some settings.

    Args:
        make: The hub's class.
        settings: What it is to be made of, where there is none yet of equal settings.
    """
    # No lock, since a fork could leave it held. Two threads may make one each; both then take the first of them. A forked
    # child has its parent's list, with connections and locks that it must not use.
    key = (os.getpid(), make, settings)
    if not any(entry[:3] == key for entry in _made):
        _made.append((*key, make(settings)))
        del _made[:-_KEPT]
    return next(entry[3] for entry in tuple(_made) if entry[:3] == key)
