"""What a provider yields while it answers, and what `Stream.events()` hands on."""

from __future__ import annotations

import attrs

from providerhub._values.answer import Usage
from providerhub._values.value import Value


@attrs.frozen(eq=False, repr=False)
class TextDelta(Value):
    """A piece of the answer's text. A plain `str` from a plugin means the same.

    Args:
        text: The piece, in the order it was written. An empty one is not content.
    """

    text: str


@attrs.frozen(eq=False, repr=False)
class ReasoningDelta(Value):
    """A piece of the model's reasoning, which is not part of the answer's text.

    Args:
        text: The piece, in the order it was written.
    """

    text: str


@attrs.frozen(eq=False, repr=False)
class RefusalDelta(Value):
    """A piece of the model's own words for declining; it counts as content, since the model has answered.

    Args:
        text: The piece, in the order it was written.
    """

    text: str


@attrs.frozen(eq=False, repr=False)
class ToolCallDelta(Value):
    """A piece of one tool call; pieces with the same `index` belong together.

    Args:
        index: Which of the parallel calls this piece belongs to, from 0.
        id: The call's identifier, in its first piece.
        name: The tool's name, in its first piece.
        arguments: The next characters of the arguments' JSON text.
    """

    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@attrs.frozen(eq=False, repr=False)
class UsageDelta(Value):
    """Token counts reported so far; a later one replaces the counts that it names.

    Args:
        usage: The counts.
    """

    usage: Usage


@attrs.frozen(eq=False, repr=False)
class Finish(Value):
    """The provider said that the answer is whole.

    Args:
        reason: `"stop"`, `"length"`, `"tool_calls"`, `"content_filter"` or the vendor's own word;
            `None` where the end was marked but no reason given.
    """

    reason: str | None = "stop"


@attrs.frozen(eq=False, repr=False)
class Restarted(Value):
    """The answer begins anew after an interruption (`on_interrupt="restart"` or `"continue"`).

    Args:
        provider: Who answers from here on.
        model: The model that answers from here on.
        continued: True when the pieces that follow carry on from those before (prefill); False when all
            pieces before this event are void.
        error: What interrupted the pieces before.
    """

    provider: str
    model: str
    continued: bool
    error: BaseException


Event = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta | UsageDelta | Finish | Restarted
"""Everything that `Stream.events()` may yield."""
