"""The conformance kit: does a provider keep the promises that callers rely on?"""

from __future__ import annotations

from providerhub.testing.conformance._announced import suite_for
from providerhub.testing.conformance._anthropic_wire import AnthropicWire
from providerhub.testing.conformance._catalogue import CHECKS
from providerhub.testing.conformance._check import Check
from providerhub.testing.conformance._openai_wire import OpenAIChatWire
from providerhub.testing.conformance._report import Report, Result
from providerhub.testing.conformance._suite import ProviderConformance
from providerhub.testing.conformance._wire import Asked, Frames, NoWire, Reply, Wire

__all__ = [
    "CHECKS",
    "AnthropicWire",
    "Asked",
    "Check",
    "Frames",
    "NoWire",
    "OpenAIChatWire",
    "ProviderConformance",
    "Reply",
    "Report",
    "Result",
    "Wire",
    "suite_for",
]
