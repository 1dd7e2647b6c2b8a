"""The suite for an installed provider: its distribution announces the suite, or it is made for one run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from providerhub import ConfigurationError
from providerhub.hookspecs import PROJECT
from providerhub_conformance._kit.anthropic_wire import AnthropicWire
from providerhub_conformance._kit.openai_wire import OpenAIChatWire
from providerhub_conformance._kit.suite import ProviderConformance
from providerhub_conformance._kit.wire import NoWire, Wire

GROUP = "providerhub.conformance"
"""Entry-point group: the name of a provider → `module:Class`, a subclass of `ProviderConformance` with its wire."""

WIRES: Mapping[str, type[Wire]] = {"openai": OpenAIChatWire, "anthropic": AnthropicWire, "none": NoWire}
"""The wires with a short name."""


def suite_for(provider: str, *, wire: str | None = None, **options: Any) -> type[ProviderConformance]:
    """Make the suite for an installed provider.

    Args:
        provider: The name of the provider.
        wire: One of `WIRES`, or `module:Class`; by default the suite that the distribution of the provider announces.
        options: Further attributes of the suite, such as `model`, `settings` and `waive`. They override the announced ones.

    Returns:
        The class. Its `report()` runs the checks.

    Raises:
        ConfigurationError: The provider is not installed, the wire is not announced or cannot be imported, or an option is wrong.
    """
    base = ProviderConformance if wire else _announced(provider)
    own = {name: value for name, value in options.items() if value}
    if wire:
        own["wire"] = _wire(wire)
    try:
        return type("Suite", (base,), {"provider": provider, **own})
    except TypeError as error:
        raise ConfigurationError(str(error)) from error


def _announced(provider: str) -> type[ProviderConformance]:
    import importlib_metadata  # slow to import, and a test runner does not need it

    for entry in importlib_metadata.entry_points(group=GROUP, name=provider):
        return _class(entry.value, ProviderConformance, f"entry point {provider!r} in group {GROUP!r}")
    installed = sorted({entry.name for entry in importlib_metadata.entry_points(group=PROJECT)})
    if provider not in installed:
        raise ConfigurationError(f"no provider {provider!r} is installed; installed are: {', '.join(installed) or 'none'}")
    names = ", ".join(WIRES)
    msg = (
        f"the distribution of {provider!r} does not announce a suite (entry-point group {GROUP}); "
        f"name the protocol with --wire: {names}, or module:Class"
    )
    raise ConfigurationError(msg)


def _wire(name: str) -> Wire:
    if name in WIRES:
        return WIRES[name]()
    found: type[Wire] = _class(name, Wire, f"--wire {name}")
    return found()


def _class(reference: str, base: type[Any], what: str) -> type[Any]:
    module, _, attribute = reference.partition(":")
    try:
        found = getattr(import_module(module.strip()), attribute.strip())
    except Exception as error:
        raise ConfigurationError(f"{what}: {reference!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise ConfigurationError(f"{what}: {reference!r} is not a subclass of {base.__name__}")
    return found
