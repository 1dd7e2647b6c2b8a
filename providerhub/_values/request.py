"""The requests that a provider answers, and two further answers: vectors, and a count of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from providerhub._values.checks import TEXT
from providerhub._values.cost import Cost, Usage
from providerhub._values.route import Route
from providerhub._values.value import Value, frozen

Message = Mapping[str, Any]
"""One chat message in the OpenAI shape: `role`, `content` (a text or parts), and the keys of the role."""

Options = Mapping[str, Any]
"""Vendor-specific keywords for one provider."""


@frozen(eq=False, repr=False)
class Model(Value):
    """A model with a `name` that is never split into provider and model.

    Args:
        name: The model's name; it may have slashes.
        provider: The provider instance that must answer; `None`, the default, for any provider that has the model.
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
        stream: Whether the caller reads the answer in pieces. Default false.
        temperature: Randomness of the answer, in the vendor's own range.
        max_tokens: The maximum number of tokens of the answer.
        stop: Texts at which the answer ends.
        tools: Tool definitions in the OpenAI shape.
        tool_choice: `"auto"`, `"none"`, `"required"`, or a mapping in the OpenAI shape with the name of a tool.
        response_format: The OpenAI shape: `{"type": "json_object"}` or `{"type": "json_schema", ...}`.
        seed: A whole number for repeatable sampling.
        reasoning: The effort of thinking: `"none"`, `"minimal"`, `"low"`, `"medium"`, `"high"`, or a number of tokens.
        top_p: The model chooses among the likeliest tokens, up to this sum of probabilities.
        parallel_tool_calls: Whether one answer may have several tool calls.
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


@frozen(eq=False, repr=False)
class EmbeddingRequest(Request):
    """The request that a provider's `embed` answers. A driver treats it as any `Request`.

    Args:
        model: The model's name as the provider knows it.
        messages: All texts of the call, each as a message; for estimates of tokens.
        stream: Always at its default here.
        temperature: Always at its default here.
        max_tokens: Always at its default here.
        stop: Always at its default here.
        tools: Always at its default here.
        tool_choice: Always at its default here.
        response_format: Always at its default here.
        seed: Always at its default here.
        reasoning: Always at its default here.
        top_p: Always at its default here.
        parallel_tool_calls: Always at its default here.
        options: Vendor-specific keywords for this provider.
        texts: The texts, one for each vector; at least one, within the provider's limits.
        dimensions: The length of the vectors; `None`, the default, for the model's own.
    """

    texts: Sequence[str] = attrs.field(default=(), kw_only=True)
    dimensions: int | None = attrs.field(default=None, kw_only=True)


@frozen(eq=False, repr=False)
class Embeddings(Value):
    """The vectors of some texts. All of them come from one model, since vectors of two models cannot be compared.

    Args:
        vectors: One list of numbers for each text, in the order of the texts.
        usage: The sum of the token counts, without output tokens; `None` if the service sends none.
        model: The model that answered, by the sent name. A provider leaves it empty.
        provider: The name of the provider instance that answered. A provider leaves it empty.
        route: The attempts of the call. A provider leaves it empty.
    """

    vectors: Sequence[Sequence[float]]
    usage: Usage | None = None
    model: str = ""
    provider: str = ""
    route: Route = attrs.field(factory=Route, repr=False)

    @property
    def cost(self) -> Cost | None:
        """The cost of these vectors; `None` when unknown. `route.cost` is the cost of all attempts."""
        return self.route.cost_of(self.usage, self.provider, self.model)


@frozen(eq=False, repr=False)
class TokenCount(Value):
    """The result of `count_tokens`.

    Args:
        input_tokens: The tokens of the whole request, as the service counts or estimates them: messages, tools and media.
        model: The model that the count is for, by the sent name.
        provider: The name of the provider instance that counted.
        route: The attempts of the call.
    """

    input_tokens: int
    model: str = ""
    provider: str = ""
    route: Route = attrs.field(factory=Route, repr=False)
