"""The models that the service of one instance lists, from the plugin's `discover` and kept on disk."""

from __future__ import annotations

import copy
import inspect
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from providerhub._finding.installed import import_object
from providerhub._finding.jobs import Task
from providerhub._log import log as _log
from providerhub._rules.mapping import map_exception, shown
from providerhub._settings.address import is_loopback
from providerhub._threads import renewed_at_fork
from providerhub._values import ProviderConfig, Timeout
from providerhub._values.capabilities import ModelInfo, ProviderInfo, as_models
from providerhub._values.errors import AttemptError, ConfigurationError, PluginError, ProviderError, ProviderTimeoutError
from providerhub._values.provider import CallContext

# The timeouts of one listing. The call that needs the list may wait for a shorter time.
TIMEOUT = Timeout(connect=5.0, byte_idle=10.0, total=20.0)
# Seconds until a service is asked again: after a list, and after the first failure; and after many failures in a row.
AGAIN_FIRST, AGAIN_MOST = 60.0, 600.0
_OF_SERVICE = (ProviderError, ConfigurationError)  # their texts are for users; a message about any other error names the function
MOST = 100_000  # the maximum number of models from a generator; an endless generator would take all memory
# Seconds until a list with the name is renewed. A service on this machine changes more often.
FRESH, FRESH_ON_LOOPBACK = 86400.0, 60.0


