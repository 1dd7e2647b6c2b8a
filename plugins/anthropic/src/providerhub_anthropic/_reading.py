"""Reads answers of the Messages API, whole or as an event stream, as pieces. It does no I/O.

Reference: Anthropic API reference, "Messages" and "Streaming messages". Unknown events and blocks are ignored, as the API's
versioning policy requires of clients.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import (
    CallContext,
    EmptyAnswerError,
    Event,
    Finish,
    ProtocolError,
    ReasoningDelta,
    Timeout,
    ToolCallDelta,
    Usage,
    UsageDelta,
    error_from_status,
)
from providerhub.wire import openai_chat
from providerhub.wire.sse import ServerSentEvent, SSEDecoder, SSELimitError

Pieces = Iterator[str | Event]

REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""The API's stop reason → finish reason of providerhub. Any other reason is passed on unchanged."""


def whole(data: bytes) -> Pieces:
    """Read an answer that is not streamed.

    Args:
        data: The answer's body.

    Yields:
        The pieces of the answer, `Finish` last.

    Raises:
        ProviderError: The body is an error, or not an answer.
    """
    if data.lstrip(_BLANK).startswith(_EVENT_STARTS):  # some gateways stream although a whole answer was asked for
        reading = Reading(CallContext(Timeout(), math.inf), "text/event-stream")
        yield from reading.pieces(data)
        yield from reading.end()
        return
    answer = parsed(data)
    content = answer.get("content")
    if not isinstance(content, list):
        raise _shape("content", content)
    tools = 0
    for block in content:
        if not isinstance(block, Mapping):
            raise _shape("content", block)
        if block.get("type") == "tool_use":
            yield ToolCallDelta(tools, block.get("id"), block.get("name"), _arguments(block.get("input")))
            tools += 1
        else:
            yield from _said(block)
    yield from _usage(answer.get("usage"))
    yield Finish(_reason(answer.get("stop_reason")))


def parsed(data: bytes) -> dict[str, Any]:
    """Parse a JSON object, and raise if it is an error.

    Args:
        data: The object as bytes.

    Raises:
        ProviderError: The object is an error. Its class follows from the error's type.
        ProtocolError: The bytes are not a JSON object.
    """
    found = openai_chat.parse(data)
    if found.get("type") == "error" or isinstance(found.get("error"), Mapping):
        raise error_from_status(200, {}, found)
    return found


_BLANK = b"\xef\xbb\xbf \t\r\n"
"""Characters that may stand before an answer."""

