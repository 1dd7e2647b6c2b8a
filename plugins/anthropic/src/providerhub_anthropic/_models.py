"""The declared models of Claude.

The figures are from Anthropic's model pages and prices, November 2026. Prices are in US dollars for a million tokens.
"""

from __future__ import annotations

from providerhub import ModelInfo
from providerhub.wire.claude import MOST_TOKENS, traits


def _claude(name: str, price_in: float | None = None, price_out: float | None = None) -> ModelInfo:
    return described(name, price_in=price_in, price_out=price_out)


def described(
    name: str,
    *,
    price_in: float | None = None,
    price_out: float | None = None,
    window: int | None = None,
    most: int | None = None,
) -> ModelInfo:
    """Describe a model by its name.

    Args:
        name: The model's name.
        price_in: The price of a million input tokens.
        price_out: The price of a million output tokens.
        window: The tokens of prompt and answer together, if the service states them.
        most: The maximum tokens of an answer, if the service states them.
    """
    own, is_claude = traits(name), "claude" in name
    return ModelInfo(
        name,
        supports_stream=True,
        supports_tools=True,
        supports_images=is_claude or None,
        supports_json_schema=is_claude or None,  # older models get a tool that they must call
        supports_prefill=own.prefill or None,
        supports_reasoning=own.thinks,
        context_window=own.window if window is None else window,
        max_output_tokens=MOST_TOKENS if own.max_tokens and name.endswith("*") else own.max_tokens if most is None else most,
        price_in=price_in,
        price_out=price_out,
    )


MODELS = (
    _claude("claude-fable-5-2", 8.0, 40.0),
    _claude("claude-fable-5-1", 10.0, 50.0),
    _claude("claude-opus-5-5", 4.0, 20.0),
    _claude("claude-sonnet-5-5", 2.0, 10.0),
    _claude("claude-haiku-5-5", 0.1, 0.5),  # for prompts up to 100,000 tokens; a larger prompt costs five times as much
    _claude("claude-opus-5", 5.0, 25.0),
    _claude("claude-sonnet-5", 2.0, 10.0),
    _claude("claude-opus-4-8", 5.0, 25.0),
    _claude("claude-opus-4-7", 5.0, 25.0),
    _claude("claude-opus-4-6", 5.0, 25.0),
    _claude("claude-sonnet-4-6", 3.0, 15.0),
    # A name without a date has its own entry, so that it is sent unchanged: a gateway may know only one of the two names.
    _claude("claude-opus-4-5", 5.0, 25.0),
    _claude("claude-opus-4-5-20251101", 5.0, 25.0),
    _claude("claude-sonnet-4-5", 3.0, 15.0),
    _claude("claude-sonnet-4-5-20250929", 3.0, 15.0),
    _claude("claude-haiku-4-5", 1.0, 5.0),
    _claude("claude-haiku-4-5-20251001", 1.0, 5.0),
    _claude("claude-*"),
)

BEDROCK_MODELS = (
    *(_claude(f"{area}anthropic.claude-*") for area in ("", "us.", "eu.", "apac.", "jp.", "au.", "ca.", "us-gov.", "global.")),
    _claude("arn:*"),  # an inference profile of the account; its name does not show the model
)
"""Names at Amazon Bedrock: of models, and of inference profiles, which begin with the area in which requests are served."""

VERTEX_MODELS = (_claude("claude-*"),)
"""Names at Vertex AI, such as `claude-sonnet-4-5@20250929`."""
