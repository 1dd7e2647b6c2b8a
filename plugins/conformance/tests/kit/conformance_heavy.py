"""The module of an entry point. It imports a module that only its calls would need."""

from __future__ import annotations

import packaging.version  # noqa: F401 - in place of a vendor's SDK; cheap, so that it is caught by its name alone
from conformance_light import bad_for_declared_light

__all__ = ["bad_for_declared_light"]
