"""Where answers are kept: in memory, in a folder, or at a Redis or Valkey server."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

from providerhub import ConfigurationError

_locked: WeakSet[Any] = WeakSet()
"""The stores with a lock."""


def _forked() -> None:
    """Free the locks in a forked process, because a thread that holds a lock exists only in the parent."""
    for store in tuple(_locked):
        store._lock = threading.Lock()  # noqa: SLF001 -- see above


if hasattr(os, "register_at_fork"):  # absent on Windows
    os.register_at_fork(after_in_child=_forked)


class Store(Protocol):
    """Keeps bytes by name. Every method may be called from any thread, and may raise."""

    def get(self, key: str) -> bytes | None:
        """The value of a key; `None` if there is no value, or if it is too old."""

    def set(self, key: str, value: bytes) -> None:
        """Keep a value under a key."""

    def clear(self) -> None:
        """Remove all values."""

    def close(self) -> None:
        """Close files and connections."""


class Memory:
    """Values in the memory of this process; the least recently used go first.

    Args:
        size: The maximum number of values.
        age: Seconds for which a value is used.
    """

    def __init__(self, size: int, age: float) -> None:
        from cachetools import TTLCache

        self._values: Any = TTLCache(size, age)
        self._lock = threading.Lock()
        _locked.add(self)

    def get(self, key: str) -> bytes | None:
        """The value of a key."""
        with self._lock:
            found: bytes | None = self._values.get(key)
        return found

    def set(self, key: str, value: bytes) -> None:
        """Keep a value under a key."""
        with self._lock:
            self._values[key] = value

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._values.clear()

    def close(self) -> None:
        """Forget the values."""
        self.clear()


class Folder:
    """Values in a folder, in a database of SQLite and files beside it, which processes share.

    Args:
        path: The folder. It is made for the user alone.
        size: The maximum bytes; the least recently used values go first.
        age: Seconds for which a value is used.
    """

    def __init__(self, path: Path, size: int, age: float) -> None:
        self._path, self._size, self._age = path, size, age
        self._cache: Any = None
        self._lock = threading.Lock()
        _locked.add(self)

    def _opened(self) -> Any:
        """The database, opened at its first use, since a folder that cannot be opened must not make a call fail."""
        from diskcache_community import Cache

        with self._lock:
            if self._cache is None:
                self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._cache = Cache(str(self._path), size_limit=self._size, eviction_policy="least-recently-used")
            return self._cache

    def get(self, key: str) -> bytes | None:
        """The value of a key."""
        found = self._opened().get(key)
        return found if isinstance(found, bytes) else None

    def set(self, key: str, value: bytes) -> None:
        """Keep a value under a key."""
        self._opened().set(key, value, expire=self._age)

    def clear(self) -> None:
        """Remove all values."""
        self._opened().clear()

    def close(self) -> None:
        """Close the database."""
        if self._cache is not None:
            self._cache.close()


class Server:
    """Values at a Redis or Valkey server, which limits their size itself (`maxmemory`).

    Args:
        url: The address, such as `redis://host:6379/0`.
        age: Seconds for which a value is used.

    Raises:
        ConfigurationError: The address is wrong.
    """

    def __init__(self, url: str, age: float) -> None:
        from redis import Redis

        self._age = age
        try:
            # The timeouts are short: a server that is down must not delay calls.
            self._client: Any = Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
            self._client.connection_pool.make_connection()  # connects nothing, and refuses a wrong parameter of the address
            if "#" not in url:
                return
        except (TypeError, ValueError):  # the text of the error may hold a part of the password
            pass
        raise ConfigurationError(
            "cache.url is wrong: write redis://HOST:PORT/0, with a % code for each special character of a password; the other "
            "parameters are those of redis-py"
        )

    def get(self, key: str) -> bytes | None:
        """The value of a key."""
        found: bytes | None = self._client.get(_PREFIX + key)
        return found

    def set(self, key: str, value: bytes) -> None:
        """Keep a value under a key."""
        self._client.set(_PREFIX + key, value, px=max(1, int(self._age * 1000)))

    def clear(self) -> None:
        """Remove all values of this plugin."""
        for key in self._client.scan_iter(match=f"{_PREFIX}*"):
            self._client.delete(key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


_PREFIX = "providerhub:answer:"
