"""Reads the entries of a service's list of models, with the capabilities that the service states.

OpenAI's `GET /models` has no fields for capabilities, so services have added their own. This module reads the fields of vLLM
(`max_model_len`), OpenRouter (`context_length`, `architecture`, `supported_parameters`, `pricing`), Mistral (`capabilities`,
`max_context_length`), Groq (`context_window`) and llama.cpp (`meta.n_ctx_train`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from providerhub import ModelInfo

_CHAT = re.compile(r"^(gpt-|chatgpt-|o\d|ft:gpt-|ft:o\d)")
_NO_CHAT = re.compile(r"realtime|audio|transcribe|tts|image|instruct|search|codex|deep-research|-pro(-|$)")
"""Models of OpenAI that do not answer at chat completions, or not in text."""

_KNOWN: tuple[tuple[str, int, bool], ...] = (
    ("gpt-5", 400_000, True),
    ("gpt-4.1", 1_047_576, True),
    ("gpt-4o", 128_000, True),
    ("chatgpt-4o", 128_000, True),
    ("gpt-4-turbo", 128_000, True),
    ("gpt-4", 8_192, False),
    ("gpt-3.5-turbo", 16_385, False),
    ("o1", 200_000, True),
    ("o3", 200_000, True),
    ("o4", 200_000, True),
)
"""OpenAI's own models, since its list gives names only: beginning of the name, context window in tokens, whether the model reads
images. From the model pages of OpenAI's documentation."""


def openai_model(name: str) -> ModelInfo | None:
    """Describe a model of OpenAI itself, whose list gives names only.

    Args:
        name: The name of the model.

    Returns:
        The model; `None` for one that does not answer a chat.
    """
    if not _CHAT.match(name) or _NO_CHAT.search(name):
        return None
    plain = name.removeprefix("ft:")
    window, images = next(((window, images) for start, window, images in _KNOWN if plain.startswith(start)), (None, None))
    return ModelInfo(name, supports_stream=True, supports_images=images, context_window=window)


def stated_model(entry: Mapping[str, Any]) -> ModelInfo:
    """Describe a model by the capabilities that its entry states.

    Args:
        entry: The entry of the list.
    """
    parameters = entry.get("supported_parameters")
    capabilities = _of(entry, "capabilities")
    return ModelInfo(
        str(entry["id"]),
        supports_stream=True,
        supports_tools="tools" in parameters if isinstance(parameters, list) else _flag(capabilities.get("function_calling")),
        supports_images=_reads_images(entry, capabilities),
        supports_json_schema="structured_outputs" in parameters if isinstance(parameters, list) else None,
        context_window=_window(entry),
        price_in=_price(entry, "prompt"),
        price_out=_price(entry, "completion"),
    )


def _reads_images(entry: Mapping[str, Any], capabilities: Mapping[str, Any]) -> bool | None:
    kinds = _of(entry, "architecture").get("input_modalities")
    return "image" in kinds if isinstance(kinds, list) else _flag(capabilities.get("vision"))


def _window(entry: Mapping[str, Any]) -> int | None:
    named = (entry.get(name) for name in ("context_length", "max_model_len", "max_context_length", "context_window"))
    counts = (*named, _of(entry, "meta").get("n_ctx_train"))
    return next((count for count in counts if isinstance(count, int) and count > 0), None)


def _price(entry: Mapping[str, Any], name: str) -> float | None:
    """Return the price of a million tokens; the service states that of one token."""
    try:
        price = float(_of(entry, "pricing").get(name) or "nan")
    except (TypeError, ValueError):
        return None
    return price * 1e6 if math.isfinite(price) and price >= 0 else None


def _of(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, Mapping) else {}


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
