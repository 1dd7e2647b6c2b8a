"""Hubs in other processes: a hub pickles as its settings, and each process makes one hub of equal settings.

A pickle may go to another machine or to a disk, so it holds no key, only references that the other process reads. Only the pipes
of multiprocessing, to processes of this machine, may carry keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from providerhub._finding.registry import Registry
from providerhub._settings.settings import Settings
from providerhub._values.errors import ConfigurationError

_KEPT = 16
"""The maximum number of hubs from pickles in a process. A worker may serve one application after another."""

_made: list[tuple[int, Callable[[Settings], Any], Settings, Any]] = []

Handle = tuple[Callable[..., Any], tuple[Any, ...]]


def handle(make: Callable[[Settings], Any], registry: Registry, objects: Iterable[str], *, local: bool = False) -> Handle:
    """Return the value of a hub's `__reduce__`. `objects` are the application's. With `local`, for a pipe, it may have keys."""
    if names := ", ".join(objects):
        msg = f"a hub with objects of the application ({names}) cannot go to another process; make them plugins, or use threads"
        raise ConfigurationError(msg)
    settings, keys = registry.travelling()
    if keys and not local:
        found = ", ".join(keys)
        msg = f"a key in the settings must not go to another machine ({found}): write a reference, as in"
        raise ConfigurationError(f"{msg} api_key = {{ env = 'ACME_API_KEY' }}, or set key_travels = true for that provider")
    return in_this_process, (make, settings)


def let_keys_through_pipes(hub: type[Any]) -> None:
    """Allow keys in the pickles of multiprocessing, which go through pipes to processes of this machine."""
    from multiprocessing.reduction import ForkingPickler  # slow to import; only executors need it

    ForkingPickler.register(
        hub,
        lambda one: handle(type(one), one._registry, one._objects, local=True),  # noqa: SLF001 -- the other half of `__reduce__`
    )


def in_this_process(make: Callable[[Settings], Any], settings: Settings) -> Any:
    """Return this process's hub of some settings; make it at the first call."""
    # No lock, since a fork could leave a lock held. Two threads may each make a hub; both return the first hub. The process
    # id is part of the key: a forked child has its parent's list, with connections and locks that it must not use.
    key = (os.getpid(), make, settings)
    if not any(entry[:3] == key for entry in _made):
        _made.append((*key, make(settings)))
        del _made[:-_KEPT]
    return next(entry[3] for entry in tuple(_made) if entry[:3] == key)
