"""Reads what stands beside the text of an answer in the chat shape: sources, images, sounds, thinking and counts of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub._values import Citation, Media, Usage
from providerhub.wire._shape import says

_SOUNDS = {"UklGR": "audio/wav", "SUQz": "audio/mpeg", "//": "audio/mpeg", "T2dn": "audio/ogg", "ZkxhQ": "audio/flac"}
"""The beginnings of sounds in base64."""

_URL = ("url", "link", "uri")
_TEXT = ("content", "snippet", "text", "quote", "cited_text")


def citations_of(sources: Mapping[str, Any]) -> Iterator[Citation]:
    """Read the sources of an answer. A source in two lists is returned once, with the data of the fuller list."""
    told: set[str] = set()
    for key in ("annotations", "search_results", "web_search", "citations"):
        found = sources.get(key)
        for one in found if isinstance(found, list | tuple) else [found] if found else []:
            citation = _citation(one)
            if key == "citations" and citation.url is not None and citation.url in told:
                continue
            told.add(citation.url or "")
            yield citation


def _citation(said: Any) -> Citation:
    if not isinstance(said, dict):
        text = str(said)
        return Citation(url=text) if "://" in text else Citation(text=text)
    kind = said.get("type")
    fields = dict(said)
    inner = fields.pop(kind, None) if isinstance(kind, str) else None
    if isinstance(inner, dict):  # {"type": "url_citation", "url_citation": {...}}
        fields |= inner
    address, quoted, title = _taken(fields, _URL), _taken(fields, _TEXT), _taken(fields, ("title",))
    start, end = (fields.pop(name) if type(fields.get(name)) is int else None for name in ("start_index", "end_index"))
    return Citation(address, title, quoted, start, end, {name: value for name, value in fields.items() if says(value)})


def _taken(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    name = next((name for name in names if fields.get(name) and isinstance(fields[name], str)), None)
    return None if name is None else fields.pop(name)


def image_of(said: Any) -> Media:
    """Read one image: `{"type": "image_url", "image_url": {"url": ...}}`, a data URL, an address, or base64 text."""
    fields = said if isinstance(said, dict) else {"url": said}
    inner = fields.get("image_url") or fields
    url = inner.get("url") if isinstance(inner, dict) else inner
    data: Any = fields.get("b64_json") or fields.get("data") or ""
    identifier = None if fields.get("id") is None else str(fields["id"])
    text = url if isinstance(url, str) else ""
    if text.startswith("data:"):
        head, _, content = text.removeprefix("data:").partition(",")
        return Media("image", head.partition(";")[0] or None, content, id=identifier)
    return Media("image", None, data if isinstance(data, str) else "", text or None, identifier)


def sound_type(base64: str) -> str | None:
    """Return the media type of a sound by its first bytes in base64; `None` for raw samples."""
    return next((kind for begin, kind in _SOUNDS.items() if base64.startswith(begin)), None)


def thinking_of(part: Mapping[str, Any]) -> str | None:
    """Return the text of a part of thinking of Mistral or Databricks; `None` for another part."""
    kind = part.get("type")
    inner = part.get("summary" if kind == "reasoning" else "thinking")
    if kind not in {"thinking", "reasoning"} or not isinstance(inner, str | list):
        return None
    if isinstance(inner, str):
        return inner
    texts = (one.get("text") if isinstance(one, dict) else one for one in inner)
    return "".join(text for text in texts if isinstance(text, str))


def detail_of(said: Any) -> str | None:
    """Return the text of an entry of `reasoning_details`, for services with reasoning only there; else `None`."""
    texts = (said.get("text"), said.get("summary")) if isinstance(said, dict) else ()
    return next((text for text in texts if text and isinstance(text, str)), None)


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
_COSTS = {"cost": 1, "cost.total_cost": 1, "estimated_cost": 1, "total_cost": 1, "cost_in_usd_ticks": 10**10}
"""The names under which vendors write a cost, each with its units in a dollar: xAI counts ticks."""
_LARGE = 2**53
"""Whole numbers below it are exact as a float."""


def usage_of(said: Mapping[str, Any]) -> Usage:
    """Read the counts of an answer. Reasoning and cached tokens that the service counts separately are added to their side."""
    others = flat(said)
    counts: dict[str, Any] = {}
    for place, value in others.items():
        name = _COUNTS.get(place)
        if name is not None and type(value) is int and not counts.get(name):
            counts[name] = value
    thought, total, written = counts.get("reasoning_tokens"), counts.get("stated_total"), counts.get("output_tokens", 0)
    # Vercel's total also leaves out Gemini's reasoning. An estimated count of reasoning may be a little above the whole output.
    if thought and ((total and total == counts.get("input_tokens", 0) + written + thought) or thought > 2 * written > 0):
        counts["output_tokens"] = written + thought
    cached = counts.get("cached_tokens", 0) + counts.get("cache_write_tokens", 0)  # Portkey counts Claude's beside the input
    if cached and total == counts.get("input_tokens", 0) + written + cached:
        counts["input_tokens"] = counts.get("input_tokens", 0) + cached
    for place, units in _COSTS.items():
        if place in others and _is_cost(others[place]):
            counts.setdefault("cost", others[place] / units)
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
