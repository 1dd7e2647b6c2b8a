"""The kit's checks for every vendor, none of them waived. Vendors that differ in data alone are checked in one environment."""

import pytest

from providerhub_compatible import VENDORS
from providerhub_compatible.conformance import suite

USUAL = {"groq", "vllm", *(name for name, vendor in VENDORS.items() if vendor.kind or vendor.known)} - {"zai", "zhipu"}

for _name, _vendor in VENDORS.items():
    _title = f"Test{_name.title().replace('-', '')}"
    _suite = type(_title, (suite(_name, _vendor),), {})
    globals()[_title] = _suite if _name in USUAL else pytest.mark.once(_suite)
del _suite
