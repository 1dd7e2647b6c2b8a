"""Reads the entries of a service's list of models, with the capabilities that the service states.

OpenAI's `GET /models` has no fields for capabilities, so services have added their own. This module reads the fields of vLLM
(`max_model_len`), OpenRouter (`context_length`, `architecture`, `supported_parameters`, `pricing`), Mistral (`capabilities`,
`max_context_length`), Groq (`context_window`, `supported_features`, `input_modalities`) and llama.cpp (`meta.n_ctx_train`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from providerhub import ModelInfo

_TEXT = re.compile(r"^(gpt-|chatgpt-|o\d|codex-|computer-use|ft:gpt-|ft:o\d)")
_NO_TEXT = re.compile(r"realtime|transcribe|tts|image|instruct")
"""Models of OpenAI that do not answer in a conversation."""

_RESPONSES_ONLY = re.compile(r"^(o\d+-pro|gpt-5[\w.]*-(pro|codex)|codex-|computer-use|o\d[\w-]*-deep-research)")
"""Models with the Responses API but without chat completions. From the model pages of OpenAI's documentation."""

_CHAT_ONLY = re.compile(r"-audio|-search-")
"""Models with chat completions but without the Responses API."""

_REASONS = re.compile(r"^(ft:)?(o\d|gpt-5(?!.*(-chat|-search))|codex-|computer-use)")
"""Models that think, and whose reasoning can go back encrypted."""

_LISTS = ("supported_parameters", "supported_features")
"""Fields that name all abilities of a model."""

_KNOWN: tuple[tuple[str, int, bool], ...] = (
    ("gpt-5", 400_000, True),
    ("gpt-audio", 128_000, False),
    ("gpt-4o-audio", 128_000, False),
    ("gpt-4o-mini-audio", 128_000, False),
    ("gpt-4o-search", 128_000, False),
    ("gpt-4o-mini-search", 128_000, False),
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


def speaks_responses(name: str) -> bool:
    """Return whether a model answers only at the Responses API.

    Args:
        name: The name of the model.
    """
    return _RESPONSES_ONLY.match(name) is not None


def reasons(name: str) -> bool:
    """Return whether a model of OpenAI is known to think before it answers.

    Args:
        name: The name of the model.
    """
    return _REASONS.match(name) is not None


def openai_model(name: str, api: str = "chat", *, served: str | None = None) -> ModelInfo | None:
    """Describe a model of OpenAI itself, whose list gives names only.

    Args:
        name: The name of the model.
        api: `"chat"`, the default, or `"responses"` leaves out the models that do not answer there; `"auto"` leaves out none.
        served: The name of its deployment; `None`, the default, for `name`.

    Returns:
        The model; `None` if it neither answers a conversation nor makes embeddings.
    """
    if name.startswith("text-embedding-"):
        return ModelInfo(served or name, supports_embeddings=True, context_window=8_192)
    if not _TEXT.match(name) or _NO_TEXT.search(name):
        return None
    if (api == "chat" and speaks_responses(name)) or (api == "responses" and _CHAT_ONLY.search(name)):
        return None
    plain = name.removeprefix("ft:")
    window, images = next(((window, images) for start, window, images in _KNOWN if plain.startswith(start)), (None, None))
    return ModelInfo(
        served or name,
        supports_stream=True,
        supports_images=images,
        supports_audio=True if "-audio" in name else None,
        supports_reasoning=True if reasons(name) else None,
        context_window=window,
    )


def stated_model(entry: Mapping[str, Any]) -> ModelInfo:
    """Describe a model by the capabilities that its entry states.

    Args:
        entry: The entry of the list.
    """
    name = str(entry["id"])
    if "embed" in name.lower():
        return ModelInfo(name, supports_embeddings=True, context_window=_window(entry))
    parameters = next((value for value in map(entry.get, _LISTS) if isinstance(value, list)), None)
    capabilities = _of(entry, "capabilities")
    return ModelInfo(
        name,
        supports_stream=True,
        supports_tools=_flag(capabilities.get("function_calling")) if parameters is None else "tools" in parameters,
        supports_images=_reads_images(entry, capabilities),
        supports_json_schema=None if parameters is None else "structured_outputs" in parameters or "json_schema" in parameters,
        context_window=_window(entry),
        price_in=_price(entry, "prompt"),
        price_out=_price(entry, "completion"),
    )


def _reads_images(entry: Mapping[str, Any], capabilities: Mapping[str, Any]) -> bool | None:
    kinds = _of(entry, "architecture").get("input_modalities") or entry.get("input_modalities")
    return "image" in kinds if isinstance(kinds, list) else _flag(capabilities.get("vision"))


def _window(entry: Mapping[str, Any]) -> int | None:
    named = (entry.get(name) for name in ("context_length", "max_model_len", "max_context_length", "context_window"))
    counts = (*named, _of(entry, "meta").get("n_ctx_train"))
    return next((count for count in counts if type(count) is int and count > 0), None)


def _price(entry: Mapping[str, Any], name: str) -> float | None:
    """Return the price of a million tokens; the service states the price of one token."""
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
