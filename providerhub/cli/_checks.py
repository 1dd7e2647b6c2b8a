"""The doctor's checks of the settings, the plugins and the providers. A check yields findings."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import attrs

import providerhub
from providerhub import Hub, InstanceView, Model, ProviderConfig, ProviderHubError, RetryPolicy, Secret, Setting, Settings
from providerhub._finding.discovery import Plugins
from providerhub._finding.installed import INSTALL_HINT
from providerhub._finding.views import unknown_models
from providerhub._settings.address import unused_environment
from providerhub._settings.file import SettingsFile, read
from providerhub._settings.resolving import variable
from providerhub._settings.secrets import CommandKey, EnvironmentKey, FileKey, KeyringKey
from providerhub._settings.settings import apply_environment, settings_path
from providerhub.cli import _screen as screen
from providerhub.cli._app import COMMANDS, extensions
from providerhub.cli._distributions import Finding
from providerhub.cli._imports import Import
from providerhub.cli._settings import declared_only, environment_problems, is_optional, problems


def configuration() -> tuple[str | None, Settings, list[Finding]]:
    """Return the path of the settings file (or `None`), the settings without mistakes, and the findings."""
    found: list[Finding] = []
    try:
        path = settings_path(os.environ)
    except ProviderHubError as error:
        path = None
        found.append(Finding("error", "settings", screen.one_line(error), "correct or unset the variable"))
    file = read(path, optional=is_optional()) if path else SettingsFile(path="")
    mistakes = problems(file)
    found += [Finding("error", "settings", text, "correct that line") for text in mistakes]
    found += _file(file, is_sound=not mistakes) if path else ()
    wrong = environment_problems()
    found += [Finding("error", "environment", text, "correct or unset the variable") for text in wrong]
    environ = {name: value for name, value in os.environ.items() if not any(text.startswith(f"{name} ") for text in wrong)}
    origins = {name: f"{file.path}:{line}" for name, line in file.lines.items()}
    settings, _ = apply_environment(Settings(**file.values, origins=origins), environ, ())
    return path, _installed_only(declared_only(settings, file)), found


def _installed_only(settings: Settings) -> Settings:
    """The settings without the plugins that are not installed; `problems` reports those."""
    known = set(Plugins(Settings(autoload=True, block=())).names)
    return attrs.evolve(
        settings,
        allow=None if settings.allow is None else settings.allow & known,
        block=(settings.block or frozenset()) & known,
        prefer={name: wanted for name, wanted in settings.prefer.items() if name in known},
    )


def _file(file: SettingsFile, *, is_sound: bool) -> Iterator[Finding]:
    """Check who may change the settings file."""
    path = Path(file.path)
    try:
        state = path.stat()
    except OSError:
        if not file.problems:
            text = f"there is no settings file at {path}"
            yield Finding("note", "settings", text, "none is needed while defaults and variables suffice")
        return
    if sys.platform == "win32" or not stat.S_ISREG(state.st_mode):
        return
    mode = stat.S_IMODE(state.st_mode)
    if mode & stat.S_IWOTH:
        text = f"every user may change {path} (mode {mode:o}), and so redirect prompts"
        yield Finding("error", "settings", text, f"chmod o-w {path}")
    if state.st_uid not in {os.getuid(), 0}:
        text = f"{path} belongs to another user (uid {state.st_uid}), who may change it"
        yield Finding("warning", "settings", text, f"chown {os.getuid()} {path}")
    if is_sound:
        yield Finding("ok", "settings", f"{path} has no mistakes (mode {mode:o})")


def imported(name: str, distribution: str, went: Import, slow: float, rest: str) -> Iterator[Finding]:
    """Check the import of a plugin. `slow` is in seconds; `rest` is added to the fix of a fatal import."""
    fix = f"uninstall or upgrade {distribution}{rest}"
    if went.outcome == "timeout":
        yield Finding("error", name, f"the import of {went.module} did not end within {went.seconds:g} s", fix)
    elif went.outcome == "ended":
        yield Finding("error", name, f"the import of {went.module} ended its process with status {went.status}", fix)
    elif went.seconds >= slow:
        fix = f"ask the author of {distribution} to move slow imports into the module of the factory"
        yield Finding("warning", name, f"the import of {went.module} takes {went.seconds:.2f} s", fix)
    if went.printed:
        text = f"the import of {went.module} prints to standard output, where answers and JSON go"
        yield Finding("warning", name, text, f"report it to the author of {distribution}")


def any_ready(providers: Iterable[InstanceView]) -> Iterator[Finding]:
    """Check that a call can be made at all."""
    states = [view.state for view in providers]
    if not states:
        yield Finding("error", "providers", "no usable provider plugin is installed", INSTALL_HINT)
    elif "ready" not in states:
        yield Finding("error", "providers", "no provider is ready, so no call can work", "configure one of those above")


_FIXES = {
    "misconfigured": "`providerhub settings show` shows the origin of the value",
    "broken": "pip install --upgrade --force-reinstall {view.distribution}, or uninstall it",
    "incompatible": "pip install --upgrade providerhub {view.distribution}",
    "conflict": "uninstall one of {view.distribution}, or set [prefer] {view.name} in the settings file",
}
"""State of a provider → fix."""


def provider(view: InstanceView, settings: Settings, file: str | None) -> Iterator[Finding]:
    """Check a provider without a call; `file` is the path of the settings file."""
    about = view.name
    for note in view.notes:
        yield Finding("warning", about, note, f"report it to the author of {view.distribution}")
    keys = [finding for setting in view.settings for finding in _key(view, setting, settings, file)]
    yield from keys
    if view.state == "ready":
        yield from () if any(finding.level == "error" for finding in keys) else (Finding("ok", about, "ready"),)
    elif view.state == "not configured":
        where = f", or the same under [providers.{about}] in {file}" if file else ""
        yield Finding("note", about, "it is not configured", f"{view.reason}{where}")
    elif view.state == "blocked":
        yield Finding("note", about, "it is blocked", view.reason)
    elif view.state != "not installed":  # the check of the settings reports a missing plugin
        yield Finding("error", about, f"it is {view.state}: {view.reason}", _FIXES[view.state].format(view=view))
    if view.config is not None and (unused := unused_environment(view.config)):
        yield Finding("note", about, *unused.split(": ", 1))


def _key(view: InstanceView, setting: Setting, settings: Settings, file: str | None) -> Iterator[Finding]:
    """Check whether a key can be read, and whether other users can read it."""
    given = settings.providers.get(view.name) or ProviderConfig()
    value, named = view.config.get(setting.name) if view.config else None, given.get(setting.name)
    source = value.source if isinstance(value, Secret) else None
    level, said, fix = "error", "", ""
    if isinstance(source, CommandKey) and shutil.which(source.command[0]) is None:
        said, fix = "is not installed", f"install {source.command[0]}, or give its full path"
    elif isinstance(source, KeyringKey) and find_spec("keyring") is None:
        said, fix = "cannot be read", 'pip install "providerhub[keyring]"'
    elif isinstance(source, FileKey):
        said, fix = source.flaw(), "correct that file or its path"
    elif source is not None:
        level, said, fix = "note", "was not tried", "`providerhub doctor --network` tries it"
    elif value is None and isinstance(named, Secret) and isinstance(source := named.source, EnvironmentKey):
        level, said, fix = "warning", "is not set", f"set {source.name}"
    if said:
        yield Finding(level, view.name, f"{setting.name} comes from the {source}, which {said}", fix)
    is_plain = setting.secret and isinstance(given.options.get(setting.name), str)
    if is_plain and file and sys.platform != "win32" and Path(file).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = f"{setting.name} is written in a file that other users may read"
        fix = f"chmod 600 {file}, or set {variable(setting, view.name, view.plugin)} instead"
        yield Finding("error", view.name, text, fix)


def models(settings: Settings, providers: Sequence[InstanceView]) -> Iterator[Finding]:
    for key, about, text in unknown_models(settings, providers):
        origin = settings.origins.get(key, "settings")
        yield Finding("warning", about, f"{origin}: {text}", "correct the name, or `providerhub models --refresh`")


def commands() -> Iterator[Finding]:
    """Report the commands of other distributions that cannot be used."""
    for extension in extensions().values():
        both = " and ".join(extension.distributions)
        if len(extension.distributions) > 1:
            text = f"the command {extension.name!r} is offered by {both}, so it cannot be used"
            yield Finding("error", extension.name, text, f"uninstall one of {both}")
        elif extension.name in COMMANDS:
            text = f"the command {extension.name!r} of {both} is never called, since the core has a command of this name"
            yield Finding("warning", extension.name, text, f"report it to the author of {both}")
        else:
            try:
                extension.command()
            except providerhub.PluginError as error:
                yield Finding("error", extension.name, str(error), f"reinstall or uninstall {both}")


_WAY = "check its url and the network in between (proxy, firewall)"
_HINTS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((providerhub.AuthenticationError,), "check its key: `providerhub settings show` shows the key's origin"),
    ((providerhub.QuotaExceededError,), "the account has no quota left: see the provider's billing page"),
    ((providerhub.RateLimitError,), "it works, but limits the rate of requests; try again later"),
    ((providerhub.TLSError,), "for a private authority, set ca_bundle under its [providers] entry"),
    ((providerhub.ProviderTimeoutError, providerhub.DeadlineExceededError), f"{_WAY}, or allow more time with --timeout"),
    ((providerhub.ProviderConnectionError,), _WAY),
    ((providerhub.ConfigurationError,), "`providerhub settings show` shows the origins of its values"),
    ((providerhub.ModelNotFoundError,), "`providerhub models --refresh` lists its models"),
)
"""Classes of errors → fix; the first match counts."""


def network(settings: Settings, providers: Iterable[InstanceView], seconds: float) -> Iterator[Finding]:
    """Ask each ready provider for a tiny answer, with a timeout in seconds."""
    ready = [view.name for view in providers if view.state == "ready"]
    # With a configured provider that is not installed, the hub could not ask the other providers.
    configured = {name: config for name, config in settings.providers.items() if name in ready}
    with screen.unlogged(), Hub(attrs.evolve(settings, providers=configured)) as hub:
        hub.refresh()
        for view in hub.instances():
            if view.name in ready:
                if view.list_error:
                    text = f"it could not list its models: {view.list_error}"
                    named = any(not model.is_prefix for model in view.models)  # without a full name, no call can name a model
                    fix = "" if named else f"{_WAY}, and its key; or "
                    fix += "list them under its [providers] entry in the settings file"
                    yield Finding("warning" if named else "error", view.name, text, fix)
                yield _asked(hub, view, seconds)


def _asked(hub: Hub, view: InstanceView, seconds: float) -> Finding:
    instance = hub._registry.instance(view.name)  # noqa: SLF001 -- a view does not say which declared models the service lists
    listed = {name for model in instance.list.models for name in (model.name, *model.aliases)} if instance else set()
    names = [model.name for model in view.models if not model.is_prefix]
    names.sort(key=lambda name: name not in listed)
    if not names and (view.list_error or not view.can_list):
        fix = f"list models under [providers.{view.name}] in the settings file"
        return Finding("note", view.name, "it was not asked: it declares no model by its full name", fix)
    name = names[0] if names else "none"  # any name shows whether the service can be reached
    try:
        # One attempt: a retry would hide a problem.
        retry = RetryPolicy(attempts=1)
        answer = hub.complete(Model(name, view.name), "Say: ok", max_tokens=16, timeout=seconds, retry=retry)
    except ProviderHubError as error:
        if not names:
            said = screen.one_line(error).removeprefix(f"{view.name}/{name}: ")
            return Finding("note", view.name, f"it lists no models: {said}", f"{_WAY}, or add a model to its server")
        fix = next((fix for kinds, fix in _HINTS if isinstance(error, kinds)), "see the provider's own documentation")
        return Finding("error", view.name, f"asked for {name}: {screen.one_line(error)}", fix)
    return Finding("ok", view.name, f"answered as {name} in {answer.route.attempts[-1].duration:.2f} s")
