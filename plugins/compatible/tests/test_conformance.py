"""The kit's checks for every vendor, none of them waived.

Vendors that differ only in data have the same code, so the checks of reading and of failures would repeat those of `groq`. Such
vendors get the checks that the data can break: declaration, settings, key, models, and the request. A vendor whose class writes
another body gets all checks of the request. A vendor with any other class gets every check.
"""

import pytest

from providerhub_compatible import VENDORS
from providerhub_compatible.conformance import suite
from providerhub_compatible.provider import KINDS
from providerhub_conformance import CHECKS

OF_DATA = {
    "entry_point_valid", "metadata_valid", "declared_light", "no_unknown_hooks", "created_without_io", "missing_key_named",
    "models_listed", "basic_call", "async_call", "usage_reported", "counts_include_all", "details_named", "message_goes_back",
    "request_carried", "options_reach_it", "unsupported_refused", "claimed_tools", "tool_results_carried", "claimed_images",
    "claimed_json_schema", "reasoning_apart", "claimed_stream", "pieces_join", "key_used", "key_refusal_mapped",
    "missing_model_mapped",
}  # fmt: skip
SENDING = {"declaration", "calls", "capabilities", "refusals", "secrets"}
OF_BODY = OF_DATA | {check.replace("-", "_") for check, found in CHECKS.items() if found.group in SENDING}


def _does_more(kind):
    return any(name != "body" and not name.startswith("__") for name in vars(KINDS[kind])) if kind in KINDS else False


def _suite_of(name, vendor):
    made = type(f"Test{name.title().replace('-', '')}", (suite(name, vendor),), {})
    if name == "groq" or _does_more(vendor.kind):
        return made
    is_usual = name == "vllm" or (bool(vendor.kind or vendor.known) and name not in {"zai", "zhipu"})  # like `deepseek`
    for test in dir(made):
        if test.startswith("test_") and test.removeprefix("test_") not in (OF_BODY if is_usual else OF_DATA):
            setattr(made, test, None)
    return made if is_usual else pytest.mark.once(made)


globals().update({f"Test{name}": _suite_of(name, vendor) for name, vendor in VENDORS.items()})
