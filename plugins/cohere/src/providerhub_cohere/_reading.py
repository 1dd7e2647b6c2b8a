"""Reads answers of `/v2/chat`, whole or as server-sent events, as pieces. It does no I/O.

Reference: "Chat" and "Streaming" (version 2) in Cohere's documentation. Events of unknown types are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from providerhub import (
    CallContext,
    Citation,
    Detail,
    Event,
    Finish,
    ReasoningDelta,
    ToolCallDelta,
    Turn,
    Usage,
    UsageDelta,
)
from providerhub.wire import flat
from providerhub.wire_provider import JsonReading
from providerhub_cohere._body import THOUGHTS

Pieces = Iterator[str | Event]

REASONS = {
    "COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}  # fmt: skip
"""The API's finish reason → finish reason of providerhub. Any other reason is passed on unchanged."""

FAILURES = {"ERROR": 500, "TIMEOUT": 504, "ERROR_LIMIT": 400}
"""Finish reasons that are failures, with the HTTP status of a refusal of the same kind."""

_READ = frozenset({"type", "message", "finish_reason", "usage", "error"})


class ChatReading(JsonReading):
    """Reads one answer.

    Args:
        call: The call, for notes.
        headers: The headers of the answer.
    """

    trailing = 1.0  # `[DONE]` usually follows the last event, but not at every gateway

    def __init__(self, call: CallContext, headers: Mapping[str, str]) -> None:
        super().__init__(call, headers)
        self._length = 0
        self._starts: dict[Any, int] = {}  # number of a block of content → the length of the text before it
        self._calls: dict[Any, int] = {}  # the service's number of a tool call → our number
        self._count = 0
        self._turn: dict[str, str] = {}

    def event(self, data: dict[str, Any], name: str) -> Iterable[str | Event]:
        """Read one event; see `JsonReading.event`. Most events hold text, and need no generator.

        Args:
            data: The event's data, parsed.
            name: The event's name, for data without a type.

        Returns:
            The pieces of the event.
        """
        kind, delta = data.get("type") or name, data.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        message = delta.get("message")
        message = message if isinstance(message, dict) else {}
        if kind == "content-delta" and not data.get("logprobs"):
            return self._content(data.get("index"), message.get("content"))
        return self._pieces(kind, data, delta, message)

    def _pieces(self, kind: Any, data: dict[str, Any], delta: dict[str, Any], message: dict[str, Any]) -> Pieces:
        index = data.get("index")
        if data.get("logprobs"):
            yield Detail("logprobs", [data["logprobs"]])
        if kind in {"content-start", "content-delta"}:
            yield from self._content(index, message.get("content"))
        elif kind == "tool-plan-delta":
            yield from self._plan(message.get("tool_plan"))
        elif kind in {"tool-call-start", "tool-call-delta"}:
            yield from self._call(index, message.get("tool_calls"), begins=kind == "tool-call-start")
        elif kind == "citation-start":
            yield from self._cited(message.get("citations"))
        elif kind == "message-start" and data.get("id"):
            yield Detail("id", data["id"])
        elif kind == "message-end":
            yield from self._end(delta)

    def whole(self, data: dict[str, Any]) -> Pieces:
        """Read an answer that is one object; see `JsonReading.whole`.

        Args:
            data: The object, parsed.

        Yields:
            The pieces of the answer.
        """
        message = data["message"]
        yield from self._plan(message.get("tool_plan"))
        content = message.get("content") or ()
        for index, block in enumerate([{"text": content}] if isinstance(content, str) else content):
            yield from self._content(index, block)
        for index, call in enumerate(message.get("tool_calls") or ()):
            yield from self._call(index, call, begins=True)
        yield from self._cited(message.get("citations"))
        yield from self._end(data)

    def _content(self, index: Any, block: Any) -> list[str | Event]:
        found: list[str | Event] = []
        if thought := block.get("thinking"):
            self._turn[THOUGHTS] = self._turn.get(THOUGHTS, "") + thought
            found.append(ReasoningDelta(thought))
        text = block.get("text")
        if text is not None:
            self._starts.setdefault(index, self._length)
        if text:
            self._length += len(text)
            found.append(text)
        return found

    def _plan(self, text: Any) -> Pieces:
        """Read a piece of the plan of tool calls. It counts as thinking, since it comes before every call."""
        if text:
            self._turn["tool_plan"] = self._turn.get("tool_plan", "") + text
            yield ReasoningDelta(text)

    def _call(self, index: Any, call: Any, *, begins: bool) -> Pieces:
        said = call.get("function") or {}
        if begins or index not in self._calls:
            self._calls[index] = self._count
            self._count += 1
        yield ToolCallDelta(self._calls[index], call.get("id"), said.get("name"), said.get("arguments") or "")

    def _cited(self, citations: Any) -> Pieces:
        """Yield a citation for each source of the text, with the place in the text of the whole answer."""
        for one in [citations] if isinstance(citations, dict) else citations or ():
            in_text = one.get("type") in {None, "TEXT_CONTENT"}
            before = self._starts.get(one.get("content_index"), 0)
            start, end = one.get("start"), one.get("end")
            sources: list[dict[str, Any]] = one.get("sources") or [{}]
            for source in sources:
                inner = source.get("document") or source.get("tool_output") or {}
                url, title = inner.get("url"), inner.get("title")
                yield Citation(
                    url=url if isinstance(url, str) else None,
                    title=title if isinstance(title, str) else None,
                    text=one.get("text"),
                    start=before + start if in_text and isinstance(start, int) else None,
                    end=before + end if in_text and isinstance(end, int) else None,
                    source=dict(source) if in_text else {**source, "of": {**one, "sources": None}},
                )

    def _end(self, last: Mapping[str, Any]) -> Pieces:
        said = last.get("finish_reason")
        if said in FAILURES:
            told = {"message": last.get("error") or f"the answer ended with the finish reason {said}", "code": FAILURES[said]}
            raise self.failure(told)
        if isinstance(last.get("usage"), dict):
            yield UsageDelta(usage_of(last["usage"]))
        for name, value in last.items():
            if name not in _READ and value:
                yield Detail(name, value)
        if self._turn:
            yield Turn({"role": "assistant", **self._turn})
        reason = "tool_calls" if self._count and said == "COMPLETE" else REASONS.get(str(said), said)
        yield Finish(reason, said if said != reason else None)


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Read the counts of an answer.

    Args:
        usage: Two sets of counts: `billed_units` are the charged tokens; `tokens` are all tokens that the model read and wrote,
            with the service's own part of the prompt.

    Returns:
        The charged counts, by OpenTelemetry's conventions for generative AI; or the counts of `tokens`, if the service states no
        charged counts. `others` has both sets.
    """
    others = {place: count for place, count in flat(usage).items() if isinstance(count, int | float)}
    counts = {place: int(count) for place, count in others.items()}
    images, read = counts.get("tokens.image_tokens"), counts.get("tokens.input_tokens")
    charged = counts.get("billed_units.input_tokens")
    taken = read if read is None else read + (images or 0)
    return Usage(
        input_tokens=taken if charged is None else charged,
        output_tokens=counts.get("billed_units.output_tokens", counts.get("tokens.output_tokens")),
        cached_tokens=counts.get("cached_tokens") if charged is None else None,  # a part of `tokens`
        reasoning_tokens=counts.get("tokens.reasoning_tokens"),
        input_image_tokens=images,
        others=others,
    )
