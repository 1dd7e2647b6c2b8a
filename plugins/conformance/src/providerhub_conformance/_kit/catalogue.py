"""All checks, in the order of reports. Importing the modules with the checks fills the table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from providerhub_conformance._kit import (  # noqa: F401 -- the import adds the checks
    calls,
    capabilities,
    declaration,
    failures,
    keys,
    parity,
    refusals,
    resources,
    streaming,
    translation,
)
from providerhub_conformance._kit.check import REGISTERED, Check

GROUPS = ("declaration", "calls", "capabilities", "streaming", "failures", "translation", "refusals", "secrets", "resources")
"""The groups of checks, in the order of reports."""

CHECKS: Mapping[str, Check] = MappingProxyType(
    {check.name: check for group in GROUPS for check in REGISTERED.values() if check.group == group}
)
"""Every check by its name, in the order of reports."""
