"""Options that a plugin does not declare.

A plugin that declares settings declares its options with them, and another option is a mistake. A plugin without any declared
setting, and one with `any_option`, may read every option.
"""

from __future__ import annotations

from collections.abc import Mapping

from providerhub._values import ProviderConfig
from providerhub._values.capabilities import ProviderInfo
from providerhub._values.checks import nearest


def undeclared(config: ProviderConfig, info: ProviderInfo) -> dict[str, str]:
    """The options of an instance that its plugin does not declare, each with a message about it."""
    if not info.settings or info.any_option or not config.options:
        return {}
    declared = [setting.name for setting in info.all_settings if setting.name not in {"url", "api_key"}]
    return {
        name: f"provider {config.name!r}: the plugin {info.name!r} has no option {name!r}{_hint(name, declared)}"
        for name in config.options
        if name not in declared
    }


def option_flaw(config: ProviderConfig, info: ProviderInfo, origins: Mapping[str, str]) -> str:
    """A message about the first option that a plugin does not declare, with its line from `origins`; empty without one."""
    for name, message in undeclared(config, info).items():
        origin = origins.get(f"providers.{config.name}.options.{name}")
        return f"{origin}: {message}" if origin else message
    return ""


def _hint(name: str, declared: list[str]) -> str:
    if name in {"url", "api_key", *ProviderConfig.__annotations__}:
        return f"; {name} is a key of the provider itself, so write it outside of options"
    return "; " + nearest(name, declared, f"its options are {', '.join(declared) or 'none'}")
