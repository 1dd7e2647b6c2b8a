"""The settings of a hub: argument, then environment, then settings file, then default."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self, TypeVar

import attrs

from providerhub._settings.address import circle_of, flaws, proxy_flaws
from providerhub._values import BreakerRules, BudgetRules, Model, ProviderConfig, RetryPolicy, Timeout
from providerhub._values.checks import FLAG, MAPPING, NAMES, SECONDS, TEXT, Check, instance_of, mapping_to, one_of
from providerhub._values.config import PROXIES
from providerhub._values.errors import ConfigurationError
from providerhub._values.knobs import ON_INTERRUPT, STRATEGIES
from providerhub._values.shared import Shared
from providerhub._values.value import Value, frozen

VARIABLE = "PROVIDERHUB_CONFIG"  # the environment variable that names the settings file
_Settings = TypeVar("_Settings", bound="Settings")


class _Default(str):
    """A default value, distinct from the same text of a caller."""

    __slots__ = ()


_TIMEOUT = Timeout()  # the default. Any other object was given, even an equal one.


def _names(value: Any) -> frozenset[str] | None:
    """Convert a list of names or a text with commas; `None` stays `None`."""
    if value is None:
        return None
    names = [name for name in value.split(",") if name.strip()] if isinstance(value, str) else value
    NAMES.check(names, "allow and block", ConfigurationError)
    return frozenset(name.strip() for name in names)


def _is_model(value: object) -> bool:
    return isinstance(value, Model) or TEXT.test(value)


_ALIASES = mapping_to(object, "a mapping, as in {'best': ['gpt-4', 'gpt-3.5-turbo']}")
_MODELS = Check(
    "a model or a list of models", lambda value: isinstance(value, list | tuple) and bool(value) and all(map(_is_model, value))
)


def _alias_targets(aliases: Any) -> dict[str, tuple[Any, ...]]:
    _ALIASES.check(aliases, "aliases", ConfigurationError)
    targets = {name: (value,) if isinstance(value, str | Model) else value for name, value in aliases.items()}
    for name, value in targets.items():
        _MODELS.check(value, f"the alias {name!r}", ConfigurationError)
    return {name: tuple(value) for name, value in targets.items()}


_STRATEGY = one_of(STRATEGIES)


def _checked(check: Check, **options: Any) -> Any:
    """A field whose values must pass a check."""
    return attrs.field(validator=lambda _, field, value: check.check(value, field.name, ConfigurationError), **options)


@frozen(eq=False, repr=False, kw_only=True)
class Settings(Value):
    """All settings of a hub, in one frozen value.

    `Settings(...)` has only the arguments; the hub adds values from the environment, but does not read the settings file.
    `Settings.load()`, and a `Hub()` without settings, read the file too. `attrs.evolve(Settings.load(), ...)` changes single
    values.

    Args:
        providers: Instance name → its configuration. `plugin` names the plugin if its name differs.
        aliases: Name → model or models. An alias may name another alias, but not itself.
        timeout: The timeouts of the phases of every call. Environment: `PROVIDERHUB_TIMEOUT`, in seconds, is its `total`.
        retry: The number of attempts of a call, and the waits between them.
        breaker: The circuit breaker, which skips a failing provider for some time.
        budget: The retry budget of one provider, shared by all calls.
        strategy: The order of equal candidates: one of `STRATEGIES`, by default `"priority"`. Environment:
            `PROVIDERHUB_STRATEGY`.
        on_interrupt: The reaction to a stream that breaks after its first content: one of `ON_INTERRUPT`, by default `"raise"`.
        hedge: Whether a call may ask a second provider while the first provider is slow. Default false.
        emulate_stream: Whether a provider that cannot stream may answer a streaming call in one piece. Default false.
        allow: The plugins to load; `None`, the default, for all. Environment: `PROVIDERHUB_PLUGINS`.
        block: Plugins that are never imported. Environment: `PROVIDERHUB_BLOCK`.
        autoload: Whether installed plugins are loaded. Environment: `PROVIDERHUB_DISABLE_AUTOLOAD`.
        prefer: Provider name → the distribution to use, if two distributions have the same name.
        ca_bundle: Path of a PEM file with the certificates to trust, for each provider without a `ca_bundle` of its own.
        proxies: The proxy for each scheme, for each provider without `proxies` of its own.
        trust_env: Whether variables such as `HTTPS_PROXY`, `NO_PROXY` and `SSL_CERT_FILE` apply if `proxies` or `ca_bundle` is
            not set. Default false. Environment: `PROVIDERHUB_TRUST_ENV`.
        wire_log: Path of a file to which each request and answer is appended, without keys, for authors of plugins; `"-"` for
            standard error. Environment: `PROVIDERHUB_WIRE_LOG`.
        shared: The store through which this process shares its state with others. Default: none. Environment:
            `PROVIDERHUB_SHARED`, the address of the store.
        journal: The table `[journal]`, for `providerhub-journal`.
        budgets: The tables `[budgets.NAME]`, by name, for `providerhub-journal`.
        cache: The table `[cache]`, for `providerhub-cache`.
        origins: Dotted name → the source of a value: `"file:line"` or an environment variable. Defaults and arguments have no
            entry.
        variables: Environment variables by name, with precedence over the variables of this process. An empty text means that the
            variable is not set. A hub that goes to another process fills them in.
    """

    __module__ = "providerhub"

    providers: Mapping[str, ProviderConfig] = _checked(
        mapping_to(ProviderConfig, "a mapping of names to ProviderConfig(...)"), factory=dict
    )
    aliases: Mapping[str, tuple[Any, ...]] = attrs.field(factory=dict, converter=_alias_targets)
    timeout: Timeout = _checked(instance_of(Timeout, "a Timeout, such as Timeout(total=30)"), default=_TIMEOUT)
    retry: RetryPolicy = _checked(
        instance_of(RetryPolicy, "a RetryPolicy, such as RetryPolicy(attempts=2)"), default=RetryPolicy()
    )
    breaker: BreakerRules = _checked(instance_of(BreakerRules, "BreakerRules(...)"), default=BreakerRules())
    budget: BudgetRules = _checked(instance_of(BudgetRules, "BudgetRules(...)"), default=BudgetRules())
    strategy: str = _checked(_STRATEGY, default=_Default("priority"))
    on_interrupt: str = _checked(one_of(ON_INTERRUPT), default="raise")
    hedge: bool = _checked(FLAG, default=False)
    emulate_stream: bool = _checked(FLAG, default=False)
    allow: frozenset[str] | None = attrs.field(default=None, converter=_names)
    block: frozenset[str] | None = attrs.field(default=None, converter=_names)
    autoload: bool | None = _checked(FLAG.or_none, default=None)
    prefer: Mapping[str, str] = _checked(mapping_to(str, "a mapping of providers' names to distributions"), factory=dict)
    origins: Mapping[str, str] = _checked(mapping_to(str, "a mapping of names to places"), factory=dict, eq=False, repr=False)
    ca_bundle: str | None = _checked(TEXT.or_none, default=None)
    proxies: Mapping[str, str] = _checked(PROXIES, factory=dict)
    trust_env: bool | None = _checked(FLAG.or_none, default=None)
    wire_log: str | None = _checked(TEXT.or_none, default=None)
    shared: Shared = _checked(instance_of(Shared, "Shared(...), such as Shared('redis://127.0.0.1:6379/0')"), default=Shared())
    journal: Mapping[str, Any] = _checked(MAPPING, factory=dict)
    budgets: Mapping[str, Mapping[str, Any]] = _checked(mapping_to(Mapping, "a mapping of names to tables"), factory=dict)
    cache: Mapping[str, Any] = _checked(MAPPING, factory=dict)
    variables: Mapping[str, str] = _checked(mapping_to(str, "a mapping of variables to texts"), factory=dict, repr=False)

    @aliases.validator
    def _no_circle(self, _attribute: object, aliases: Mapping[str, tuple[Any, ...]]) -> None:
        circle = circle_of(aliases)
        if circle:
            raise ConfigurationError(f"aliases go in a circle: {' → '.join(circle)}")

    def __attrs_post_init__(self) -> None:
        wrong = [(f"proxies.{name}", f"proxies.{name} {flaw}") for name, flaw in proxy_flaws(self.proxies)]
        for name, config in self.providers.items():
            wrong += [(f"providers.{name}.{field}", f"provider {name!r}: {field} {flaw}") for field, flaw in flaws(config)]
        for name, message in wrong:
            raise ConfigurationError(f"{self.origins[name]}: {message}" if name in self.origins else message)

    def __getstate__(self) -> dict[str, Any]:
        # The environment takes precedence over these two defaults. A pickle must not turn them into given values.
        state = Value.__getstate__(self)
        return {name: state[name] for name in state if not self._is_default(name)}

    def _is_default(self, name: str) -> bool:
        value = getattr(self, name)
        return value is _TIMEOUT or isinstance(value, _Default)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings file and the environment. The environment takes precedence over the file.

        Args:
            path: The settings file. Default: the file in `PROVIDERHUB_CONFIG`, or else `settings.toml` in the user's
                configuration folder for `providerhub`, which may be missing.
            environ: Environment variables by name; by default `os.environ`.

        Raises:
            ConfigurationError: The named file is missing, or the file or a variable has a mistake. The message names the file,
                the line and the nearest known key.
        """
        # Neither this frame nor a frame that raises keeps the variables: they may hold keys, and a traceback may show locals.
        where = settings_path(os.environ if environ is None else environ) if path is None else os.fspath(path)
        # Only the file in the default place may be missing: a path that was given must not be ignored.
        named = path is not None or (os.environ if environ is None else environ).get(VARIABLE)
        if where is None or where == os.devnull or not (named or _may_exist(where)):
            return cls().with_environment(os.environ if environ is None else environ)
        from providerhub._settings.file import read  # slow to import; few programs have a settings file

        file = read(where, optional=not named)
        if file.error is not None:
            raise file.error
        origins = {name: f"{file.path}:{line}" for name, line in file.lines.items()}
        settings, error = apply_environment(cls(**file.values, origins=origins), os.environ if environ is None else environ, ())
        if error:
            raise ConfigurationError(error)
        return settings

    def with_environment(self, environ: Mapping[str, str]) -> Self:
        """Take missing values from the environment.

        Args:
            environ: Environment variables by name, such as `os.environ`.

        Returns:
            Settings in which `block`, `autoload` and `trust_env` are not `None`.

        Raises:
            ConfigurationError: A variable has a wrong value.
        """
        given = {name for name in _ENVIRONMENT if getattr(self, name) is not None and not self._is_default(name)}
        if self.shared.url is None:
            given.discard("shared")
        settings, error = apply_environment(self, {**environ, **self.variables}, given)
        del environ  # it may hold keys, and a traceback may show locals
        if error:
            raise ConfigurationError(error)
        return settings


