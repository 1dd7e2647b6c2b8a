"""Prices by the package genai-prices, whose data is newer than the snapshot and knows the time of a price."""

from __future__ import annotations

from collections.abc import Mapping
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
    "price_in_audio": "input_audio_mtok",
    "price_out_audio": "output_audio_mtok",
}


def found(provider: str, model: str) -> ModelInfo | None:
    """The prices of a model at this moment; `None` without any.

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
    prices = {name: price for name, field in FIELDS.items() if (price := getattr(at_present, field, None)) is not None}
    if not prices:
        return None
    amounts = {name: float(getattr(price, "base", price)) for name, price in prices.items()}
    return ModelInfo(model, source=f"genai-prices {package.__version__}", price_tiers=_tiers(prices), **amounts)  # type: ignore[arg-type]


def _tiers(prices: Mapping[str, Any]) -> tuple[dict[str, float], ...] | None:
    """The prices of long prompts. Each price has its own tiers."""
    starts = sorted({tier.start for price in prices.values() for tier in getattr(price, "tiers", ())})
    found = {start: {name: _at(price, start) for name, price in prices.items() if hasattr(price, "tiers")} for start in starts}
    return tuple({"above": start, **amounts} for start, amounts in found.items()) or None


def _at(price: Any, start: int) -> float:
    return float(next((tier.price for tier in reversed(price.tiers) if tier.start <= start), price.base))


@cache
def _package() -> Any:
    try:
        import genai_prices.data_snapshot
    except ImportError:
        return None
    return genai_prices
