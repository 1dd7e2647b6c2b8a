"""Entry points → plugin records, each isolated from the others.

The scan reads names only; a plugin's module is imported when its declaration is first needed. A plugin that cannot be read,
imported or used is recorded with the reason, and the others work.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any

import attrs
import pluggy

import providerhub.hookspecs as hookspecs  # noqa: PLR0402 -- `from` would have the package import all of its exports first
from providerhub._finding.installed import OURS, Distribution, EntryPoint, import_object, name_of, normalized, offered, to_install
from providerhub._settings.settings import Settings
from providerhub._threads import renewed_at_fork
from providerhub._values.capabilities import API_VERSION, ProviderInfo
from providerhub._values.checks import nearest
from providerhub._values.errors import ConfigurationError
from providerhub._values.value import Value, frozen

HOOK_GROUP = "providerhub.hooks"  # the entry-point group of plugins that observe or rank. They are always loaded.
MOST_WAIT = 30.0  # seconds that a thread waits for a plugin that another thread imports
_INCOMPATIBLE = "incompatible: "  # begins a reason that another version of the core or the plugin would remove
_SUBGROUPS = ("commands", "conformance", "executors", "sandbox", "shared")
GROUPS = frozenset({hookspecs.PROJECT, HOOK_GROUP, *(f"{hookspecs.PROJECT}.{name}" for name in _SUBGROUPS)})
_PROVIDER = "providerhub_provider"
_PREFIX = f"{hookspecs.PROJECT}_"
_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(_PREFIX))


@frozen(eq=False, repr=False, kw_only=True)
class PluginRecord(Value):
    """One installed plugin and its state.

    Args:
        name: The name of the provider and of its entry point.
        value: The value of the entry point, `"module"` or `"module:object"`.
        distribution: The distribution of the plugin; in a conflict all distributions, separated by commas.
        state: `"found"` until the plugin is imported, then `"ready"`; or `"blocked"`, `"conflict"`, `"incompatible"` or
            `"broken"`. `Hub.plugins` shows a ready plugin that lacks a required setting as `"not configured"`.
        reason: The reason why the plugin is not ready, and the fix; empty when it is ready.
        info: The plugin's declaration; `None` until the plugin is ready.
        notes: Warnings about a plugin that may still work, such as a function that looks like a hook but is not a hook.
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


@frozen(eq=False, repr=False)
class Malformed(Value):
    """A distribution with unreadable entry points: its name or path, and the error."""

    distribution: str
    reason: str


def is_near(group: str) -> bool:
    """Whether the name of an entry-point group looks like a group of this project, even with another spelling."""
    return "".join(filter(str.isalnum, group.lower())).startswith(hookspecs.PROJECT)


def unread(group: str, name: str) -> str:
    """The reason why an entry point of another group is not used, and the fix."""
    fix = _moved(hookspecs.PROJECT)
    return f"its entry point {name!r} is in the group {group!r}, which nothing reads; for a provider, {fix}"


def _moved(group: str) -> str:
    """The fix for an entry point of the wrong group."""
    table = f'"{group}"' if "." in group else group
    return f"write it under [project.entry-points.{table}], and install the distribution again"