def _strategy_from(_settings: Settings, text: str) -> str:
    _STRATEGY.check(text, "strategy")
    return text


def _shared_from(settings: Settings, text: str) -> Shared:
    return attrs.evolve(settings.shared, url=text)


def _switch(text: str) -> bool:
    if text.lower() not in {"1", "true", "0", "false"}:
        raise ValueError
    return text.lower() in {"1", "true"}


# Field → its variable, the function that reads the text (`ValueError` when it cannot), and the words for a valid text.
_ENVIRONMENT: dict[str, tuple[str, Callable[[Settings, str], Any], str]] = {
    "timeout": ("PROVIDERHUB_TIMEOUT", lambda settings, text: attrs.evolve(settings.timeout, total=float(text)), SECONDS.wanted),
    "strategy": ("PROVIDERHUB_STRATEGY", _strategy_from, _STRATEGY.wanted),
    "allow": ("PROVIDERHUB_PLUGINS", lambda _settings, text: text, "names, separated by commas"),
    "block": ("PROVIDERHUB_BLOCK", lambda _settings, text: text, "names, separated by commas"),
    "autoload": ("PROVIDERHUB_DISABLE_AUTOLOAD", lambda _settings, text: not _switch(text), "1 or 0"),
    "trust_env": ("PROVIDERHUB_TRUST_ENV", lambda _settings, text: _switch(text), "1 or 0"),
    "wire_log": ("PROVIDERHUB_WIRE_LOG", lambda _settings, text: text, TEXT.wanted),
    "shared": ("PROVIDERHUB_SHARED", _shared_from, "the address of a store, such as 'redis://127.0.0.1:6379/0'"),
}
VARIABLES = tuple(name for name, *_ in _ENVIRONMENT.values())


