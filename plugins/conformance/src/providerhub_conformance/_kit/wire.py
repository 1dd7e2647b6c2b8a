"""The description of a service's protocol. The kit uses it to play the service, correct and faulty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from providerhub import ToolCall, Usage
from providerhub_conformance._faults.connection import RecordedRequest
from providerhub_conformance._faults.scripts import event_prelude, eventstream, ndjson

EVENT_STREAM = "application/vnd.amazon.eventstream"
_GARBLED = b'{"truncated": '
FEATURES = frozenset(
    {
        *("temperature", "max_tokens", "stop", "seed", "tools", "images", "json_schema", "usage", "reasoning", "cached_tokens"),
        *("other_reasons", "tool_choice", "json_object", "audio", "files", "reasoning_asked", "top_p", "parallel_tool_calls"),
    }
)
"""The names that `Wire.carries` may hold."""


@attrs.frozen(kw_only=True)
class Reply:
    """An answer of the played service.

    Args:
        text: The pieces of the text. A whole answer joins them.
        reasoning: The pieces of the model's reasoning, which come before the text.
        tool_calls: The tool calls of the answer.
        usage: The token counts; `None` for no usage.
        finish_reason: `"stop"`, `"length"`, `"tool_calls"` or `"content_filter"`.
        model: The name of the model that answers.
    """

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish_reason: str = "stop"
    model: str = "conformance"


@attrs.frozen
class Frames:
    """A streamed answer of the service in three parts, so that the kit can cut, delay and garble it.

    Args:
        head: The frames before the first content.
        pieces: One frame or more for each piece of content, in order.
        tail: The frames at the end: finish reason, usage, the end mark.
    """

    head: tuple[bytes, ...]
    pieces: tuple[bytes, ...]
    tail: tuple[bytes, ...]

    @property
    def all(self) -> tuple[bytes, ...]:
        """All frames of the stream, in order."""
        return (*self.head, *self.pieces, *self.tail)


@attrs.frozen(kw_only=True)
class Asked:
    """The content of a provider's request, independent of the protocol.

    Args:
        model: The name of the requested model.
        messages: The role and text of each message, in order, with system prompts.
        stream: Whether the request asks for a stream.
        temperature: The temperature as sent; `None` when it was not sent.
        top_p: The share of the most likely tokens as sent; `None` when it was not sent.
        max_tokens: The limit of tokens; `None` when it was not sent.
        stop: The texts that end the answer; empty when they were not sent.
        seed: The seed for sampling; `None` when it was not sent.
        tools: The names of the offered tools.
        parallel_tool_calls: Whether the answer may hold several tool calls; `None` when it was not sent.
        tool_results: The identifier and text of each tool result in the conversation.
        tool_calls: The identifier and name of each earlier tool call in the conversation.
        images: The number of images in the conversation.
        json_schema: Whether the request asks for an answer that follows a JSON schema.
        json_object: Whether the request asks for an answer that is JSON, without a schema.
        tool_choice: `"auto"`, `"none"`, `"required"` or the name of the tool; `None` when it was not sent.
        audio: The number of sounds in the conversation.
        files: The number of files in the conversation.
        reasoning: Whether the request asks the model to reason.
        key: The credential of the request, or `""`.
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
    json_object: bool = False
    tool_choice: str | None = None
    audio: int = 0
    files: int = 0
    reasoning: bool = False
    key: str = ""
    top_p: float | None = None
    parallel_tool_calls: bool | None = None


