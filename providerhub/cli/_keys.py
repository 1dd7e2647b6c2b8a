"""`providerhub keys`: keys in the system's keyring, or in files that only their owner may read."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

import click

from providerhub import Hub, InstanceView, Setting, Settings
from providerhub._finding.installed import INSTALL_HINT, to_install
from providerhub._settings.resolving import variable
from providerhub._settings.secrets import FileKey, KeyringKey, is_quoted
from providerhub._values.checks import nearest
from providerhub.cli import _edit as edit
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen
from providerhub.cli import _store as store
from providerhub.cli._settings import declared_row

SERVICE = "providerhub"  # the name of the entries in the keyring


@click.group()
def keys() -> None:
    """Keep the keys of providers, and show where they are. No command shows a key."""


@keys.command()
@options.as_json
def path(*, as_json: bool) -> None:
    """Print the folder of the keys that are kept in files."""
    where = str(store.config_folder("keys"))
    screen.told(where, {"folder": where}, as_json=as_json, err=False)


@keys.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Also list the providers without a key.")
@options.as_json
def list_(*, everything: bool, as_json: bool) -> None:
    """List the keys that are set, each with its place."""
    with Hub() as hub:
        found = [_row(hub.settings, view, setting) for view in hub.instances() if (setting := _secret(view)) is not None]
    rows = [row for row in found if everything or row[1] == "set"]
    if as_json:
        screen.data([dict(zip(("provider", "key", "from"), row, strict=True)) for row in rows])
    elif rows:
        screen.table(("provider", "key", "from"), rows)
    if not found:
        screen.line(f"No installed provider takes a key; try: {INSTALL_HINT}", err=True)
    elif len(rows) < len(found):
        screen.line(f"{len(found) - len(rows)} more providers take a key, and have none; --all lists them", err=True)


def _row(settings: Settings, view: InstanceView, setting: Setting) -> tuple[str, str, str]:
    row = declared_row(settings, view, setting)
    return view.name, row.value, row.origin


def _secret(view: InstanceView) -> Setting | None:
    return next((setting for setting in view.settings if setting.name == "api_key"), None)


@keys.command(name="set")
@click.argument("provider")
@click.option("--file", "in_file", is_flag=True, help="Keep the key in a file, even if there is a keyring.")
@options.as_json
def set_(*, provider: str, in_file: bool, as_json: bool) -> None:
    """Ask for the key of PROVIDER, and keep it. A key can be piped in, too.

    The key goes to the system's keyring, or, without a keyring, to a file that only this user may read. The settings file names
    this place. A variable such as OPENAI_API_KEY takes precedence.
    """
    _settings, view, setting = _taking(provider)
    key = _asked(provider)
    place, source = (None if in_file else _in_keyring(provider, key)) or _in_file(provider, key)
    where = edit.put(("providers", provider, "api_key"), source)
    document = {"provider": provider, "place": place, "settings": str(where)}
    screen.told(f"The key is in {place}; {where} names that place.", document, as_json=as_json)
    name = variable(setting, provider, view.plugin)
    if os.environ.get(name):
        screen.line(f"Warning: the environment variable {name} takes precedence; unset it to use the new key.", err=True)


@keys.command()
@click.argument("provider")
@options.as_json
def remove(*, provider: str, as_json: bool) -> None:
    """Remove the key of PROVIDER that `keys set` keeps, and its place from the settings file."""
    settings, view, setting = _taking(provider)
    given, path = settings.providers.get(provider), store.config_folder("keys") / provider
    source = given.api_key.source if given is not None and given.api_key is not None else None
    if isinstance(source, FileKey) and source.path == str(path):
        path.unlink(missing_ok=True)
    elif source == KeyringKey(SERVICE, provider):
        with suppress(Exception):  # the entry may be gone already
            import keyring  # an extra

            keyring.delete_password(SERVICE, provider)
        if isinstance(source, KeyringKey) and not source.flaw():
            raise click.ClickException(f"the system's keyring did not remove the key of {provider!r}; remove it there")
    else:
        _name, value, origin = _row(settings, view, setting)
        raise click.ClickException(f"`keys set` keeps no key of {provider!r}, so none was removed; it is {value}: {origin}")
    where = edit.put(("providers", provider, "api_key"), None)
    text = f"Removed the key of {provider}, and its place in {where}."
    screen.told(text, {"provider": provider, "settings": str(where)}, as_json=as_json)


def _taking(provider: str) -> tuple[Settings, InstanceView, Setting]:
    """The settings, a provider that needs a key, and its setting for the key."""
    with Hub() as hub:
        settings, views = hub.settings, {view.name: view for view in hub.instances()}
    if provider not in views:
        known = f"installed: {', '.join(views) or 'none'}; further ones: {INSTALL_HINT}"
        fix = to_install(provider) or nearest(provider, views, known)
        raise click.ClickException(f"no provider {provider!r} is installed; {fix}")
    setting = _secret(views[provider])
    if setting is None:
        raise click.ClickException(f"the provider {provider!r} takes no key{_other_secrets(views[provider])}")
    return settings, views[provider], setting


def _other_secrets(view: InstanceView) -> str:
    """The places of a provider's secrets other than a key, as the end of an error; empty without one."""
    places = [f"{one.name} in the variable {variable(one, view.name, view.plugin)}" for one in view.settings if one.secret]
    return f" named api_key; set {', '.join(places)}, or in [providers.{view.name}.options]" if places else ""


def _asked(provider: str) -> str:
    if sys.stdin.isatty():
        key: str = click.prompt(f"Key for {provider}", hide_input=True, err=True)
    else:
        key = sys.stdin.buffer.read().decode("utf-8-sig", "replace")
    key = key.strip()
    if is_quoted(key):
        raise click.ClickException("the input has quotation marks around the key, which would be sent with it; leave them out")
    if not key.isascii() or not key.isprintable() or not key or " " in key:
        raise click.ClickException("the input is not a key: it is empty, or has blanks or characters that a key cannot have")
    return key


def _in_keyring(provider: str, key: str) -> tuple[str, dict[str, Any]] | None:
    """Keep a key in the keyring; `None` if there is no keyring, or if it does not return the key."""
    with suppress(Exception):  # a backend may raise anything; the file takes the key then
        import keyring  # an extra

        if keyring.get_keyring().priority < 1:
            return None
        keyring.set_password(SERVICE, provider, key)
        if KeyringKey(SERVICE, provider).read() == key:
            return "the system's keyring", {"keyring": SERVICE, "username": provider}
    return None


def _in_file(provider: str, key: str) -> tuple[str, dict[str, Any]]:
    path = store.config_folder("keys") / provider
    try:
        with store.replacing(path) as file:
            file.write(key.encode() + b"\n")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
    return str(path), {"file": str(path)}
