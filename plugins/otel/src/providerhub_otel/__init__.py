"""OpenTelemetry for providerhub: a span for each call, a client span for each attempt, and metrics.

The plugin uses only the API of OpenTelemetry. The program configures the SDK and its exporters; without an SDK nothing is
recorded. The hook plugin is loaded if the distribution is installed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from providerhub import CallRecord, ConfigurationError, Settings, hookimpl

if TYPE_CHECKING:  # slow to import
    from providerhub_otel._telemetry import Telemetry

__all__ = ["Telemetry", "providerhub_join"]


class _Waiting:
    """Makes the `Telemetry` after the first call, so that the call need not wait for OpenTelemetry's import.

    If the program has not imported OpenTelemetry and no variable configures its SDK, no object is made.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._environ = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
        if self._environ:
            from providerhub_otel._names import content

            try:
                content(self._environ)
            except ValueError as error:
                raise ConfigurationError(str(error)) from None
        self._telemetry: Telemetry | None = None

    @hookimpl
    def providerhub_call_finished(self, call: CallRecord) -> None:
        if self._telemetry is None:
            if not self._environ and "opentelemetry" not in sys.modules:
                return
            self._telemetry = __getattr__("Telemetry")(self._settings, self._environ)
        self._telemetry.providerhub_call_finished(call)


@hookimpl
def providerhub_join(settings: Settings) -> _Waiting:
    """Observe the calls of a hub.

    Args:
        settings: The settings of the hub.

    Returns:
        The observer.

    Raises:
        ConfigurationError: A variable of OpenTelemetry has an unknown value.
    """
    return _Waiting(settings)


def __getattr__(name: str) -> type[Telemetry]:
    if name != "Telemetry":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from providerhub_otel._telemetry import Telemetry

    return Telemetry
