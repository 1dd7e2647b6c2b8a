"""Each provider instance as a frozen value, for `Hub.instances()` and the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from providerhub._finding.installed import flaw_of
from providerhub._finding.instance import Instance
from providerhub._finding.registry import Registry
from providerhub._settings.address import flaws
from providerhub._settings.refined import covers
from providerhub._settings.settings import Settings
from providerhub._values import Model, ProviderConfig
from providerhub._values.capabilities import ModelInfo, Setting
from providerhub._values.checks import nearest
from providerhub._values.errors import ConfigurationError
from providerhub._values.value import Value, frozen


@frozen(eq=False, repr=False, kw_only=True)
class InstanceView(Value):
    """One provider and its state: the default instance of a plugin, a further configured instance, or a registered object.

    Args:
        name: The name of the instance.
        plugin: The name of its plugin; the instance's own name for a registered object.
        distribution: The distribution of the plugin; in a conflict all distributions, separated by commas; empty for a registered
            object.
        version: The version of this distribution.
        state: `"ready"`, `"not configured"`, `"misconfigured"` or `"not installed"`; or the state of the plugin: `"blocked"`,
            `"conflict"`, `"incompatible"` or `"broken"`.
        reason: The reason why the instance is not ready, and the fix; empty when it is ready.
        models: The models of the plugin, of the settings and of the service's list.
        config: The configuration, with values from the environment; keys print as `***`. `None` without a ready plugin.
        settings: The settings that the plugin declares.
        missing: The environment variables that set the missing settings.
        can_list: Whether the plugin can ask its service for a list of models.
        list_error: The error of the last listing of models; empty without an error.
        list_age: Seconds since the service listed its models, in this or an earlier process; `None` if it never has.
        import_seconds: The seconds that the import of the plugin's light module took in this process.
        notes: Warnings about a plugin that may still work, such as a function that looks like a hook but is not a hook.
        listed: The names of models that only the service's list has, and not the settings or the plugin.
    """

    name: str
    plugin: str
    distribution: str = ""
    version: str = ""
    state: str = "ready"
    reason: str = ""
    models: tuple[ModelInfo, ...] = ()
    config: ProviderConfig | None = None
    settings: tuple[Setting, ...] = ()
    missing: tuple[str, ...] = ()
    can_list: bool = False
    list_error: str = ""
    list_age: float | None = None
    import_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()


def views(registry: Registry) -> tuple[InstanceView, ...]:
    """All instances, sorted by name, with the models of kept lists. Imports every plugin's light module."""
    return tuple(_view(registry, name) for name in registry.names())


def unknown_models(settings: Settings, providers: Iterable[InstanceView]) -> Iterator[tuple[str, str, str]]:
    """Find models of the settings that no provider has, if the providers' models are known.

    Yields:
        The dotted name of the setting, the instance (or `"settings"`), and a message with the most similar known model.
    """
    known = {view.name: view.models for view in providers if view.models and (view.list_age is not None or not view.can_list)}
    others = [view for view in providers if view.name not in known and view.state in {"ready", "not configured"}]
    for provider, config in settings.providers.items():
        for name in config.model if provider in known else ():
            if not _has(known[provider], name):
                yield f"providers.{provider}.model.{name}", provider, _no_such(provider, name, known[provider])
    for alias, targets in settings.aliases.items():
        for target in targets:
            model = target if isinstance(target, Model) else Model(target)
            first, slash, rest = model.name.partition("/")
            if model.provider is None and slash and any(view.name == first for view in providers):
                model = Model(rest, first)
            among = list(known) if model.provider is None else [model.provider]
            is_known = model.provider in known if model.provider is not None else not others
            if is_known and target not in settings.aliases and not any(_has(known[name], model.name) for name in among):
                models = [one for name in among for one in known[name]]
                yield f"aliases.{alias}", "settings", f"the alias {alias!r}: {_no_such(model.provider, model.name, models)}"


def _has(models: Iterable[ModelInfo], name: str) -> bool:
    stem = name[:-1] if name.endswith("*") else None
    return any(name in {m.name, *m.aliases} or covers(m, name) or (stem is not None and m.name.startswith(stem)) for m in models)


def _no_such(provider: str | None, name: str, models: Iterable[ModelInfo]) -> str:
    hint = nearest(name, [one.name for one in models], "`providerhub models` lists the known ones")
    return f"{provider or 'no provider'} has {'no' if provider else 'the'} model {name!r}; {hint}"


def _view(registry: Registry, name: str) -> InstanceView:
    try:
        instance = registry.instance_with_flaw(name)
        record = registry.record(name) if instance is None or instance.has_plugin else None
    except ConfigurationError as error:
        return InstanceView(name=name, plugin=registry.plugin_of(name), state="not installed", reason=str(error))
    fields = ("distribution", "version", "state", "reason", "import_seconds", "notes") if record is not None else ()
    shown = {field: getattr(record, field) for field in fields}
    if instance is not None:
        if instance.can_list:
            instance.list.read()
        state, reason = _state(instance)
        shown |= {
            "state": state, "reason": reason, "models": instance.models, "config": instance.config,
            "settings": instance.info.all_settings, "missing": instance.variables, "can_list": instance.info.discover is not None,
            "list_error": instance.list.error, "list_age": instance.list.age,
            "notes": (*shown.get("notes", ()), *_notes(instance)),
            "listed": frozenset(model.name for model in instance.list.models) - {model.name for model in instance.declared},
        }  # fmt: skip
    return InstanceView(name=name, plugin=name if record is None else record.name, **shown)


def _notes(instance: Instance) -> Iterator[str]:
    age = instance.list.age
    if age is not None and instance.list.error:
        yield f"its list of models is {_duration(age)} old: {instance.list.error}"
    if instance.info.discover and (flaw := flaw_of(instance.info.discover)):
        yield f"it cannot list its models: discover={instance.info.discover!r}: {flaw}"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _state(instance: Instance) -> tuple[str, str]:
    if instance.has_plugin and (wrong := flaw_of(instance.info.factory)):
        return "broken", f"factory={instance.info.factory!r}: {wrong}"
    if instance.missing:
        return "misconfigured" if instance.is_wrong else "not configured", instance.reason
    flaw = instance.flaw or _flaw(instance.config)
    return ("misconfigured", flaw) if flaw else ("ready", "")


def _flaw(config: ProviderConfig) -> str:
    """The flaw of a configuration that is visible without its provider; else empty."""
    for name, wrong in flaws(config, endpoints=True):
        return f"{name} {wrong}"
    if config.ca_bundle and not os.path.exists(config.ca_bundle):
        return f"there is no ca_bundle at {config.ca_bundle}; correct the path"
    return ""
