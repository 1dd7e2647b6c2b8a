"""The declared models, and the differences between models in the requests that they take.

Reference: "Models", "Thinking" and "Pricing" in the documentation of the Gemini API. Prices are in US dollars for a million
tokens, for prompts of up to 200,000 tokens.
"""

from __future__ import annotations

import re
from typing import Any

from providerhub import ModelInfo
from providerhub_gemini import VERSION

_GENERATION = re.compile(r"gemini-(?:(\d+)(?:\.(\d+))?)?")
_LATEST = (99, 0)
"""The generation of a Gemini model whose name has none, such as `gemini-flash-latest`."""

_SPECIAL = re.compile(r"image|tts|audio|live|embedding|computer-use|robotics")
"""Gemini models with a special purpose."""

WINDOW = 1_048_576
"""The tokens of prompt and answer together, of every general model since Gemini 2.0."""


def version(value: Any) -> str:
    """Check a version of the API.

    Args:
        value: The configured value.

    Returns:
        The version.

    Raises:
        ValueError: The value is not a version.
    """
    if not re.fullmatch(r"v\d\w*", str(value)):
        msg = f"api_version must be a version such as 'v1' or {VERSION!r}, not {value!r}"
        raise ValueError(msg)
    return str(value)


def generation(name: str) -> tuple[int, int]:
    """Return the generation of a Gemini model, such as `(2, 5)`; `(0, 0)` for a model of another family.

    Args:
        name: The model's name, which may have a path.
    """
    found = _GENERATION.search(name)
    if not found:
        return (0, 0)
    return (int(found[1]), int(found[2] or 0)) if found[1] else _LATEST


def described(
    name: str,
    price_in: float | None = None,
    price_out: float | None = None,
    *,
    window: int | None = None,
    most: int | None = None,
    thinks: bool | None = None,
) -> ModelInfo:
    """Describe a model by its name.

    Args:
        name: The model's name.
        price_in: The price of a million input tokens.
        price_out: The price of a million output tokens.
        window: The tokens of prompt and answer together, if the service states them.
        most: The maximum tokens of an answer, if the service states them.
        thinks: Whether it thinks, if the service says so.
    """
    general = (generation(name) >= (2, 0) and not _SPECIAL.search(name)) or None
    return ModelInfo(
        name,
        supports_stream=True,
        supports_tools=general,
        supports_images=general,
        supports_json_schema=general,
        supports_audio=general,
        supports_files=general,
        supports_reasoning=thinks,
        context_window=window or (WINDOW if general and not name.endswith("*") else None),
        max_output_tokens=most,
        price_in=price_in,
        price_out=price_out,
    )


MODELS = (
    described("gemini-2.5-flash", 0.3, 2.5, thinks=True),
    described("gemini-2.5-flash-lite", 0.1, 0.4),
    described("gemini-2.5-pro", 1.25, 10.0, thinks=True),
    described("gemini-3-flash-preview", 0.5, 3.0, thinks=True),
    described("gemini-3.1-pro-preview", 2.0, 12.0, thinks=True),
    ModelInfo("gemini-embedding-001", supports_embeddings=True, context_window=2048),
    ModelInfo("gemini-embedding-*", supports_embeddings=True),
    ModelInfo("gemini-*", supports_stream=True),
)