class Wire:
    """The protocol of a service. Derive a class for another protocol; `OpenAIChatWire` and `AnthropicWire` are ready-made.

    The kit serves the bytes that these methods return on a loopback socket, whole or broken. A subclass sets the class attributes
    that differ: `base`, `answer_type`, `stream_type`, `newlines`, `carries`, `call_ids`, `renames_calls`, `finish_reasons`.

    Raises:
        ValueError: A subclass names an unknown feature in `carries`.
    """

    base: ClassVar[str] = ""
    """The path that is added to the server's address for the provider's `url`."""
    answer_type: ClassVar[str] = "application/json"
    """The content type of a whole answer."""
    stream_type: ClassVar[str] = "text/event-stream"
    """The content type of a streamed answer. `sse`, `ndjson` and `eventstream` write the frames of `"text/event-stream"`,
    `"application/x-ndjson"` and `"application/vnd.amazon.eventstream"`."""
    newlines: ClassVar[tuple[bytes, ...]] = (b"\n", b"\r\n", b"\r")
    """The line ends that the protocol allows in and between frames. Server-sent events allow all three; a framing without lines
    has none."""
    carries: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "max_tokens", "stop", "seed", "tools", "images", "json_schema", "usage", "reasoning"}
    )
    """The features that the protocol can carry. Checks of other features are not applicable. A wire adds `cached_tokens` if it
    writes the tokens of the cache and of the reasoning, which are parts of the others; `other_reasons` if it writes any finish
    reason; `tool_choice`, `top_p`, `parallel_tool_calls`,
    `json_object`, `audio` and `files` if its `asked` reads them; and `reasoning_asked` if it reads
    `reasoning`."""
    call_ids: ClassVar[bool] = True
    """Whether tool calls and their results have identifiers. Without them, the checks compare names, contents and order."""
    renames_calls: ClassVar[bool] = False
    """Whether the service accepts only its own form of identifiers of tool calls, so that a provider rewrites other
    identifiers."""
    finish_reasons: ClassVar[tuple[str, ...]] = ("stop", "length", "tool_calls", "content_filter")
    """The finish reasons that the service can express."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in sorted(cls.carries - FEATURES):
            raise ValueError(f"{cls.__qualname__}.carries names {name!r}; the known features are {', '.join(sorted(FEATURES))}")

    def answer(self, reply: Reply) -> bytes:
        """Write a whole answer.

        Args:
            reply: The content of the answer.

        Returns:
            The body.
        """
        raise NotImplementedError

    def stream(self, reply: Reply) -> Frames:
        """Write a streamed answer. The default writes a `chunk` for each piece, then the `end`.

        Args:
            reply: The content of the answer.

        Returns:
            The frames of the answer.
        """
        pieces = [
            *(self.chunk(Reply(reasoning=(text,), model=reply.model), at) for at, text in enumerate(reply.reasoning)),
            *(self.chunk(Reply(text=(text,), model=reply.model), at) for at, text in enumerate(reply.text)),
            *(self.chunk(Reply(tool_calls=(call,), model=reply.model), at) for at, call in enumerate(reply.tool_calls)),
        ]
        return Frames((), tuple(pieces), self.end(reply))

    def chunk(self, piece: Reply, place: int) -> bytes:
        """Write the frame of one piece, such as `sse({"text": "Hi"}, done=False)[0]`. Only the default of `stream` needs it.

        Args:
            piece: One piece of text or of reasoning, or one tool call.
            place: The number of the piece among the pieces of its kind, from 0.

        Returns:
            The frame.
        """
        raise NotImplementedError

    def end(self, reply: Reply) -> tuple[bytes, ...]:
        """Write the frames at the end of a stream. Only the default of `stream` needs it.

        Args:
            reply: The content of the answer, with its finish reason and usage.

        Returns:
            The frames.
        """
        raise NotImplementedError

    def refusal(self, status: int, message: str) -> bytes:
        """Write the body of a refused request.

        Args:
            status: The HTTP status of the refusal: 400, 401, 403, 404 (the model does not exist), 429, or 5xx.
            message: The message of the service.

        Returns:
            The body.
        """
        raise NotImplementedError

    def refusal_headers(self, status: int) -> Mapping[str, str]:
        """The headers of a refused request, such as the error class at AWS; default none.

        Args:
            status: The HTTP status of the refusal.

        Returns:
            The names and values.
        """
        del status
        return {}

    def error_event(self, message: str) -> bytes:
        """Write the frame that reports a failure of the service inside a stream.

        Args:
            message: The message of the service.

        Returns:
            The frame.
        """
        raise NotImplementedError

    def asked(self, request: RecordedRequest) -> Asked:
        """Read a request.

        Args:
            request: The request as the provider sent it.

        Returns:
            The content of the request.

        Raises:
            Exception: Any error means that the request cannot be read; the check reports it.
        """
        raise NotImplementedError

    def garbage(self) -> bytes:
        """Write a frame with correct framing and unreadable content. The default depends on `stream_type`."""
        if self.stream_type == EVENT_STREAM:
            return eventstream(_GARBLED)[0]
        return ndjson(_GARBLED)[0] if "ndjson" in self.stream_type else b"data: " + _GARBLED + b"\n\n"

    def keep_alive(self) -> bytes:
        """Write the bytes that keep a silent stream open; `b""` if there are none. The default knows only server-sent events."""
        return b": keep-alive\n\n" if self.stream_type == Wire.stream_type else b""

    def endless(self) -> tuple[bytes, bytes]:
        """Write the beginning of an endless frame, and the bytes that repeat. The default depends on `stream_type`."""
        if self.stream_type == EVENT_STREAM:
            return event_prelude(1 << 31, 0), b"x"  # larger than the format allows
        return (b'{"', b"x") if "ndjson" in self.stream_type else (b"data: ", b"x")

    def aside(self, request: RecordedRequest) -> bytes | None:
        """Answer a side request, such as for a token.

        The kit sends its faults only to the other requests. The token may contain the key, so that `asked` can read it.

        Args:
            request: Any request.

        Returns:
            The body, of the type `answer_type`; `None`, the default, for a request that the kit answers.
        """
        del request
        return None

    def listing(self, models: Sequence[str]) -> bytes | None:
        """Write the list of models.

        Args:
            models: The names of the models.

        Returns:
            The body; `None` when the kit cannot write it.
        """
        del models
        return None

    def listed(self, request: RecordedRequest, models: Sequence[str]) -> bytes | None:
        """Answer a request for a list of models. The default answers each request with the whole `listing`.

        Override this for a list in pages, or with one request for each model.

        Args:
            request: The request.
            models: The names of the models.

        Returns:
            The body; `None` when the kit cannot write it.
        """
        del request
        return self.listing(models)


class NoWire(Wire):
    """For a provider without HTTP requests, or with a library that cannot be redirected.

    Checks that play the service are not applicable.
    """
