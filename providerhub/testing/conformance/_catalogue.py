"""All checks, in the order of reports: importing the modules that hold them is what fills the table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from providerhub.testing.conformance import (  # noqa: F401 - imported for the checks that they add
    _calls,
    _capabilities,
    _declaration,
    _failures,
    _refusals,
    _resources,
    _secrets,
    _streaming,
)
from providerhub.testing.conformance._check import REGISTERED, Check

GROUPS = ("declaration", "calls", "capabilities", "streaming", "failures", "refusals", "secrets", "resources")
"""What checks are about, in the order of reports."""

CHECKS: Mapping[str, Check] = MappingProxyType(
    {check.name: check for group in GROUPS for check in REGISTERED.values() if check.group == group}
)
"""Every check by its name, in the order of reports."""
