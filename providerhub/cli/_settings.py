"""`providerhub settings`: what each setting is, where it came from, and what is wrong with the file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from providerhub import ConfigurationError, Hub, InstanceView, ProviderConfig, Secret, Setting, Settings
from providerhub._finding.discovery import Plugins
from providerhub._settings.file import SettingsFile, read, settings_path
from providerhub._settings.secrets import EnvironmentKey
from providerhub._settings.settings import variable
from providerhub._settings.table import ANY_NAME, KEYS
from providerhub.cli import _screen as screen

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

DEFAULT = "default"


class Row(NamedTuple):
    """One value.

    Args:
        name: Its dotted key.
        value: What it is; of a key only whether it is set.
        origin: Where it came from.
    """

    name: str
    value: Any
    origin: str


@click.group()
def settings() -> None:
    """Show and check the settings."""


@settings.command()
def path() -> None:
    """Print where the settings file is looked for."""
    where = settings_path(os.environ)
    if where is None:
        msg = "there is no configuration folder for this user; name a file with PROVIDERHUB_CONFIG"
        raise click.ClickException(msg)
    screen.line(where)
    if not Path(where).exists():
        screen.line("It is not there; defaults and environment variables hold.", err=True)


@settings.command()
@as_json
def show(*, as_json: bool) -> None:
    """Show each value and where it came from; of keys, only whether they are set."""
    with Hub() as hub:
        found = [*general_rows(hub.settings), *provider_rows(hub.settings, hub.instances())]
    where = settings_path(os.environ)
    if as_json:
        there = where is not None and Path(where).exists()
        screen.data({"file": where, "exists": there, "values": [row._asdict() for row in found]})
    else:
        screen.table(("setting", "value", "from"), [(row.name, shown(row.value), row.origin) for row in found])


@settings.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@as_json
def check(*, file: Path | None, as_json: bool) -> None:
    """Check FILE, or the settings file in use, and the environment: each problem on a line."""
    where = str(file) if file is not None else settings_path(os.environ)
    found = [] if where is None else problems(read(where, optional=file is None and not os.environ.get("PROVIDERHUB_CONFIG")))
    found += environment_problems()
    if as_json:
        screen.data({"file": where, "problems": found})
    else:
        for problem in found:
            screen.line(problem)
        if not found:
            there = where is not None and Path(where).exists()
            screen.line(f"{where}: ok" if there else f"There is no settings file ({where}); defaults hold.")
    if found:
        raise click.exceptions.Exit(1)


def problems(file: SettingsFile) -> list[str]:
    """Every mistake in a file, one line each, with file and line; names of what is not installed are among them.

    Args:
        file: What was read.
    """
    found = [(problem.line or 0, file.where(problem)) for problem in file.problems]
    found += _uninstalled(file)
    return [text for _, text in sorted(found)]


def environment_problems() -> list[str]:
    """What is wrong with the variables of the environment, one line each."""
    found = []
    for name in sorted({key.env for key in KEYS if key.env.startswith("PROVIDERHUB_") and key.env in os.environ}):
        try:
            Settings().with_environment({name: os.environ[name]})
        except ConfigurationError as error:
            found.append(screen.one_line(error))
    if not found:
        try:
            Plugins(Settings().with_environment(os.environ))
        except ConfigurationError as error:
            found.append(screen.one_line(error))
    return found


def _uninstalled(file: SettingsFile) -> Iterator[tuple[int, str]]:
    try:
        installed = Plugins(Settings(autoload=True, block=())).names
    except Exception:  # noqa: BLE001 -- whatever is broken there is the doctor's matter
        return
    for name, wanted in _named_plugins(file):
        if wanted not in installed:
            line = next((file.lines[part] for part in (name, name.rpartition(".")[0]) if part in file.lines), 1)
            near = difflib.get_close_matches(wanted, installed, n=1)
            rest = f"did you mean {near[0]!r}?" if near else f"installed plugins: {', '.join(installed) or 'none'}"
            yield line, f"{file.path}:{line}: {name} names the plugin {wanted!r}, which is not installed; {rest}"


def _named_plugins(file: SettingsFile) -> Iterator[tuple[str, str]]:
    """Dotted key, and the plugin that stands there."""
    for field in ("allow", "block"):
        for number, name in enumerate(file.values.get(field) or ()):
            yield f"{field}.{number}", name
    for name in file.values.get("prefer") or ():
        yield f"prefer.{name}", name
    for name, config in (file.values.get("providers") or {}).items():
        yield (f"providers.{name}.plugin", config.plugin) if config.plugin else (f"providers.{name}", name)


def general_rows(settings: Settings) -> Iterator[Row]:
    """The values that concern no single provider.

    Args:
        settings: What a hub was told.
    """
    for key in KEYS:
        if ANY_NAME in key.path or key.kind in {"table", "seconds or table"}:
            continue
        value: Any = settings
        for part in key.path.split("."):
            value = getattr(value, part)
        whole = key.path.partition(".")[0] if key.path == "timeout.total" else key.path
        yield Row(key.path, _plain(value), settings.origins.get(key.path) or settings.origins.get(whole, DEFAULT))
    for table in ("aliases", "prefer"):
        for name, value in getattr(settings, table).items():
            dotted = f"{table}.{name}"
            yield Row(dotted, _plain(value), settings.origins.get(dotted, "argument"))


def provider_rows(settings: Settings, instances: Iterable[InstanceView]) -> Iterator[Row]:
    """The values of each provider, with what the environment says.

    Args:
        settings: What the hub was told.
        instances: Its providers.
    """
    for view in instances:
        given = settings.providers.get(view.name) or ProviderConfig()
        start = f"providers.{view.name}"
        told = _told(given)
        declared = {setting.name for setting in view.settings}
        for name in ("plugin", "priority", "weight", "models", "ca_bundle", "proxies"):
            origin = settings.origins.get(f"{start}.{name}")
            if origin:
                yield Row(f"{start}.{name}", _plain(getattr(given, name)), origin)
        for setting in view.settings:
            yield _declared_row(settings, view, given, setting)
        for name in sorted(told.keys() - declared):
            # What nobody declares may be a key.
            value = _masked(told[name]) if name == "url" else "set"
            yield Row(_dotted(start, name), value, _origin(settings, _dotted(start, name), told[name]))


def _told(given: ProviderConfig) -> dict[str, Any]:
    own = {name: getattr(given, name) for name in ("url", "api_key") if getattr(given, name) is not None}
    return {**own, **given.options}


def _dotted(start: str, name: str) -> str:
    return f"{start}.{name}" if name in {"url", "api_key"} else f"{start}.options.{name}"


def _declared_row(settings: Settings, view: InstanceView, given: ProviderConfig, setting: Setting) -> Row:
    """One declared setting: the value that counts, and who said it."""
    name = _dotted(f"providers.{view.name}", setting.name)
    value = view.config.get(setting.name) if view.config else given.get(setting.name)
    env = variable(setting, view.name, view.plugin)
    told = given.get(setting.name)
    if value is None:
        origin = f"environment variable {told.source.name} is not set" if _named(told) else f"set {env}"
        return Row(name, "not set", origin)
    if os.environ.get(env) and (told is None or given.origin != "argument"):
        origin = f"environment variable {env}"
    elif told is not None:
        origin = _origin(settings, name, told)
    else:
        origin = "default of the plugin"
    return Row(name, "set" if setting.secret or isinstance(value, Secret) else _plain(_masked(value)), origin)


def _named(value: object) -> bool:
    return isinstance(value, Secret) and isinstance(value.source, EnvironmentKey)


def _origin(settings: Settings, name: str, value: object) -> str:
    origin = settings.origins.get(name, "argument")
    return f"{origin}, {value.source}" if isinstance(value, Secret) and value.source is not None else origin


def _masked(value: Any) -> Any:
    """An address without what may be a password or a key in it."""
    if not isinstance(value, str) or "://" not in value:
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return "(not an address)"
    host = f"***@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    return parts._replace(netloc=host, query="***" if parts.query else "", fragment="").geturl()


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_model(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _masked(item) for name, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _model(item: Any) -> str:
    provider = getattr(item, "provider", None)
    name = getattr(item, "name", item)
    return f"{provider}/{name}" if provider else str(name)


def shown(value: Any) -> str:
    """A value as a person reads it.

    Args:
        value: As `Row` has it.
    """
    if value is None:
        return "all"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {item}" for name, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
