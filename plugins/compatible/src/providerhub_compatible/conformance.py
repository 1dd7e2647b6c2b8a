"""The conformance suites, one for each vendor, made from the table. They need the package `providerhub-conformance`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from providerhub import ModelInfo
from providerhub_compatible.vendors import VENDORS, Vendor
from providerhub_conformance import Asked, OpenAIChatWire, ProviderConformance, RecordedRequest

_REASONING = ("reasoning", "thinking", "enable_thinking", "chat_template_kwargs")
"""Fields of vendors that ask for reasoning."""


class VendorWire(OpenAIChatWire):
    """OpenAI's chat completions, with the vendor's list of models and names of fields.

    Args:
        vendor: The vendor.
    """

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor

    def listing(self, models: Sequence[str]) -> bytes | None:
        """See `Wire.listing`."""
        return json.dumps({self.vendor.entries: [{self.vendor.id: name} for name in models]}).encode()

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        is_watsonx, body = self.vendor.kind == "watsonx", request.json()
        found = super().asked(_Renamed(request) if is_watsonx else request)  # type: ignore[arg-type]
        stream = "/chat_stream?" in request.target if is_watsonx else found.stream
        return attrs.evolve(found, stream=stream, reasoning=found.reasoning or any(map(body.get, _REASONING)))


class _Renamed:
    """A request of watsonx, with the model under the usual name."""

    def __init__(self, request: RecordedRequest) -> None:
        self.header = request.header
        self._body = request.json()

    def json(self) -> Mapping[str, Any]:
        return {**self._body, "model": self._body.get("model_id")}


def __getattr__(name: str) -> type[ProviderConformance]:
    """Make the suite of a vendor; `_` stands for `-`."""
    vendor = VENDORS.get(name.replace("_", "-"))
    if vendor is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return suite(name.replace("_", "-"), vendor)


def suite(name: str, vendor: Vendor) -> type[ProviderConformance]:
    """Make the suite of a vendor.

    Args:
        name: The name of its entry point.
        vendor: The vendor.

    Returns:
        A subclass of `ProviderConformance` with all checks.
    """
    schema = vendor.kind != "json_object"
    usual = ModelInfo("conformance", supports_stream=True, supports_tools=True, supports_images=True, supports_json_schema=schema)
    model = ModelInfo(**vendor.known[0]) if vendor.known else usual
    about = f"All checks of the kit, for {vendor.title}."
    # A part of the address, or the paying project, can replace another required setting.
    settings = {own.name: "conformance" for own in vendor.own if own.unless}
    fields = {"provider": name, "wire": VendorWire(vendor), "model": model, "settings": settings, "__doc__": about}
    return type(f"{name.title()}Conformance", (ProviderConformance,), fields)
