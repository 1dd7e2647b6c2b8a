"""The settings of a hub: argument, then environment, then settings file, then default."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self, TypeVar

import attrs

from providerhub._settings.address import flaws, proxy_flaws
from providerhub._settings.environment import with_environment
from providerhub._settings.file import VARIABLE, circle_of, read, settings_path
from providerhub._settings.refined import given
from providerhub._settings.secrets import EnvironmentKey, is_quoted
from providerhub._settings.table import ON_INTERRUPT, STRATEGIES
from providerhub._values import BreakerRules, BudgetRules, Model, ProviderConfig, RetryPolicy, Secret, Timeout
from providerhub._values.capabilities import ProviderInfo, Setting
from providerhub._values.checks import FLAG, MAPPING, NAMES, SECONDS, TEXT, Check, instance_of, mapping_to, nearest, one_of
from providerhub._values.config import PROXIES
from providerhub._values.errors import ConfigurationError
from providerhub._values.frozen import frozen
from providerhub._values.shared import Shared
from providerhub._values.value import Value

_Settings = TypeVar("_Settings", bound="Settings")


class _Default(str):
    """A default value, which differs from the same text of a caller."""

    __slots__ = ()


_SECRET_HEADER = re.compile("authorization|cookie|key|secret|token", re.IGNORECASE)
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

    `Settings(...)` holds the arguments alone; the hub completes them from the environment, and does not read the settings file.
    `Settings.load()`, and a `Hub()` without settings, read the file too. `attrs.evolve(Settings.load(), ...)` changes single
    values.

    Args:
        providers: Instance name → its configuration. `plugin` names the plugin when that has another name.
        aliases: Name → the model or models for which it stands. An alias may stand for another alias, but not for itself.
        timeout: The timeouts of the phases of every call. Environment: `PROVIDERHUB_TIMEOUT`, in seconds, is its `total`.
        retry: The number of attempts of a call, and the waits between them.
        breaker: When a failing provider is left out, and for how long.
        budget: The retry budget of one provider, shared by all calls.
        strategy: The order of candidates that are otherwise equal: one of `STRATEGIES`, by default `"priority"`. Environment:
            `PROVIDERHUB_STRATEGY`.
        on_interrupt: The reaction to a stream that breaks after its first content: one of `ON_INTERRUPT`, by default `"raise"`.
            An argument of a call outranks this and the next two.
        hedge: Whether a call may ask a second provider while the first one is slow. Default false.
        emulate_stream: Whether a provider that cannot stream may answer a streaming call in one piece. Default false.
        allow: The only plugins that are loaded; `None` for all. Environment: `PROVIDERHUB_PLUGINS`.
        block: Plugins that are never imported. Environment: `PROVIDERHUB_BLOCK`.
        autoload: Whether installed plugins are loaded. Environment: `PROVIDERHUB_DISABLE_AUTOLOAD`.
        prefer: Provider name → the distribution to use, where two distributions offer the same name.
        ca_bundle: Path of a PEM file with the certificates to trust, for each provider without a `ca_bundle` of its own.
        proxies: The proxy for each scheme, for each provider without `proxies` of its own.
        trust_env: Whether `HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` and the like apply where `proxies` or `ca_bundle` is not
            set. Default false. Environment: `PROVIDERHUB_TRUST_ENV`.
        wire_log: Path of a file to which each request and answer is appended, without keys, for authors of plugins; `"-"` for
            standard error. Environment: `PROVIDERHUB_WIRE_LOG`.
        shared: The store through which this process shares its state with others. Default: none. Environment:
            `PROVIDERHUB_SHARED`, the address of the store.
        journal: The table `[journal]`, for `providerhub-journal`.
        budgets: The tables `[budgets.NAME]`, by name, for `providerhub-journal`.
        cache: The table `[cache]`, for `providerhub-cache`.
        origins: Dotted name → the source of a value: `"file:line"` or an environment variable. Defaults and arguments have no
            entry.
        variables: Environment variables by name that outrank those of this process; an empty text stands for a variable that is
            not set. A hub that goes to another process fills them in.
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
        # The environment outranks these two defaults. A pickle must not turn them into values that were given.
        state = Value.__getstate__(self)
        return {name: state[name] for name in state if not self._is_default(name)}

    def _is_default(self, name: str) -> bool:
        value = getattr(self, name)
        return value is _TIMEOUT or isinstance(value, _Default)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings file and the environment, which outranks the file.

        Args:
            path: The settings file. By default the file that `PROVIDERHUB_CONFIG` names, else `settings.toml` in the user's
                configuration folder for `providerhub`, which may be missing.
            environ: Environment variables by name; by default `os.environ`.

        Raises:
            ConfigurationError: The named file is missing, or the file or a variable has a mistake. The message has the file, the
                line and the nearest known key.
        """
        # No local name here holds the variables, nor in a frame that raises: they may be keys, and a traceback may show locals.
        where = settings_path(os.environ if environ is None else environ) if path is None else os.fspath(path)
        if where is None:
            return cls().with_environment(os.environ if environ is None else environ)
        # Only the file in the default place may be missing: a path that was given must not be ignored.
        named = path is not None or (os.environ if environ is None else environ).get(VARIABLE)
        file = read(where, optional=not named)
        if file.error is not None:
            raise file.error
        origins = {name: f"{file.path}:{line}" for name, line in file.lines.items()}
        settings, error = apply_environment(cls(**file.values, origins=origins), os.environ if environ is None else environ, ())
        if error:
            raise ConfigurationError(error)
        return settings

    def with_environment(self, environ: Mapping[str, str]) -> Self:
        """Take the values that were not given from the environment.

        Args:
            environ: Environment variables by name, such as `os.environ`.

        Returns:
            Settings in which `block`, `autoload` and `trust_env` are not `None`.

        Raises:
            ConfigurationError: A variable has a value of the wrong kind.
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


def apply_environment(settings: _Settings, environ: Mapping[str, str], given: Collection[str]) -> tuple[_Settings, str]:
    """Replace values of the settings by those of environment variables, except the fields in `given`.

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
    changes = {
        "autoload": settings.autoload is not False,
        "block": settings.block or (),
        "trust_env": bool(settings.trust_env),
        **changes,
    }
    return attrs.evolve(settings, **changes, origins=origins), ""