def settings_path(environ: Mapping[str, str]) -> str | None:
    """The path in `PROVIDERHUB_CONFIG`, else `settings.toml` in the configuration folder of the user; `None` without one."""
    named = environ.get(VARIABLE)
    del environ  # it may hold keys, and a traceback may show locals
    if named:
        path = os.path.expanduser(named)
        if not os.path.isabs(path):
            msg = f"{VARIABLE} must be an absolute path, so that no working directory can redirect prompts, not {named!r}"
            raise ConfigurationError(msg)
        return path
    path = os.path.join(user_folder("config"), "settings.toml")
    return path if os.path.isabs(path) else None


_USUAL_FOLDERS = {"config": ".config", "data": ".local/share", "cache": ".cache"}


def user_folder(kind: str) -> str:
    """The user's folder for `"config"`, `"data"` or `"cache"` of this project. Without a home directory, it is relative."""
    if sys.platform == "linux" and not os.environ.keys() & {f"XDG_{kind.upper()}_HOME", "ANDROID_ROOT"}:
        # The XDG Base Directory Specification, read like platformdirs. Its import would take longer than the settings' import.
        return os.path.join(os.path.expanduser("~"), _USUAL_FOLDERS[kind], "providerhub")
    import platformdirs

    return str(getattr(platformdirs, f"user_{kind}_dir")("providerhub", appauthor=False))


def _may_exist(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


def apply_environment(settings: _Settings, environ: Mapping[str, str], given: Collection[str]) -> tuple[_Settings, str]:
    """Replace values of the settings by values of environment variables, except the fields in `given`.

    The result has `block`, `autoload` and `trust_env` filled in. The text is an error message; empty without a mistake.
    """
    changes: dict[str, Any] = {}
    origins = dict(settings.origins)
    for name, (env, reader, wanted) in _ENVIRONMENT.items():
        text = environ.get(env)
        if not text or name in given:
            continue
        try:
            changes[name] = reader(settings, text)
        except ValueError:
            return settings, f"{env} must be {wanted}, not {text!r}"
        origins[{"timeout": "timeout.total", "shared": "shared.url"}.get(name, name)] = f"environment variable {env}"
    filled = {"autoload": settings.autoload is not False, "block": settings.block or (), "trust_env": bool(settings.trust_env)}
    return attrs.evolve(settings, **{**filled, **changes}, origins=origins), ""
