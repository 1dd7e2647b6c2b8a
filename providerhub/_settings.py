"""What a hub is told: explicit argument, then environment, then default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from providerhub._capabilities import ProviderInfo, Setting
from providerhub._errors import ConfigurationError
from providerhub._types import Model, ProviderConfig, RetryPolicy, Secret, Timeout

STRATEGIES = ("priority", "round_robin", "weighted", "fastest", "cheapest")
"""The ways to order candidates that are otherwise equal."""

ON_INTERRUPT = ("raise", "restart", "continue")
"""What may happen when a stream breaks after content was handed over."""


def _names(value: object) -> frozenset[str] | None:
    """Names from a sequence or a comma-separated text; `None` stays `None`."""
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    return frozenset(part.strip() for part in parts if part.strip())  # type: ignore[attr-defined]


def _sequences(aliases: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {name: (value,) if isinstance(value, str | Model) else tuple(value) for name, value in aliases.items()}


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that a hub is told, in one frozen value.

    Args:
        providers: Instance name → its configuration; `plugin` names the plugin when that differs from the name.
        aliases: Name → model or sequence of models that it stands for. Aliases may name aliases, but not in a circle.
        timeout: The phases of every call.
        retry: How far the retry chain goes.
        strategy: How equal candidates are ordered: one of `STRATEGIES`.
        on_interrupt: What happens when a stream breaks after content was handed over, for calls that do not say: one of
            `ON_INTERRUPT`.
        hedge: Whether calls that do not say may ask a second provider while the first is slow.
        emulate_stream: Whether, for calls that do not say, a provider that cannot stream may answer in one piece.
        allow: Only these plugins are looked at; `None` for all. Environment: `PROVIDERHUB_PLUGINS`.
        block: These plugins are never imported. Environment: `PROVIDERHUB_BLOCK`.
        autoload: Whether installed plugins are looked for at all. Environment: `PROVIDERHUB_DISABLE_AUTOLOAD`.
        prefer: Provider name → the distribution that is meant, where two offer the same name.
    """

    providers: Mapping[str, ProviderConfig] = attrs.field(factory=dict)
    aliases: Mapping[str, tuple[Any, ...]] = attrs.field(factory=dict, converter=_sequences)
    timeout: Timeout = Timeout()
    retry: RetryPolicy = RetryPolicy()
    strategy: str = attrs.field(default="priority")
    on_interrupt: str = attrs.field(default="raise")
    hedge: bool = attrs.field(default=False)
    emulate_stream: bool = attrs.field(default=False)
    allow: frozenset[str] | None = attrs.field(default=None, converter=_names)
    block: frozenset[str] | None = attrs.field(default=None, converter=_names)
    autoload: bool | None = None
    prefer: Mapping[str, str] = attrs.field(factory=dict)

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

    @hedge.validator
    @emulate_stream.validator
    def _yes_or_no(self, attribute: attrs.Attribute[bool], value: object) -> None:
        if not isinstance(value, bool):
            msg = f"{attribute.name} must be True or False, not {value!r}"
            raise ConfigurationError(msg)

    @aliases.validator
    def _no_circle(self, _attribute: object, aliases: Mapping[str, tuple[Any, ...]]) -> None:
        for name in aliases:
            _follow(name, aliases, ())

    def with_environment(self, environ: Mapping[str, str]) -> Settings:
        """Fill in from the environment what was not given.

        Args:
            environ: The environment's variables.

        Returns:
            Settings in which `allow`, `block` and `autoload` are decided.
        """
        return attrs.evolve(
            self,
            allow=self.allow if self.allow is not None else environ.get("PROVIDERHUB_PLUGINS") or None,
            block=self.block if self.block is not None else environ.get("PROVIDERHUB_BLOCK") or (),
            autoload=(environ.get("PROVIDERHUB_DISABLE_AUTOLOAD", "") in {"", "0"}) if self.autoload is None else self.autoload,
        )


def _follow(name: str, aliases: Mapping[str, tuple[Any, ...]], seen: tuple[str, ...]) -> None:
    if name in seen:
        msg = f"aliases go in a circle: {' → '.join((*seen, name))}"
        raise ConfigurationError(msg)
    for target in aliases.get(name, ()):
        if isinstance(target, str):
            _follow(target, aliases, (*seen, name))


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
