"""Reads the entries of vendors' lists of models, with the abilities that they state.

OpenAI's `GET /models` has no fields for abilities, so vendors have added their own. An ability that no field states is unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import ModelInfo
from providerhub_compatible.vendors import Vendor

_NO_CHAT = re.compile(r"whisper|embed|rerank|(^|[-_/])(tts|stt|mistral-ocr)([-_]|$)|stable-diff|flux|imagine|dall-e|veo|sora")
"""Parts of names of models that do not chat, for lists with only names."""

_CHAT_TYPES = frozenset(
    {"chat", "language", "llm", "vlm", "model", "text", "text-generation", "text-to-text", "base", "code", "llm/v1/chat"}
)
"""The values of `type`, `model_type` and `task` of a chat model."""

_LISTS = ("supported_features", "supported_parameters", "features")
"""Fields with all abilities of a model: an ability that is not listed is missing."""

_HINTS = ("tags", "capabilities", "metadata.tags")
"""Fields that name some abilities of a model."""

_WORDS: Mapping[str, frozenset[str]] = {
    "supports_tools": frozenset({"tools", "tool_use", "tool_calling", "tool_call", "function_calling", "tool_choice"}),
    "supports_json_schema": frozenset({"structured_outputs", "structured_output", "json_schema"}),
    "supports_reasoning": frozenset({"reasoning", "reasoning_effort", "thinking", "include_reasoning"}),
    "supports_images": frozenset({"vision", "image_input"}),
}
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "supports_tools": ("supports_tools", "supports_function_calling"),
    "supports_json_schema": ("supports_structured_output", "supports_response_schema"),
    "supports_reasoning": ("supports_reasoning",),
    "supports_images": ("supports_image_input", "supports_image_in", "supports_vision"),
}
_MODALITIES = {"supports_images": "image", "supports_audio": "audio", "supports_files": "file"}
_IN = ("input_modalities", "architecture.input_modalities", "supported_input_modalities", "modalities.input")
_OUT = ("output_modalities", "architecture.output_modalities", "supported_output_modalities", "modalities.output")
_WINDOWS = (
    "loaded_context_length", "context_length", "max_model_len", "max_context_length", "context_window", "context_size",
    "metadata.context_length", "model_limits.max_sequence_length", "limits.max_input_tokens", "meta.n_ctx", "meta.n_ctx_train",
    "properties.context_window",
)  # fmt: skip
_ANSWERS = (
    "top_provider.max_completion_tokens", "max_completion_tokens", "max_output_tokens", "limits.max_output_tokens", "max_tokens",
    "metadata.max_tokens",
)  # fmt: skip
_CACHE_READ = (
    "pricing.input_cache_read", "pricing.cache_read", "cached_prompt_text_token_price", "metadata.pricing.cache_read_tokens",
)  # fmt: skip
_CACHE_WRITE = ("pricing.input_cache_write", "pricing.cache_write")


def model_of(vendor: Vendor, entry: Mapping[str, Any]) -> ModelInfo | None:
    """Describe a model by the abilities that its entry states.

    Args:
        vendor: The vendor. Its table has the fields of the name and the prices.
        entry: The entry of the list.

    Returns:
        The model; `None` if it neither answers a chat nor makes embeddings, or has no name.
    """
    name = str(entry.get(vendor.id) or "").strip()
    entry = {**entry, "properties": _properties(entry), **_of_hosts(entry)}
    chats = _answers_chat(name, entry)
    if not name or not (chats or _embeds(name, entry)):
        return None
    price_in, price_out, factor = vendor.price
    aliases = entry.get("aliases")
    aliases = aliases if isinstance(aliases, list) else []
    return ModelInfo(
        name,
        aliases=tuple(one for one in aliases if one not in ("", name) and isinstance(one, str)),
        supports_stream=chats or None,
        supports_embeddings=None if chats else True,
        context_window=_count(entry, _WINDOWS),
        max_output_tokens=_count(entry, _ANSWERS) if chats else None,
        price_in=_price(entry, (price_in,), factor),
        price_out=_price(entry, (price_out,), factor),
        price_cache_read=_price(entry, _CACHE_READ, factor),
        price_cache_write=_price(entry, _CACHE_WRITE, factor),
        supports_tools=next(_said(entry, "supports_tools"), None),
        supports_json_schema=next(_said(entry, "supports_json_schema"), None),
        supports_reasoning=next(_said(entry, "supports_reasoning"), None),
        supports_images=next(_said(entry, "supports_images"), None),
        supports_audio=next(_said(entry, "supports_audio"), None),
        supports_files=next(_said(entry, "supports_files"), None),
    )


def _answers_chat(name: str, entry: Mapping[str, Any]) -> bool:
    """Return whether a model chats, by its entry or else by its name."""
    if entry.get("active") is False or entry.get("supports_chat") is False:
        return False
    if entry.get("supports_chat") or _at(entry, "capabilities.completion_chat"):
        return True
    functions = [one.get("id") for one in entry.get("functions") or () if isinstance(one, dict)]
    if functions:  # watsonx
        return "text_chat" in functions
    out = _texts(entry, _OUT)
    kinds = _kinds(entry)
    kinds += [str(_at(entry, "task.name")).lower().replace(" ", "-")] if _at(entry, "task.name") else []
    if out is not None or kinds:
        return (out is None or "text" in out) and all(kind in _CHAT_TYPES for kind in kinds)
    return not _NO_CHAT.search(name.lower())


def _embeds(name: str, entry: Mapping[str, Any]) -> bool:
    """Return whether a model makes embeddings, by its entry or else by its name."""
    return entry.get("active") is not False and any("embed" in kind for kind in _kinds(entry) or [name.lower()])


def _kinds(entry: Mapping[str, Any]) -> list[str]:
    said = (value for value in map(entry.get, ("type", "model_type", "task")) if isinstance(value, str | list))
    return [kind.lower() for value in said for kind in ([value] if isinstance(value, str) else value) if isinstance(kind, str)]


def _said(entry: Mapping[str, Any], ability: str) -> Iterator[bool]:
    """Yield the statements of an entry about an ability, the clearest first."""
    flags = [entry[name] for name in _FLAGS.get(ability, ()) if isinstance(entry.get(name), bool)]
    if flags:
        yield any(flags)
    kinds = _texts(entry, _IN)
    if ability in _MODALITIES and kinds is not None:
        yield _MODALITIES[ability] in kinds
    words = _WORDS.get(ability, frozenset())
    for value in (_at(entry, path) for path in _HINTS):
        if isinstance(value, Mapping):
            yield from (has for name, has in value.items() if _word(name) in words and isinstance(has, bool))
        elif isinstance(value, list) and words.intersection(map(_word, value)):
            yield True
    if ability == "supports_images" and entry.get("type") == "vlm":  # LM Studio
        yield True
    stated = [str(has).lower() == "true" for name, has in entry["properties"].items() if _word(name) in words]
    yield from stated
    whole = [value for value in map(entry.get, _LISTS) if isinstance(value, list)]
    if whole and ability not in _MODALITIES:
        yield any(words.intersection(map(_word, value)) for value in whole)


def _of_hosts(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the abilities and the largest window of a model's hosts, from a router's entry."""
    listed = entry.get("providers")
    hosts = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    found: dict[str, Any] = {}
    for name in ("supports_tools", "supports_structured_output"):
        flags = [one[name] for one in hosts if isinstance(one.get(name), bool)]
        if flags:
            found[name] = any(flags)
    windows = [count for one in hosts if (count := _count(one, ("context_length",)))]
    if windows:
        found["context_length"] = max(windows)
    return found


def _properties(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return Cloudflare's list of properties as a mapping."""
    listed = entry.get("properties")
    entries = listed if isinstance(listed, list) else ()
    return {str(one.get("property_id")): one.get("value") for one in entries if isinstance(one, dict)}


def _texts(entry: Mapping[str, Any], paths: tuple[str, ...]) -> list[str] | None:
    found = next((value for value in (_at(entry, path) for path in paths) if isinstance(value, list)), None)
    return None if found is None else [str(one).lower() for one in found]


def _at(entry: Mapping[str, Any], path: str) -> Any:
    value: Any = entry
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _count(entry: Mapping[str, Any], paths: tuple[str, ...]) -> int | None:
    texts = (str(_at(entry, path)) for path in paths)
    return next((int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 12 and int(text) > 0), None)


def _price(entry: Mapping[str, Any], paths: tuple[str, ...], factor: float) -> float | None:
    """Return the price in US dollars of a million tokens."""
    value = next((found for path in paths if (found := _at(entry, path)) is not None), None)
    try:
        price = float(value) * factor  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return round(price, 9) if math.isfinite(price) and price >= 0 and not isinstance(value, bool) else None


def _word(value: object) -> str:
    return str(value).lower().replace("-", "_").replace(" ", "_")
