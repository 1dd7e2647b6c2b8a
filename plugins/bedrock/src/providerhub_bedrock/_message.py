"""Reads answers of the Converse API, whole or as an event stream, as pieces. It does no I/O.

Reference: Amazon Bedrock API reference, "Converse", "ConverseStream" and "TokenUsage": `inputTokens` do not include the tokens
that were read from the cache or written to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from providerhub import (
    CallContext,
    Citation,
    Detail,
    Event,
    Finish,
    InvalidOutputError,
    Media,
    ReasoningDelta,
    ToolCallDelta,
    Turn,
    Usage,
    UsageDelta,
)
from providerhub.wire import arguments_of, flat
from providerhub.wire_provider import JsonReading
from providerhub_bedrock.aws import EventStream, status_of

Pieces = Iterator[str | Event]

_REASONS: Mapping[str, str] = {
    "end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length",
    "model_context_window_exceeded": "length", "guardrail_intervened": "content_filter", "content_filtered": "content_filter",
}  # fmt: skip
_MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})
_READ = frozenset({"output", "stopReason", "usage", "trace", "p"})
_ADDITIONAL = "additionalModelResponseFields"
"""The field with data of the model's own answer, such as Claude's `stop_sequence`, if an option asks for them."""
_NAMES = {"metrics": "timings", "serviceTier": "tier"}
"""Fields of an answer, and their names in `Completion.details`."""


class ConverseReading(JsonReading):
    """Reads one answer.

    Args:
        call: The call, for notes.
        headers: The headers of the answer.
        form: The name of the tool whose input is the text of the answer; `""`, the default, for none.
    """

    frames = EventStream
    trailing = 10.0  # the counts come after the end of the message

    def __init__(self, call: CallContext, headers: Mapping[str, str], form: str = "") -> None:
        super().__init__(call, headers)
        self._form = form
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._length = 0

    def event(self, data: dict[str, Any], name: str) -> Pieces:
        """Read one event; see `JsonReading.event`.

        Args:
            data: The event's data, parsed.
            name: The event's type.

        Yields:
            The complete pieces.
        """
        if name == "contentBlockDelta":
            yield from self._delta(data["contentBlockIndex"], data["delta"])
        elif name == "contentBlockStart":
            yield from self._start(data["contentBlockIndex"], data["start"])
        elif name == "contentBlockStop":
            yield from self._stop(data["contentBlockIndex"])
        elif name == "messageStop":
            yield from self._finish(data)
        elif name == "metadata":
            self.done = True
            yield from self._beside(data)

    def whole(self, data: dict[str, Any]) -> Pieces:
        """Read an answer that is one object; see `JsonReading.whole`.

        Args:
            data: The object, parsed from the body.

        Yields:
            The pieces of the answer.
        """
        for index, block in enumerate(data["output"]["message"]["content"]):
            start, deltas = _taken_apart(block)
            self._blocks[index] = {}
            if start:
                yield from self._start(index, start)
            for delta in deltas:
                yield from self._delta(index, delta)
            yield from self._stop(index)
            self._blocks[index] = block
        yield from self._beside(data)
        yield from self._finish(data)

    def refuse(self, data: dict[str, Any], name: str) -> None:
        """Raise an error if an object is an error; see `JsonReading.refuse`.

        Args:
            data: The object, parsed from the body or from an event.
            name: The event's type; `error:` and its name for an exception.
        """
        said = data.get("message") or data.get("Message")
        if name.startswith("error:") or (isinstance(said, str) and "output" not in data):
            kind = name.removeprefix("error:")
            found = {"message": said or kind, "type": kind, "code": status_of(kind)}
            raise self.failure(found)

    def _start(self, index: int, start: Mapping[str, Any]) -> Pieces:
        block = self._blocks[index] = {kind: dict(value) for kind, value in start.items() if isinstance(value, Mapping)}
        use = block.get("toolUse")
        if use is not None:
            use.setdefault("input", "")  # a call without arguments has no further piece
        if use is not None and use.get("type") != "server_tool_use" and not self._is_form(use):
            self._calls[index] = len(self._calls)
            yield ToolCallDelta(self._calls[index], use.get("toolUseId"), use.get("name"))

    def _is_form(self, use: Mapping[str, Any]) -> bool:
        return bool(self._form) and use.get("name") == self._form

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Pieces:
        block = self._blocks.setdefault(index, {})
        self._starts.setdefault(index, self._length)
        for kind, value in delta.items():
            if kind == "text":
                block["text"] = block.get("text", "") + value
                yield from self._said(value)
            elif kind == "toolUse":
                yield from self._input(index, block.setdefault("toolUse", {}), value["input"])
            elif kind == "reasoningContent":
                yield from _reasoned(block.setdefault(kind, {}), value)
            elif kind == "citation":
                block.setdefault("citations", []).append(value)
            elif kind == "toolResult":
                block.setdefault(kind, {}).setdefault("content", []).extend(value)
            elif isinstance(value, Mapping):  # the parts of an image, and parts of unknown kinds
                block.setdefault(kind, {}).update(value)

    def _said(self, text: str) -> Pieces:
        if text:
            self._length += len(text)
            yield text

    def _input(self, index: int, use: dict[str, Any], piece: str) -> Pieces:
        use["input"] = use.get("input", "") + piece
        if index in self._calls:
            yield ToolCallDelta(self._calls[index], arguments=piece)
        elif self._is_form(use):
            yield from self._said(piece)

    def _stop(self, index: int) -> Pieces:
        block = self._blocks.get(index, {})
        for cited in block.get("citations") or ():
            place = cited.get("location") or {}
            yield Citation(
                url=(place.get("web") or {}).get("url"),
                title=cited.get("title"),
                text="".join(part.get("text") or "" for part in cited.get("sourceContent") or ()) or None,
                start=self._starts.get(index, self._length),
                end=self._length,
                source={name: cited[name] for name in ("source", "location") if cited.get(name)},
            )
        for kind in ("image", "audio"):
            media = block.get(kind) or {}
            source = media.get("source") or {}
            if source:
                url = (source.get("s3Location") or {}).get("uri")
                yield Media(kind, f"{kind}/{media.get('format')}", base64=source.get("bytes") or "", url=url)

    def _finish(self, data: Mapping[str, Any]) -> Pieces:
        said = data.get("stopReason")
        if said in _MALFORMED:
            msg = f"the model wrote no valid {'call of a tool' if said == 'malformed_tool_use' else 'output'} ({said})"
            raise InvalidOutputError(msg)
        yield from self._turn()
        if "output" not in data:  # otherwise `_beside` has read it
            yield from _details(data)
        known = "stop" if self._form and said == "tool_use" else _REASONS.get(str(said), said)
        yield Finish(known, said if said != known else None)

    def _turn(self) -> Pieces:
        if self._form or all(_is_plain(block) for block in self._blocks.values()):
            return
        content = []
        for _, block in sorted(self._blocks.items()):
            with suppress(ValueError):  # a tool of the service whose input was cut has no result, and cannot go back
                content += [_whole(block)] if block else []
        yield Turn(content)

    def _beside(self, data: Mapping[str, Any]) -> Pieces:
        yield from _details(data)
        trace = data.get("trace") or {}
        if trace.get("guardrail"):
            yield Detail("safety", trace["guardrail"])
        if (trace.get("promptRouter") or {}).get("invokedModelId"):
            yield Detail("model", trace["promptRouter"]["invokedModelId"])
        if isinstance(data.get("usage"), Mapping):
            yield UsageDelta(_counts(data["usage"]))


def _reasoned(whole: dict[str, Any], delta: Mapping[str, Any]) -> Pieces:
    """Add a piece of reasoning to its block."""
    if isinstance(delta.get("text"), str):
        yield ReasoningDelta(delta["text"])
    for name in ("text", "signature"):
        if delta.get(name) is not None:
            own = whole.setdefault("reasoningText", {"text": ""})
            own[name] = own.get(name, "") + delta[name]
    if delta.get("redactedContent") is not None:
        whole["redactedContent"] = whole.get("redactedContent", "") + delta["redactedContent"]


def _taken_apart(block: Any) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Return a whole block as the start and the pieces of a stream."""
    if isinstance(block.get("text"), str):
        return {}, [{"text": block["text"]}]
    if "toolUse" in block:
        use = block["toolUse"]
        given = use.get("input")
        text = given if isinstance(given, str) and given else json.dumps(given or {}, ensure_ascii=False)
        return {"toolUse": {**use, "input": ""}}, [{"toolUse": {"input": text}}]
    if "reasoningContent" in block:
        own = block["reasoningContent"]
        return {}, [{"reasoningContent": own.get("reasoningText") or own}]
    if "citationsContent" in block:
        own = block["citationsContent"]
        return {}, [*(own.get("content") or ()), *({"citation": one} for one in own.get("citations") or ())]
    return block, []


