"""The kit's checks for every vendor, none of them waived.

Vendors that differ in data alone have the same code, so the checks of reading and of failures would repeat those of `groq`.
These get the checks that the data can spoil: declaration, settings, key, models, and what is sent.
"""

import pytest

from providerhub_compatible import VENDORS
from providerhub_compatible.conformance import suite

USUAL = {"groq", "vllm", *(name for name, vendor in VENDORS.items() if vendor.kind or vendor.known)} - {"zai", "zhipu"}
OF_DATA = (
    "entry_point_valid", "metadata_valid", "declared_light", "no_unknown_hooks", "created_without_io", "missing_key_named",
    "models_listed", "basic_call", "async_call", "usage_reported", "counts_include_all", "details_named", "message_goes_back",
    "request_carried", "options_reach_it", "unsupported_refused", "claimed_tools", "tool_results_carried", "claimed_images",
    "claimed_json_schema", "reasoning_apart", "claimed_stream", "pieces_join", "key_used", "key_refusal_mapped",
    "missing_model_mapped",
)  # fmt: skip


def _suite_of(name, vendor):
    made = type(f"Test{name.title().replace('-', '')}", (suite(name, vendor),), {})
    if name in USUAL:
        return made
    left = [test for test in dir(made) if test.startswith("test_") and test.removeprefix("test_") not in OF_DATA]
    for test in left:
        setattr(made, test, None)
    return pytest.mark.once(made)


globals().update({f"Test{name}": _suite_of(name, vendor) for name, vendor in VENDORS.items()})
