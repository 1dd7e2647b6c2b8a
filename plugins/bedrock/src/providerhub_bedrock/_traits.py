"""The abilities of models at Bedrock that the service does not state: tools, schemas and thinking.

Reference: "Supported models and model features" and "Structured output" in the Amazon Bedrock User Guide, November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providerhub import ModelInfo

_TOOLS = re.compile(
    r"claude-(?!v|instant)|nova-(?!sonic|canvas|reel)|llama(?:3-[1-9]|4)|mistral-(?:large|small)|pixtral|ministral|magistral"
    r"|command-r|jamba|gpt-oss|gpt-\d|qwen|deepseek\.v|kimi|minimax|glm|nemotron|palmyra-x[45]"
)
_NO_TOOLS = re.compile(r"titan|claude-(?:v\d|instant)|llama(?:2|3-\d+b)|mistral-7b|mixtral|command-(?:text|light)|deepseek\.r1")
_FORMAT = re.compile(
    r"claude-(?:[a-z]+-)?(?:4-[5-9]|[5-9]\b)|gpt-oss|qwen3|deepseek\.v|kimi|minimax|gemma-3|nemotron|mistral-large-3|ministral"
    r"|magistral|voxtral|glm"
)
_CHOICE = re.compile(r"claude-[3-9a-u]|nova-|mistral-large|pixtral|gpt-oss|qwen3")


def takes_format(name: str) -> bool:
    """Return whether a model takes a JSON schema for its answer."""
    return _FORMAT.search(name) is not None


def described(name: str, stated: Mapping[str, bool | None] | None = None) -> ModelInfo:
    """Describe a model.

    Args:
        name: Its name: of a foundation model or of an inference profile, or a prefix.
        stated: The capabilities that the service states.
    """
    tools = True if _TOOLS.search(name) else False if _NO_TOOLS.search(name) else None
    schema = True if takes_format(name) or _CHOICE.search(name) else None
    found: dict[str, Any] = {"supports_stream": True, "supports_tools": tools, "supports_json_schema": schema, **(stated or {})}
    return ModelInfo(name, **found)
