"""The settings of one provider instance: declared by its plugin, set by an argument, the environment or the settings file."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from providerhub._settings.address import with_environment
from providerhub._settings.refined import given
from providerhub._settings.secrets import EnvironmentKey, is_quoted
from providerhub._settings.settings import VARIABLES, Settings
from providerhub._values import ProviderConfig, Secret
from providerhub._values.capabilities import ProviderInfo, Setting
from providerhub._values.checks import nearest

_SENSITIVE = "authorization|cookie|key|secret|token"


def literal_keys(config: ProviderConfig, info: ProviderInfo | None) -> list[str]:
    """The settings of an instance with a literal key in place of a reference; `info` is `None` for a broken plugin."""
    secrets = {setting.name for setting in info.all_settings if setting.secret} if info else set()
    secrets |= {name for name, value in _given(config).items() if isinstance(value, Secret)}
    found = [name for name in sorted(secrets) if (value := config.get(name)) and getattr(value, "source", None) is None]
    found += [f"headers.{name}" for name in config.headers if re.search(_SENSITIVE, name, re.IGNORECASE)]
    return found + [f"proxies.{scheme}" for scheme, address in config.proxies.items() if "@" in address]


def variables_of(plugins: Mapping[str, ProviderInfo], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables, without keys, that give another process the same settings; `""` for a variable that is not set."""
    plain = [(name, info, setting) for name, info in plugins.items() for setting in info.all_settings if not setting.secret]
    own = (variable for name, info, setting in plain for variable in _variables(setting, name, info.name))
    return {name: environ.get(name, "") for name in own} | dict.fromkeys(VARIABLES, "")


def variable(setting: Setting, instance: str, plugin: str) -> str:
    """Return the name of the environment variable of a setting; of several variables, the variable that is set."""
    names = _variables(setting, instance, plugin)
    return next((name for name in names if os.environ.get(name)), names[0])


def _variables(setting: Setting, instance: str, plugin: str) -> tuple[str, ...]:
    if instance == plugin and setting.variables:
        return setting.variables
    return (re.sub(r"\W", "_", f"PROVIDERHUB_{instance}_{setting.name}").upper(),)


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
    """Give every declared setting its value. Arguments take precedence over the environment, and the environment over a file.

    Returns:
        The configuration for the factory, and the settings that the user must set: required settings without a value, settings
        that name an unset variable, and settings with a wrong value, such as in quotation marks.
    """
    settings = info.all_settings
    unset = [name for name, value in _given(config).items() if _is_variable(value) and not environ.get(value.source.name)]
    config = _settled(config, environ)
    values = {s.name: _value(s, config, info, environ) for s in settings}
    defaults = _defaults(settings, values)
    missing = [s for s in settings if s.name in unset or (not values[s.name] and _required(s, defaults, values))]
    missing += [Setting(name, secret=True) for name in unset if name not in values]
    wrong = {s.name for s in settings if _flaw(s, values[s.name])}
    missing += [s for s in settings if s.name in wrong and s not in missing]
    for setting in settings:
        if setting.convert is not None and setting.name not in wrong and _is_convertible(values[setting.name]):
            values[setting.name] = setting.convert(values[setting.name])
    options = _Options(config.options)
    options.update({k: v for k, v in values.items() if k not in {"url", "api_key"} and v is not None})
    own = {name: values[name] for name in ("url", "api_key") if values.get(name) is not None}
    if info.timeout is not None:
        own["timeout"] = info.timeout if config.timeout is None else attrs.evolve(info.timeout, **given(config.timeout))
    return with_environment(attrs.evolve(config, options=options, **own)), tuple(missing)


def is_surely_missing(info: ProviderInfo, environ: Mapping[str, str]) -> bool:
    """Whether a plugin's default instance surely lacks a required setting, because no variable is set. Faster than `resolve`."""
    settings = info.all_settings
    needed = any((one.required or one.required_unless) and one.default is None for one in settings)
    return needed and not any(environ.get(env) for one in settings for env in _variables(one, info.name, info.name))


class _Options(dict[str, Any]):
    """The values of the declared settings. A name without a value raises an error with the fix."""

    def __missing__(self, name: str) -> Any:
        fix = f"declare Setting({name!r}) in the ProviderInfo with required=True or a default, or read it by .get({name!r})"
        raise KeyError(f"the setting {name!r} has no value; {fix}")

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def variable_in_use(setting: Setting, config: ProviderConfig, plugin: str) -> str:
    """Return the name of the environment variable of a setting: the one in the user's settings, or else its own."""
    given = config.get(setting.name)
    return str(given.source.name) if _is_variable(given) else variable(setting, config.name, plugin)


