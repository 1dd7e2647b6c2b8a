"""What the kit must be told of a service's protocol, so that it can play the service, right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

from providerhub import ToolCall, Usage
from providerhub_conformance._faults.connection import RecordedRequest

REFUSAL_TEXT = "the conformance kit says no"
"""What a played refusal says, where the kit has no better words."""


@attrs.frozen(kw_only=True)
class Reply:
    """An answer that the kit wants the service to give.

    Args:
        text: The pieces of its text; a whole answer joins them.
        reasoning: The pieces of the model's reasoning, which come before the text.
        tool_calls: The calls that it asks for.
        usage: Token counts.
        finish_reason: `"stop"`, `"length"`, `"tool_calls"` or `"content_filter"`.
        model: The model's name.
    """

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish_reason: str = "stop"
    model: str = "conformance"


@attrs.frozen
class Frames:
    """A streamed answer as the service sends it, in three parts, so that the kit can cut, delay and garble it.

    Args:
        head: What comes before the first content.
        pieces: One frame (or more) for each piece of content, in order.
        tail: What ends it: finish reason, usage, the end mark.
    """

    head: tuple[bytes, ...]
    pieces: tuple[bytes, ...]
    tail: tuple[bytes, ...]

    @property
    def all(self) -> tuple[bytes, ...]:
        """The whole stream."""
        return (*self.head, *self.pieces, *self.tail)


@attrs.frozen(kw_only=True)
class Asked:
    """What a provider's request asks of the service, in the kit's own words.

    Args:
        model: The model's name.
        messages: Role and text of each message, system prompts included, in order.
        stream: Whether it asks for a stream.
        temperature: As sent, or `None`; likewise the following.
        max_tokens: The most tokens.
        stop: The texts that end the answer.
        seed: The seed.
        tools: The names of the tools offered.
        tool_results: Identifier and text of each tool result in the conversation.
        tool_calls: Identifier and name of each earlier tool call in the conversation.
        images: How many images the conversation holds.
        json_schema: Whether it asks for an answer held to a JSON schema.
        key: The credential it carries, or `""`.
    """

    model: str
    messages: tuple[tuple[str, str], ...]
    stream: bool = False
    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[str, ...] = ()
    tool_results: tuple[tuple[str, str], ...] = ()
    tool_calls: tuple[tuple[str, str], ...] = ()
    images: int = 0
    json_schema: bool = False
    key: str = ""


class Wire:
    """How a service speaks. Derive from it for a protocol of its own; `OpenAIChatWire` and `AnthropicWire` are ready-made.

    The kit serves what these methods give on a loopback socket, whole or broken.
    """

    base: ClassVar[str] = ""
    """Appended to the server's address to make the provider's `url`."""
    answer_type: ClassVar[str] = "application/json"
    """Content type of a whole answer."""
    stream_type: ClassVar[str] = "text/event-stream"
    """Content type of a streamed answer."""
    newlines: ClassVar[tuple[bytes, ...]] = (b"\n", b"\r\n", b"\r")
    """The line ends that the protocol allows between and within frames; server-sent events allow all three."""
    carries: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "max_tokens", "stop", "seed", "tools", "images", "json_schema", "usage", "reasoning"}
    )
    """What the protocol has a place for; checks of anything else are not applicable."""
    finish_reasons: ClassVar[tuple[str, ...]] = ("stop", "length", "tool_calls", "content_filter")
    """The finish reasons that the service can express."""

    def answer(self, reply: Reply) -> bytes:
        """Write a whole answer.

        Args:
            reply: What it says.

        Returns:
            The body.
        """
        raise NotImplementedError

    def stream(self, reply: Reply) -> Frames:
        """Write a streamed answer.

        Args:
            reply: What it says.

        Returns:
            Its frames.
        """
        raise NotImplementedError

    def refusal(self, status: int, message: str) -> bytes:
        """Write the body of a refused request.

        Args:
            status: The HTTP status that it goes with: 400, 401, 403, 404 (the model is not there), 429, or 5xx.
            message: What the service says.

        Returns:
            The body.
        """
        raise NotImplementedError

    def error_event(self, message: str) -> bytes:
        """Write the frame by which the service reports a failure of its own inside a stream.

        Args:
            message: What it says.

        Returns:
            The frame.
        """
        raise NotImplementedError

    def asked(self, request: RecordedRequest) -> Asked:
        """Read a request.

        Args:
            request: As it came.

        Returns:
            What it asks.

        Raises:
            Exception: Whatever the reading raises; the check then reports that the request cannot be read.
        """
        raise NotImplementedError

    def garbage(self) -> bytes:
        """Write a frame that is framed well, but whose content is none."""
        return b'data: {"truncated": \n\n'

    def keep_alive(self) -> bytes:
        """Write what the service sends to keep a silent stream open; `b""` where it has nothing of the kind."""
        return b": keep-alive\n\n"

    def endless(self) -> tuple[bytes, bytes]:
        """Write the beginning of a frame that never ends, and what it goes on with for ever."""
        return b"data: ", b"x"

    def listing(self, models: Sequence[str]) -> bytes | None:
        """Write the answer to the question which models there are; `None` where the kit cannot tell.

        Args:
            models: Their names.

        Returns:
            The body, or `None`.
        """
        del models
        return None


class NoWire(Wire):
    """For a provider that sends nothing: one that answers in this process, or through a library that cannot be redirected.

    Checks that play the service are reported as not applicable.
    """
