"""A whole answer: text, tool calls, counts and the way it came."""

from __future__ import annotations

import attrs

from providerhub._values.route import Route
from providerhub._values.value import Value


@attrs.frozen(eq=False, repr=False)
class Usage(Value):
    """Token counts of one answer; `None` where the provider did not say.

    Args:
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer, reasoning included where the vendor counts it so.
        cached_tokens: Tokens of the prompt that were served from the vendor's cache.
        reasoning_tokens: Tokens spent on reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """Prompt and answer together, or `None` unless both are known."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


@attrs.frozen(eq=False, repr=False)
class ToolCall(Value):
    """A call of a tool that the model asks for.

    Args:
        id: The identifier that the tool's answer must repeat.
        name: The tool's name.
        arguments: JSON text exactly as the model wrote it: it may be invalid, so parse it with care.
    """

    id: str
    name: str
    arguments: str


@attrs.frozen(eq=False, repr=False)
class Completion(Value):
    """A whole answer. `str(completion)` is its text.

    Args:
        text: The answer's text; empty when the model only called tools or refused.
        reasoning: The model's reasoning, or `None` where there was none.
        tool_calls: The calls that the model asks for, in their order.
        refusal: The model's own words for declining, or `None`.
        finish_reason: `"stop"`, `"length"`, `"tool_calls"`, `"content_filter"`, the vendor's own word, or
            `None` where the provider marked the end without a reason.
        usage: Token counts, or `None` where the provider did not report any.
        provider: The provider instance that answered.
        model: The model's name as it was sent to the provider.
        route: Every attempt that led here, and what was left out.
    """

    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    provider: str = ""
    model: str = ""
    route: Route = Route()

    def __str__(self) -> str:
        return self.text
