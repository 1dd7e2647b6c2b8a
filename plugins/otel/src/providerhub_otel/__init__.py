"""OpenTelemetry for providerhub: a span for each call, a client span for each attempt, and metrics.

The plugin uses the API of OpenTelemetry alone. The program sets up the SDK and its exporters; without an SDK nothing is recorded.
The hook plugin is loaded as soon as the distribution is installed.
"""

from __future__ import annotations

import os

from providerhub import Settings, hookimpl
from providerhub_otel._telemetry import Telemetry

__all__ = ["Telemetry", "providerhub_join"]


@hookimpl
def providerhub_join(settings: Settings) -> Telemetry:
    """Observe the calls of a hub.

    Args:
        settings: The settings of the hub.

    Returns:
        The observer.
    """
    return Telemetry(settings, os.environ)
