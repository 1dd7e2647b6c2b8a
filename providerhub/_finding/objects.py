"""The provider objects of one instance: made when they are first used, closed with the hub."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from providerhub._finding.discovery import import_object
from providerhub._values import ProviderConfig
from providerhub._values.capabilities import ProviderInfo
from providerhub._values.errors import ConfigurationError, PluginError
from providerhub._values.provider import Provider

_log = logging.getLogger("providerhub")


class ProviderObjects:
    """Makes an instance's provider objects by the plugin's factory, and closes them. Thread-safe.

    An object with `astream` serves one event loop, since its connections belong to that loop. Any other object serves all
    loops and threads, with one pool of connections.
    """

    def __init__(self, config: ProviderConfig, info: ProviderInfo) -> None:
        self._config = config
        self._info = info
        self._lock = threading.Lock()
        self._shared: Provider | None = None
        self._per_loop: weakref.WeakKeyDictionary[Any, Provider] = weakref.WeakKeyDictionary()
        self._has_astream: bool | None = None

    def get(self, loop: object | None = None) -> Provider:
        """As `Instance.provider`."""
        with self._lock:
            per_loop = loop is not None and self._has_astream is not False
            found = self._per_loop.get(loop) if per_loop else self._shared
            if found is None:
                found = _create(self._config, self._info)
                self._has_astream = callable(getattr(found, "astream", None))
                if per_loop and self._has_astream:
                    self._per_loop[loop] = found
                else:
                    self._shared = found
            return found

    def reconfigure(self, config: ProviderConfig) -> list[Provider]:
        """Make all further objects from another configuration; return the earlier objects, for `close_all`."""
        with self._lock:
            self._config = config
            return self._take()

    def close(self) -> None:
        """Close the objects made so far; the next `get` makes new ones."""
        with self._lock:
            made = self._take()
        self.close_all(made)

    async def aclose(self) -> None:
        """`close`, awaiting the `aclose()` of the running loop's object where it has one."""
        import asyncio  # slow to import; a running loop has imported it already

        own = self._per_loop.get(asyncio.get_running_loop())
        closer = getattr(own, "aclose", None)
        with self._lock:
            made = self._take()
        self.close_all(provider for provider in made if provider is not own or closer is None)
        # Last, since the task may be cancelled while it awaits.
        if closer is not None and any(provider is own for provider in made):
            try:
                await closer()
            except Exception:
                self._log_failed_close()

    def close_all(self, providers: Iterable[Provider]) -> None:
        """Call `close()` of each object that has one; a failure is logged and does not stop the others."""
        for provider in providers:
            closer: Callable[[], object] | None = getattr(provider, "close", None)
            try:
                if closer is not None:
                    closer()
            except Exception:
                self._log_failed_close()

    def _log_failed_close(self) -> None:
        _log.warning("provider %s failed to close", self._config.name, exc_info=True)

    def _take(self) -> list[Provider]:
        """Forget the objects made so far and return them. Call this with the lock held."""
        made = [p for p in (self._shared, *self._per_loop.values()) if p is not None]
        self._shared = None
        self._per_loop.clear()
        return made


def _create(config: ProviderConfig, info: ProviderInfo) -> Provider:
    try:
        made = import_object(info.factory)(config)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        # A module that calls sys.exit() when it is imported must not end the application.
        msg = f"creating provider {config.name!r} by {info.factory!r} raised {type(error).__name__}: {error}"
        raise PluginError(msg, plugin=config.name) from error
    if not callable(getattr(made, "stream", None)):
        msg = f"{info.factory!r} returned {type(made).__name__}, which has no method stream(request, call)"
        raise PluginError(msg, plugin=config.name)
    return made  # type: ignore[no-any-return]
