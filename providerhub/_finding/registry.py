"""All provider instances of a hub (configured, installed or registered), the index of their models, and the catalogues."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from providerhub._finding.discovery import PluginRecord, Plugins
from providerhub._finding.installed import INSTALL_HINT, to_install, uncollected, vendor_of
from providerhub._finding.instance import Instance
from providerhub._log import log as _log
from providerhub._settings.refined import merged, refined_one
from providerhub._settings.resolving import configured, is_surely_missing, literal_keys, option_flaw, variables_of
from providerhub._settings.settings import Settings
from providerhub._threads import renewed_at_fork
from providerhub._values import Model, Prices, ProviderConfig
from providerhub._values.capabilities import DESCRIBED, ModelInfo, ProviderInfo
from providerhub._values.checks import nearest
from providerhub._values.errors import AmbiguousProviderError, ConfigurationError, InvalidRequestError, ModelNotFoundError
from providerhub._values.provider import Provider


class Described(NamedTuple):
    """A model, with values of catalogues for missing values."""

    model: ModelInfo
    guessed: Mapping[str, str] = {}  # each field with a value from a catalogue → the name of the catalogue

    @property
    def window(self) -> int | None:
        """The context window that is certain; `None` without one."""
        return None if "context_window" in self.guessed else self.model.context_window

    @property
    def prices(self) -> Prices | None:
        """The prices, with the catalogue that gave them; `None` when none is known."""
        found, said = self.model.prices, self.guessed.get("price_in") or self.guessed.get("price_out")
        if found is None:
            return None
        if not said:  # the prices of long prompts must come from the same source
            return attrs.evolve(found, tiers=()) if "price_tiers" in self.guessed else found
        name, _, day = said.rpartition(" ")
        is_dated = day.count("-") == 2 and day.replace("-", "").isdecimal()
        return attrs.evolve(found, source=name if is_dated else said, date=day if is_dated else None)


class Catalogues:
    """All catalogues of a hub, in order. False if there are none."""

    def __init__(self, hooks: Sequence[Callable[..., Any]] = ()) -> None:
        self._hooks = tuple(hooks)
        self._faulty: set[object] = set()

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def described(self, model: ModelInfo, entry: tuple[str, str]) -> Described:
        """Fill in the values of a model that are `None`. The entry names the vendor and its model."""
        guessed: dict[str, str] = {}
        for hook in self._hooks:
            found = self._asked(hook, *entry)
            if found is not None:
                said = ModelInfo(model.name, **{name: getattr(found, name) for name in DESCRIBED})
                filled = merged(said, model)
                new = [name for name in DESCRIBED if getattr(filled, name) != getattr(model, name)]
                guessed |= dict.fromkeys(new, found.source or "a catalogue")
                model = filled
        if not guessed and model.catalog:
            self._warn(entry, "no catalogue has the entry %r of the model %s", model.catalog, model.name)
        return Described(model, guessed)

    def _asked(self, hook: Callable[..., Any], provider: str, model: str) -> ModelInfo | None:
        try:
            found = hook(provider=provider, model=model)
        except (Exception, SystemExit):  # a catalogue cannot make a call fail
            self._warn(hook, "a catalogue raised; further errors of it are not logged", exc_info=True)
            return None
        if found is None or isinstance(found, ModelInfo):
            return found
        self._warn(hook, "a catalogue must return a ModelInfo or None, not %s", type(found).__name__)
        return None

    def _warn(self, key: object, text: str, *values: object, **how: Any) -> None:
        if key not in self._faulty:
            self._faulty.add(key)
            _log.warning(text, *values, **how)


class Target(NamedTuple):
    """A model name, and its pinned instance; `None` for any instance."""

    model: str
    provider: str | None = None


class Match(NamedTuple):
    """A model entry of an instance that fits a target."""

    provider: str  # the name of the instance
    model: ModelInfo  # the declared entry, which may be a prefix
    sent: str  # the model's name as it is sent to the provider
    kind: str  # `"exact"`, `"alias"`, `"prefix"`, or `"any"` without an entry, see `Registry.find`


class Index:
    """The models of several instances by name, alias and prefix. A name is found as fast among many instances as among few."""

    def __init__(self, models: Iterable[tuple[str, Iterable[ModelInfo]]]) -> None:
        self._exact: dict[str, list[Match]] = {}
        self._prefix: dict[int, dict[str, list[tuple[str, ModelInfo]]]] = {}
        for provider, entries in models:
            for model in entries:
                self._enter(provider, model)
        self._lengths = sorted(self._prefix, reverse=True)

    def _enter(self, provider: str, model: ModelInfo) -> None:
        if model.is_prefix:
            start = model.name[:-1]
            self._prefix.setdefault(len(start), {}).setdefault(start, []).append((provider, model))
            return
        self._exact.setdefault(model.name, []).append(Match(provider, model, model.name, "exact"))
        for alias in model.aliases:
            self._exact.setdefault(alias, []).append(Match(provider, model, model.name, "alias"))

    def find(self, name: str) -> tuple[Match, ...]:
        """The best match of each instance, in no particular order: exact name, then alias, then longest prefix."""
        best: dict[str, Match] = {}
        for match in self._exact.get(name, ()):
            if match.kind == "exact" or match.provider not in best:
                best[match.provider] = match
        for length in self._lengths:
            for provider, model in self._prefix[length].get(name[:length], ()) if len(name) >= length else ():
                best.setdefault(provider, Match(provider, model, name, "prefix"))
        return tuple(best.values())


ModelSpec = str | Model | Sequence[str | Model]
"""The values of `model`: a name, `"provider/name"`, a `Model`, or a sequence of these, tried in order."""


class Entry(NamedTuple):
    """One model of a call, from the caller or an alias of the settings."""

    name: str | Model
    # For the caller, entries of one call with the same text are the same model. The text is the alias of the entry, else the
    # name without the provider.
    same: str


class Registry:
    """All instances of a hub. Thread-safe. It imports light modules, and only `refresh` asks services."""

    def __init__(self, plugins: Plugins, settings: Settings) -> None:
        self.plugins = plugins
        self.catalogues = Catalogues()
        self._settings = settings
        self._instances: dict[str, Instance] = {}
        self._index: Index | None = None
        # Re-entrant: `add` calls `_reset_index`. No plugin's code runs under it.
        self._lock = renewed_at_fork(threading.RLock())
        self._travelling: tuple[Settings, list[str]] | None = None
        self.version = 0  # grows whenever the instances or their models change
        for name in settings.providers:
            if "/" in name:
                raise ConfigurationError(f"a provider's name cannot hold a slash: {name!r}")

    def add(self, info: ProviderInfo, provider: Provider, config: ProviderConfig | None = None) -> None:
        """Register a provider object with its declaration, and its settings, priority and weight. The name must be new."""
        config = attrs.evolve(config or ProviderConfig(), name=info.name)
        instance = Instance(config, info, provider, self._reset_index)
        with self._lock:
            if self.knows(info.name):
                raise AmbiguousProviderError(f"another provider is named {info.name!r}; register this one under another name")
            self._instances[info.name] = instance
            self._reset_index()

    def knows(self, name: str) -> bool:
        """Whether an instance has this name. Imports no plugin."""
        return name in self._instances or name in self._settings.providers or self.plugins.peek(name) is not None

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(self._settings.aliases)

    def names(self) -> tuple[str, ...]:
        """The names of all instances, sorted. Imports no plugin."""
        return tuple(sorted({*self._instances, *self._settings.providers, *self.plugins.names}))

    def instance(self, name: str) -> Instance | None:
        """An instance by name; `None` when its plugin is not ready. An instance with a `flaw` is refused."""
        found = self.instance_with_flaw(name)
        if found is not None and found.flaw:
            raise ConfigurationError(found.flaw)
        return found

    def instance_with_flaw(self, name: str) -> Instance | None:
        """`instance`, even with options that the plugin does not declare. Raises the errors of `record`."""
        found = self._instances.get(name)
        if found is None:
            record = self.record(name)
            if record.info is None or record.state != "ready":
                return None
            config, origins = configured(self._settings, name), self._settings.origins
            # Two threads must get the same instance, since each instance closes its own objects.
            flaw = option_flaw(config, record.info, origins)
            made = Instance(
                config, record.info, on_models=self._reset_index, flaw=flaw, distribution=record.distribution,
                variables=self._settings.variables,
            )  # fmt: skip
            found = self._instances.setdefault(name, made)
        return found

    def ready(self, name: str) -> Instance:
        """The instance of a match or a candidate, which is always ready."""
        return self._instances[name]

    def instances(self) -> tuple[Instance, ...]:
        """All instances whose plugin is ready. Imports every plugin's light module."""
        found = (self.instance(name) for name in self.names())
        return tuple(instance for instance in found if instance is not None)

    def scope(self, name: str, salt: str) -> str:
        """The scope of an instance for shared state; empty before it is made, and while its keys are not read."""
        instance = self._instances.get(name)
        return "" if instance is None else instance.scope(salt)

    def scopes(self, salt: str) -> dict[str, str]:
        """The scopes of all instances made so far that have one."""
        return {name: scope for name in tuple(self._instances) if (scope := self.scope(name, salt))}

    def travelling(self) -> tuple[Settings, list[str]]:
        """The settings for another process, with the values of this process's variables, and the keys in them: `"acme: api_key"`.

        Imports each plugin's light module, so that the result is the same before and after the first call.
        """
        if self._travelling is None:  # kept, since each of many rows asks for it
            plugins = {one.name: one.info for one in self.instances() if one.has_plugin}
            variables = variables_of(plugins, os.environ)
            staying = {name: config for name, config in self._settings.providers.items() if not config.key_travels}
            keys = [f"{name}: {key}" for name, config in staying.items() for key in literal_keys(config, plugins.get(name))]
            keys += [f"proxies.{scheme}" for scheme, address in self._settings.proxies.items() if "@" in address]
            store = self._settings.shared.url
            keys += ["shared.url"] if store is not None and store.source is None and "@" in store.reveal() else []
            self._travelling = attrs.evolve(self._settings, variables={**variables, **self._settings.variables}), keys
        return self._travelling

    def shared(self, *, idle: bool = True) -> tuple[Instance, ...]:
        """The ready instances that serve calls without a pinned provider; without `idle`, those that may have or list models."""
        environ = {} if idle else self._environ()
        names = (name for name in self.names() if idle or not self._is_idle(name, environ))
        found = (self.instance(name) for name in names if self._pinned_only(name) is None)
        return tuple(instance for instance in found if instance is not None)

    def pinned_only(self) -> tuple[Instance, ...]:
        """The configured instances that serve only calls with their name."""
        environ = self._environ()
        infos = {name: info for name in self.names() if (info := self._pinned_only(name)) is not None}
        found = (self.instance(name) for name, info in infos.items() if not is_surely_missing(info, environ))
        return tuple(instance for instance in found if instance is not None and not instance.missing)

    def plugin_of(self, name: str) -> str:
        config = self._settings.providers.get(name)
        return (config.plugin if config else None) or name

    def record(self, name: str) -> PluginRecord:
        """The record of an instance's plugin, which must be installed. Imports only this plugin."""
        plugin = self.plugin_of(name)
        if self.plugins.peek(plugin) is None:
            names = self.plugins.names
            known = f"; installed plugins: {', '.join(names)}" if names else f"; no plugin is installed, try: {INSTALL_HINT}"
            origins = self._settings.origins
            origin = origins.get(f"providers.{name}.plugin") or origins.get(f"providers.{name}")
            where = f"{origin}: " if origin else ""
            example = "openai" if "openai" in names else names[0] if names else "acme"
            near = nearest(plugin, names, cutoff=0.7)
            fix = f': name the plugin with plugin = "{example}" in [providers.{name}]' if plugin == name else ""
            how = f": {to_install(plugin) or near}" if to_install(plugin) or near else f"{fix}{known}"
            raise ConfigurationError(f"{where}provider {name!r} needs plugin {plugin!r}, which is not installed{how}")
        return self.plugins.load(plugin)

    def unusable(self) -> tuple[PluginRecord, ...]:
        """The records of plugins that are not ready; their models are unknown."""
        return tuple(record for record in self.plugins.load_all() if record.state != "ready")

    def needs_import(self, names: Iterable[str | None]) -> bool:
        """Whether `find` would import a plugin's light module for one of these instances; `None` stands for all instances."""
        return any(self.plugins.needs_import(None if name is None else self.plugin_of(name)) for name in names)

    def import_plugins(self, names: Collection[str | None]) -> None:
        """Import the light modules that `find` needs for these instances; `None` stands for all instances."""
        plugins = {name for name in map(self.plugin_of, filter(None, names)) if self.plugins.peek(name)}
        for name in self.plugins.names if None in names else plugins:
            self.plugins.load(name)

    def entries(self, model: ModelSpec) -> tuple[Entry, ...]:
        """The models of a call in the caller's order, each once, with the settings' aliases resolved."""
        aliases = self._settings.aliases
        if isinstance(model, Model) or (isinstance(model, str) and model and model not in aliases):
            return (Entry(model, ""),)
        items = (model,) if isinstance(model, str) else model
        if not isinstance(items, Sequence) or not items or not all(item and isinstance(item, str | Model) for item in items):
            raise InvalidRequestError(f"model must be a name, a Model, or a non-empty sequence of these, not {model!r}")
        seen: set[str | Model] = set()
        return tuple(Entry(name, self._same(item)) for item in items for name in self._named(item, seen))

    def target(self, name: str | Model) -> Target:
        """The model and the pinned provider of a name. Raises `ModelNotFoundError` if this provider does not exist."""
        if isinstance(name, Model):
            if name.provider is not None and not self.knows(name.provider):
                known = ", ".join(self.names()) or "none"
                raise ModelNotFoundError(f"no provider is named {name.provider!r}; known providers: {known}")
            return Target(name.name, name.provider)
        first, slash, rest = name.partition("/")
        return Target(rest, first) if slash and rest and self.knows(first) else Target(name)

    def find(self, target: Target) -> tuple[Match, ...]:
        """The matches of a target, in no particular order. An instance that declares no models matches every pinned name.

        If no ready instance has an entry, instances without a list match the names of their vendor's models.

        A kept list of models is read if nothing else fits. No service is asked.
        """
        found = self._find(target)
        if (not found or found[0].kind == "any") and self.read_lists(target.provider):
            found = self._find(target)
        return found

    def described(self, match: Match) -> Described:
        """A match's model, with values of catalogues for missing values: of the named entry, or else of the model's name."""
        model, instance = match.model, self.ready(match.provider)
        if not self.catalogues or not (model.catalog or instance.is_at_home):
            return Described(model)
        vendor, _, name = (model.catalog or f"{instance.info.name}/*").partition("/")
        entry = vendor, f"{name[:-1]}{match.sent}" if name.endswith("*") else name
        return self.catalogues.described(model, entry)

    def knows_model(self, instance: Instance, model: str) -> bool:
        """Whether a model surely belongs to the instance's vendor, by its name or a catalogue."""
        if instance.name == vendor_of(model):
            return True
        entry = instance.info.name, model
        return instance.is_at_home and bool(self.catalogues.described(ModelInfo(model), entry).guessed)

    def explained(self, provider: str, model: ModelInfo) -> tuple[ModelInfo, dict[str, str]]:
        """A model of an instance with the values of catalogues, and the source of each value, by field."""
        instance = self.instance_with_flaw(provider)
        if instance is None:
            return model, {}
        known = self.described(Match(provider, model, model.name, "exact"))
        return known.model, {**instance.sources(model), **known.guessed}

    def read_lists(self, provider: str | None = None) -> bool:
        """Read the kept lists of models of one instance or of all, each once; true when there was one."""
        one = None if provider is None else self.instance(provider)
        among = self.shared(idle=False) if provider is None else (one,)
        found = [instance.list.read() for instance in among if instance is not None and instance.can_list]
        return any(found)

    def close(self) -> None:
        """Close the provider objects of all instances; the application closes the objects that it registered."""
        for instance in tuple(self._instances.values()):
            instance.close()

    async def aclose(self) -> None:
        """Do `close`, and await `aclose()` of the running loop's objects, if they have this method."""
        import asyncio  # slow to import; a running loop has imported it already

        # All at once, so that a slow provider does not delay the others.
        await asyncio.gather(*(instance.aclose() for instance in tuple(self._instances.values())))

    def _named(self, item: str | Model, seen: set[str | Model]) -> Iterator[str | Model]:
        if item in seen:  # each name and alias once: aliases of aliases could double at each level
            return
        seen.add(item)
        targets = self._settings.aliases.get(item) if isinstance(item, str) else None
        if targets is None:
            yield item
        for target in targets or ():
            yield from self._named(target, seen)

    def _same(self, item: str | Model) -> str:
        if isinstance(item, str):
            return item if item in self._settings.aliases else self.target(item).model
        return item.name

    def _environ(self) -> dict[str, str]:
        """The variables, in a plain dictionary: `os.environ` converts the text of each name that it is asked for."""
        return {**os.environ, **self._settings.variables}

    def _is_idle(self, name: str, environ: Mapping[str, str]) -> bool:
        """Whether an instance is not made yet, its plugin declares no model, and it surely cannot list any."""
        if name in self._instances or name in self._settings.providers:
            return False
        info = self.record(name).info
        return info is not None and not info.models and is_surely_missing(info, environ)

    def _pinned_only(self, name: str) -> ProviderInfo | None:
        """The declaration of a plugin without settings that serves only calls with its name; `None` for any other plugin."""
        made = self._instances.get(name)
        if name in self._settings.providers or (made is not None and not made.has_plugin):
            return None
        info = self.record(name).info
        return info if info is not None and info.pinned_only else None

    def _find(self, target: Target) -> tuple[Match, ...]:
        if target.provider is None:
            found = self._current_index().find(target.model)
            is_ready = any(not self.ready(match.provider).missing for match in found)
            return found if is_ready else (*self._assumed(target.model), *found)
        instance = self.instance(target.provider)
        if instance is None:
            return ()
        found = Index([(instance.name, instance.models)]).find(target.model)
        if not found and not instance.declared:
            return (_without_entry(instance, target.model),)
        return found

    def _assumed(self, model: str) -> tuple[Match, ...]:
        """The matches of instances that could not list their models, such as with a restricted key."""
        failing = (instance for instance in self.shared(idle=False) if instance.can_list and instance.list.is_failing)
        return tuple(_without_entry(instance, model) for instance in failing if self.knows_model(instance, model))

    def _current_index(self) -> Index:
        index = self._index
        if index is None:
            version = self.version
            with uncollected():  # it reads the declarations of all plugins
                index = Index((instance.name, instance.models) for instance in self.shared(idle=False))
            with self._lock:
                # Otherwise something changed during the build, or a plugin asked during its import: the next call builds again.
                if version == self.version and not self.plugins.needs_import():
                    self._index = index
        return index

    def _reset_index(self) -> None:
        with self._lock:
            self._index = None
            self.version += 1


def _without_entry(instance: Instance, model: str) -> Match:
    return Match(instance.name, refined_one(ModelInfo(model), instance.config), model, "any")
