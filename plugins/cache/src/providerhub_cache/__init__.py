"""A cache of answers for providerhub."""

from providerhub_cache._cache import Cache, providerhub_around

__all__ = ["Cache", "providerhub_around"]