def is_at_default(config: ProviderConfig, completed: ProviderConfig, info: ProviderInfo, environ: Mapping[str, str]) -> bool:
    """Whether an instance has the plugin's default host. `completed` is the result of `resolve`."""
    from urllib.parse import urlsplit  # slow to import; only catalogues ask

    setting = next((setting for setting in info.all_settings if setting.name == "url"), None)
    if setting is None:
        return config.url is None
    others = {name: text for name, text in environ.items() if name not in _variables(setting, config.name, info.name)}
    default = resolve(attrs.evolve(config, url=None), info, others)[0].url
    try:
        return bool(default) and urlsplit(default).netloc == urlsplit(completed.url or "").netloc
    except ValueError:  # the environment's text is not an address; making the provider raises the error
        return False


def instruction(config: ProviderConfig, completed: ProviderConfig, plugin: str, missing: Collection[Setting]) -> str:
    """The settings that the user must set, as an instruction, from the results of `resolve`; empty without any."""
    flaws_of = flaws_in(completed, missing)
    parts = [f"{_source(s, config, plugin)} {flaws_of[s.name]}" for s in missing if s.name in flaws_of]
    unset = [s for s in missing if s.name not in flaws_of]
    if unset:
        names = [f"{s.name} (environment variable {variable_in_use(s, config, plugin)})" for s in unset]
        others = {f", or another {s.required_unless}" for s in unset if s.required_unless and config.get(s.name) is None}
        parts.append(f"set {' and '.join(names)}{''.join(sorted(others))}")
    return "; ".join(parts)


def _source(setting: Setting, config: ProviderConfig, plugin: str) -> str:
    """Name the variable or the setting that a value comes from; see `_value`."""
    name, own = variable_in_use(setting, config, plugin), config.get(setting.name)
    is_own = own is not None and not _is_variable(own) and (config.origin == "argument" or not os.environ.get(name))
    return f"{setting.name} of [providers.{config.name}]" if is_own else name


def flaws_in(completed: ProviderConfig, missing: Collection[Setting]) -> dict[str, str]:
    """The missing settings with an unusable value, each with the text after its name in a message."""
    return {s.name: flaw for s in missing if (flaw := _flaw(s, completed.get(s.name)))}


def _given(config: ProviderConfig) -> dict[str, Any]:
    return {"api_key": config.api_key, **config.options}


def _text(value: object) -> object:
    """Return the text of a secret that needs no reading; any other value unchanged."""
    return value.reveal() if isinstance(value, Secret) and value.source is None else value


def _required(setting: Setting, defaults: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    other = setting.required_unless or ""
    return setting.required or (other in values and values[other] in (None, defaults[other]))


def _defaults(settings: Sequence[Setting], values: dict[str, Any]) -> dict[str, Any]:
    """Return the default of each setting, and replace each value that is `None`."""
    found: dict[str, Any] = {s.name: s.default for s in settings if not callable(s.default)}
    plain = {name: found[name] if value is None and name in found else value for name, value in values.items()}
    for setting in settings:
        if callable(setting.default):
            try:
                found[setting.name] = setting.default(plain)
            except Exception:  # without a default, the error names the setting
                found[setting.name] = None
    for setting in settings:
        value = found[setting.name] if values[setting.name] is None else values[setting.name]
        values[setting.name] = Secret(value) if setting.secret and isinstance(value, str) else value
    return found


def _flaw(setting: Setting, value: object) -> str:
    """Return the text after the name of a setting with an unusable value; empty if the value can be used."""
    if is_quoted(_text(value)):
        return "is in quotation marks: write it without them"
    if setting.convert is not None and _is_convertible(value):
        try:
            setting.convert(value)
        except Exception as error:  # a wrong function of the plugin must not hide the name of the setting
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
    """Read the environment variables in the settings, to notice a changed value. Other sources are read later."""
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
    """The options that an instance's plugin does not declare, each with a message. Without settings, it may read any."""
    if not info.settings or info.any_option or not config.options:
        return {}
    declared = [setting.name for setting in info.all_settings if setting.name not in {"url", "api_key"}]
    said = f"provider {config.name!r}: the plugin {info.name!r} has no option"
    return {name: f"{said} {name!r}{_option_hint(name, declared)}" for name in config.options if name not in declared}


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