def _is_plain(block: Mapping[str, Any]) -> bool:
    """Whether a message in the OpenAI chat shape can hold all of a block."""
    use = block.get("toolUse")
    plain = use is None or use.get("type") in {None, "tool_use"}
    return plain and block.keys() <= {"text", "toolUse"}


def _whole(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block in the form for the next request."""
    found = dict(block)
    use = found.get("toolUse")
    if use is not None and isinstance(use.get("input"), str):
        called = {"function": {"arguments": use["input"]}}
        given = arguments_of(called) if use.get("type") in {None, "tool_use"} else json.loads(use["input"].strip() or "{}")
        found["toolUse"] = {**use, "input": given}
    if "citations" in found:
        return {"citationsContent": {"content": [{"text": found.get("text", "")}], "citations": found["citations"]}}
    return found


def _details(data: Mapping[str, Any]) -> Pieces:
    for name, value in data.items():
        if name == _ADDITIONAL and isinstance(value, Mapping) and value.get("stop_sequence"):
            yield Detail("stop_sequence", value["stop_sequence"])
        if name not in _READ and value is not None:
            tier = value.get("type") if name == "serviceTier" and isinstance(value, Mapping) else None
            yield Detail(_NAMES.get(name, name), tier or value)


def _counts(usage: Mapping[str, Any]) -> Usage:
    counts = {name: value for name, value in flat(usage).items() if type(value) in {int, float}}
    known = {name: value for name, value in counts.items() if isinstance(value, int)}
    read, written, new = (known.get(name) for name in ("cacheReadInputTokens", "cacheWriteInputTokens", "inputTokens"))
    return Usage(
        input_tokens=None if new is None else new + (read or 0) + (written or 0),
        output_tokens=known.get("outputTokens"),
        cached_tokens=read,
        cache_write_tokens=written,
        stated_total=known.get("totalTokens"),
        others=counts,
    )
