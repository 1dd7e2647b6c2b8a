"""The request that a provider answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from providerhub._values.checks import TEXT
from providerhub._values.frozen import frozen
from providerhub._values.value import Value

Message = Mapping[str, Any]
"""One chat message in the OpenAI shape: `role`, `content` (a text or parts), and the keys that belong to the role."""

Options = Mapping[str, Any]
"""Vendor-specific keywords for one provider."""


@frozen(eq=False, repr=False)
class Model(Value):
    """A model whose `name` is never split into provider and model.

    Args:
        name: The model's name; it may hold slashes.
        provider: The provider instance that must answer; `None`, the default, for every provider that has the model.
    """

    name: str = attrs.field(validator=TEXT)
    provider: str | None = attrs.field(default=None, validator=TEXT.or_none)

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}" if self.provider else self.name


@frozen(eq=False, repr=False)
class Request(Value):
    """The request that a provider answers. `None` means that the caller gave no value.

    Args:
        model: The model's name as the provider knows it.
        messages: The conversation in the OpenAI chat shape, oldest first; at least one message.
        stream: Whether the caller reads the answer in pieces as they arrive. Default false.
        temperature: Randomness of the answer, in the vendor's own range.
        max_tokens: The maximum number of tokens of the answer.
        stop: Texts at which the answer ends.
        tools: Tool definitions in the OpenAI shape.
        tool_choice: `"auto"`, `"none"`, `"required"`, or a mapping in the OpenAI shape that names one tool.
        response_format: The OpenAI shape: `{"type": "json_object"}` or `{"type": "json_schema", ...}`.
        seed: A whole number with which the vendor makes its sampling repeatable.
        reasoning: How much to think before the answer: `"none"`, `"minimal"`, `"low"`, `"medium"`, `"high"`, or tokens.
        top_p: The sum of probabilities of the tokens among which the model chooses.
        parallel_tool_calls: Whether one answer may hold several tool calls.
        options: Vendor-specific keywords for this provider.
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
    reasoning: str | int | None = None
    top_p: float | None = None
    parallel_tool_calls: bool | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)  # a read-only view would not pickle
