"""What the doctor looks at: the settings, each provider, and what they answer. Each check yields findings and raises nothing."""

from __future__ import annotations

import difflib
import os
import shutil
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import attrs

from providerhub import (
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    Hub,
    InstanceView,
    Model,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderHubError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
    Secret,
    Settings,
    TLSError,
)
from providerhub._finding.discovery import Plugins
from providerhub._settings.file import SettingsFile, read, settings_path
from providerhub._settings.secrets import CommandKey, EnvironmentKey, KeyringKey
from providerhub._settings.settings import apply_environment, variable
from providerhub.cli import _screen as screen
from providerhub.cli._findings import Finding
from providerhub.cli._settings import environment_problems, problems


@attrs.frozen
class Told:
    """What the settings amount to, with all that is wrong left out.

    Args:
        file: The file's path, or `None` when there is no place for one.
        settings: What a hub can be made of.
        findings: What is wrong, or worth knowing.
    """

    file: str | None
    settings: Settings
    findings: tuple[Finding, ...]


def told() -> Told:
    """Read file and environment, whatever is wrong with them."""
    found: list[Finding] = []
    try:
        path = settings_path(os.environ)
    except ProviderHubError as error:
        path = None
        found.append(Finding("error", "settings", screen.one_line(error), "correct the variable, or unset it"))
    file = read(path, optional=not os.environ.get("PROVIDERHUB_CONFIG")) if path else SettingsFile(path="")
    found += [Finding("error", "settings", text, "correct that line") for text in problems(file)]
    found += _file_findings(file) if path else ()
    wrong = environment_problems()
    found += [Finding("error", "environment", text, "correct the variable, or unset it") for text in wrong]
    environ = {name: value for name, value in os.environ.items() if not any(text.startswith(f"{name} ") for text in wrong)}
    origins = {name: f"{file.path}:{line}" for name, line in file.lines.items()}
    settings, _ = apply_environment(Settings(**file.values, origins=origins), environ, ())
    return Told(path, _without_uninstalled(settings), tuple(found))


def _without_uninstalled(settings: Settings) -> Settings:
    """Settings that name only plugins that are there; the others are told as findings."""
    known = set(Plugins(Settings(autoload=True, block=())).names)
    return attrs.evolve(
        settings,
        allow=None if settings.allow is None else settings.allow & known,
        block=(settings.block or frozenset()) & known,
        prefer={name: wanted for name, wanted in settings.prefer.items() if name in known},
    )


def _file_findings(file: SettingsFile) -> Iterator[Finding]:
    """Whether the file is safe where it lies."""
    path = Path(file.path)
    try:
        state = path.stat()
    except OSError:
        if not file.problems:
            yield Finding(
                "note", "settings", f"there is no settings file at {path}", "none is needed while defaults and variables do"
            )
        return
    if os.name != "posix" or not stat.S_ISREG(state.st_mode):
        return
    mode = stat.S_IMODE(state.st_mode)
    if mode & stat.S_IWOTH:
        yield Finding(
            "error", "settings", f"anybody may change {path} (mode {mode:o}), and so redirect prompts", f"chmod o-w {path}"
        )
    if state.st_uid not in {os.getuid(), 0}:
        text = f"{path} belongs to another user (uid {state.st_uid}), who may change it"
        yield Finding("warning", "settings", text, f"chown {os.getuid()} {path}")
    if not problems(file):
        yield Finding("ok", "settings", f"{path} has no mistakes (mode {mode:o})")


def provider(view: InstanceView, settings: Settings, file: str | None) -> Iterator[Finding]:
    """What can be said of a provider without asking it.

    Args:
        view: The provider.
        settings: What the hub was told.
        file: Where the settings file is, or would be.
    """
    about = view.name
    for note in view.notes:
        yield Finding("warning", about, note, f"report it to the author of {view.distribution}")
    keys = tuple(_keys(view, settings, file))
    yield from keys
    if view.state == "ready":
        yield from () if any(finding.level == "error" for finding in keys) else (Finding("ok", about, "ready"),)
    elif view.state == "not configured":
        where = f", or the same under [providers.{about}] in {file}" if file else ""
        yield Finding("note", about, "it is not configured", f"{view.reason}{where}")
    elif view.state == "blocked":
        yield Finding("note", about, "it is blocked", view.reason)
    elif view.state != "not installed":  # which the check of the settings has said
        yield Finding("error", about, f"it is {view.state}: {view.reason}", _FIXES[view.state].format(view=view, file=file))
    yield from _options(view, settings)


