"""The settings of the cache, read from the table `[cache]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from providerhub import ConfigurationError, Secret
from providerhub_cache._stores import Folder, Memory, Server, Store

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_AGE = 86400.0  # default seconds for which an answer is kept
_ANSWERS = 1000  # default number of answers in memory
_BYTES = 256 * 1024 * 1024  # default bytes of a folder
_MOST_BYTES = 2**63 - 1  # the largest number of SQLite
_KNOWN = ("url", "age", "size")


def store_of(table: Mapping[str, Any]) -> Store:
    """Open the store that the table names.

    Args:
        table: The values by key, as the settings hold them.

    Raises:
        ConfigurationError: A key is unknown, a value is wrong, or a distribution is missing.
    """
    unknown = sorted(set(table) - set(_KNOWN))
    if unknown:
        raise ConfigurationError(f"unknown key 'cache.{unknown[0]}'; the known ones are {', '.join(_KNOWN)}")
    age, size = _age(table.get("age")), table.get("size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _MOST_BYTES):
        raise ConfigurationError(f"cache.size must be a whole number from 1 to {_MOST_BYTES}, not {size!r}")
    url = table.get("url", "memory")
    url = url.reveal() if isinstance(url, Secret) else url
    if not isinstance(url, str) or not url:
        raise ConfigurationError(
            f'cache.url must be "memory", a folder or the address of a Redis server, not {type(url).__name__}'
        )
    if url == "memory":
        return Memory(size or _ANSWERS, age)
    if re.match(r"(redis|rediss|valkey|valkeys|unix)://", url):
        if size is not None:
            raise ConfigurationError("cache.size cannot be set for a server: its own setting maxmemory bounds it")
        try:
            return Server(re.sub(r"^valkey(s?)://", r"redis\1://", url), age)
        except ImportError as error:
            raise ConfigurationError("cache.url names a server, which needs: pip install 'providerhub-cache[redis]'") from error
    if "://" in url:
        raise ConfigurationError(
            f'cache.url must be "memory", a folder, or begin with redis:// or valkey://, not {url.split(":")[0]}://'
        )
    path = Path(url).expanduser()
    if not path.is_absolute():
        raise ConfigurationError(f"cache.url must name a folder by an absolute path, not {url!r}")
    return Folder(path, size or _BYTES, age)


def _age(text: object) -> float:
    if text is None:
        return _AGE
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip()) if isinstance(text, str) else None
    seconds = float(found[1]) * _UNITS[found[2]] if found is not None else 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(f'cache.age must be a length of time such as "30m", "1h" or "7d", not {text!r}')
    return seconds