class ModelList:
    """The list of one instance. Thread-safe. `on_change` is called in the thread of the listing when the models have changed."""

    def __init__(self, info: ProviderInfo, config: Callable[[], ProviderConfig], on_change: Callable[[], object]) -> None:
        self._info = info
        self._config = config
        self._on_change = on_change
        self._lock = renewed_at_fork(threading.Lock())
        self.task: Task | None = None
        self._late: Task | None = None  # the task that `late` has logged
        self._call: CallContext | None = None
        self._is_read = False
        self._age_when_read: float | None = None
        self._failures = 0
        self._error = ""
        self._cause: Any = None  # the exception of the last failure
        # The times on the hub's clock from which the service is asked: for a name that has no provider, and for any name.
        self._again_at, self._stale_at = -float("inf"), float("inf")
        self.models: tuple[ModelInfo, ...] = ()
        self.listed_at: float | None = None  # the moment of the listing in seconds of the wall clock; `None` without a list

    @property
    def error(self) -> str:
        """The reason why there is no new list: the last failure, or the silence of the service; else empty."""
        task = self._running()
        if task is not None and task.age:
            return f"the list has not returned for {task.age:.1f} s"
        return self._error

    @property
    def is_failing(self) -> bool:
        """Whether the last listing failed, or the running listing is `late`."""
        return bool(self._error) or (self._late is not None and self._running() is self._late)

    def failure(self, message: str) -> AttemptError:
        """The error of a call for a model that may be missing in the list: the class of the last failure, or a timeout."""
        name, cause = self._config().name, self._cause
        if cause is None or self._running() is not None:
            found: AttemptError = ProviderTimeoutError(provider=name)
        else:
            found = copy.copy(map_exception(cause, provider=name, model=""))
        found.args, found.__cause__ = (message,), cause
        if isinstance(found, ProviderError) and found.retryable:
            found.retry_after = found.retry_after or AGAIN_FIRST
        return found

    @property
    def age(self) -> float | None:
        """Seconds since the service listed the models; `None` without a list."""
        return None if self.listed_at is None else max(0.0, time.time() - self.listed_at)

    def read(self) -> bool:
        """Take the list from the disk, once; true when there is one. Asks no service."""
        if self._is_read:
            return False
        from providerhub._finding import kept_lists  # slow to import; many providers declare their models

        with self._lock:
            kept = None if self._is_read or self.listed_at is not None else kept_lists.read(self._config(), self._info)
            self._is_read = True
        if kept is None:
            return False
        self.listed_at = kept.listed_at
        self._age_when_read = self.age
        self._take(kept.models)
        return True

    def due(self, now: float, *, is_missing: bool) -> tuple[Task | None, float]:
        """The running task that asks the service, and the time from which the service should be asked."""
        if self._age_when_read is not None:  # compute the time of a list from the disk on the hub's clock
            age, self._age_when_read = self._age_when_read, None
            self._again_at, self._stale_at = now - age + AGAIN_FIRST, now - age + self._fresh()
        if is_missing:
            return self._running(), self._again_at
        return None, max(self._again_at, self._stale_at)

    def forget_failures(self) -> None:
        """Let the service be asked again at once: its key has changed."""
        self._failures, self._again_at = 0, -float("inf")

    def _running(self) -> Task | None:
        task = self.task
        return None if task is None or task.ended else task

    def asking(self, now: float, *, again: bool = False) -> Task:
        """The task that asks the service. Concurrent callers get the same task; `again` asks a service before it is due."""
        with self._lock:
            task = self._running()
            if task is None and self.task is not None and not again and self._again_at > now:
                return self.task  # another thread has asked in the meantime
            if task is None:
                self._again_at = now + min(AGAIN_MOST, AGAIN_FIRST * 2.0 ** min(self._failures, 10))
                task = self.task = Task(f"list the models of {self._config().name}", partial(self._ask, now))
            return task

    def late(self) -> None:
        """Log, once for each task, that a call goes on without the list. Plans then count the list as failed."""
        task = self._running()
        if task is not None and task is not self._late:
            self._late = task
            _log.warning("provider %s has not listed its models for %.1f s; calls do not wait", self._config().name, task.age)
            self._on_change()

    def close(self) -> None:
        """Cancel a running listing."""
        call = self._call
        if call is not None:
            call.cancel()

    def _ask(self, now: float) -> None:
        config, call = self._config(), CallContext(TIMEOUT)
        self._call = call
        try:
            found = _discovered(self._info, config, call)
        except (Exception, SystemExit) as error:  # a module that calls sys.exit() when it is imported is a failure too
            if call.cancelled:
                self.forget_failures()
                return
            self._failures += 1
            self._cause, self._error = error.with_traceback(None), shown(error)
            if not isinstance(error, _OF_SERVICE):
                self._error = f"{self._info.discover} raised {self._error}"
            _log.warning("provider %s could not list its models: %s", config.name, self._error)
            if self._failures == 1:
                self._on_change()
            return
        finally:
            self._call = None
        had_none = self.listed_at is None or bool(self._failures)
        self._failures, self._error, self._cause = 0, "", None
        self.listed_at, self._age_when_read = time.time(), None
        self._stale_at = now + self._fresh()
        self._take(found, had_none=had_none)
        from providerhub._finding import kept_lists  # see `read`

        kept_lists.write(config, self._info, kept_lists.KeptList(found, self.listed_at))

    def _take(self, models: tuple[ModelInfo, ...], *, had_none: bool = False) -> None:
        if had_none or models != self.models:
            self.models = models
            self._on_change()

    def _fresh(self) -> float:
        host = urlsplit(self._config().url or "").hostname or "localhost"
        return FRESH_ON_LOOPBACK if is_loopback(host) else FRESH


def _discovered(info: ProviderInfo, config: ProviderConfig, call: CallContext) -> tuple[ModelInfo, ...]:
    discover = import_object(info.discover or "")
    found = discover(config, call=call) if _takes_call(discover) else discover(config)
    if hasattr(found, "__await__") or hasattr(found, "__anext__"):
        getattr(found, "close", bool)()  # a coroutine that is not awaited would warn
        msg = "it is asynchronous; write a plain function, which runs in a thread of its own"
        raise PluginError(msg)
    if isinstance(found, Iterator):
        found = tuple(itertools.islice(found, MOST + 1))
        if len(found) > MOST:
            msg = f"it gave more than {MOST} models; end the generator, or the loop over pages"
            raise PluginError(msg)
    return as_models(found)  # any other value must not reach the index


def _takes_call(discover: Any) -> bool:
    """Whether the function has an argument `call`. Older plugins have none."""
    try:
        return "call" in inspect.signature(discover).parameters
    except (TypeError, ValueError):
        return False
