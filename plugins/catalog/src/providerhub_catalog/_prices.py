"""Prices by the package genai-prices, whose data is newer than the snapshot and knows the time of a price.

Its import takes 0.2 s, so the prices that a process has looked up are kept for the next process, until the package changes.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from providerhub import ModelInfo
from providerhub_catalog._snapshot import own_path

KEPT = "prices.json"  # beside the user's snapshot
# The name of a provider, or of a vendor at models.dev → its name at genai-prices, if the names differ.
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
    vendor = VENDORS.get(provider, provider)
    name = f"{vendor}/{model}"
    if "genai_prices" not in sys.modules and name in _kept():
        fields = _kept()[name]
    else:
        fields, lasts = _looked_up(vendor, model)
        if lasts and _stamp():
            _kept()[name] = fields
            _at_exit()
    if not fields:
        return None
    tiers = fields.get("price_tiers")
    return ModelInfo(model, **{**fields, "price_tiers": tiers and tuple(tiers)})


def _looked_up(vendor: str, model: str) -> tuple[dict[str, Any] | None, bool]:
    """The prices of a model as fields, and whether they hold at any time."""
    package = _package()
    if package is None:
        return None, False
    snapshot = package.data_snapshot.get_snapshot()
    entry = next((one for one in snapshot.providers if one.id == vendor), None)
    known = entry and entry.find_model(model.lower(), all_providers=snapshot.providers)
    if not known:
        return None, True
    at_present = known.get_prices(datetime.now(UTC))
    prices = {name: price for name, field in FIELDS.items() if (price := getattr(at_present, field, None)) is not None}
    amounts = {name: float(getattr(price, "base", price)) for name, price in prices.items()}
    source = {"source": f"genai-prices {package.__version__}", "price_tiers": _tiers(prices)}
    return {**source, **amounts} if prices else None, not isinstance(getattr(known, "prices", None), list)


@cache
def _kept() -> dict[str, dict[str, Any] | None]:
    """The prices that earlier processes looked up in the same package."""
    with suppress(OSError, ValueError, KeyError, TypeError, RuntimeError):  # no file, a foreign file, or no home directory
        path = own_path()
        told = json.loads(path.with_name(KEPT).read_text("utf-8")) if path and _stamp() else {}
        if told["stamp"] == _stamp():
            return dict(told["prices"])
    return {}


@cache
def _stamp() -> list[int] | None:
    """The time and the size of the package's data; `None` if the package is not installed."""
    with suppress(OSError, ValueError):
        spec = find_spec("genai_prices")
        if spec and spec.origin:
            data = Path(spec.origin).with_name("data.py").stat()
            return [data.st_mtime_ns, data.st_size]
    return None


@cache
def _at_exit() -> None:
    """Store the prices once, at the end of the process."""
    atexit.register(_keep)


def _keep() -> None:
    with suppress(OSError, RuntimeError):
        if path := own_path():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{KEPT}.{os.getpid()}")
            temporary.write_text(json.dumps({"stamp": _stamp(), "prices": _kept()}), "utf-8")
            temporary.replace(path.with_name(KEPT))


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
