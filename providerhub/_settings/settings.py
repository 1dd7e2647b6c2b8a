"""What a hub is told: explicit argument, then environment, then settings file, then default."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self, TypeVar

import attrs

from providerhub._settings.file import VARIABLE, circle_of, read, settings_path
from providerhub._settings.secrets import EnvironmentKey
from providerhub._settings.table import ON_INTERRUPT, STRATEGIES
from providerhub._values import BreakerRules, BudgetRules, Model, ProviderConfig, RetryPolicy, Secret, Timeout
from providerhub._values.capabilities import ProviderInfo, Setting
from providerhub._values.errors import ConfigurationError
from providerhub._values.value import Value

__all__ = ["ON_INTERRUPT", "STRATEGIES", "Settings", "outranked", "resolve", "variable"]


_Settings = TypeVar("_Settings", bound="Settings")


class _Default(str):
    """A default that can be told from the same word when a caller gives it."""

    __slots__ = ()


_TIMEOUT = Timeout()
"""The default itself; any other object was given, even one that equals it."""


def _names(value: Any) -> frozenset[str] | None:
    """Names from a sequence or a comma-separated text; `None` stays `None`."""
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Collection) or not all(isinstance(part, str) for part in parts):
        msg = f"allow and block must be sequences of plugins' names, not {value!r}"
        raise ConfigurationError(msg)
    return frozenset(part.strip() for part in parts if part.strip())


def _sequences(aliases: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(aliases, Mapping):
        msg = f"aliases must be a mapping, as in {{'best': ['gpt-4', 'gpt-3.5-turbo']}}, not {aliases!r}"
        raise ConfigurationError(msg)
    return {name: _sequence(name, value) for name, value in aliases.items()}


def _sequence(alias: str, value: Any) -> tuple[Any, ...]:
    models = (value,) if isinstance(value, str | Model) else value
    if not isinstance(models, list | tuple) or not all(isinstance(model, str | Model) for model in models):
        msg = f"the alias {alias!r} must stand for a model or a list of models, not {value!r}"
        raise ConfigurationError(msg)
    return tuple(models)


def _is_mapping_to(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Mapping) and all(isinstance(item, kind) for item in value.values())


def _is_a(*kinds: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds)


def _shape(value: object) -> str:
    """What a wrong value is, without the value itself, which may hold a key."""
    if not isinstance(value, Mapping):
        return type(value).__name__
    return f"{{{', '.join(f'{name!r}: {type(item).__name__}' for name, item in value.items())}}}"


_FIELDS: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    ("providers", "a mapping of names to ProviderConfig(...)", _is_mapping_to(ProviderConfig)),
    ("timeout", "a Timeout, such as Timeout(total=30)", _is_a(Timeout)),
    ("retry", "a RetryPolicy, such as RetryPolicy(attempts=2)", _is_a(RetryPolicy)),
    ("breaker", "BreakerRules(...)", _is_a(BreakerRules)),
    ("budget", "BudgetRules(...)", _is_a(BudgetRules)),
    ("hedge", "True or False", _is_a(bool)),
    ("emulate_stream", "True or False", _is_a(bool)),
    ("autoload", "True or False", _is_a(bool, type(None))),
    ("prefer", "a mapping of providers' names to distributions", _is_mapping_to(str)),
    ("origins", "a mapping of names to places", _is_mapping_to(str)),
)
"""Field, how what it may be is told, and whether a value is that."""


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Settings(Value):
    """Everything that a hub is told, in one frozen value.

    `Settings(...)` is exactly what is given, completed from the environment by the hub that gets it; the settings file is not
    read. `Settings.load()`, and a `Hub()` without settings, read the file as well; `attrs.evolve(Settings.load(), ...)` changes
    what they say.

    Args:
        providers: Instance name → its configuration; `plugin` names the plugin when that differs from the name.
        aliases: Name → model or sequence of models that it stands for. Aliases may name aliases, but not in a circle.
        timeout: The phases of every call. Environment: `PROVIDERHUB_TIMEOUT`, in seconds, is its `total`.
        retry: How far the retry chain goes.
        breaker: When a provider that keeps failing is left alone, and for how long.
        budget: How much trying again one provider is worth, all calls together.
        strategy: How equal candidates are ordered: one of `STRATEGIES`. Environment: `PROVIDERHUB_STRATEGY`.
        on_interrupt: What happens when a stream breaks after content was handed over, for calls that do not say: one of
            `ON_INTERRUPT`.
        hedge: Whether calls that do not say may ask a second provider while the first is slow.
        emulate_stream: Whether, for calls that do not say, a provider that cannot stream may answer in one piece.
        allow: Only these plugins are looked at; `None` for all. Environment: `PROVIDERHUB_PLUGINS`.
        block: These plugins are never imported. Environment: `PROVIDERHUB_BLOCK`.
        autoload: Whether installed plugins are looked for at all. Environment: `PROVIDERHUB_DISABLE_AUTOLOAD`.
        prefer: Provider name → the distribution that is meant, where two offer the same name.
        origins: Dotted name → where a value came from: `"file:line"` or an environment variable. What is not there is a
            default or was given as an argument.
    """

    providers: Mapping[str, ProviderConfig] = attrs.field(factory=dict)
    aliases: Mapping[str, tuple[Any, ...]] = attrs.field(factory=dict, converter=_sequences)
    timeout: Timeout = _TIMEOUT
    retry: RetryPolicy = RetryPolicy()
    breaker: BreakerRules = BreakerRules()
    budget: BudgetRules = BudgetRules()
    strategy: str = attrs.field(default=_Default("priority"))
    on_interrupt: str = attrs.field(default="raise")
    hedge: bool = False
    emulate_stream: bool = False
    allow: frozenset[str] | None = attrs.field(default=None, converter=_names)
    block: frozenset[str] | None = attrs.field(default=None, converter=_names)
    autoload: bool | None = None
    prefer: Mapping[str, str] = attrs.field(factory=dict)
    origins: Mapping[str, str] = attrs.field(factory=dict, eq=False, repr=False)

    @strategy.validator
    def _known_strategy(self, _attribute: object, value: str) -> None:
        if value not in STRATEGIES:
            msg = f"unknown strategy {value!r}; the known ones are {', '.join(STRATEGIES)}"
            raise ConfigurationError(msg)

    @on_interrupt.validator
    def _known_on_interrupt(self, _attribute: object, value: str) -> None:
        if value not in ON_INTERRUPT:
            msg = f"unknown on_interrupt {value!r}; the known ones are {', '.join(ON_INTERRUPT)}"
            raise ConfigurationError(msg)

    @aliases.validator
    def _no_circle(self, _attribute: object, aliases: Mapping[str, tuple[Any, ...]]) -> None:
        circle = circle_of(aliases)
        if circle:
            msg = f"aliases go in a circle: {' → '.join(circle)}"
            raise ConfigurationError(msg)

    def __attrs_post_init__(self) -> None:
        for name, wanted, fits in _FIELDS:
            value = getattr(self, name)
            if not fits(value):
                msg = f"{name} must be {wanted}, not {_shape(value)}"
                raise ConfigurationError(msg)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings file and the environment, which outranks it.

        Args:
            path: The settings file; by default the one that `PROVIDERHUB_CONFIG` names, else `settings.toml` in the user's
                configuration folder for `providerhub`, if it is there.
            environ: The environment's variables; by default this process's.

        Raises:
            ConfigurationError: The file that was named is not there, or the file or a variable is wrong: with file, line, and
                the nearest known key.
        """
        # The variables get no local name here, nor where anything is raised: they may hold keys, and a traceback may show locals.
        where = settings_path(os.environ if environ is None else environ) if path is None else os.fspath(path)
        if where is None:
            return cls().with_environment(os.environ if environ is None else environ)
        # Only the one in its usual place need not be there: a name that somebody gave is not passed over in silence.
        named = path is not None or (os.environ if environ is None else environ).get(VARIABLE)
        file = read(where, optional=not named)
        if file.error is not None:
            raise file.error
        origins = {name: f"{file.path}:{line}" for name, line in file.lines.items()}
        settings, error = outranked(cls(**file.values, origins=origins), os.environ if environ is None else environ, ())
        if error:
            raise ConfigurationError(error)
        return settings

    def with_environment(self, environ: Mapping[str, str]) -> Self:
        """Fill in from the environment what was not given.

        Args:
            environ: The environment's variables.

        Returns:
            Settings in which `allow`, `block` and `autoload` are decided.

        Raises:
            ConfigurationError: A variable holds what cannot be used.
        """
        is_given = {
            "allow": self.allow is not None,
            "block": self.block is not None,
            "autoload": self.autoload is not None,
            "timeout": self.timeout is not _TIMEOUT,
            "strategy": not isinstance(self.strategy, _Default),
        }
        settings, error = outranked(self, environ, {name for name, given in is_given.items() if given})
        del environ  # it may hold keys, and a traceback may show locals
        if error:
            raise ConfigurationError(error)
        return settings


