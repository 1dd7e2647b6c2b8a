"""The module of an entry point that does work at its import."""

from __future__ import annotations

import time

from conformance_light import bad_for_import_cheap

_until = time.process_time() + 1.0
while time.process_time() < _until:
    pass

__all__ = ["bad_for_import_cheap"]
