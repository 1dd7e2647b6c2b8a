"""One configured provider: its settings, its models and its provider objects.

Planning only reads attributes. The preparation of a call uses `listing`, `renewal` and `renew_key`.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
import time
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlsplit

from providerhub._finding.installed import import_object
from providerhub._finding.jobs import Job, Task, arun_all
from providerhub._finding.listing import ModelList
from providerhub._log import log as _log
from providerhub._rules.mapping import shown
from providerhub._settings.refined import over, refined
from providerhub._settings.resolving import flaws_in, instruction, is_at_default, resolve, variable_in_use
from providerhub._threads import renewed_at_fork
from providerhub._values import ProviderConfig, Secret
from providerhub._values.capabilities import DESCRIBED, ModelInfo, ProviderInfo, Setting
from providerhub._values.errors import ConfigurationError, PluginError, ProviderTimeoutError
from providerhub._values.provider import Provider

CLOSING_SECONDS = 5.0  # seconds that `aclose` waits for the objects to close


class ProviderObjects:
    """Makes an instance's provider objects with the plugin's factory, and closes them. Thread-safe.

    An object with `astream` serves one event loop, since its connections belong to that loop. Any other object serves all
    loops and threads, with one pool of connections.
    """

    def __init__(self, config: ProviderConfig, info: ProviderInfo) -> None:
        self._config = config
        self._info = info
        self._making = renewed_at_fork(threading.Lock())  # held while an object is made; this may take long
        self._lock = renewed_at_fork(threading.Lock())  # held for moments only
        self._shared: Provider | None = None
        self._per_loop: weakref.WeakKeyDictionary[Any, Provider] = weakref.WeakKeyDictionary()
        self._has_astream: bool | None = None

    def get(self, loop: object | None = None) -> Provider:
        """Return the object for an event loop; see `Instance.provider`."""
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
        """Do `close`, and await `aclose()` of the running loop's object, if it has this method."""
        import asyncio  # slow to import; a running loop has imported it already

        with self._lock:
            own = self._per_loop.get(asyncio.get_running_loop())
            made = self._take()
        others = [provider for provider in made if provider is not own]
        jobs = [Job(Task(f"close the provider {self._config.name}", partial(self.close_all, others)))] * bool(others)
        for job in jobs:  # started first, since the task that awaits here may be cancelled
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
        """Close the object of the running loop, in the thread of this loop."""
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
        # Without the lock: a look-up in a dictionary is atomic, and the event loop must not wait here.
        return self._shared if loop is None or self._has_astream is False else self._per_loop.get(loop)

    def _made(self, loop: object | None) -> Provider | None:
        """A new object; `None` if the configuration has changed in the meantime. Call this with `_making` held."""
        config = self._config
        made = _create(config, self._info)
        has_astream = callable(getattr(made, "astream", None))
        with self._lock:
            is_current = config is self._config
            ended = [other for other in self._per_loop if getattr(other, "is_closed", bool)()]
            # An object usually refers to its loop, so a weak reference to the loop would never end.
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
    if lack := lack_of(made):
        raise PluginError(f"{info.factory!r} returned {type(made).__name__}, {lack}", plugin=config.name)
    return made  # type: ignore[no-any-return]


def lack_of(provider: Any) -> str:
    """The reason why an object is not a provider; empty for a provider."""
    stream = getattr(provider, "stream", None)
    if not callable(stream):
        return "which has no method stream(request, call)"
    if isinstance(provider, type):
        return f"which is a class; give an object: {provider.__name__}()"
    try:
        inspect.signature(stream).bind(None, None)
    except TypeError:
        return "whose method stream does not take (request, call)"
    except ValueError:  # the function has no signature
        pass
    return ""


KEY_AGE = 10.0  # seconds between two reads of a refused key from its command or keyring
KEY_MARGIN = 60.0  # a key is read again this many seconds before its end


