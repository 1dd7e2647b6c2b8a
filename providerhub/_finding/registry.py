"""Configured provider instances, and the index from model name to those that have it."""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import attrs

from providerhub._finding.discovery import PluginRecord, Plugins
from providerhub._settings.secrets import EnvironmentKey
from providerhub._settings.settings import Settings, resolve, variable
from providerhub._values import ProviderConfig, Secret
from providerhub._values.capabilities import ModelInfo, ProviderInfo, Setting
from providerhub._values.errors import AmbiguousProviderError, ConfigurationError, ModelNotFoundError, PluginError
from providerhub._values.provider import Provider

_log = logging.getLogger("providerhub")

INSTALL_HINT = "pip install providerhub-lockchat"
"""What to do when no provider plugin is installed."""


KEY_AGE = 60.0
"""Seconds; a key from a command or keyring that was refused is read again, but not more often than this."""

_TOLD = 3
"""Unusable plugins that an error tells of."""

_SHOWN = 20
"""Known models that an error lists."""


class Instance:
    """One configured provider. The provider object is made when it is first used; one with `astream` once for each event loop.

    Args:
        config: What the user configured.
        info: What the plugin declares.
        provider: The object itself, for one that was registered directly.
    """

    def __init__(self, config: ProviderConfig, info: ProviderInfo, provider: Provider | None = None) -> None:
        self.name = config.name
        self.info = info
        self._given = config
        self._object = provider
        self._lock = threading.Lock()
        self._configuring = threading.Lock()
        self._discovering = threading.RLock()  # re-entrant: what lists the models may be a client of this hub
        self._made: Provider | None = None
        self._native: bool | None = None
        self._per_loop: weakref.WeakKeyDictionary[Any, Provider] = weakref.WeakKeyDictionary()
        self.config, self.missing = resolve(config, info, os.environ)
        self._declared: tuple[ModelInfo, ...] = (*info.models, *_models(config))
        self.models = self._declared
        self._discovered = False
        self._renewed = -KEY_AGE
        self.discover_error = ""

    @property
    def is_object(self) -> bool:
        """Whether it was registered as an object, so that there is no plugin behind it."""
        return self._object is not None

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that would set what is missing."""
        return tuple(map(self._variable, self.missing))

    @property
    def reason(self) -> str:
        """What is to be set before this instance can be used; empty when nothing is."""
        if not self.missing:
            return ""
        names = [f"{s.name} (environment variable {self._variable(s)})" for s in self.missing]
        others = {f", or another {s.required_unless}" for s in self.missing if s.required_unless}
        return f"set {' and '.join(names)}{''.join(sorted(others))}"

    def provider(self, loop: object | None = None) -> Provider:
        """The provider object.

        Args:
            loop: The running event loop when it will be used asynchronously, else `None`.

        Raises:
            PluginError: The factory could not be imported, or failed.
        """
        if self._object is not None:
            return self._object
        with self._lock:
            # Only what awaits belongs to one loop; any other object serves all of them, with one pool of connections.
            own = loop is not None and self._native is not False
            found = self._per_loop.get(loop) if own else self._made
            if found is None:
                found = self._create()
                self._native = callable(getattr(found, "astream", None))
                if own and self._native:
                    self._per_loop[loop] = found
                else:
                    self._made = found
            return found

    def reconfigured(self, changed: Callable[[], object] | None = None) -> bool:
        """Read the settings again; true when the key has changed, and then the next use makes a new object.

        Args:
            changed: Called when it has, before any other thread that asks the same is answered.
        """
        with self._configuring:
            config, missing = resolve(self._given, self.info, os.environ)
            if config.api_key == self.config.api_key and not self._renew(config.api_key):
                return False
            with self._lock:  # in one step: what is made from now on is made of the new settings
                self.config, self.missing = config, missing
                old = self._taken()
            if changed is not None:
                changed()
        for provider in old:
            self._close(provider)
        return True

    def discover(self, *, again: bool = False) -> bool:
        """Ask the service for its models; true when that brought any.

        Args:
            again: Also when it was asked before; what it says now takes the place of what it said then.
        """
        if not self.info.discover or self.missing:
            return False
        with self._discovering:  # another thread waits: what is found is meant for its call as well
            if self._discovered and not again:
                return False
            self._discovered, self.discover_error = True, ""
            try:
                # Through the declaration's own check: names will do, and anything else must not reach the index.
                found = ProviderInfo(name=self.info.name, models=resolve_name(self.info.discover)(self.config)).models
            except Exception as error:  # noqa: BLE001 -- a service that cannot list its models may still answer
                self.discover_error = f"{self.info.discover} raised {type(error).__name__}: {error}"
                _log.warning("provider %s could not list its models: %s", self.name, self.discover_error)
                return False
            self.models = (*self._declared, *found)
            return bool(found)

    def close(self) -> None:
        """Close the provider objects made so far."""
        for provider in self._given_up():
            self._close(provider)

    async def aclose(self) -> None:
        """Close the provider objects made so far, awaiting that of the running loop where it can be awaited."""
        import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

        own = self._per_loop.get(asyncio.get_running_loop())
        closer = getattr(own, "aclose", None)
        given_up = self._given_up()
        for provider in given_up:
            if provider is not own or closer is None:
                self._close(provider)
        # Last: while it is awaited, the task may be cancelled.
        if closer is not None and any(provider is own for provider in given_up):
            try:
                await closer()
            except Exception:  # noqa: BLE001 -- one that fails at its end must not keep the others open
                _log.warning("closing provider %s raised", self.name, exc_info=True)

    def _given_up(self) -> list[Provider]:
        with self._lock:
            return self._taken()

    def _taken(self) -> list[Provider]:
        """The objects made so far, which are no longer given to anybody; to be called with the lock held."""
        made = [p for p in (self._made, *self._per_loop.values()) if p is not None]
        self._made = None
        self._per_loop.clear()
        return made

    def _close(self, provider: Provider) -> None:
        closer: Callable[[], object] | None = getattr(provider, "close", None)
        if closer is None:
            return
        try:
            closer()
        except Exception:  # noqa: BLE001 -- one that fails at its end must not keep the others open
            _log.warning("closing provider %s raised", self.name, exc_info=True)

    def _variable(self, setting: Setting) -> str:
        """The variable that the settings file names for a setting, else the one that is the setting's own."""
        given = self._given.get(setting.name)
        if isinstance(given, Secret) and isinstance(given.source, EnvironmentKey):
            return given.source.name
        return variable(setting, self.name, self.info.name)

    def _renew(self, key: Secret | None) -> bool:
        """Read a key that comes from a command or the keyring again; true when it has changed."""
        now = time.monotonic()
        if key is None or key.source is None or now - self._renewed < KEY_AGE:
            return False
        self._renewed = now
        try:
            return key.renew()
        except ConfigurationError as error:
            _log.warning("provider %s: %s", self.name, error)
            return False

    def _create(self) -> Provider:
        try:
            made = resolve_name(self.info.factory)(self.config)
        except ConfigurationError:
            raise
        except (Exception, SystemExit) as error:
            # A module that ends the process when it is imported must not end the application's.
            msg = f"creating provider {self.name!r} by {self.info.factory!r} raised {type(error).__name__}: {error}"
            raise PluginError(msg, plugin=self.name) from error
        if not callable(getattr(made, "stream", None)):
            msg = f"{self.info.factory!r} returned {type(made).__name__}, which has no method stream(request, call)"
            raise PluginError(msg, plugin=self.name)
        return made  # type: ignore[no-any-return]


