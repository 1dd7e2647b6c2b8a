"""The kit's checks for every vendor, none of them waived."""

from providerhub_compatible import VENDORS
from providerhub_compatible.conformance import suite

for _name, _vendor in VENDORS.items():
    _suite = suite(_name, _vendor)
    globals()[f"Test{_name.title().replace('-', '')}"] = type(f"Test{_name.title().replace('-', '')}", (_suite,), {})
del _suite