class Instance:
    """One configured provider. The application registers and closes a `provider` object, or the plugin makes the objects.

    `on_models` is called when the service has listed other models. `distribution` is the plugin's distribution. `variables` take
    precedence over the environment.
    """

    def __init__(
        self,
        config: ProviderConfig,
        info: ProviderInfo,
        provider: Provider | None = None,
        on_models: Callable[[], object] = lambda: None,
        *,
        flaw: str = "",
        distribution: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._environ: Mapping[str, str] = ChainMap(dict(variables), os.environ) if variables else os.environ
        self.name = config.name
        self.info = info
        self.flaw = flaw  # a mistake in the user's configuration, which each use raises; empty for none
        self.distribution = distribution
        self._user_config = config
        self._registered = provider
        self.has_plugin = provider is None
        self._renewing = renewed_at_fork(threading.Lock())
        self._scope: tuple[str, list[str | None], str] = "", [], ""  # the salt, the keys as they are read, and their scope
        self.keys: tuple[Secret, ...] = ()
        self._configure()
        self._objects = ProviderObjects(self.config, info)
        self.declared: tuple[ModelInfo, ...] = refined((*info.models, *config.models), config)
        # The models that the service lists. The methods work for every provider, but only a provider that `can_list` is asked.
        self.list = ModelList(info, lambda: self.config, on_models)
        self._listed: tuple[tuple[ModelInfo, ...], tuple[ModelInfo, ...]] = (), self.declared
        self._renewal: Task | None = None
        self._renewed_at = -KEY_AGE

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The models of the plugin, the user and the service's list. The user's values come first, and the plugin's last."""
        listed = self.list.models
        if self._listed[0] is not listed:
            found = refined((over(self.info.models, model) for model in listed), self.config)
            self._listed = listed, tuple({model.name: model for model in (*self.declared, *found)}.values())
        return self._listed[1]

    def sources(self, model: ModelInfo) -> dict[str, str]:
        """The source of each value of a model, by field: the settings, the service's list, or the plugin."""
        own = refined((ModelInfo(model.name), *self.config.models), self.config)[0]
        listed = next((one for one in self.list.models if one.name == model.name), own)
        layers = {"settings": own, "service": listed, "plugin": model}
        known = [name for name in DESCRIBED if name != "price_currency" and getattr(model, name) is not None]
        return {name: next(text for text, one in layers.items() if getattr(one, name) is not None) for name in known}

    @cached_property
    def is_at_home(self) -> bool:
        """Whether the service is the vendor's own, at the plugin's default address."""
        return self.has_plugin and is_at_default(self._user_config, self.config, self.info, os.environ)

    @property
    def origin(self) -> dict[str, str]:
        """The fields of a `Turn` with its origin."""
        host = urlsplit(self.config.url or "").netloc.rpartition("@")[2].lower()
        return {"plugin": self.distribution, "name": self.info.name, "host": host}

    def scope(self, salt: str) -> str:
        """The account: the host, and a digest of settings and keys; equal in every process. Empty while a key is not read."""
        read = [key._value for key in self.keys]  # noqa: SLF001 -- `reveal` would read it
        if read == self._scope[1] and salt == self._scope[0]:
            return self._scope[2]
        if None in read:
            return ""
        import hashlib  # few programs share their state

        config = self.config
        named = {"url": config.url, "api_key": config.api_key, **config.options, **config.headers}
        values = (f"{name}={one.reveal() if isinstance(one, Secret) else one}" for name, one in sorted(named.items()))
        digest = hashlib.blake2b("\0".join(values).encode(), digest_size=16, key=hashlib.sha256(salt.encode()).digest())
        scope = f"{self.origin['host'] or self.info.name}:{digest.hexdigest()}"
        self._scope = salt, read, scope
        return scope

    @property
    def can_list(self) -> bool:
        """Whether the service can be asked for its models."""
        return bool(self.info.discover) and not self.missing

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set the missing settings."""
        return tuple(map(self.variable, self.missing))

    def variable(self, setting: Setting) -> str:
        """The environment variable that sets a setting."""
        return variable_in_use(setting, self._user_config, self.info.name)

    @property
    def key_variable(self) -> str:
        """The environment variable that sets the key; empty without a setting of that name."""
        keys = [setting for setting in self.info.all_settings if setting.name == "api_key"]
        return f"environment variable {variable_in_use(keys[0], self._user_config, self.info.name)}" if keys else ""

    @property
    def reason(self) -> str:
        """The missing settings of the instance, as an instruction; empty if none is missing."""
        return instruction(self._user_config, self.config, self.info.name, self.missing)

    @property
    def is_wrong(self) -> bool:
        """Whether a missing setting has an unusable value, such as a value in quotation marks."""
        return bool(flaws_in(self.config, self.missing))

    def provider(self, loop: object | None = None) -> Provider:
        """The provider object for an event loop, or for synchronous use. The first call makes it, which may take long."""
        return self._objects.get(loop) if self._registered is None else self._registered

    async def aprovider(self, loop: object, seconds: float) -> Provider:
        """`provider` under asyncio, with its keys: a thread goes on when `seconds` end in a `ProviderTimeoutError`."""
        if not self.needs_making(loop):
            return self.provider(loop)
        found: list[Provider | Exception] = []

        def make() -> None:
            try:
                found.append(self.provider(loop))
                for secret in self._unread():
                    with contextlib.suppress(ConfigurationError):  # the provider raises it when it reads the key
                        secret.reveal()
            except Exception as error:  # raised below, in the task that awaits
                found.append(error)

        await arun_all([Job(Task(f"make the provider {self.name}", make))], seconds)
        if not found:
            msg = f"the provider object was not made within {seconds:g} s; the plugin or its key takes too long to load"
            raise ProviderTimeoutError(msg, provider=self.name)
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def needs_making(self, loop: object | None = None) -> bool:
        """Whether the object must be made or a key must be read, which needs a thread beside an event loop."""
        return bool(self._unread()) or (self._registered is None and self._objects.needs_making(loop))

    def renew_key(self, on_change: Callable[[], object] = lambda: None) -> bool:
        """Read settings and key again; true after a change. `on_change` is called before another `renew_key` returns."""
        with self._renewing:
            key = resolve(self._user_config, self.info, self._environ)[0].api_key
            if key == self.config.api_key and not self._read_again(key):
                return False
            self._configure()
            old = self._objects.reconfigure(self.config)
            self.list.forget_failures()
            on_change()
        self._objects.close_all(old)
        return True

    def renewal(self, on_change: Callable[[], object]) -> Task | None:
        """The task that reads the key again, shared by all callers; `None` if the key cannot change."""
        task = self._renewal
        if task is not None and not task.ended:
            return task
        key = resolve(self._user_config, self.info, self._environ)[0].api_key
        if key == self.config.api_key and not self._is_readable(key):
            return None
        task = self._renewal = Task(f"read the key of {self.name} again", lambda: self.renew_key(on_change))
        return task

    def key_ends_in(self) -> float:
        """Seconds until the key of a source ends, if the key itself states its end; else infinite."""
        key = self.config.api_key
        if key is None or key.source is None or not key._value:  # noqa: SLF001 -- `reveal` would read it
            return float("inf")
        return end_of(key.reveal()) - time.time()

    def _unread(self) -> list[Secret]:
        """The keys with a source that are not read yet."""
        return [key for key in self.keys if key._value is None]  # noqa: SLF001 -- `reveal` would read it

    def _configure(self) -> None:
        self.config, self.missing = resolve(self._user_config, self.info, self._environ)
        self._scope = "", [], ""
        secrets = (value for value in (self.config.api_key, *self.config.options.values()) if isinstance(value, Secret))
        self.keys = tuple(secret for secret in secrets if secret.source is not None)

    def close(self) -> None:
        """Close the provider objects made so far, and cancel a running listing."""
        self.list.close()
        self._objects.close()

    async def aclose(self) -> None:
        """Do `close`, and await `aclose()` of the running loop's object, if it has this method."""
        self.list.close()
        await self._objects.aclose()

    def _is_readable(self, key: Secret | None) -> bool:
        return key is not None and key.source is not None and time.monotonic() - self._renewed_at >= KEY_AGE

    def _read_again(self, key: Secret | None) -> bool:
        """Read a key again from its command or keyring; true when it has changed."""
        if key is None or not self._is_readable(key):
            return False
        self._renewed_at = time.monotonic()
        try:
            return key.renew()
        except ConfigurationError as error:
            _log.warning("provider %s: %s", self.name, error)
            return False


def end_of(key: str) -> float:
    """The end of a key, in seconds of the wall clock: the `exp` of a JSON Web Token (RFC 7519); else infinite."""
    parts = key.split(".")
    if len(parts) != 3:
        return float("inf")
    import base64  # slow to import; few keys are tokens
    import json

    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        end = float(claims["exp"])
    except Exception:
        return float("inf")
    return end if end > 0 else float("inf")
