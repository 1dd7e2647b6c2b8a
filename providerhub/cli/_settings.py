"""`providerhub settings`: the settings as rows, without keys, and the mistakes in the settings file and the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import attrs
import click

from providerhub import ConfigurationError, Hub, InstanceView, ModelInfo, ProviderConfig, ProviderInfo, Secret, Setting, Settings
from providerhub._finding.discovery import Plugins
from providerhub._finding.installed import to_install
from providerhub._finding.views import unknown_models
from providerhub._settings.file import Problem, SettingsFile, read
from providerhub._settings.resolving import undeclared, variable
from providerhub._settings.secrets import EnvironmentKey, FileKey
from providerhub._settings.settings import settings_path
from providerhub._settings.table import ANY_NAME, KEYS
from providerhub._values.checks import nearest
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen

DEFAULT = "default"
DEFAULT_OF_PLUGIN = "default of the plugin"


class Row(NamedTuple):
    """One setting: its dotted key in the settings file, its value as JSON (for a key, `"set"` or `"not set"`), and its origin.

    The origin is a file and line, an environment variable, `"argument"` or `"default"`.
    """

    name: str
    value: Any
    origin: str


def table(rows: Iterable[Row]) -> None:
    shown = [(row.name, "all" if row[:2] == ("allow", None) else _text(row.value), row.origin) for row in rows]
    screen.table(("setting", "value", "from"), shown)


def changed(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.origin not in {DEFAULT, DEFAULT_OF_PLUGIN} and row.value != "not set"]


def all_rows(settings: Settings, instances: Iterable[InstanceView]) -> tuple[Row, ...]:
    return (*_general(settings), *(row for view in instances for row in _of_provider(settings, view)))


def _general(settings: Settings) -> Iterator[Row]:
    for key in KEYS:
        if ANY_NAME in key.path or key.kind in {"table", "seconds or table"}:
            continue  # the phases of the timeout, the aliases and the proxies have rows of their own
        value: Any = settings
        for part in key.path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else getattr(value, part)  # plugins' tables are mappings
        whole = key.path.partition(".")[0] if key.path == "timeout.total" else key.path
        shown = ("set" if value else "not set") if key.kind == "key" or isinstance(value, Secret) else _json(_masked(value))
        yield Row(key.path, shown, settings.origins.get(key.path) or settings.origins.get(whole, DEFAULT))
    for field in ("aliases", "prefer", "proxies", "budgets"):
        for name, value in getattr(settings, field).items():
            dotted = f"{field}.{name}"
            yield Row(dotted, _json(_masked(value)), settings.origins.get(dotted, "argument"))


def _of_provider(settings: Settings, view: InstanceView) -> Iterator[Row]:
    given = settings.providers.get(view.name) or ProviderConfig()
    tables: dict[str, ProviderConfig | ModelInfo] = {f"providers.{view.name}": given}
    tables |= {f"providers.{view.name}.model.{name}": model for name, model in given.model.items()}
    for table, held in tables.items():
        for name in (field.name for field in attrs.fields(type(held)) if field.name not in _SHOWN_ELSEWHERE):
            if origin := settings.origins.get(f"{table}.{name}"):
                yield Row(f"{table}.{name}", _json(getattr(held, name), hidden=name == "headers"), origin)
    for setting in view.settings:
        yield declared_row(settings, view, setting)
    values = {**{name: getattr(given, name) for name in ("url", "api_key")}, **given.options}
    undeclared = {name for name, value in values.items() if value is not None} - {setting.name for setting in view.settings}
    for name in sorted(undeclared):
        value = _masked(values[name]) if name == "url" else "set"  # an undeclared setting may be a key
        dotted = _dotted(view, name)
        yield Row(dotted, value, _origin(settings, dotted, values[name]))


_SHOWN_ELSEWHERE = ("name", "url", "api_key", "options", "origin", "model")


def _dotted(view: InstanceView, name: str) -> str:
    return f"providers.{view.name}.{name}" if name in {"url", "api_key"} else f"providers.{view.name}.options.{name}"


def declared_row(settings: Settings, view: InstanceView, setting: Setting) -> Row:
    """A setting that the plugin declares: its current value, and its origin."""
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
    if attrs.has(type(value)):  # a Timeout
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


@click.group()
def settings() -> None:
    """Show and check the settings."""


@settings.command()
@options.as_json
def path(*, as_json: bool) -> None:
    """Print the path of the settings file."""
    where = settings_path(os.environ)
    if where is None:
        raise click.ClickException("this user has no configuration folder; name a file with PROVIDERHUB_CONFIG")
    screen.told(where, {"file": where, "exists": _exists(where)}, as_json=as_json, err=False)
    if not _exists(where):
        screen.line("The file does not exist; defaults and environment variables apply.", err=True)


@settings.command()
@click.option("--all", "everything", is_flag=True, help="Also show the defaults, as --json does.")
@options.as_json
def show(*, everything: bool, as_json: bool) -> None:
    """Show the settings that differ from the defaults, each with its value and origin. Keys are shown as set or not set."""
    with Hub() as hub:
        found = all_rows(hub.settings, hub.instances())
    if as_json:
        where = settings_path(os.environ)
        screen.data({"file": where, "exists": _exists(where), "values": [row._asdict() for row in found]})
        return
    shown = found if everything else changed(found)
    if shown:
        table(shown)
    if len(shown) < len(found):
        screen.line(f"{len(found) - len(shown)} more settings have their defaults or are not set; --all shows them", err=True)


@settings.command()
@click.argument("file", required=False, type=click.Path())
@options.as_json
def check(*, file: str | None, as_json: bool) -> None:
    """Check FILE and the environment, and print each mistake on a line. Without FILE, check the settings file in use.

    An unknown model is a warning.
    """
    where = file or settings_path(os.environ)
    found = problems(read(where, optional=not file and is_optional())) if where else []
    found += environment_problems()
    warnings = [] if found or not where else _unknown_models(where)
    for warning in () if as_json else warnings:
        screen.line(f"warning: {warning}", err=True)
    sound = f"{where}: ok" if _exists(where) else f"There is no settings file ({where}); defaults apply."
    screen.told("\n".join(found) or sound, {"file": where, "problems": found, "warnings": warnings}, as_json=as_json, err=False)
    if found:
        raise click.exceptions.Exit(1)


def _unknown_models(where: str) -> list[str]:
    """The models in a file that no provider has, one line each. No service is asked."""
    with Hub(Settings.load(where) if Path(where).exists() else None) as hub:
        named = unknown_models(hub.settings, hub.instances())
        return [f"{hub.settings.origins.get(key, where)}: {text}" for key, _, text in named]


def _exists(where: str | None) -> bool:
    return where is not None and Path(where).exists()


def is_optional() -> bool:
    """Whether the settings file in use may be missing: a file that PROVIDERHUB_CONFIG names must exist."""
    return not os.environ.get("PROVIDERHUB_CONFIG")


def problems(file: SettingsFile) -> list[str]:
    """The mistakes in a file, one line each with file and line; plugins that are not installed are mistakes too."""
    found = [*file.problems, *_uninstalled(file), *_undeclared(file), *_unreadable(file)]
    return list(map(file.where, sorted(found, key=lambda problem: (problem.line or 0, problem.text))))


def environment_problems() -> list[str]:
    """The mistakes in the environment's variables, one line each."""
    names = sorted({key.env for key in KEYS if key.env.startswith("PROVIDERHUB_") and key.env in os.environ})
    found = list(filter(None, (_problem({name: os.environ[name]}) for name in names)))
    return found or list(filter(None, [_problem(os.environ, installed=True)]))


