"""What there is, for whoever looks: each provider instance as a frozen value."""

from __future__ import annotations

import os

import attrs

from providerhub._finding.discovery import PluginRecord
from providerhub._finding.instance import Instance
from providerhub._finding.registry import Registry
from providerhub._values import ProviderConfig
from providerhub._values.capabilities import ModelInfo, Setting
from providerhub._values.errors import ConfigurationError
from providerhub._values.value import Value


@attrs.frozen(eq=False, repr=False, kw_only=True)
class InstanceView(Value):
    """One provider as it stands: a plugin's default instance, a further configured one, or an object that was registered.

    Args:
        name: The instance's name.
        plugin: The plugin that serves it; its own name for an object that was registered.
        distribution: The distribution that brings the plugin; several, separated by commas, in a conflict; empty for an object.
        version: That distribution's version.
        state: `"ready"`; else `"not configured"`, `"misconfigured"`, `"not installed"`, or the plugin's state: `"blocked"`,
            `"conflict"`, `"incompatible"`, `"broken"`.
        reason: A sentence that says why it is not ready, and what to do.
        models: What it serves, as declared, configured and listed by the service.
        config: Its settings, with what the environment says; keys show as `***`. `None` without a ready plugin.
        settings: What it can be told, as the plugin declares.
        missing: The environment variables that would set what it lacks.
        can_list: Whether its service can be asked for its models.
        list_error: Why the service did not list its models when it was asked.
        import_seconds: Seconds that the import of the plugin's light module took in this process.
        notes: What is odd about the plugin though it may work, such as functions that look like hooks and are none.
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
    import_seconds: float = 0.0
    notes: tuple[str, ...] = ()


def views(registry: Registry) -> tuple[InstanceView, ...]:
    """Every instance, by name; imports every plugin's light module.

    Args:
        registry: Who has them.
    """
    return tuple(_view(registry, name) for name in registry.names())


def _view(registry: Registry, name: str) -> InstanceView:
    try:
        instance = registry.instance(name)
        record = registry.record(name) if instance is None or not instance.is_object else None
    except ConfigurationError as error:
        return InstanceView(name=name, plugin=registry.plugin_of(name), state="not installed", reason=str(error))
    if instance is None:
        assert record is not None  # noqa: S101 -- without an object there is a plugin
        return _of_plugin(name, record, state=record.state, reason=record.reason)
    state, reason = _judged(instance)
    view = _of_plugin(name, record, state=state, reason=reason)
    return attrs.evolve(
        view,
        models=instance.models,
        config=instance.config,
        settings=instance.info.all_settings,
        missing=instance.variables,
        can_list=instance.info.discover is not None,
        list_error=instance.list_error,
    )


def _of_plugin(name: str, record: PluginRecord | None, *, state: str, reason: str) -> InstanceView:
    if record is None:
        return InstanceView(name=name, plugin=name, state=state, reason=reason)
    return InstanceView(
        name=name, plugin=record.name, distribution=record.distribution, version=record.version,
        state=state, reason=reason, import_seconds=record.import_seconds, notes=record.notes,
    )  # fmt: skip


def _judged(instance: Instance) -> tuple[str, str]:
    if instance.missing:
        return "not configured", instance.reason
    flaw = _flaw(instance.config)
    return ("misconfigured", flaw) if flaw else ("ready", "")


def _flaw(config: ProviderConfig) -> str:
    """What can be seen, without its provider, to be wrong with a configuration; empty when nothing is."""
    if config.url is not None and (wrong := _flaw_of_address(config.url)):
        return f"the url {wrong}"
    for scheme, address in config.proxies.items():
        if wrong := _flaw_of_address(address):
            return f"the proxy for {scheme} {wrong}"
    if config.ca_bundle and not os.path.exists(config.ca_bundle):
        return f"there is no ca_bundle at {config.ca_bundle}; correct the path"
    return ""


def _flaw_of_address(address: str) -> str:
    """What is wrong with an address. It is not repeated: a password may be part of it."""
    from urllib.parse import urlsplit  # noqa: PLC0415 -- not worth its import to a program that never looks

    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        return f"cannot be used: {error}; correct it"
    if not address.isprintable() or " " in address.strip() or address != address.strip():
        return "holds a blank or a control character; correct it"
    if parts.scheme in {"http", "https"}:
        return "" if parts.hostname else "names no host; correct it"
    # A plugin may speak over something else, such as unix:/run/service.
    return "" if "://" in address or ":/" in address else "has no scheme; begin it with https:// (or http:// on this machine)"
