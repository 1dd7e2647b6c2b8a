"""The settings as rows: name, value and origin. A key is never shown, only whether it is set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import attrs

from providerhub import InstanceView, ModelInfo, ProviderConfig, Secret, Setting, Settings, Timeout
from providerhub._settings.resolving import variable
from providerhub._settings.secrets import EnvironmentKey
from providerhub._settings.table import ANY_NAME, KEYS
from providerhub.cli import _screen as screen

DEFAULT = "default"
DEFAULT_OF_PLUGIN = "default of the plugin"


class Row(NamedTuple):
    """One setting: its dotted key in the settings file, its value as JSON, of a key `"set"` or `"not set"`, and its origin.

    The origin is a file and line, an environment variable, `"argument"` or `"default"`.
    """

    name: str
    value: Any
    origin: str


def table(rows: Iterable[Row]) -> None:
    """Write the rows as a table."""
    screen.table(
        ("setting", "value", "from"),
        [(row.name, "all" if row[:2] == ("allow", None) else _text(row.value), row.origin) for row in rows],
    )


def changed(rows: Iterable[Row]) -> list[Row]:
    """The rows of values other than the defaults."""
    return [row for row in rows if row.origin not in {DEFAULT, DEFAULT_OF_PLUGIN} and row.value != "not set"]


def all_rows(settings: Settings, instances: Iterable[InstanceView]) -> tuple[Row, ...]:
    """Every setting of a hub and of its providers."""
    return (*_general(settings), *(row for view in instances for row in _of_provider(settings, view)))


def _general(settings: Settings) -> Iterator[Row]:
    for key in KEYS:
        if ANY_NAME in key.path or key.kind in {"table", "seconds or table"}:
            continue  # the phases of the timeout, the aliases and the proxies have rows of their own
        value: Any = settings
        for part in key.path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else getattr(value, part)  # plugins read some tables
        whole = key.path.partition(".")[0] if key.path == "timeout.total" else key.path
        shown = ("set" if value else "not set") if key.kind == "key" or isinstance(value, Secret) else _json(_masked(value))
        yield Row(key.path, shown, settings.origins.get(key.path) or settings.origins.get(whole, DEFAULT))
    for field in ("aliases", "prefer", "proxies", "budgets"):
        for name, value in getattr(settings, field).items():
            dotted = f"{field}.{name}"
            yield Row(dotted, _json(_masked(value)), settings.origins.get(dotted, "argument"))


def _of_provider(settings: Settings, view: InstanceView) -> Iterator[Row]:
    given = settings.providers.get(view.name) or ProviderConfig()
    start = f"providers.{view.name}"
    yield from _given(settings, start, given)
    for name, model in given.model.items():
        yield from _given(settings, f"{start}.model.{name}", model)
    for setting in view.settings:
        yield declared_row(settings, view, setting)
    values = {**{name: getattr(given, name) for name in ("url", "api_key")}, **given.options}
    undeclared = {name for name, value in values.items() if value is not None} - {setting.name for setting in view.settings}
    for name in sorted(undeclared):
        value = _masked(values[name]) if name == "url" else "set"  # an undeclared setting may be a key
        dotted = _dotted(view, name)
        yield Row(dotted, value, _origin(settings, dotted, values[name]))


def _given(settings: Settings, start: str, value: ProviderConfig | ModelInfo) -> Iterator[Row]:
    """The values of a provider, or of a model, that the settings give."""
    names = [field.name for field in attrs.fields(type(value)) if field.name not in _SHOWN_ELSEWHERE]
    for name in names:
        origin = settings.origins.get(f"{start}.{name}")
        if origin:
            yield Row(f"{start}.{name}", _json(getattr(value, name), hidden=name == "headers"), origin)


_SHOWN_ELSEWHERE = ("name", "url", "api_key", "options", "origin", "model")


def _dotted(view: InstanceView, name: str) -> str:
    return f"providers.{view.name}.{name}" if name in {"url", "api_key"} else f"providers.{view.name}.options.{name}"


def declared_row(settings: Settings, view: InstanceView, setting: Setting) -> Row:
    """A setting that the plugin declares: the value in force, and its origin."""
    given = settings.providers.get(view.name) or ProviderConfig()
    name = _dotted(view, setting.name)
    env = variable(setting, view.name, view.plugin)
    configured = given.get(setting.name)
    value = view.config.get(setting.name) if view.config else configured
    if value is None:
        named = configured.source if isinstance(configured, Secret) else None
        return Row(name, "not set", f"{named} is not set" if isinstance(named, EnvironmentKey) else f"set {env}")
    if os.environ.get(env) and (configured is None or given.origin != "argument"):
        origin = f"environment variable {env}"
    elif configured is not None:
        origin = _origin(settings, name, configured)
    else:
        origin = DEFAULT_OF_PLUGIN
    return Row(name, "set" if setting.secret or isinstance(value, Secret) else _json(_masked(value)), origin)


def _origin(settings: Settings, name: str, value: object) -> str:
    origin = settings.origins.get(name, "argument")
    return f"{origin}, {value.source}" if isinstance(value, Secret) and value.source is not None else origin


def _masked(value: Any) -> Any:
    """An address without its password, and without its query, which may hold a key."""
    if not isinstance(value, str) or "://" not in value:
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return "(not an address)"
    host = f"***@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    return parts._replace(netloc=host, query="***" if parts.query else "", fragment="").geturl()


def _json(value: Any, *, hidden: bool = False) -> Any:
    if isinstance(value, Timeout):
        return attrs.asdict(value)
    if hidden:  # a header may hold a key
        return dict.fromkeys(value, "set")
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_model(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _masked(item) for name, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _model(item: Any) -> str:
    provider = getattr(item, "provider", None)
    name = item.__name__ if isinstance(item, type) else getattr(item, "name", item)
    return f"{provider}/{name}" if provider else str(name)


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {item}" for name, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
