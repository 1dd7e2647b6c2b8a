"""The provider under test, with the options of its suite."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import attrs

from providerhub import ConfigurationError, Model, ModelInfo, ProviderConfig, ProviderInfo, Secret, Settings
from providerhub._finding.discovery import PluginRecord, Plugins
from providerhub._settings.resolving import resolve
from providerhub_conformance._kit.outcome import CheckFailed
from providerhub_conformance._kit.wire import NoWire, Wire

CANARY = "conformance-canary-5e0c1b"
"""The value of each secret. Checks look for it where a key must not be."""
DEFAULT_MODEL = "conformance-model"
PATIENCE = 10.0


@attrs.frozen(kw_only=True)
class Subject:
    """One provider under test.

    Args:
        name: The name of the provider.
        wire: The protocol of its service.
        chosen: The model to ask for: a name, or a `ModelInfo` with its capabilities; `None` for the first declared model.
        settings: Values of settings, in place of the kit's own values; `""` for a setting that is not set.
        patience: Seconds after which a call counts as hanging.
    """

    name: str
    wire: Wire
    chosen: str | ModelInfo | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    patience: float = PATIENCE

    @property
    def has_wire(self) -> bool:
        """Whether the kit can play the service."""
        return not isinstance(self.wire, NoWire)

    @functools.cached_property
    def record(self) -> PluginRecord | None:
        """The record of the plugin; `None` when it is not installed."""
        try:
            return _record(self.name)
        except ConfigurationError:
            return None

    @property
    def info(self) -> ProviderInfo:
        """The declaration of the plugin.

        Raises:
            CheckFailed: The plugin is not installed or not ready.
        """
        if self.record is None or self.record.info is None:
            raise CheckFailed(
                f"there is no usable provider {self.name!r}: {self.record.reason if self.record else 'not installed'}"
            )
        return self.record.info

    @functools.cached_property
    def declared(self) -> ModelInfo | None:
        """The declared model that matches the chosen name: an exact name first, then the longest prefix."""
        models = self.info.models
        if self.chosen is None:
            return models[0] if models else None
        name = self.chosen if isinstance(self.chosen, str) else self.chosen.name
        exact = [m for m in models if name == m.name or name in m.aliases]
        prefixed = sorted((m for m in models if m.is_prefix and name.startswith(m.name[:-1])), key=lambda m: -len(m.name))
        return next(iter((*exact, *prefixed)), None)

    @property
    def model(self) -> ModelInfo:
        """The model to ask for, with its capabilities."""
        if isinstance(self.chosen, ModelInfo):
            return self.chosen
        return self.declared or ModelInfo(self.chosen or DEFAULT_MODEL)

    @property
    def asked_name(self) -> str:
        """The name of the model as a caller gives it."""
        name = self.chosen if isinstance(self.chosen, str) else self.model.name
        return name[:-1] + DEFAULT_MODEL if name.endswith("*") else name

    @property
    def sent_name(self) -> str:
        """The name of the model as the service must get it."""
        declared = self.declared
        return declared.name if declared is not None and self.asked_name in declared.aliases else self.asked_name

    @property
    def target(self) -> Model:
        """The model, pinned to the provider."""
        return Model(self.asked_name, self.name)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values of all secret settings."""
        values = (str(self._value(s.name)) for s in self.info.all_settings if s.secret)
        return tuple(filter(None, values))

    def config(self, url: str | None, *, without: frozenset[str] = frozenset()) -> ProviderConfig:
        """Make the configuration of an instance.

        Args:
            url: The address of the service; `None` for a provider without a service.
            without: The names of settings to leave out.

        Returns:
            The configuration.
        """
        known = {setting.name: setting for setting in self.info.all_settings}
        values: dict[str, Any] = {}
        for name, setting in known.items():
            if name == "url" or name in without or self.settings.get(name) == "":
                continue
            if name in self.settings or setting.secret or (setting.required and setting.default is None):
                values[name] = self._value(name)
        values |= {name: value for name, value in self.settings.items() if name not in known and name not in without}
        key = values.pop("api_key", None)
        address = values.pop("url", None) or (self.settings.get("url", url) if "url" not in without else None)
        # A `ModelInfo` of the suite is added to the declared models; a name is added when no declared model matches.
        own = isinstance(self.chosen, ModelInfo) and self.declared != self.chosen
        models = (self.chosen,) if own else () if self.declared is not None else (self.asked_name,)
        return ProviderConfig(name=self.name, url=address, api_key=key, options=values, models=models)

    def _value(self, name: str) -> Any:
        given = self.settings.get(name)
        if isinstance(given, Secret):
            return given.reveal()
        secret = any(s.name == name and s.secret for s in self.info.all_settings)
        return given if given is not None else CANARY if secret else f"conformance-{name}"


def completed(config: ProviderConfig) -> ProviderConfig:
    """Complete a configuration as the core does for the factory: secrets are `Secret`, and defaults and `convert` are applied.

    Args:
        config: The configuration; it has the name of an installed provider.

    Returns:
        The configuration that the plugin gets.

    Raises:
        CheckFailed: The plugin is not ready.
    """
    record = _record(config.name)
    if record.info is None:
        raise CheckFailed(f"there is no usable provider {config.name!r}: {record.reason}")
    return resolve(config, record.info, {})[0]


def _record(name: str) -> PluginRecord:
    return Plugins(Settings(allow=frozenset({name})).with_environment({})).load(name)
