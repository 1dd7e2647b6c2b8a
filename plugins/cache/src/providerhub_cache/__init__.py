"""A cache of answers for providerhub. This module is light; the cache is imported where the settings have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from providerhub import Settings, hookimpl

if TYPE_CHECKING:
    from providerhub_cache._cache import Cache

__all__ = ["Cache", "providerhub_around"]


@hookimpl
def providerhub_around(settings: Settings) -> Cache | None:
    """Answer from the cache of the settings.

    Args:
        settings: The settings of the hub.

    Raises:
        ConfigurationError: A value in `[cache]` is wrong.
    """
    return __getattr__("Cache")(settings.cache, aliases=settings.aliases) if settings.cache else None


def __getattr__(name: str) -> type[Cache]:
    if name != "Cache":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from providerhub_cache._cache import Cache

    return Cache
