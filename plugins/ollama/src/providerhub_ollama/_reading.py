"""Reads answers of `/api/chat`, whole or as lines of JSON, as pieces. It does no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from providerhub import (
    CallContext,
    Detail,
    EmptyAnswerError,
    Event,
    Finish,
    Media,
    ProtocolError,
    ReasoningDelta,
    ToolCallDelta,
    Turn,
    Usage,
    UsageDelta,
)
from providerhub.wire import LineDecoder
from providerhub.wire_provider import JsonReading

_NAMES = {"model": "model", "created_at": "created", "remote_host": "served_by"}
"""Fields that every line repeats, and the names of their details."""

_READ = frozenset({"message", "done", "done_reason", "prompt_eval_count", "eval_count"})
_TEXT = frozenset({"role", "content"})
_READ_OF_MESSAGE = frozenset({"role", "content", "thinking", "tool_calls", "images"})


class ChatReading(JsonReading):
    """Reads one answer.

    Args:
        call: The call, for notes.
        headers: The headers of the answer.
        expected: The estimated tokens of the prompt.
    """

    frames = LineDecoder

    def __init__(self, call: CallContext, headers: Mapping[str, str], expected: int = 0) -> None:
        super().__init__(call, headers)
        self._expected = expected
        self._calls = 0
        self._known = {"message", "done"}  # fields of a line without further content
        self._turn: dict[str, Any] = {}

    def event(self, data: dict[str, Any], name: str) -> Iterable[str | Event]:
        """Read one line; see `JsonReading.event`. Most lines hold only text, and need no generator.

        Args:
            data: The line, parsed.
            name: Always empty.

        Returns:
            The pieces of the line.
        """
        del name
        message = data.get("message")
        if type(message) is dict and _TEXT.issuperset(message) and self._known.issuperset(data) and not data.get("done"):
            text = message.get("content")
            return (text,) if text else ()
        return self._pieces(data, message)

    def _pieces(self, data: dict[str, Any], message: Any) -> Iterator[str | Event]:
        if not isinstance(message, dict) and not data.get("done"):
            raise ProtocolError("message has an unexpected shape in the answer", excerpt=repr(data)[:500])
        yield from self._details(data)
        yield from self._of_message(message or {})
        if data.get("done"):
            yield from self._end(data)
            self.done = True

    def _of_message(self, message: Mapping[str, Any]) -> Iterator[str | Event]:
        thought = message.get("thinking")
        if thought:
            self._turn["thinking"] = self._turn.get("thinking", "") + thought
            yield ReasoningDelta(thought)
        if text := message.get("content"):
            yield text
        for call in message.get("tool_calls") or ():
            said = call.get("function") or {}
            arguments = said.get("arguments") or {}
            written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            yield ToolCallDelta(self._calls, call.get("id") or None, said.get("name"), written)
            self._calls += 1
        for image in message.get("images") or ():
            yield Media("image", None, image)
        self._turn |= {name: value for name, value in message.items() if value and name not in _READ_OF_MESSAGE}

    def _details(self, data: Mapping[str, Any]) -> Iterator[Event]:
        timings = {name: value for name, value in data.items() if name.endswith("_duration")}
        if timings:
            yield Detail("timings", timings)
        for name, value in data.items():
            if name in _READ or name in timings or name in self._known or not value:
                continue
            if name in _NAMES:  # the first line is enough
                self._known.add(name)
            yield Detail(_NAMES.get(name, name), value)

    def _end(self, data: Mapping[str, Any]) -> Iterator[Event]:
        counts = {name: data[name] for name in ("prompt_eval_count", "eval_count") if isinstance(data.get(name), int)}
        read = counts.get("prompt_eval_count")
        if read and read < self._expected:
            self.call.note(f"the server read {read:,} tokens of about {self._expected:,}: it may have cut the prompt")
        if counts:
            yield UsageDelta(Usage(input_tokens=read, output_tokens=counts.get("eval_count"), others=counts))
        if self._turn:
            yield Turn(self._turn)
        said = data.get("done_reason")
        if said == "load":
            raise EmptyAnswerError("the server has only loaded the model, without an answer (done_reason 'load')")
        reason = "tool_calls" if self._calls and said in {"stop", None} else said
        yield Finish(reason, None if reason == said else said)