def literal_keys(config: ProviderConfig, info: ProviderInfo | None) -> list[str]:
    """The settings of an instance that hold a key itself rather than a reference to it; `info` is `None` for a broken plugin."""
    secrets = {setting.name for setting in info.all_settings if setting.secret} if info else set()
    secrets |= {name for name, value in _given(config).items() if isinstance(value, Secret)}
    found = [name for name in sorted(secrets) if (value := config.get(name)) and getattr(value, "source", None) is None]
    found += [f"headers.{name}" for name in config.headers if _SECRET_HEADER.search(name)]
    return found + [f"proxies.{scheme}" for scheme, address in config.proxies.items() if "@" in address]


def variables_of(plugins: Mapping[str, ProviderInfo], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that give another process the same settings, without those of keys; `""` for those that are not set.

    `plugins` has the declaration of each instance.
    """
    plain = [(name, info, setting) for name, info in plugins.items() for setting in info.all_settings if not setting.secret]
    own = (variable for name, info, setting in plain for variable in _variables(setting, name, info.name))
    return {name: environ.get(name, "") for name in own} | dict.fromkeys((env for env, *_ in _ENVIRONMENT.values()), "")


def variable(setting: Setting, instance: str, plugin: str) -> str:
    """Name the environment variable of a setting: of several the one that is set; of the plugin's own instance a declared one."""
    names = _variables(setting, instance, plugin)
    return next((name for name in names if os.environ.get(name)), names[0])


def _variables(setting: Setting, instance: str, plugin: str) -> tuple[str, ...]:
    if instance == plugin and setting.variables:
        return setting.variables
    middle = "".join(char if char.isalnum() else "_" for char in f"{instance}_{setting.name}")
    return (f"PROVIDERHUB_{middle.upper()}",)


def configured(settings: Settings, name: str) -> ProviderConfig:
    """Return the user's configuration of an instance, completed by the settings for all providers."""
    config = settings.providers.get(name) or ProviderConfig()
    trusted = settings.trust_env if config.trust_env is None else config.trust_env
    return attrs.evolve(
        config, name=name, trust_env=trusted,
        proxies=config.proxies or settings.proxies, ca_bundle=config.ca_bundle or settings.ca_bundle,
        wire_log=config.wire_log or settings.wire_log,
    )  # fmt: skip


def resolve(config: ProviderConfig, info: ProviderInfo, environ: Mapping[str, str]) -> tuple[ProviderConfig, tuple[Setting, ...]]:
    """Give every declared setting its value. An argument outranks the environment, which outranks a settings file.

    Returns:
        The configuration that `create` gets, and the settings that the user still has to set: the required ones without a value,
        those that name a variable that is not set, and those with a wrong value, such as one in quotation marks.
    """
    unset = [name for name, value in _given(config).items() if _is_variable(value) and not environ.get(value.source.name)]
    config = _settled(config, environ)
    values = {s.name: _value(s, config, info, environ) for s in info.all_settings}
    defaults = _defaults(info, values)
    missing = [s for s in info.all_settings if s.name in unset or (not values[s.name] and _required(s, defaults, values))]
    missing += [Setting(name, secret=True) for name in unset if name not in values]
    wrong = {s.name for s in info.all_settings if _flaw(s, values[s.name])}
    missing += [s for s in info.all_settings if s.name in wrong and s not in missing]
    for setting in info.all_settings:
        if setting.convert is not None and setting.name not in wrong and _is_convertible(values[setting.name]):
            values[setting.name] = setting.convert(values[setting.name])
    options = _Options(config.options)
    options.update({k: v for k, v in values.items() if k not in {"url", "api_key"} and v is not None})
    own = {name: values[name] for name in ("url", "api_key") if values.get(name) is not None}
    if info.timeout is not None:
        own["timeout"] = info.timeout if config.timeout is None else attrs.evolve(info.timeout, **given(config.timeout))
    return with_environment(attrs.evolve(config, options=options, **own)), tuple(missing)


def is_surely_missing(info: ProviderInfo, environ: Mapping[str, str]) -> bool:
    """Whether `resolve` would miss a setting of a plugin's own instance without any configuration: no variable is set for it.

    This takes a tenth of the time of `resolve`. False where only `resolve` can tell.
    """
    needed = any((one.required or one.required_unless) and one.default is None for one in info.all_settings)
    return needed and not any(environ.get(env) for one in info.all_settings for env in _variables(one, info.name, info.name))


class _Options(dict[str, Any]):
    """The values of the declared settings. A name without a value raises an error that says what to declare."""

    def __missing__(self, name: str) -> Any:
        fix = f"declare Setting({name!r}) in the ProviderInfo with required=True or a default, or read it by .get({name!r})"
        raise KeyError(f"the setting {name!r} has no value; {fix}")

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def variable_in_use(setting: Setting, config: ProviderConfig, plugin: str) -> str:
    """Name the environment variable that sets a setting: the one that the user's settings name, else its own."""
    given = config.get(setting.name)
    return str(given.source.name) if _is_variable(given) else variable(setting, config.name, plugin)


def is_at_default(config: ProviderConfig, completed: ProviderConfig, info: ProviderInfo, environ: Mapping[str, str]) -> bool:
    """Whether an instance's host is the one that its plugin has by default. `completed` is the result of `resolve`."""
    from urllib.parse import urlsplit  # slow to import; only catalogues ask

    setting = next((setting for setting in info.all_settings if setting.name == "url"), None)
    if setting is None:
        return config.url is None
    others = {name: text for name, text in environ.items() if name not in _variables(setting, config.name, info.name)}
    default = resolve(attrs.evolve(config, url=None), info, others)[0].url
    return bool(default) and urlsplit(default).netloc == urlsplit(completed.url or "").netloc


def instruction(config: ProviderConfig, completed: ProviderConfig, plugin: str, missing: Collection[Setting]) -> str:
    """Say what the user has to set before an instance can be used; empty without missing settings.

    `completed` and `missing` are the results of `resolve`.
    """
    flaws_of = {s.name: flaw for s in missing if (flaw := _flaw(s, completed.get(s.name)))}
    parts = [f"{variable_in_use(s, config, plugin)} {flaws_of[s.name]}" for s in missing if s.name in flaws_of]
    unset = [s for s in missing if s.name not in flaws_of]
    if unset:
        names = [f"{s.name} (environment variable {variable_in_use(s, config, plugin)})" for s in unset]
        others = {f", or another {s.required_unless}" for s in unset if s.required_unless and config.get(s.name) is None}
        parts.append(f"set {' and '.join(names)}{''.join(sorted(others))}")
    return "; ".join(parts)


def _given(config: ProviderConfig) -> dict[str, Any]:
    return {"api_key": config.api_key, **config.options}


def _text(value: object) -> object:
    """Return the text of a secret that needs no reading; any other value as it is."""
    return value.reveal() if isinstance(value, Secret) and value.source is None else value


def _required(setting: Setting, defaults: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    other = setting.required_unless or ""
    return setting.required or (other in values and values[other] in (None, defaults[other]))


def _defaults(info: ProviderInfo, values: dict[str, Any]) -> dict[str, Any]:
    """Return the default of each setting, and put it where a value is `None`."""
    found: dict[str, Any] = {s.name: s.default for s in info.all_settings if not callable(s.default)}
    plain = {name: found[name] if value is None and name in found else value for name, value in values.items()}
    for setting in info.all_settings:
        if callable(setting.default):
            try:
                found[setting.name] = setting.default(plain)
            except Exception:  # without a default, the error names the setting
                found[setting.name] = None
    for setting in info.all_settings:
        value = found[setting.name] if values[setting.name] is None else values[setting.name]
        values[setting.name] = Secret(value) if setting.secret and isinstance(value, str) else value
    return found


def _flaw(setting: Setting, value: object) -> str:
    """Return the text that follows the name of a setting whose value cannot be used; empty if it can."""
    if is_quoted(_text(value)):
        return "is in quotation marks: write it without them"
    if setting.convert is not None and _is_convertible(value):
        try:
            setting.convert(value)
        except Exception as error:  # a mistake of the plugin must not hide the setting
            return f"cannot be used: {str(error) or type(error).__name__}"
    return ""


def _is_convertible(value: object) -> bool:
    return value is not None and not isinstance(value, Secret)


def _value(setting: Setting, config: ProviderConfig, info: ProviderInfo, environ: Mapping[str, str]) -> Any:
    own = config.get(setting.name)
    names = _variables(setting, config.name, info.name)
    from_environment = next((text for name in names if (text := environ.get(name))), None)
    ranked = (own, from_environment) if config.origin == "argument" else (from_environment, own)
    return next((value for value in ranked if value is not None), None)


def _settled(config: ProviderConfig, environ: Mapping[str, str]) -> ProviderConfig:
    """Read the environment variables that the settings name, so that a changed value is noticed. Other sources are read later."""
    if not any(map(_is_variable, (config.api_key, *config.options.values()))):
        return config
    options = {name: _from_variable(value, environ) for name, value in config.options.items()}
    return attrs.evolve(config, api_key=_from_variable(config.api_key, environ), options=options)


def _is_variable(value: object) -> bool:
    return isinstance(value, Secret) and isinstance(value.source, EnvironmentKey)


def _from_variable(value: Any, environ: Mapping[str, str]) -> Any:
    if not _is_variable(value):
        return value
    text = environ.get(value.source.name)
    return Secret(text) if text else None


def undeclared(config: ProviderConfig, info: ProviderInfo) -> dict[str, str]:
    """The options of an instance that its plugin does not declare, each with a message about it.

    A plugin without any declared setting, and one with `any_option`, may read every option.
    """
    if not info.settings or info.any_option or not config.options:
        return {}
    declared = [setting.name for setting in info.all_settings if setting.name not in {"url", "api_key"}]
    return {
        name: f"provider {config.name!r}: the plugin {info.name!r} has no option {name!r}{_option_hint(name, declared)}"
        for name in config.options
        if name not in declared
    }


def option_flaw(config: ProviderConfig, info: ProviderInfo, origins: Mapping[str, str]) -> str:
    """A message about the first option that a plugin does not declare, with its line from `origins`; empty without one."""
    for name, message in undeclared(config, info).items():
        origin = origins.get(f"providers.{config.name}.options.{name}")
        return f"{origin}: {message}" if origin else message
    return ""


def _option_hint(name: str, declared: list[str]) -> str:
    if name in {"url", "api_key", *ProviderConfig.__annotations__}:
        return f"; {name} is a key of the provider itself, so write it outside of options"
    return "; " + nearest(name, declared, f"its options are {', '.join(declared) or 'none'}")
