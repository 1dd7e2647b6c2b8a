"""What is asked of a provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from providerhub._values.value import Value

Message = Mapping[str, Any]
"""One chat message in the OpenAI shape: `role`, `content` (text or parts), and what goes with the role."""

Options = Mapping[str, Any]
"""Vendor-specific keywords, handed to one provider only."""


@attrs.frozen(eq=False, repr=False)
class Model(Value):
    """A model named without doubt: nothing in `name` is read as a provider.

    Args:
        name: The model's name, slashes and all.
        provider: Pin to this provider instance, or `None` for any that has the model.
    """

    name: str
    provider: str | None = None

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}" if self.provider else self.name


@attrs.frozen(eq=False, repr=False)
class Request(Value):
    """What a provider is asked to answer. `None` means that the caller did not say.

    Args:
        model: The model's name as the provider knows it.
        messages: The conversation in the OpenAI chat shape, oldest first; at least one message.
        stream: Whether the caller wants the answer in pieces as they come.
        temperature: Randomness, in the vendor's own range.
        max_tokens: The most tokens to answer with.
        stop: Texts that end the answer.
        tools: Tool definitions in the OpenAI shape.
        tool_choice: `"auto"`, `"none"`, `"required"`, or the OpenAI shape that names one tool.
        response_format: The OpenAI shape: `{"type": "json_object"}` or `{"type": "json_schema", ...}`.
        seed: Asks the vendor for repeatable sampling.
        options: Vendor-specific keywords that the caller gave for this provider.
    """

    model: str
    messages: Sequence[Message]
    stream: bool = False
    temperature: float | None = None
    max_tokens: int | None = None
    stop: Sequence[str] | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    seed: int | None = None
    options: Options = MappingProxyType({})
