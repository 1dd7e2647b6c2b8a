"""The models of Claude: the declared ones, and the differences between generations in the requests that they take.

The figures are those of Anthropic's model pages and prices, November 2026; prices are in US dollars for a million tokens.
Reference for the differences: "Thinking", "Effort", "Structured outputs", "Mid-conversation system messages" and the migration
guides of the models in Anthropic's documentation.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from providerhub import ModelInfo

_NAME = re.compile(r"claude-(?:([a-z]+)-)?(\d)(?:[-.](\d{1,2})(?!\d))?")
"""Family, major and minor version: `claude-opus-4-8`, `claude-haiku-4-5-20251001`, `claude-3-7-sonnet-latest`."""

_LATER = (99, 0)
"""The version of a Claude model whose name has none."""

_NO_CLAUDE = (0, 0)
"""The version of a model of another vendor, behind a gateway that speaks the Messages API."""


_MOST_TOKENS = 128_000
"""The most tokens of an answer of any model."""


class Traits(NamedTuple):
    """The parts of a request that a model takes.

    Args:
        adaptive: Whether the model decides how much it thinks, guided by an effort.
        budget: Whether it takes a number of tokens for its thinking.
        off: The type of `thinking` that switches it off; `""` where thinking is off unless it is asked for, and `None` where it
            cannot be switched off.
        schema: Whether it takes a JSON schema for its answer.
        forced: Whether a request may force it to call a tool.
        system: Whether it takes a system message in mid-conversation.
        prefill: Whether it continues a partial answer; `None` if unknown.
        thinks: Whether it thinks unless the request switches it off.
        max_tokens: The most tokens of an answer; `None` if unknown.
        window: The tokens of prompt and answer together; `None` if unknown.
    """

    adaptive: bool
    budget: bool
    off: str | None
    schema: bool
    forced: bool
    system: bool
    prefill: bool | None
    thinks: bool | None
    max_tokens: int | None
    window: int | None


@lru_cache(256)
def traits(name: str) -> Traits:
    """Return what a model takes. A model of a later version is like the newest one that is known.

    Args:
        name: The model's name, also as Amazon Bedrock, Vertex AI and gateways write it.
    """
    found = _NAME.search(name)
    family = (found[1] if found else "") or ""
    version = (int(found[2]), int(found[3] or 0)) if found else _LATER if "claude" in name else _NO_CLAUDE
    if version == _NO_CLAUDE:
        return Traits(False, True, "disabled", False, True, True, None, None, None, None)  # noqa: FBT003
    is_bound = family in {"fable", "mythos"} or (family == "opus" and version >= (5, 5))
    return Traits(
        adaptive=version >= (4, 6),
        budget=version < (4, 7),
        off=_off(family, version, is_bound=is_bound),
        schema=version >= (4, 5) or (family, version) == ("opus", (4, 1)),
        forced=not is_bound,
        system=version >= (5, 0) or (family, version) == ("opus", (4, 8)),
        prefill=version < (4, 6),
        thinks=version >= (5, 0) or None,
        max_tokens=_max_tokens(family, version),
        window=None if version >= (6, 0) else 1_000_000 if version >= (4, 6) else 200_000,
    )


def _off(family: str, version: tuple[int, int], *, is_bound: bool) -> str | None:
    if is_bound:
        return None
    if version < (5, 0):
        return ""
    return "between_tools" if family == "sonnet" and version >= (5, 5) else "disabled"


def _max_tokens(family: str, version: tuple[int, int]) -> int:
    if (4, 6) <= version < (6, 0):
        return _MOST_TOKENS
    if version >= (4, 5):
        return 64_000  # every model since takes as many, so that a later one will too
    if version >= (3, 7):
        return 32_000 if family == "opus" else 64_000
    return 8192 if version == (3, 5) else 4096


def _claude(name: str, price_in: float | None = None, price_out: float | None = None) -> ModelInfo:
    return described(name, price_in=price_in, price_out=price_out)


def described(
    name: str,
    *,
    price_in: float | None = None,
    price_out: float | None = None,
    images: bool | None = None,
    window: int | None = None,
    most: int | None = None,
) -> ModelInfo:
    """Describe a model by its name.

    Args:
        name: The model's name.
        price_in: The price of a million input tokens.
        price_out: The price of a million output tokens.
        images: Whether it reads images, if the service says so.
        window: The tokens of prompt and answer together, if the service states them.
        most: The most tokens of an answer, if the service states them.
    """
    own, is_claude = traits(name), "claude" in name
    return ModelInfo(
        name,
        supports_stream=True,
        supports_tools=True,
        supports_images=(is_claude or None) if images is None else images,
        supports_json_schema=is_claude or None,  # older models get a tool that they must call
        supports_prefill=own.prefill or None,
        supports_reasoning=own.thinks,
        context_window=own.window if window is None else window,
        max_output_tokens=_MOST_TOKENS if own.max_tokens and name.endswith("*") else own.max_tokens if most is None else most,
        price_in=price_in,
        price_out=price_out,
    )


MODELS = (
    _claude("claude-fable-5-2", 8.0, 40.0),
    _claude("claude-fable-5-1", 10.0, 50.0),
    _claude("claude-opus-5-5", 4.0, 20.0),
    _claude("claude-sonnet-5-5", 2.0, 10.0),
    _claude("claude-haiku-5-5", 0.1, 0.5),  # for prompts up to 100,000 tokens; larger ones cost five times as much
    _claude("claude-opus-5", 5.0, 25.0),
    _claude("claude-sonnet-5", 2.0, 10.0),
    _claude("claude-opus-4-8", 5.0, 25.0),
    _claude("claude-opus-4-7", 5.0, 25.0),
    _claude("claude-opus-4-6", 5.0, 25.0),
    _claude("claude-sonnet-4-6", 3.0, 15.0),
    # A name without a date is an entry of its own, so that it is sent as it was given: a gateway may know one of the two.
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
    _claude("arn:*"),  # an inference profile of the account; its name does not say which Claude it is
)
"""Names at Amazon Bedrock: of models, and of inference profiles, which begin with the area in which requests are served."""

VERTEX_MODELS = (_claude("claude-*"),)
"""Names at Vertex AI, such as `claude-sonnet-4-5@20250929`."""
