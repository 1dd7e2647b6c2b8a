"""Token counts in the chat shape. Vendors write the same count in several places; the first that has it is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from providerhub._values import Usage

_IN = {
    "cached_tokens": "cached_tokens", "cache_write_tokens": "cache_write_tokens", "cache_creation_tokens": "cache_write_tokens",
    "audio_tokens": "input_audio_tokens", "image_tokens": "input_image_tokens",
}  # fmt: skip
_OUT = {"reasoning_tokens": "reasoning_tokens", "audio_tokens": "output_audio_tokens", "image_tokens": "output_image_tokens"}

_COUNTS: Mapping[str, str] = {
    "prompt_tokens": "input_tokens", "input_tokens": "input_tokens",
    "completion_tokens": "output_tokens", "output_tokens": "output_tokens",
    "total_tokens": "stated_total",
    "prompt_cache_hit_tokens": "cached_tokens", "cached_tokens": "cached_tokens", "num_cached_tokens": "cached_tokens",
    "cache_read_input_tokens": "cached_tokens",
    "cache_creation_input_tokens": "cache_write_tokens", "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
    **{f"{side}_tokens_details.{said}": name for side in ("prompt", "input") for said, name in _IN.items()},
    **{f"{side}_tokens_details.{said}": name for side in ("completion", "output") for said, name in _OUT.items()},
}  # fmt: skip
"""The names under which vendors write a count. Of several in one answer, the first that is not zero is taken."""
_COSTS = ("cost", "cost.total_cost", "estimated_cost", "total_cost")
_LARGE = 2**53
"""Whole numbers below it are exact as a float."""


def usage_of(said: Mapping[str, Any]) -> Usage:
    """Read the counts of an answer. Reasoning that the service counts beside `completion_tokens` is added to `output_tokens`."""
    others = flat(said)
    counts: dict[str, Any] = {}
    for place, value in others.items():
        name = _COUNTS.get(place)
        if name is not None and type(value) is int and not counts.get(name):
            counts[name] = value
    thought, total = counts.get("reasoning_tokens"), counts.get("stated_total")
    if thought and total and total == counts.get("input_tokens", 0) + counts.get("output_tokens", 0) + thought:
        counts["output_tokens"] = counts.get("output_tokens", 0) + thought
    for place in _COSTS:
        if place in others and _is_cost(others[place]):
            counts.setdefault("cost", float(others[place]))
    return Usage(**counts, others=others)


def _is_cost(value: object) -> bool:
    return math.isfinite(value) if isinstance(value, float) else type(value) is int and abs(value) < _LARGE


def flat(values: Mapping[str, Any] | list[Any]) -> dict[str, Any]:
    """Return the values of nested objects and lists, such as the counts of an answer for `Usage.others`.

    Args:
        values: The object, parsed from JSON.

    Returns:
        The values, their names joined by dots: `{"a": {"b": 1}, "c": [2]}` becomes `{"a.b": 1, "c.0": 2}`. Nulls are left out.
    """
    found: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, dict) else enumerate(values):
        if isinstance(value, dict | list):
            found |= {f"{name}.{inner}": one for inner, one in flat(value).items()}
        elif value is not None:
            found[str(name)] = value
    return found
