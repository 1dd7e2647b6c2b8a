"""Prices by the package genai-prices, whose data is newer than the snapshot and knows the time of a price."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from providerhub import ModelInfo

# A provider's name, or a vendor's at models.dev → the name at genai-prices, where they differ.
VENDORS = {
    "amazon-bedrock": "aws",
    "anthropic-bedrock": "aws",
    "anthropic-vertex": "google",
    "bedrock": "aws",
    "fireworks-ai": "fireworks",
    "gemini": "google",
    "google-vertex": "google",
    "google-vertex-anthropic": "google",
    "moonshot": "moonshotai",
    "novita-ai": "novita",
    "togetherai": "together",
    "vertex": "google",
    "xai": "x-ai",
    "zhipu": "zhipuai",
}
FIELDS = {
    "price_in": "input_mtok",
    "price_out": "output_mtok",
    "price_cache_read": "cache_read_mtok",
    "price_cache_write": "cache_write_mtok",
}


def found(provider: str, model: str) -> ModelInfo | None:
    """The prices of a model at this moment; `None` without any. Of prices in tiers, the first one.

    Args:
        provider: The name of a provider plugin, or of the vendor at models.dev.
        model: The model's name at the vendor.
    """
    package = _package()
    if package is None:
        return None
    vendor = VENDORS.get(provider, provider)
    snapshot = package.data_snapshot.get_snapshot()
    entry = next((one for one in snapshot.providers if one.id == vendor), None)
    known = entry and entry.find_model(model.lower(), all_providers=snapshot.providers)
    if not known:
        return None
    at_present = known.get_prices(datetime.now(UTC))
    amounts = {name: _amount(getattr(at_present, field, None)) for name, field in FIELDS.items()}
    if all(amount is None for amount in amounts.values()):
        return None
    return ModelInfo(model, source=f"genai-prices {package.__version__}", **amounts)  # type: ignore[arg-type]


def _amount(price: Any) -> float | None:
    """A price in dollars; that of the first tier where it has tiers."""
    found = getattr(price, "base", price)
    return None if found is None else float(found)


@cache
def _package() -> Any:
    try:
        import genai_prices.data_snapshot
    except ImportError:
        return None
    return genai_prices