_EVENT_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""The beginnings of a stream of events."""


class Reading:
    """Reads one event stream.

    Args:
        call: The call. The reader adds notes to it.
        kind: The answer's content type, in lower case.
        tail: White space that was cut off a partial answer. The first text must not repeat it.

    Attributes:
        done: `message_stop` has come.
    """

    def __init__(self, call: CallContext, kind: str, tail: str = "") -> None:
        self._call = call
        self._kind = kind
        self._tail = tail
        # This protocol ends with an event. Imitators send `[DONE]` after it, which is never read.
        self._decoder = SSEDecoder()
        self._id: Any = None
        self._begun = False
        self._signed = False
        self._whole: bytearray | None = None
        self._reason: str | None = None
        self._tools: dict[int, int] = {}
        self.done = False

    def pieces(self, data: bytes) -> Pieces:
        """Take the next bytes.

        Args:
            data: Bytes as they came from the transport.

        Yields:
            The pieces that the bytes complete.

        Raises:
            ProviderError: The stream contains an error, or is not a stream of events.
        """
        if (not self._signed and self._begins_whole(data)) or self._whole is not None:
            self._whole = bytearray() if self._whole is None else self._whole
            self._whole += data
            return
        for event in self._decoded(data):
            if not self._begun:
                self._begun = True
                if self._kind and "event-stream" not in self._kind:
                    self._call.note(f"the stream came with the content type {self._kind!r}")
            yield from self._event(parsed(event.data), event.event)
            if self.done:
                return
        if self._decoder.stray and not self._begun:
            raise _no_stream(self._decoder.stray)

    def _begins_whole(self, data: bytes) -> bool:
        """Return whether the answer is one object, although a stream was asked for. Its first character decides, not its type."""
        begin = data.lstrip(_BLANK)
        self._signed = bool(begin)
        if begin[:1] != b"{":
            return False
        # An error is raised at once, since the service may leave the connection open after it.
        with contextlib.suppress(ProtocolError):  # the object is not complete yet
            parsed(begin)
        return True

    def end(self) -> Pieces:
        """End the input. Call this after the last bytes, or after `done`.

        Yields:
            `Finish`; before it, the pieces of an answer that came as one object.

        Raises:
            ProviderError: The stream was cut.
        """
        if self._whole is not None:
            yield from whole(bytes(self._whole))
            return
        if self.done:
            yield Finish(_reason(self._reason))
            return
        try:
            left = self._decoder.finish()
        except SSELimitError as error:
            raise ProtocolError(str(error)) from error
        if not self._begun and not left:
            msg = "the stream ended before any event came"
            raise EmptyAnswerError(msg)
        if not self._begun:
            raise _no_stream(left)
        msg = "the stream ended in the middle of an event" if left else "the stream ended without message_stop"
        raise ProtocolError(msg, excerpt=left.decode("utf-8", "replace"))

    def _decoded(self, data: bytes) -> list[ServerSentEvent]:
        try:
            return self._decoder.feed_events(data)
        except SSELimitError as error:
            raise ProtocolError(str(error)) from error

    def _event(self, event: Mapping[str, Any], name: str) -> Pieces:
        kind = event.get("type") or name
        if kind == "content_block_delta":
            yield from self._delta(event)
        elif kind == "content_block_start":
            yield from self._block(event)
        elif kind == "message_start":
            yield from self._start(_of(event, "message"))
        elif kind == "message_delta":
            self._reason = _of(event, "delta").get("stop_reason") or self._reason
            yield from _usage(event.get("usage"))
        elif kind == "message_stop":
            self.done = True
        elif kind == "error":  # an error by its name only; `parsed` raises for data of type error
            raise error_from_status(200, {}, event)

    def _start(self, message: Mapping[str, Any]) -> Pieces:
        name = message.get("id")
        if self._id is not None and name != self._id:
            msg = f"a second message ({name!r}) began in the stream of the message {self._id!r}; their texts would be mixed"
            raise ProtocolError(msg)
        self._id = name
        yield from _usage(message.get("usage"))

    def _block(self, event: Mapping[str, Any]) -> Pieces:
        block = _of(event, "content_block")
        if block.get("type") == "tool_use":
            place = self._tools[_index(event)] = len(self._tools)
            yield ToolCallDelta(
                place, block.get("id"), block.get("name"), _arguments(block.get("input")) if block.get("input") else ""
            )
        else:
            yield from self._untailed(_said(block))

    def _delta(self, event: Mapping[str, Any]) -> Pieces:
        delta = _of(event, "delta")
        kind = delta.get("type")
        if kind == "input_json_delta":
            if _index(event) in self._tools:
                yield ToolCallDelta(self._tools[_index(event)], arguments=_text(delta, "partial_json"))
        elif kind in {"text_delta", "thinking_delta"}:
            yield from self._untailed(_said({**delta, "type": kind.removesuffix("_delta")}))

    def _untailed(self, pieces: Pieces) -> Pieces:
        for piece in pieces:
            if self._tail and isinstance(piece, str):
                tail, self._tail = self._tail, ""
                yield piece.removeprefix(tail)
            else:
                yield piece


def _said(block: Mapping[str, Any]) -> Pieces:
    """Read the text or the thinking of a block, or of a piece of one."""
    if block.get("type") == "text":
        yield _text(block, "text")
    elif block.get("type") == "thinking":
        yield ReasoningDelta(_text(block, "thinking"))


def _usage(usage: Any) -> Pieces:
    """Read the token counts. The API counts the prompt in three parts: new, read from the cache, and written to it."""
    if not isinstance(usage, Mapping):
        return
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    parts = (usage.get("input_tokens"), read, written)
    counted = [part for part in parts if isinstance(part, int)] if isinstance(parts[0], int) else []
    output = usage.get("output_tokens")
    yield UsageDelta(
        Usage(
            input_tokens=sum(counted) if counted else None,
            output_tokens=output if isinstance(output, int) else None,
            cached_tokens=read if isinstance(read, int) else None,
        )
    )


def _reason(reason: Any) -> str | None:
    return None if reason is None else REASONS.get(str(reason), str(reason))


def _arguments(value: Any) -> str:
    return json.dumps({} if value is None else value, ensure_ascii=False)


def _text(source: Mapping[str, Any], name: str) -> str:
    value = source.get(name)
    if not isinstance(value, str):
        raise _shape(name, value)
    return value


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    if not isinstance(index, int):
        raise _shape("index", index)
    return index


def _of(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name)
    if not isinstance(value, Mapping):
        raise _shape(name, value)
    return value


def _shape(where: str, value: object) -> ProtocolError:
    return ProtocolError(f"{where} has an unexpected shape ({type(value).__name__}) in the answer", excerpt=repr(value)[:500])


def _no_stream(line: bytes) -> ProtocolError:
    msg = "the answer is not a stream of events; check the configured url"
    return ProtocolError(msg, excerpt=line.decode("utf-8", "replace"))