class _Manager(pluggy.PluginManager):
    """Reads the marks of functions directly. pluggy also inspects the class of each name, which would take most of the time."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if name.startswith("__"):
            return None
        is_module = isinstance(plugin, ModuleType)
        is_own = is_module or name in getattr(plugin, "__dict__", ())
        found = vars(plugin if is_own else type(plugin)).get(name)
        if isinstance(found, FunctionType):
            return getattr(found, f"{hookspecs.PROJECT}_impl", None)
        return None if is_module and not isinstance(found, MethodType) else super().parse_hookimpl_opts(plugin, name)


class Plugins:
    """The installed plugins. Thread-safe. Settings that name a missing plugin are refused."""

    def __init__(self, settings: Settings) -> None:
        self.malformed: list[Malformed] = []
        self.hook_modules: list[tuple[str, str, str]] = []  # not imported yet: name, value and distribution
        self._records: dict[str, PluginRecord] = {}
        self._lock = renewed_at_fork(threading.RLock())  # re-entrant: the import of a plugin may load another one
        self._importing: set[tuple[int, str]] = set()
        self._manager = _Manager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        if settings.autoload is not False:
            self._records = _records(self._scan(), settings)
        _refuse_unknown(settings, self._records)

    @property
    def names(self) -> tuple[str, ...]:
        """The providers' names. Imports no plugin."""
        return tuple(self._records)

    def peek(self, name: str) -> PluginRecord | None:
        """A plugin's record in its present state; `None` when no such plugin is installed. Imports no plugin."""
        return self._records.get(name)

    def load(self, name: str) -> PluginRecord:
        """The record of an installed plugin with its declaration. The first call imports the plugin's light module."""
        record = self._records[name]
        key = threading.get_ident(), name
        if record.state != "found":
            return record
        # The second of two threads uses the record of the first thread. Its wait is limited, since the first thread may wait for
        # a module that the second thread imports.
        if key in self._importing or not self._lock.acquire(timeout=MOST_WAIT):
            return attrs.evolve(record, state="broken", reason="it uses the hub while it is imported; use it in a function")
        self._importing.add(key)
        try:
            record = self._records[name]
            if record.state == "found":
                record = self._records[name] = self._import(record)
            return record
        finally:
            self._importing.discard(key)
            self._lock.release()

    def needs_import(self, name: str | None = None) -> bool:
        """Whether `load` would import the named plugin, or any. A plugin that this thread is importing does not count."""
        names = self._records if name is None else (name,)
        found = [one for one in names if one in self._records and self._records[one].state == "found"]
        return any((threading.get_ident(), one) not in self._importing for one in found)

    def load_all(self) -> tuple[PluginRecord, ...]:
        """All records with their declarations. Imports every plugin's light module."""
        return tuple(self.load(name) for name in self._records)

    def hooks(self, name: str) -> tuple[Callable[..., Any], ...]:
        """All implementations of a hook, which take its keyword arguments. The first call imports the hook plugins."""
        entries, self.hook_modules = self.hook_modules, []
        for entry, value, _ in entries:
            plugin, reason = _imported(value)
            if not reason:
                plugin, reason = self._registered(plugin, entry)
            if not reason:
                marked, warnings = self._hooks_in(plugin)
                reason = _useless(plugin, marked, warnings)
                if not reason and marked == [_PROVIDER]:
                    reason = f"it is a provider, which the group {HOOK_GROUP!r} does not offer; {_moved(hookspecs.PROJECT)}"
            if reason:
                self.malformed.append(Malformed(f"{entry} ({value})", reason))
        caller: pluggy.HookCaller = getattr(self._manager.hook, name)
        return tuple(_with_named_arguments(implementation) for implementation in reversed(caller.get_hookimpls()))

    def joining(self, settings: Settings) -> Iterable[object]:
        """The observers of hook plugins for a hub with these settings."""
        self.hooks("providerhub_join")
        for join in reversed(self._manager.hook.providerhub_join.get_hookimpls()):
            try:
                part = _with_named_arguments(join)(settings=settings)
            except ConfigurationError:
                raise
            except (Exception, SystemExit) as error:
                self.malformed.append(Malformed(join.plugin_name, f"providerhub_join raised {type(error).__name__}: {error}"))
                self._manager.unregister(name=join.plugin_name)
            else:
                yield from () if part is None else (part,)
        for table, plugin in OURS["tables"].items():
            is_set = settings.journal.get("enabled") if table == "journal" else getattr(settings, table)
            if is_set and not self._manager.has_plugin(plugin):
                where = f"{settings.origins.get(table, 'the settings')}: [{table}]"
                msg = f"{where} needs the plugin {plugin!r}, which is not installed or loaded: pip install providerhub-{plugin}"
                raise ConfigurationError(msg)

    def observe(self, observer: object) -> None:
        """Register an object of the application. Its marked methods are called like the functions of a hook plugin."""
        reason = _useless(observer, *self._hooks_in(observer))
        if not reason and self._manager.is_registered(observer):
            reason = "it is given twice"
        if not reason:
            _, reason = self._registered(observer, None)
        if reason:
            reason = reason.removeprefix(_INCOMPATIBLE)
            raise ConfigurationError(f"observer {type(observer).__name__} cannot be used: {reason}")

    def _hooks_in(self, plugin: object) -> tuple[list[str], list[str]]:
        """The names of the marked functions, and a warning for each function that looks like a hook but is never called."""
        marked: list[str] = []
        warnings: list[str] = []
        for name in dir(plugin):
            if is_marked := self._manager.parse_hookimpl_opts(plugin, name) is not None:
                marked.append(name)
            if is_marked or (name.startswith(_PREFIX) and callable(getattr(plugin, name, None))):
                warnings += filter(None, [_hook_warning(name, is_marked=is_marked)])
        return marked, warnings

    def _scan(self) -> Iterable[PluginRecord]:
        def broken(distribution: Distribution, error: Exception) -> None:
            self.malformed.append(Malformed(name_of(distribution), f"{type(error).__name__}: {error}"))

        misplaced: list[EntryPoint] = []
        read: set[str] = set()
        for found in offered(hookspecs.PROJECT, broken):
            if is_near(found.group):
                (read.add(found.distribution) if found.group in GROUPS else misplaced.append(found))
            if found.group == HOOK_GROUP:
                self.hook_modules.append((found.name, found.value, found.distribution))
            elif found.group == hookspecs.PROJECT:
                yield PluginRecord(name=found.name, value=found.value, distribution=found.distribution, version=found.version)
        # A distribution with a plugin may have groups of its own, which its other packages read.
        odd = [one for one in misplaced if one.distribution not in read]
        self.malformed += [Malformed(one.distribution, unread(one.group, one.name)) for one in odd]

    def _import(self, record: PluginRecord) -> PluginRecord:
        start = time.perf_counter()
        info, notes, reason = self._info(record)
        seconds = time.perf_counter() - start
        state = "ready" if not reason else "incompatible" if reason.startswith(_INCOMPATIBLE) else "broken"
        reason = reason.removeprefix(_INCOMPATIBLE)
        return attrs.evolve(record, state=state, reason=reason, info=info, import_seconds=seconds, notes=notes)

    def _info(self, record: PluginRecord) -> tuple[ProviderInfo | None, tuple[str, ...], str]:
        """A plugin's declaration, the warnings about its module, and the reason why it cannot be used."""
        module, reason = _imported(record.value)
        if reason:
            return None, (), reason
        marked: list[str] = []
        warnings: list[str] = []
        with contextlib.suppress(Exception):  # an attribute may raise; pluggy reports it
            marked, warnings = self._hooks_in(module)
        if marked == [_PROVIDER] and _takes_nothing(function := getattr(module, _PROVIDER)):
            return _declared(function, record, tuple(warnings))  # pluggy would check nothing, and would take longer
        module, reason = self._registered(module, f"provider:{record.name}")
        if reason:
            return None, (), reason
        notes = tuple(warnings)
        for implementation in self._manager.hook.providerhub_provider.get_hookimpls():
            if implementation.plugin is module:
                return _declared(implementation.function, record, notes)
        hint = "".join(f"; {note}" for note in notes)
        if observes := [name for name in marked if name in _HOOKS]:
            hint += f"; for {', '.join(observes)}, {_moved(HOOK_GROUP)}"
        return None, notes, f"{record.value} has no function providerhub_provider marked with @hookimpl{hint}"

    def _registered(self, plugin: object, name: str | None) -> tuple[object, str]:
        """Let pluggy check the hooks of a plugin. The second value is the reason of a failure, or empty."""
        with self._lock:  # pluggy has no lock: a second thread would find the plugin half registered
            try:
                if not self._manager.is_registered(plugin):
                    self._manager.register(plugin, name)
            except pluggy.PluginValidationError as error:
                if self._manager.is_registered(plugin):  # older versions of pluggy keep a plugin that they refuse
                    self._manager.unregister(plugin)
                return None, self._unknown_arguments(plugin) or f"{_INCOMPATIBLE}{' '.join(str(error).split())}"
            except Exception as error:  # the module may have attributes that raise
                return None, f"{type(error).__name__}: {error}"
        return plugin, ""

    def _unknown_arguments(self, plugin: object) -> str:
        """The reason why a hook cannot be called because of an unknown argument; else empty."""
        for name in filter(_HOOKS.__contains__, self._hooks_in(plugin)[0]):
            known = inspect.signature(getattr(hookspecs, name)).parameters
            for wrong in inspect.signature(getattr(plugin, name)).parameters.keys() - known:
                hint = f"it may take {', '.join(known) or 'none'}; or a newer providerhub is needed"
                return f"{_INCOMPATIBLE}the hook {name} has no argument {wrong!r}; {hint}"
        return ""


