"""The declared models, so that routing does not need to ask the service.

The figures are those of Anthropic's model overview and prices, late 2025. Prices are in US dollars for a million tokens.
`claude-*` covers later models.
"""

from __future__ import annotations

from providerhub import ModelInfo

WINDOW = 200_000
"""Tokens of prompt and answer together; the same for all declared models."""


def _claude(name: str, price_in: float | None, price_out: float | None, *aliases: str, prefill: bool = True) -> ModelInfo:
    return ModelInfo(
        name,
        aliases=aliases,
        supports_stream=True,
        supports_tools=True,
        supports_images=True,
        # The Messages API has no such field. A beta that adds one is reached with `options` and the setting `beta`.
        supports_json_schema=False,
        supports_prefill=True if prefill else None,
        context_window=WINDOW,
        price_in=price_in,
        price_out=price_out,
    )


MODELS = (
    _claude("claude-opus-4-5-20251101", 5.0, 25.0, "claude-opus-4-5"),
    _claude("claude-sonnet-4-5-20250929", 3.0, 15.0, "claude-sonnet-4-5"),
    _claude("claude-haiku-4-5-20251001", 1.0, 5.0, "claude-haiku-4-5"),
    _claude("claude-opus-4-1-20250805", 15.0, 75.0, "claude-opus-4-1"),
    _claude("claude-opus-4-20250514", 15.0, 75.0, "claude-opus-4-0"),
    _claude("claude-sonnet-4-20250514", 3.0, 15.0, "claude-sonnet-4-0"),
    _claude("claude-3-7-sonnet-20250219", 3.0, 15.0, "claude-3-7-sonnet-latest"),
    _claude("claude-3-5-haiku-20241022", 0.8, 4.0, "claude-3-5-haiku-latest"),
    _claude("claude-3-haiku-20240307", 0.25, 1.25),
    # Later models. Some of them refuse a partial answer at the end, so prefill stays unknown.
    _claude("claude-*", None, None, prefill=False),
)
