"""A whole answer: text, tool calls, token counts and route."""

from __future__ import annotations

import attrs

from providerhub._values.route import Route
from providerhub._values.value import Value


@attrs.frozen(eq=False, repr=False)
class Usage(Value):
    """Token counts of one answer. `None` means that the provider did not report the count.

    Args:
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer, with the reasoning where the vendor includes it.
        cached_tokens: Tokens of the prompt that the vendor read from its cache.
        reasoning_tokens: Tokens of the reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """The sum of `input_tokens` and `output_tokens`; `None` when one of them is unknown."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


@attrs.frozen(eq=False, repr=False)
class ToolCall(Value):
    """A tool call that the model asks for.

    Args:
        id: The identifier that the tool's result must repeat.
        name: The name of the tool.
        arguments: The arguments as JSON text, exactly as the model wrote it. It may be invalid JSON.
    """

    id: str
    name: str
    arguments: str


@attrs.frozen(eq=False, repr=False)
class Completion(Value):
    """A whole answer. `str(completion)` is its text.

    Args:
        text: The text of the answer; empty when the model only called tools or refused.
        reasoning: The model's reasoning; `None` when it gave none.
        tool_calls: The tool calls that the model asks for, in its order.
        refusal: The model's words of refusal; `None` when it did not refuse.
        finish_reason: `"stop"`, `"length"`, `"tool_calls"`, `"content_filter"`, another word of the vendor, or `None` when the
            provider marked the end without a reason.
        usage: Token counts; `None` when the provider did not report any.
        provider: The provider instance that answered.
        model: The model's name as the provider received it.
        route: All attempts of the call, and the candidates that were left out.
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
