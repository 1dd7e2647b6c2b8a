"""One configured provider: its settings, its models and its provider objects.

`list_models` and `renew_key` do I/O; they belong to the preparation of a call. Planning reads attributes alone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from providerhub._finding.discovery import import_object
from providerhub._finding.objects import ProviderObjects
from providerhub._settings.secrets import EnvironmentKey
from providerhub._settings.settings import resolve, variable
from providerhub._values import ProviderConfig, Secret
from providerhub._values.capabilities import ModelInfo, ProviderInfo, Setting
from providerhub._values.errors import ConfigurationError
from providerhub._values.provider import Provider

_log = logging.getLogger("providerhub")

KEY_AGE = 60.0
"""Seconds between two reads of a refused key from its command or keyring."""


class Instance:
    """One configured provider. The application closes a provider object that it registers."""

    def __init__(self, config: ProviderConfig, info: ProviderInfo, provider: Provider | None = None) -> None:
        self.name = config.name
        self.info = info
        self._user_config = config
        self._registered = provider
        self._renewing = threading.Lock()
        self._listing = threading.RLock()  # re-entrant: the function that lists the models may use this hub
        self.config, self.missing = resolve(config, info, os.environ)
        self._objects = ProviderObjects(self.config, info)
        self._declared: tuple[ModelInfo, ...] = (*info.models, *_models(config))
        self.models = self._declared
        self._is_listed = False
        self._renewed_at = -KEY_AGE
        self.list_error = ""

    @property
    def is_object(self) -> bool:
        """Whether the application registered the provider object, so that no plugin is behind it."""
        return self._registered is not None

    @property
    def declares_models(self) -> bool:
        """Whether the plugin or the user names any model."""
        return bool(self._declared)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set the missing settings."""
        return tuple(map(self._variable, self.missing))

    @property
    def reason(self) -> str:
        """The settings that the instance needs before it can be used, as an instruction; empty when none is missing."""
        if not self.missing:
            return ""
        names = [f"{s.name} (environment variable {self._variable(s)})" for s in self.missing]
        others = {f", or another {s.required_unless}" for s in self.missing if s.required_unless}
        return f"set {' and '.join(names)}{''.join(sorted(others))}"

    def provider(self, loop: object | None = None) -> Provider:
        """The provider object; the first call makes it.

        Args:
            loop: The running event loop for asynchronous use; `None` for synchronous use.

        Raises:
            PluginError: The factory cannot be imported, or fails.
        """
        return self._objects.get(loop) if self._registered is None else self._registered

    def renew_key(self, on_change: Callable[[], object] = lambda: None) -> bool:
        """Read the settings and the key again; true when the key has changed. The next use makes a new provider object.

        Args:
            on_change: Called after a change, before another thread's `renew_key` returns.
        """
        with self._renewing:
            config, missing = resolve(self._user_config, self.info, os.environ)
            if config.api_key == self.config.api_key and not self._read_again(config.api_key):
                return False
            self.config, self.missing = config, missing
            old = self._objects.reconfigure(config)
            on_change()
        self._objects.close_all(old)
        return True

    def list_models(self, *, again: bool = False) -> bool:
        """Ask the service for its models by the plugin's `discover` function, once; true when it listed any.

        Args:
            again: Ask once more; the new list replaces the earlier one.
        """
        if not self.info.discover or self.missing:
            return False
        with self._listing:  # another thread waits here, since the list serves its call as well
            if self._is_listed and not again:
                return False
            self._is_listed, self.list_error = True, ""
            try:
                # ProviderInfo turns names into ModelInfo and refuses all else, which must not reach the index.
                found = ProviderInfo(name=self.info.name, models=import_object(self.info.discover)(self.config)).models
            except Exception as error:
                self.list_error = f"{self.info.discover} raised {type(error).__name__}: {error}"
                _log.warning("provider %s could not list its models: %s", self.name, self.list_error)
                return False
            self.models = (*self._declared, *found)
            return bool(found)

    def close(self) -> None:
        """Close the provider objects made so far."""
        self._objects.close()

    async def aclose(self) -> None:
        """`close`, awaiting the `aclose()` of the running loop's object where it has one."""
        await self._objects.aclose()

    def _variable(self, setting: Setting) -> str:
        """The variable that the settings file names for a setting, else the setting's own."""
        configured = self._user_config.get(setting.name)
        if isinstance(configured, Secret) and isinstance(configured.source, EnvironmentKey):
            return configured.source.name
        return variable(setting, self.name, self.info.name)

    def _read_again(self, key: Secret | None) -> bool:
        """Read a key again from its command or keyring; true when it has changed."""
        now = time.monotonic()
        if key is None or key.source is None or now - self._renewed_at < KEY_AGE:
            return False
        self._renewed_at = now
        try:
            return key.renew()
        except ConfigurationError as error:
            _log.warning("provider %s: %s", self.name, error)
            return False


def _models(config: ProviderConfig) -> tuple[ModelInfo, ...]:
    return tuple(ModelInfo(model) if isinstance(model, str) else model for model in config.models)
