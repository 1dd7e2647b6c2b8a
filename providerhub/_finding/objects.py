"""The provider objects of one instance: made when they are first used, closed with the hub."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from providerhub._finding.installed import import_object
from providerhub._finding.jobs import Job, Task, arun_all
from providerhub._rules.mapping import shown
from providerhub._threads import renewed_at_fork
from providerhub._values import ProviderConfig
from providerhub._values.capabilities import ProviderInfo
from providerhub._values.errors import ConfigurationError, PluginError
from providerhub._values.provider import Provider

_log = logging.getLogger("providerhub")

CLOSING_SECONDS = 5.0  # seconds that `aclose` waits for the objects to close


class ProviderObjects:
    """Makes an instance's provider objects by the plugin's factory, and closes them. Thread-safe.

    An object with `astream` serves one event loop, since its connections belong to that loop. Any other object serves all
    loops and threads, with one pool of connections.
    """

    def __init__(self, config: ProviderConfig, info: ProviderInfo) -> None:
        self._config = config
        self._info = info
        self._making = renewed_at_fork(threading.Lock())  # held while an object is made, which may take long
        self._lock = renewed_at_fork(threading.Lock())  # held for moments only
        self._shared: Provider | None = None
        self._per_loop: weakref.WeakKeyDictionary[Any, Provider] = weakref.WeakKeyDictionary()
        self._has_astream: bool | None = None

    def get(self, loop: object | None = None) -> Provider:
        """As `Instance.provider`."""
        found = self._find(loop)
        if found is None:
            with self._making:
                found = self._find(loop)
                while found is None:
                    found = self._made(loop)
        return found

    def needs_making(self, loop: object | None = None) -> bool:
        """Whether `get` would make an object, or wait for another thread that makes one."""
        return self._find(loop) is None

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

        with self._lock:
            own = self._per_loop.get(asyncio.get_running_loop())
            made = self._take()
        others = [provider for provider in made if provider is not own]
        jobs = [Job(Task(f"close the provider {self._config.name}", partial(self.close_all, others)))] * bool(others)
        for job in jobs:  # first, since the task that awaits here may be cancelled
            job.task.start()
        closing = [asyncio.create_task(one) for one in (self._close_own(own), arun_all(jobs, CLOSING_SECONDS))]
        # Not `asyncio.timeout`, which waits for an `aclose()` that ignores its cancellation.
        try:
            _, late = await asyncio.wait(closing, timeout=CLOSING_SECONDS)
        finally:
            for task in closing:
                task.cancel()
        if late or not all(job.task.ended for job in jobs):
            seconds = CLOSING_SECONDS
            _log.warning("provider %s has not closed within %g s; it is left behind", self._config.name, seconds)

    async def _close_own(self, own: Provider | None) -> None:
        """Close the object of the running loop, in this thread since it belongs to the loop."""
        closer = getattr(own, "aclose", None)
        if own is not None and closer is None:
            self.close_all([own])
        elif closer is not None:
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

    def _find(self, loop: object | None) -> Provider | None:
        # Without the lock: a dictionary is read at once, and the event loop must not wait here.
        return self._shared if loop is None or self._has_astream is False else self._per_loop.get(loop)

    def _made(self, loop: object | None) -> Provider | None:
        """A new object; `None` when the configuration has changed meanwhile. Call this with `_making` held."""
        config = self._config
        made = _create(config, self._info)
        has_astream = callable(getattr(made, "astream", None))
        with self._lock:
            is_current = config is self._config
            ended = [other for other in self._per_loop if getattr(other, "is_closed", bool)()]
            # An object refers to its loop, usually, so that the weak reference alone would keep both for ever.
            unused = [self._per_loop.pop(other) for other in ended]
            if is_current:
                self._has_astream = has_astream
                if loop is not None and has_astream:
                    self._per_loop[loop] = made
                else:
                    self._shared = made
        self.close_all(unused if is_current else [*unused, made])
        return made if is_current else None

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
        msg = f"creating provider {config.name!r} by {info.factory!r} raised {shown(error)}"
        raise PluginError(msg, plugin=config.name) from error
    if not callable(getattr(made, "stream", None)):
        msg = f"{info.factory!r} returned {type(made).__name__}, which has no method stream(request, call)"
        raise PluginError(msg, plugin=config.name)
    return made  # type: ignore[no-any-return]