class Match(NamedTuple):
    """A model of an instance that fits an asked name.

    Args:
        instance: Who has it.
        model: The declared entry.
        sent: The name to send.
        kind: `"exact"`, `"alias"`, `"prefix"` or `"any"`.
    """

    instance: Instance
    model: ModelInfo
    sent: str
    kind: str


class Registry:
    """All instances of a hub.

    Args:
        plugins: The installed plugins.
        settings: The hub's settings.
    """

    def __init__(self, plugins: Plugins, settings: Settings) -> None:
        self.plugins = plugins
        self._settings = settings
        self._instances: dict[str, Instance] = {}
        self._index: _Index | None = None
        # Re-entrant: who adds also changes. No plugin's code runs under it.
        self._lock = threading.RLock()
        self._discovering = threading.RLock()
        self.version = 0
        for name in settings.providers:
            if "/" in name:
                msg = f"a provider's name cannot hold a slash: {name!r}"
                raise ConfigurationError(msg)

    def add(self, info: ProviderInfo, provider: Provider, config: ProviderConfig | None = None) -> None:
        """Take a provider object directly.

        Args:
            info: What it is.
            provider: The object.
            config: Its settings, priority and weight.

        Raises:
            AmbiguousProviderError: The name is taken.
        """
        config = attrs.evolve(config or ProviderConfig(), name=info.name)
        instance = Instance(config, info, provider)
        with self._lock:
            if self.knows(info.name):
                msg = f"there is a provider named {info.name!r} already; give this one another name"
                raise AmbiguousProviderError(msg)
            self._instances[info.name] = instance
            self._changed()

    def knows(self, name: str) -> bool:
        """Whether a provider instance has this name. Imports nothing."""
        return name in self._instances or name in self._settings.providers or self.plugins.peek(name) is not None

    def names(self) -> tuple[str, ...]:
        """All instance names, without importing anything."""
        return tuple(sorted({*self._instances, *self._settings.providers, *self.plugins.names}))

    def instance(self, name: str) -> Instance | None:
        """An instance by name; `None` when its plugin is not ready. Imports that plugin only."""
        found = self._instances.get(name)
        if found is None:
            config = self._settings.providers.get(name) or ProviderConfig()
            record = self.record(name)
            if record.info is None or record.state != "ready":
                return None
            # The first of two threads wins: what an instance makes is closed by that instance.
            found = self._instances.setdefault(name, Instance(attrs.evolve(config, name=name), record.info))
        return found

    def plugin_of(self, name: str) -> str:
        """The name of the plugin that an instance is configured to be of."""
        config = self._settings.providers.get(name)
        return (config.plugin if config else None) or name

    def record(self, name: str) -> PluginRecord:
        """The plugin record behind an instance name.

        Raises:
            ConfigurationError: The settings name a plugin that is not installed.
        """
        plugin = self.plugin_of(name)
        if self.plugins.peek(plugin) is None:
            known = ", ".join(self.plugins.names) or f"none; try {INSTALL_HINT}"
            origins = self._settings.origins
            origin = origins.get(f"providers.{name}.plugin") or origins.get(f"providers.{name}")
            where = f"{origin}: " if origin else ""
            msg = f"{where}provider {name!r} needs plugin {plugin!r}, which is not installed; installed plugins: {known}"
            raise ConfigurationError(msg)
        return self.plugins.load(plugin)

    def instances(self) -> tuple[Instance, ...]:
        """All instances whose plugin is ready; imports every plugin's light module."""
        found = (self.instance(name) for name in self.names())
        return tuple(instance for instance in found if instance is not None)

    def lost(self) -> tuple[PluginRecord, ...]:
        """Records of plugins that cannot be routed; what models they have is not known."""
        return tuple(record for record in self.plugins.load_all() if record.state != "ready")

    def find(self, model: str) -> tuple[Match, ...]:
        """Who has a model, in no particular order. The time does not depend on the number of providers for exact names."""
        return self._built().find(model)

    def find_at(self, instance: Instance, model: str) -> tuple[Match, ...]:
        """How a pinned instance has a model; one that declares no models is taken at the caller's word."""
        found = _Index([instance]).find(model)
        if not found:
            if instance.discover():
                self._changed()
            # Looked for again in any case: it may have been another thread that asked the service.
            found = _Index([instance]).find(model)
        if not found and not instance.info.models and not instance.config.models:
            found = (Match(instance, ModelInfo(model), model, "any"),)
        return found

    def discover(self, *, again: bool = False) -> bool:
        """Ask those services that can list their models; true when that brought any.

        Args:
            again: Also those that were asked before.
        """
        with self._discovering:
            brought = [instance.discover(again=again) for instance in self.instances()]
            if again or any(brought):
                self._changed()
        return any(brought)

    def not_found(self, model: str) -> ModelNotFoundError:
        """The error for a name that nobody has: it names what is known and near."""
        import difflib  # noqa: PLC0415 -- only ever needed on this error path

        known = sorted({name for i in self.instances() for m in i.models for name in (m.name, *m.aliases)})
        if not self.names():
            return ModelNotFoundError(f"no provider plugin is installed, so nobody has {model!r}; try: {INSTALL_HINT}")
        near = difflib.get_close_matches(model, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        shown = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
        return ModelNotFoundError(
            f"no provider has the model {model!r}{hint or '.'} Known models: {shown or 'none'}{self._complaints()}"
        )

    def _complaints(self) -> str:
        """What keeps providers from being asked, a few of it: the rest is a command away."""
        lost = [f"{record.name} is {record.state}: {record.reason}" for record in self.lost()]
        unlisted = [f"{i.name} could not list its models: {i.discover_error}" for i in self.instances() if i.discover_error]
        told = [*unlisted, *lost]
        more = f"; and {len(told) - _TOLD} more, see: providerhub plugins" if len(told) > _TOLD else ""
        return "".join(f"; {reason}" for reason in told[:_TOLD]) + more

    def close(self) -> None:
        """Close all provider objects; those that were handed in belong to whoever made them."""
        for instance in tuple(self._instances.values()):
            instance.close()

    async def aclose(self) -> None:
        """`close`, awaiting those that can be awaited in the running loop."""
        for instance in tuple(self._instances.values()):
            await instance.aclose()

    def _built(self) -> _Index:
        index = self._index
        if index is None:
            version, index = self.version, _Index(self.instances())
            with self._lock:
                if version == self.version:  # else somebody came while it was built: the next call builds it again
                    self._index = index
        return index

    def _changed(self) -> None:
        with self._lock:
            self._index = None
            self.version += 1


class _Index:
    """Model name → matches: a dictionary for names and aliases, and one for each length of prefix."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        self._exact: dict[str, list[Match]] = {}
        self._prefix: dict[int, dict[str, list[tuple[Instance, ModelInfo]]]] = {}
        for instance in instances:
            for model in instance.models:
                self._enter(instance, model)
        self._lengths = sorted(self._prefix, reverse=True)

    def _enter(self, instance: Instance, model: ModelInfo) -> None:
        if model.is_prefix:
            start = model.name[:-1]
            self._prefix.setdefault(len(start), {}).setdefault(start, []).append((instance, model))
            return
        self._exact.setdefault(model.name, []).append(Match(instance, model, model.name, "exact"))
        for alias in model.aliases:
            self._exact.setdefault(alias, []).append(Match(instance, model, model.name, "alias"))

    def find(self, name: str) -> tuple[Match, ...]:
        """Each instance's best match."""
        best: dict[str, Match] = {}
        for match in self._exact.get(name, ()):
            if match.kind == "exact" or match.instance.name not in best:
                best[match.instance.name] = match
        for length in self._lengths:
            for instance, model in self._prefix[length].get(name[:length], ()) if len(name) >= length else ():
                best.setdefault(instance.name, Match(instance, model, name, "prefix"))
        return tuple(best.values())


def resolve_name(name: str) -> Callable[..., Any]:
    """Import `"module:function"`.

    Raises:
        ImportError: There is no such module.
        AttributeError: It has no such function.
    """
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found


def _models(config: ProviderConfig) -> tuple[ModelInfo, ...]:
    return tuple(ModelInfo(model) if isinstance(model, str) else model for model in config.models)