def _takes_nothing(function: object) -> bool:
    """Whether a hook is an ordinary function, or a method, without arguments."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_argcount == isinstance(function, MethodType) and not code.co_kwonlyargcount


def _useless(plugin: object, marked: Sequence[str], warnings: Sequence[str]) -> str:
    """The reason why functions of a hook plugin do not work; empty if all of them work."""
    if marked and isinstance(plugin, type):
        return f"it is a class, so its methods would have no self; give an object: {plugin.__name__}()"
    for name in marked:
        if inspect.iscoroutinefunction(getattr(plugin, name)) or inspect.isasyncgenfunction(getattr(plugin, name)):
            return f"{name} is an async function, and nothing awaits a hook; make it an ordinary function"
    if warnings or marked:
        return "; ".join(warnings)
    return f"has no function marked with @hookimpl; the known hooks are {', '.join(_HOOKS)}"


def _imported(value: str) -> tuple[object, str]:
    """The object of an entry point. The second value is the reason of a failure, or empty."""
    try:
        return import_object(value), ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, for example
        return None, f"importing {value} raised {type(error).__name__}: {error}"


def _declared(
    function: Callable[[], object], record: PluginRecord, notes: tuple[str, ...]
) -> tuple[ProviderInfo | None, tuple[str, ...], str]:
    """The declaration that the hook returns, or the reason why it cannot be used."""
    try:
        info = function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, for example
        return None, notes, f"providerhub_provider() raised {type(error).__name__}: {error}"
    if not isinstance(info, ProviderInfo):
        return None, notes, f"providerhub_provider() must return a ProviderInfo, not {type(info).__name__}"
    reason = ""
    if info.name != record.name:
        fix = "give both the same name, and install the distribution again, since its metadata keeps the old one"
        reason = f"the entry point is named {record.name!r}, but its ProviderInfo {info.name!r}: {fix}"
    elif info.api_version != API_VERSION:
        spoken = f"this core speaks {API_VERSION}: install versions that fit"
        reason = f"{_INCOMPATIBLE}written for interface version {info.api_version}; {spoken}"
    return info, notes, reason


def _hook_warning(name: str, *, is_marked: bool) -> str:
    """The reason why a function that looks like a hook is never called; empty when it is called."""
    if name in _HOOKS:
        return "" if is_marked else f"{name} is not marked with @hookimpl, so it is never called"
    near = nearest(name, _HOOKS, cutoff=0.8)
    if not (is_marked or near):  # a function for the plugin's own use
        return ""
    return f"{name} is not a hook, so it is never called; {near or 'the known hooks are ' + ', '.join(_HOOKS)}"


def _with_named_arguments(implementation: pluggy.HookImpl) -> Callable[..., Any]:
    """Call an implementation with the arguments that it names, as pluggy does."""
    function, names = implementation.function, implementation.argnames
    if len(names) == 1:  # nearly all
        only = names[0]
        return lambda **arguments: function(arguments[only])
    return lambda **arguments: function(*[arguments[name] for name in names])


def _records(found: Iterable[PluginRecord], settings: Settings) -> dict[str, PluginRecord]:
    by_name: dict[str, list[PluginRecord]] = {}
    for record in found:
        by_name.setdefault(record.name, []).append(record)
    return {name: _decide(name, records, settings) for name, records in sorted(by_name.items())}


def _decide(name: str, records: list[PluginRecord], settings: Settings) -> PluginRecord:
    """The record of a name, chosen from all distributions with a plugin of this name."""
    choice = normalized(settings.prefer.get(name, ""))
    preferred = [r for r in records if choice and normalized(r.distribution) == choice]
    record = (preferred or records)[0]
    if settings.allow is not None and name not in settings.allow:
        return attrs.evolve(record, state="blocked", reason="not in the allow-list (PROVIDERHUB_PLUGINS or settings.allow)")
    if name in (settings.block or ()):
        return attrs.evolve(record, state="blocked", reason="blocked by PROVIDERHUB_BLOCK or settings.block")
    if len(records) > 1 and not preferred:
        both = ", ".join(sorted(r.distribution for r in records))
        how = f"Settings(prefer={{{name!r}: DISTRIBUTION}}) or under [prefer] in the settings file"
        reason = f"offered by {both}: uninstall one, or choose one with {how}"
        return attrs.evolve(record, state="conflict", distribution=both, reason=reason)
    return record


def _refuse_unknown(settings: Settings, records: Mapping[str, PluginRecord]) -> None:
    labels = {"allow": "PROVIDERHUB_PLUGINS (allow)", "block": "PROVIDERHUB_BLOCK (block)", "prefer": "prefer"}
    for field, label in labels.items() if settings.autoload is not False else ():
        for name in sorted(set(getattr(settings, field) or ()) - set(records)):
            origin = settings.origins.get(f"{field}.{name}") or settings.origins.get(field)
            where = f"{origin}: {field}" if origin else label
            fix = to_install(name) or nearest(name, records, f"installed plugins: {', '.join(records) or 'none'}", cutoff=0.7)
            msg = f"{where} names {name!r}, which is not installed; {fix}"
            raise ConfigurationError(msg)
