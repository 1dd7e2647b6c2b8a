"""Entry points → plugin records, each isolated from the others.

Scanning reads names only; a plugin's module is imported when its metadata is first needed. One plugin that cannot be read,
imported or understood is recorded with its reason, and the others work.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import pluggy

import providerhub.hookspecs as hookspecs  # noqa: PLR0402 -- `from` would have the package import all of its exports first
from providerhub._finding.installed import distributions, entry_points, name_and_version, name_of
from providerhub._settings.settings import Settings
from providerhub._values.capabilities import API_VERSION, ProviderInfo
from providerhub._values.errors import ConfigurationError
from providerhub._values.value import Value

HOOK_GROUP = "providerhub.hooks"
"""Entry-point group of plugins that observe or rank; always loaded."""


_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(f"{hookspecs.PROJECT}_"))


@attrs.frozen(eq=False, repr=False, kw_only=True)
class PluginRecord(Value):
    """What is known of one plugin.

    Args:
        name: The provider's name, which is the entry point's.
        value: The entry point's value, `"module"` or `"module:object"`.
        distribution: The distribution that brings it; several, separated by commas, in a conflict.
        version: That distribution's version.
        state: `"found"` until it is imported; then `"ready"`; or `"blocked"`, `"conflict"`, `"incompatible"`, `"broken"`. The
            state *not configured* belongs to an instance of a ready plugin.
        reason: A sentence that says why it is not ready, and what to do.
        info: What it declares, when it is ready.
        import_seconds: Seconds that its import took.
        notes: What is odd about it though it may work, such as functions that look like hooks and are none.
    """

    name: str
    value: str
    distribution: str
    version: str = ""
    state: str = "found"
    reason: str = ""
    info: ProviderInfo | None = None
    import_seconds: float = 0.0
    notes: tuple[str, ...] = ()


@attrs.frozen(eq=False, repr=False)
class Malformed(Value):
    """A distribution whose entry points cannot be read.

    Args:
        distribution: Its name, as far as that can be told.
        reason: What is wrong with it.
    """

    distribution: str
    reason: str


class Plugins:
    """The installed plugins.

    Args:
        settings: Which to look at (`allow`, `block`, `autoload`, `prefer`), already completed from the environment.

    Raises:
        ConfigurationError: `allow`, `block` or `prefer` names what is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self.malformed: list[Malformed] = []
        self._hook_entries: list[tuple[str, str, str]] = []
        self._records: dict[str, PluginRecord] = {}
        self._lock = threading.RLock()  # re-entrant: a plugin that is being imported may ask for another
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        if settings.autoload is not False:
            self._records = _judge(self._scan(), settings)
        _check_names(settings, self._records)

    @property
    def names(self) -> tuple[str, ...]:
        """The providers' names, without importing anything."""
        return tuple(self._records)

    def peek(self, name: str) -> PluginRecord | None:
        """A record as it stands, without importing anything."""
        return self._records.get(name)

    def load(self, name: str) -> PluginRecord:
        """A record with its metadata; the plugin's light module is imported if it was not yet."""
        record = self._records[name]
        if record.state == "found":
            with self._lock:  # of two threads at once, the second takes what the first has found
                record = self._records[name]
                if record.state == "found":
                    record = self._records[name] = self._import(record)
        return record

    def load_all(self) -> tuple[PluginRecord, ...]:
        """All records, with their metadata."""
        return tuple(self.load(name) for name in self._records)

    @property
    def hook_modules(self) -> tuple[tuple[str, str, str], ...]:
        """Name, value and distribution of those entries of group `providerhub.hooks` that have not been imported yet."""
        return tuple(self._hook_entries)

    def hooks(self, name: str) -> tuple[Callable[..., Any], ...]:
        """The implementations of one hook from group `providerhub.hooks`, each taking the hook's keyword arguments."""
        entries, self._hook_entries = self._hook_entries, []
        for entry, value, _ in entries:
            plugin, reason = self._register(entry, value)
            reason = reason or self._unknown_hooks(plugin)
            if reason:
                self.malformed.append(Malformed(f"{entry} ({value})", reason))
        caller: pluggy.HookCaller = getattr(self._manager.hook, name)
        return tuple(_narrow(implementation) for implementation in reversed(caller.get_hookimpls()))

    def observe(self, observer: object) -> None:
        """Register an object of the application whose marked methods are called like those of a hook plugin.

        Args:
            observer: The object.

        Raises:
            ConfigurationError: It has no method marked with `@hookimpl`, or a marked one is not a known hook.
        """
        reason = self._unknown_hooks(observer)
        try:
            if not reason:
                self._manager.register(observer)
        except (pluggy.PluginValidationError, ValueError) as error:
            reason = str(error)
        if reason:
            msg = f"the observer {type(observer).__name__} cannot be used: it {reason}"
            raise ConfigurationError(msg)

    def _unknown_hooks(self, plugin: object) -> str:
        """Why functions of a hook plugin will never be called; empty when all is well."""
        odd = self._odd_hooks(plugin)
        if odd or self._marked(plugin):
            return "; ".join(odd)
        return f"has no function marked with @hookimpl; the known hooks are {', '.join(_HOOKS)}"

    def _marked(self, plugin: object) -> list[str]:
        return [name for name in dir(plugin) if self._manager.parse_hookimpl_opts(plugin, name) is not None]

    def _odd_hooks(self, plugin: object) -> tuple[str, ...]:
        """Functions that are marked as hooks or named like one, and that nobody will call."""
        marked = self._marked(plugin)
        named = [
            name for name in dir(plugin) if name.startswith(f"{hookspecs.PROJECT}_") and callable(getattr(plugin, name, None))
        ]
        return tuple(filter(None, (_odd_hook(name, is_marked=name in marked) for name in sorted({*marked, *named}))))

    def _scan(self) -> Iterable[PluginRecord]:
        seen: set[str] = set()
        for distribution in distributions():
            try:
                text = distribution.read_text("entry_points.txt") or ""
                if hookspecs.PROJECT not in text:  # most distributions: parsing them all would cost most of the time
                    continue
                name, version = name_and_version(distribution)
                if name in seen:  # a second copy further down the path is shadowed by the first
                    continue
                seen.add(name)
                entries = list(entry_points(text))
            except Exception as error:
                self.malformed.append(Malformed(name_of(distribution), f"{type(error).__name__}: {error}"))
                continue
            for group, entry, value in entries:
                if group == HOOK_GROUP:
                    self._hook_entries.append((entry, value, name))
                elif group == hookspecs.PROJECT:
                    yield PluginRecord(name=entry, value=value, distribution=name, version=version)

    def _import(self, record: PluginRecord) -> PluginRecord:
        start = time.perf_counter()
        info, notes, reason = self._info(record)
        seconds = time.perf_counter() - start
        state = "ready"
        if reason:
            state = "incompatible" if reason.startswith("incompatible") else "broken"
        elif info is not None and info.api_version != API_VERSION:
            state = "incompatible"
            reason = (
                f"written for interface version {info.api_version}; this core speaks {API_VERSION}: install versions that fit"
            )
        return attrs.evolve(record, state=state, reason=reason, info=info, import_seconds=seconds, notes=notes)

    def _info(self, record: PluginRecord) -> tuple[ProviderInfo | None, tuple[str, ...], str]:
        """What a plugin declares, what is odd about its module, and why it cannot be used."""
        module, reason = self._register(f"provider:{record.name}", record.value)
        if reason:
            return None, (), reason
        notes = self._odd_hooks(module)
        own = [i for i in self._manager.hook.providerhub_provider.get_hookimpls() if i.plugin is module]
        if own:
            info, reason = _declared(own[0].function, record)
            return info, notes, reason
        hint = "".join(f"; {note}" for note in notes)
        return None, notes, f"{record.value} has no function providerhub_provider marked with @hookimpl{hint}"

    def _register(self, name: str, value: str) -> tuple[object, str]:
        """Import a plugin's module and let pluggy check its hooks; the reason is empty when all is well."""
        try:
            plugin = import_object(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return None, f"importing {value} raised {type(error).__name__}: {error}"
        with self._lock:  # pluggy has none: of two threads at once, one found the plugin half registered
            try:
                if not self._manager.is_registered(plugin):
                    self._manager.register(plugin, name)
            except pluggy.PluginValidationError as error:
                if self._manager.is_registered(plugin):  # older versions of pluggy keep what they refused
                    self._manager.unregister(plugin)
                return None, f"incompatible: {' '.join(str(error).split())}; it may need a newer providerhub"
            except Exception as error:
                return None, f"{type(error).__name__}: {error}"
        return plugin, ""


def _declared(function: Callable[[], object], record: PluginRecord) -> tuple[ProviderInfo | None, str]:
    """What the hook returns, or what is wrong with it."""
    try:
        info = function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, f"providerhub_provider() raised {type(error).__name__}: {error}"
    if not isinstance(info, ProviderInfo):
        return None, f"providerhub_provider() must return a ProviderInfo, not {type(info).__name__}"
    if info.name != record.name:
        return None, f"the entry point is named {record.name!r}, but the provider calls itself {info.name!r}"
    return info, ""


def _odd_hook(name: str, *, is_marked: bool) -> str:
    """Why a function that looks like a hook will not be called; empty when it will be."""
    if name in _HOOKS:
        return "" if is_marked else f"{name} is not marked with @hookimpl, so that nobody calls it"
    import difflib  # noqa: PLC0415 -- only ever needed on this error path

    near = difflib.get_close_matches(name, _HOOKS, n=1, cutoff=0.8)
    if not (is_marked or near):  # a function of the plugin's own
        return ""
    hint = f"did you mean {near[0]}?" if near else f"the known hooks are {', '.join(_HOOKS)}"
    return f"{name} is no hook, so that nobody calls it; {hint}"


def import_object(reference: str) -> Any:
    """Import a module, or an object of it.

    Args:
        reference: `"module"` or `"module:object"`, where the object may be `"name.attribute"`.

    Raises:
        ImportError: The module cannot be imported. Its own code may raise any other exception.
        AttributeError: The module has no such object.
    """
    module, _, attribute = reference.partition(":")
    found: Any = importlib.import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        found = getattr(found, part)
    return found


def _narrow(implementation: pluggy.HookImpl) -> Callable[..., Any]:
    """Give an implementation only the arguments that it names, as pluggy itself does."""
    function, names = implementation.function, implementation.argnames
    return lambda **arguments: function(**{name: arguments[name] for name in names})


def _judge(found: Iterable[PluginRecord], settings: Settings) -> dict[str, PluginRecord]:
    by_name: dict[str, list[PluginRecord]] = {}
    for record in found:
        by_name.setdefault(record.name, []).append(record)
    return {name: _settle(name, records, settings) for name, records in sorted(by_name.items())}


def _settle(name: str, records: list[PluginRecord], settings: Settings) -> PluginRecord:
    preferred = [r for r in records if r.distribution == settings.prefer.get(name)]
    record = (preferred or records)[0]
    if settings.allow is not None and name not in settings.allow:
        return attrs.evolve(record, state="blocked", reason="not in the allow-list (PROVIDERHUB_PLUGINS or settings.allow)")
    if name in (settings.block or ()):
        return attrs.evolve(record, state="blocked", reason="blocked by PROVIDERHUB_BLOCK or settings.block")
    if len(records) > 1 and not preferred:
        both = ", ".join(sorted(r.distribution for r in records))
        how = f"Settings(prefer={{{name!r}: DISTRIBUTION}}), or in the settings file under [prefer]"
        reason = f"offered by {both}: uninstall one, or say which with {how}"
        return attrs.evolve(record, state="conflict", distribution=both, reason=reason)
    return record


def _check_names(settings: Settings, records: Mapping[str, PluginRecord]) -> None:
    for field, label, names in (
        ("allow", "PROVIDERHUB_PLUGINS (allow)", settings.allow),
        ("block", "PROVIDERHUB_BLOCK (block)", settings.block),
        ("prefer", "prefer", settings.prefer),
    ):
        for name in sorted(names or ()):
            if name not in records and settings.autoload is not False:
                origin = settings.origins.get(f"{field}.{name}") or settings.origins.get(field)
                where = f"{origin}: {field}" if origin else label
                known = ", ".join(records) or "none"
                msg = f"{where} names {name!r}, which is not installed; installed plugins: {known}"
                raise ConfigurationError(msg)