_FIXES = {
    "misconfigured": "providerhub settings show tells where the value comes from",
    "broken": "pip install --upgrade --force-reinstall {view.distribution}, or uninstall it",
    "incompatible": "pip install --upgrade providerhub {view.distribution}",
    "conflict": "uninstall one of {view.distribution}, or set [prefer] {view.name} in the settings file",
}


def _keys(view: InstanceView, settings: Settings, file: str | None) -> Iterator[Finding]:
    """Whether those keys can be read that are read later, and whether others can read them too."""
    given = settings.providers.get(view.name)
    for setting in view.settings:
        value = view.config.get(setting.name) if view.config else None
        source = value.source if isinstance(value, Secret) else None
        if isinstance(source, CommandKey) and shutil.which(source.command[0]) is None:
            text = f"{setting.name} comes from {source}, which is not there"
            yield Finding("error", view.name, text, f"install {source.command[0]}, or give its full path")
        elif isinstance(source, KeyringKey) and find_spec("keyring") is None:
            text = f"{setting.name} comes from the {source}, which cannot be read"
            yield Finding("error", view.name, text, 'pip install "providerhub[keyring]"')
        elif source is not None:
            text = f"{setting.name} comes from the {source}, which was not asked"
            yield Finding("note", view.name, text, "providerhub doctor --network asks it")
        named = given.get(setting.name) if given is not None else None
        if value is None and isinstance(named, Secret) and isinstance(named.source, EnvironmentKey):
            text = f"{setting.name} comes from the {named.source}, which is not set"
            yield Finding("warning", view.name, text, f"set {named.source.name}")
        plain = given is not None and isinstance(given.options.get(setting.name), str)
        if setting.secret and plain and file and _others_may_read(file):
            env = variable(setting, view.name, view.plugin)
            text = f"{setting.name} is written out in a file that others may read"
            yield Finding("error", view.name, text, f"chmod 600 {file}, or set {env} instead")


def _others_may_read(path: str) -> bool:
    return os.name == "posix" and bool(Path(path).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _options(view: InstanceView, settings: Settings) -> Iterator[Finding]:
    """Options that the plugin does not declare, and probably does not read."""
    given = settings.providers.get(view.name)
    declared = [setting.name for setting in view.settings]
    for name in given.options if given is not None and view.config is not None else ():
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            what = f"did you mean {near[0]}?" if near else f"it declares {', '.join(declared) or 'none'}"
            origin = settings.origins.get(f"providers.{view.name}.options.{name}", "settings")
            text = f"{origin}: the plugin does not declare the option {name!r}"
            yield Finding("warning", view.name, text, what)


_HINTS: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, "check its key: providerhub settings show tells where it comes from"),
    (QuotaExceededError, "the account is used up: see the provider's billing page"),
    (RateLimitError, "it works, but asks to be left alone for now: try later"),
    (TLSError, "for a private authority, set ca_bundle under its [providers] entry"),
    (ProviderTimeoutError, "check its url and the way there (proxy, firewall), or allow more with --timeout"),
    (DeadlineExceededError, "check its url and the way there (proxy, firewall), or allow more with --timeout"),
    (ProviderConnectionError, "check its url and the way there (proxy, firewall)"),
    (ConfigurationError, "providerhub settings show tells where its values come from"),
    (ModelNotFoundError, "providerhub models --refresh lists what it has"),
)


def network(hub: Hub, view: InstanceView, seconds: float) -> Finding:
    """Ask a provider for a tiny answer.

    Args:
        hub: Where it is.
        view: The provider, which is ready.
        seconds: How long it may take.
    """
    name = next((model.name for model in view.models if not model.is_prefix), None)
    if name is None:
        fix = f"list models under [providers.{view.name}] in the settings file"
        return Finding("note", view.name, "it was not asked: it declares no model by its full name", fix)
    try:
        # One attempt, streaming or not: this is about whether it answers at all.
        retry = RetryPolicy(attempts=1)
        answer = hub.complete(Model(name, view.name), "Say: ok", max_tokens=16, timeout=seconds, retry=retry)
    except ProviderHubError as error:
        fix = next((fix for kind, fix in _HINTS if isinstance(error, kind)), "see the provider's own documentation")
        return Finding("error", view.name, f"asked for {name}: {screen.one_line(error)}", fix)
    took = answer.route.attempts[-1].duration
    return Finding("ok", view.name, f"answered as {name} in {took:.2f} s")
