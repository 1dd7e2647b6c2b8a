"""Reads answers of the Messages API, whole or as an event stream, as pieces. It does no I/O.

Reference: Anthropic API reference, "Messages" and "Streaming messages". Events of unknown types are ignored, as the API's
versioning policy requires of clients; blocks of unknown types are kept for the next request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from providerhub import CallContext, Detail, Event, Finish, ProtocolError, ReasoningDelta, ToolCallDelta, Turn
from providerhub.wire_provider import JsonReading
from providerhub_anthropic._blocks import Block, citations
from providerhub_anthropic._conversation import CONTAINER
from providerhub_anthropic._usage import Counts

Pieces = Sequence[str | Event]

REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "compaction": "pause_turn",
}
"""The API's stop reason → finish reason of providerhub. Any other reason is passed on unchanged."""

_READ = frozenset({"type", "role", "content", "stop_reason", "usage", "delta", "index"})
"""Fields of a message that do not become details."""

_NAMES = {"stop_details": "refusal", "amazon-bedrock-invocationMetrics": "timings"}
"""Fields of a message, and their names in `Completion.details`."""


class MessagesReading(JsonReading):
    """Reads one answer.

    Args:
        call: The call, for notes.
        headers: The headers of the answer.
        tail: White space removed from the end of a partial answer. The first text must not repeat it. Default empty.
        form: The name of the tool whose input is the text of the answer; `""`, the default, for none.
    """

    def __init__(self, call: CallContext, headers: Mapping[str, str], tail: str = "", form: str = "") -> None:
        super().__init__(call, headers)
        self._tail = tail
        self._form = form
        self._id: Any = None
        self._begun = self._stopped = False
        self._length = 0
        self._calls = 0
        self._reason: str | None = None
        self._counts = Counts()
        self._container: Any = None
        self._blocks: list[Block] = []
        self._open: dict[Any, Block] = {}

    def event(self, data: dict[str, Any], name: str) -> Pieces:
        """Read one event; see `JsonReading.event`.

        Args:
            data: The event's data, parsed.
            name: The event's name, for data without a type.

        Returns:
            The complete pieces.

        Raises:
            ProtocolError: A second message begins.
        """
        kind = data.get("type") or name
        if kind == "content_block_delta":
            return self._delta(data)
        return self._other(kind, data)

    def _other(self, kind: str, event: Mapping[str, Any]) -> Pieces:
        if kind == "content_block_start":
            return self._start_block(event)
        if kind == "content_block_stop":
            return self._stop_block(event)
        if kind == "message_start":
            return self._start(event["message"])
        if kind == "message_delta":
            return self._change(event)
        if kind == "message_stop":
            self.done = self._stopped = True
            return [*self._details(event), *self._last()]
        return ()

    def whole(self, data: dict[str, Any]) -> Pieces:
        """Read an answer that is one object; see `JsonReading.whole`.

        Args:
            data: The object, parsed from the body or from an event.

        Returns:
            The pieces of the answer.
        """
        pieces: list[str | Event] = [*self._details(data)]
        for index, block in enumerate(data["content"]):
            pieces += self._start_block({"index": index, "content_block": block})
            pieces += self._stop_block({"index": index})
        return [*pieces, *self._counts.add(data.get("usage")), *self._last()]

    def end(self) -> Iterator[str | Event]:
        """End the input; see `JsonReading.end`. Some gateways write `[DONE]` in place of the event `message_stop`.

        Yields:
            The remaining pieces.
        """
        if self._framing.done and self._any_event and not self._stopped:
            self._complete()
            yield from self._last()
        yield from super().end()

    def _last(self) -> Pieces:
        """Return the turn to send back, if a message in the OpenAI chat shape cannot hold all of it, and `Finish`."""
        pieces = [piece for block in self._blocks for piece in self._closed(block)]
        pieces += self._turn()
        reason = self._reason
        if self._form and reason == "tool_use":
            return [*pieces, Finish("stop", reason)]
        known = None if reason is None else REASONS.get(reason, reason)
        return [*pieces, Finish(known, reason if reason != known else None)]

    def _turn(self) -> Pieces:
        if self._form or (self._container is None and all(block.is_plain for block in self._blocks)):
            return ()
        content = []
        for block in self._blocks:
            with suppress(ValueError):  # a tool of the service whose input was cut has no result, and cannot go back
                content.append(block.whole())
        if isinstance(self._container, dict):
            content.append({**self._container, "type": CONTAINER})
        return (Turn(content),)

    def _start(self, message: Mapping[str, Any]) -> Pieces:
        name = message.get("id")
        if self._begun and name != self._id:
            msg = f"a second message ({name!r}) began in the stream of the message {self._id!r}; their texts would be mixed"
            raise ProtocolError(msg)
        if self._begun:
            return ()
        self._begun, self._id = True, name
        return [*self._details(message), *self._counts.add(message.get("usage"))]

    def _change(self, event: Mapping[str, Any]) -> Pieces:
        return [*self._details(event), *self._details(event["delta"]), *self._counts.add(event.get("usage"))]

    def _details(self, source: Mapping[str, Any]) -> list[Event]:
        """Read the other fields of a message. The reason is kept for the end."""
        self._reason = source.get("stop_reason") or self._reason
        self._container = source.get(CONTAINER) or self._container
        return [
            Detail(_NAMES.get(name, name), value) for name, value in source.items() if value is not None and name not in _READ
        ]

    def _start_block(self, event: Mapping[str, Any]) -> Pieces:
        raw = event["content_block"]
        block = self._opened(event.get("index"), raw)
        if block.kind == "tool_use":
            if self._form and raw.get("name") == self._form:
                return ()
            block.place = self._calls
            self._calls += 1
            return (ToolCallDelta(block.place, raw.get("id"), raw.get("name")),)
        if block.kind in {"text", "thinking"}:
            return self._said(str(block.kind), raw.get(block.kind) or "")
        return ()

    def _opened(self, index: Any, raw: Mapping[str, Any]) -> Block:
        block = self._open[index] = Block(raw, self._length)
        self._blocks.append(block)
        return block

    def _delta(self, event: Mapping[str, Any]) -> Pieces:
        delta = event["delta"]
        kind = delta.get("type")
        block = self._open.get(event.get("index"))
        if kind in {"text_delta", "thinking_delta"}:
            kind = kind.removesuffix("_delta")
            text = delta[kind]
            if block is None:  # similar services leave out the start of a block
                block = self._opened(event.get("index"), {"type": kind, kind: ""})
            block.add(delta)
            return self._said(kind, text)
        if kind == "input_json_delta":
            piece = delta["partial_json"] or ""
            if block is None:
                return ()
            block.add(delta)
            if block.place is not None:
                return (ToolCallDelta(block.place, arguments=piece),)
            return self._said("text", piece) if block.kind == "tool_use" else ()
        if block is not None:
            block.add(delta)
        return ()

    def _stop_block(self, event: Mapping[str, Any]) -> Pieces:
        block = self._open.pop(event.get("index"), None)
        return () if block is None else self._closed(block)

    def _closed(self, block: Block) -> Pieces:
        """Yield the pieces at the end of a block. A second call yields none."""
        if block.closed:
            return ()
        block.closed = True
        if block.kind == "tool_use" and not block.was_streamed:
            if block.place is not None:
                return (ToolCallDelta(block.place, arguments=block.arguments),)
            return self._said("text", block.arguments)
        return tuple(citations(block, self._length)) if block.kind == "text" else ()

    def _said(self, kind: str, text: str) -> Pieces:
        if not text:
            return ()
        if kind == "thinking":
            return (ReasoningDelta(text),)
        if self._tail:
            cut = next((n for n, (held, new) in enumerate(zip(self._tail, text, strict=False)) if held != new), None)
            cut = min(len(self._tail), len(text)) if cut is None else cut
            text, self._tail = text[cut:], "" if cut < len(text) else self._tail[cut:]
        self._length += len(text)
        return (text,) if text else ()