def _seconds_from(settings: Settings, text: str) -> Timeout:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError
    return attrs.evolve(settings.timeout, total=seconds)


def _strategy_from(_settings: Settings, text: str) -> str:
    if text not in STRATEGIES:
        raise ValueError
    return text


_ENVIRONMENT: dict[str, tuple[str, Callable[[Settings, str], Any], str]] = {
    "timeout": ("PROVIDERHUB_TIMEOUT", _seconds_from, "a positive, finite number of seconds"),
    "strategy": ("PROVIDERHUB_STRATEGY", _strategy_from, f"one of {', '.join(STRATEGIES)}"),
    "allow": ("PROVIDERHUB_PLUGINS", lambda _settings, text: text, "names with commas between"),
    "block": ("PROVIDERHUB_BLOCK", lambda _settings, text: text, "names with commas between"),
    "autoload": ("PROVIDERHUB_DISABLE_AUTOLOAD", lambda _settings, text: text == "0", "1 or 0"),
}
"""Field → the variable that outranks a file, what it means (a `ValueError` when nothing), and what it must be."""


def outranked(settings: _Settings, environ: Mapping[str, str], given: Collection[str]) -> tuple[_Settings, str]:
    """Let the environment outrank what a settings file says.

    Args:
        settings: What the file or the caller says.
        environ: The environment's variables.
        given: Fields that a caller gave, and that nothing outranks.

    Returns:
        The settings with `allow`, `block` and `autoload` decided, and what is wrong with the environment, if anything.
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
        origins["timeout.total" if name == "timeout" else name] = f"environment variable {env}"
    changes = {"autoload": settings.autoload is not False, "block": settings.block or (), **changes}
    return attrs.evolve(settings, **changes, origins=origins), ""


def variable(setting: Setting, instance: str, plugin: str) -> str:
    """The environment variable that sets a value of an instance.

    Args:
        setting: The declared setting.
        instance: The instance's name.
        plugin: The plugin's name. Only the default instance, which bears it, uses the variable that the plugin declares.
    """
    if instance == plugin and setting.env:
        return setting.env
    middle = "".join(char if char.isalnum() else "_" for char in f"{instance}_{setting.name}")
    return f"PROVIDERHUB_{middle.upper()}"


def resolve(config: ProviderConfig, info: ProviderInfo, environ: Mapping[str, str]) -> tuple[ProviderConfig, tuple[Setting, ...]]:
    """Give every declared setting its value.

    Args:
        config: What the user configured; an argument outranks the environment, which outranks a settings file.
        info: What the plugin declares.
        environ: The environment's variables.

    Returns:
        The configuration that `create` gets, and the required settings that have no value.
    """
    config = _settled(config, environ)
    values = {s.name: _value(s, config, info, environ) for s in info.all_settings}
    missing = tuple(s for s in info.all_settings if not values[s.name] and _required(s, info, values))
    options = {**config.options, **{k: v for k, v in values.items() if k not in {"url", "api_key"} and v is not None}}
    own = {name: values[name] for name in ("url", "api_key") if values.get(name) is not None}
    return attrs.evolve(config, options=options, **own), missing


def _required(setting: Setting, info: ProviderInfo, values: Mapping[str, Any]) -> bool:
    other = next((s for s in info.all_settings if s.name == setting.required_unless), None)
    return setting.required or (other is not None and values[other.name] in (None, other.default))


def _value(setting: Setting, config: ProviderConfig, info: ProviderInfo, environ: Mapping[str, str]) -> Any:
    given = config.get(setting.name)
    from_environment = environ.get(variable(setting, config.name, info.name)) or None
    ranked = (given, from_environment) if config.origin == "argument" else (from_environment, given)
    value = next((value for value in (*ranked, setting.default) if value is not None), None)
    return Secret(value) if setting.secret and isinstance(value, str) else value


def _settled(config: ProviderConfig, environ: Mapping[str, str]) -> ProviderConfig:
    """With the values of the variables that the settings name, so that new ones are noticed; other sources are asked later."""
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
