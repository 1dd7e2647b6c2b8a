"""The events of a streaming answer: a provider yields them, and `Stream.events()` yields them to the caller."""

from __future__ import annotations

from typing import Any

from providerhub._values.answer import Citation, Media, Turn
from providerhub._values.cost import Usage
from providerhub._values.value import Value, frozen


@frozen(eq=False, repr=False)
class TextDelta(Value):
    """A piece of the answer's text. A provider may yield a plain `str` instead.

    Args:
        text: The next characters of the text. An empty text does not count as content.
    """

    text: str


@frozen(eq=False, repr=False)
class ReasoningDelta(Value):
    """A piece of the model's reasoning, which does not belong to the answer's text.

    Args:
        text: The next characters of the reasoning.
    """

    text: str


@frozen(eq=False, repr=False)
class RefusalDelta(Value):
    """A piece of the model's refusal. It counts as content, since the model has answered.

    Args:
        text: The next characters of the refusal.
    """

    text: str


@frozen(eq=False, repr=False)
class ToolCallDelta(Value):
    """A piece of one tool call. Pieces with the same `index` belong to the same call.

    Args:
        index: The number of the tool call among the parallel ones; 0 or more, default 0.
        id: The identifier of the call; only the first piece has an identifier.
        name: The name of the tool; only the first piece has a name.
        arguments: The next characters of the arguments, which are JSON text.
        type: `"function"` (the default), or `"custom"` for a tool whose input is free text.
    """

    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    type: str = "function"


@frozen(eq=False, repr=False)
class UsageDelta(Value):
    """Token counts so far. The counts of a later event replace earlier counts.

    Args:
        usage: The counts; a `None` changes nothing.
    """

    usage: Usage


@frozen(eq=False, repr=False)
class Finish(Value):
    """The provider marked the end of the answer.

    Args:
        reason: `"stop"` (the default), `"length"`, `"tool_calls"`, `"content_filter"`, `"pause_turn"` (the turn goes on) or
            another word of the vendor; `None` when the provider gave no reason.
        said: The vendor's own word; `None`, the default, if it equals `reason`.
    """

    reason: str | None = "stop"
    said: str | None = None


@frozen(eq=False, repr=False)
class Detail(Value):
    """Further data of an answer. `Completion.details` holds the values by name.

    The same data have the same name at every vendor: `"id"`, `"model"` (the model that answered), `"request_id"`, `"created"`,
    `"logprobs"` (a list), `"stop_sequence"`, `"fingerprint"`, `"tier"`, `"safety"`, `"grounding"`, `"timings"`, `"served_by"`,
    `"refusal"`, `"choices"` (further answers to the same request).

    Args:
        name: The name.
        value: JSON. A later list is appended to an earlier list of the same name; any other later value replaces the earlier
            value.
    """

    name: str
    value: Any


@frozen(eq=False, repr=False)
class Restarted(Value):
    """The answer starts again after an interruption (`on_interrupt="restart"` or `"continue"`).

    Args:
        provider: The provider instance that answers from now on.
        model: The model that answers from now on.
        continued: True if the next pieces continue the earlier pieces (prefill). False if the earlier pieces are invalid.
        error: The error that interrupted the stream.
    """

    provider: str
    model: str
    continued: bool
    error: BaseException


Event = (
    TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta | Citation | Media | UsageDelta | Detail | Turn | Finish | Restarted
)
"""Every type of event that `Stream.events()` yields."""