def _problem(environ: Mapping[str, str], *, installed: bool = False) -> str:
    """The mistake in some variables; with `installed`, a missing plugin is a mistake too."""
    try:
        completed = Settings().with_environment(environ)
        if installed:
            Plugins(completed)
    except ConfigurationError as error:
        return screen.one_line(error)
    return ""


def _uninstalled(file: SettingsFile) -> Iterator[Problem]:
    try:
        installed = Plugins(Settings(autoload=True, block=())).names
    except Exception:  # the command `doctor` reports a broken distribution
        return
    for name, wanted in _named_plugins(file):
        if wanted not in installed:
            line = next((file.lines[part] for part in (name, name.rpartition(".")[0]) if part in file.lines), 1)
            rest = to_install(wanted) or nearest(wanted, installed, f"installed plugins: {', '.join(installed) or 'none'}")
            yield Problem(line, f"{name} names the plugin {wanted!r}, which is not installed; {rest}")


def _undeclared(file: SettingsFile) -> Iterator[Problem]:
    for name, config, info in _declarations(file):
        for option, text in undeclared(config, info).items():
            yield Problem(file.lines.get(f"providers.{name}.options.{option}"), text)


def declared_only(settings: Settings, file: SettingsFile) -> Settings:
    """The settings without the options that plugins do not declare; `problems` reports those."""
    providers = dict(settings.providers)
    for name, config, info in _declarations(file):
        wrong = undeclared(config, info)
        kept = {option: value for option, value in config.options.items() if option not in wrong}
        providers[name] = attrs.evolve(config, options=kept)
    return attrs.evolve(settings, providers=providers)


def _declarations(file: SettingsFile) -> Iterator[tuple[str, ProviderConfig, ProviderInfo]]:
    """Each provider that has options, with its plugin's declaration."""
    configured = {name: config for name, config in (file.values.get("providers") or {}).items() if config.options}
    if not configured:
        return
    try:
        plugins = Plugins(Settings(autoload=True, block=()))
    except Exception:  # the command `doctor` reports a broken distribution
        return
    for name, config in configured.items():
        plugin = config.plugin or name
        info = plugins.load(plugin).info if plugins.peek(plugin) is not None else None
        if info is not None:
            yield name, config, info


def _unreadable(file: SettingsFile) -> Iterator[Problem]:
    """Files that should hold a key, but do not."""
    for name, config in (file.values.get("providers") or {}).items():
        for field, value in {"api_key": config.api_key, **config.options}.items():
            source = value.source if isinstance(value, Secret) else None
            if isinstance(source, FileKey) and (flaw := source.flaw()):
                start = f"providers.{name}.{field}"
                line = file.lines.get(f"{start}.file", file.lines.get(start, 1))
                yield Problem(line, f"{source} {flaw}")


def _named_plugins(file: SettingsFile) -> Iterator[tuple[str, str]]:
    """Each dotted key that names a plugin, and the plugin."""
    for field in ("allow", "block"):
        for number, name in enumerate(file.values.get(field) or ()):
            yield f"{field}.{number}", name
    for name in file.values.get("prefer") or ():
        yield f"prefer.{name}", name
    for name, config in (file.values.get("providers") or {}).items():
        yield (f"providers.{name}.plugin", config.plugin) if config.plugin else (f"providers.{name}", name)
