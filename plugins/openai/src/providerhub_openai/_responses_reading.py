"""Reads one answer of the Responses API, whole or as an event stream, as pieces. It does no I/O.

Items are looked up by their identifier, else by their place: some servers give every item the place 0, others another
identifier in each event. Reference: OpenAI API reference, "Responses" and "Streaming events".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from providerhub import (
    CallContext,
    Citation,
    Detail,
    Event,
    Finish,
    Media,
    ReasoningDelta,
    RefusalDelta,
    ServerError,
    ToolCallDelta,
    Turn,
    UsageDelta,
)
from providerhub.wire import openai_chat
from providerhub.wire_provider import JsonReading

Pieces = Iterator[str | Event]

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
"""The events that end a stream. Each holds the whole answer."""

_FAILED = frozenset({"failed", "cancelled"})
"""The status of an answer that has failed."""

_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter", "completed": "stop", "complete": "stop"}
"""The API's word → finish reason of providerhub. Any other word is passed on unchanged."""

_DETAILS: Mapping[str, str] = {
    "id": "id", "model": "model", "created_at": "created", "service_tier": "tier", "system_fingerprint": "fingerprint",
    "content_filters": "safety", "provider": "served_by",
}  # fmt: skip
"""Fields of an answer, and their names in `Completion.details`."""

_READ = frozenset({
    "object", "status", "output", "output_text", "usage", "error", "incomplete_details", "instructions", "input", "tools",
    "tool_choice", "parallel_tool_calls", "temperature", "top_p", "top_logprobs", "text", "reasoning", "truncation", "store",
    "background", "max_output_tokens", "max_tool_calls", "metadata", "previous_response_id", "prompt", "user", "include",
    "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "frequency_penalty", "presence_penalty", "stream",
})  # fmt: skip
"""Fields of an answer that are read separately, or that repeat the request."""

_CALLS = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
"""The type of an item that calls a tool → the type of the call, and the field of its arguments."""

_DELTAS: Mapping[str, tuple[str, str]] = {
    "response.output_text.delta": ("message", "output_text"),
    "response.refusal.delta": ("message", "refusal"),
    "response.reasoning_summary_text.delta": ("reasoning", "summary_text"),
    "response.reasoning_summary.delta": ("reasoning", "summary_text"),
    "response.reasoning_text.delta": ("reasoning", "reasoning_text"),
    "response.function_call_arguments.delta": ("function_call", "arguments"),
    "response.custom_tool_call_input.delta": ("custom_tool_call", "input"),
}
"""The name of an event → the type of its item, and of the part or the field that it continues."""

_TEXTS: Mapping[str, Callable[[str], str | Event]] = {
    "output_text": str,
    "refusal": RefusalDelta,
    "summary_text": ReasoningDelta,
    "reasoning_text": ReasoningDelta,
    "text": ReasoningDelta,
}
"""The type of a part → its piece."""

_WHOLE = ("text", "refusal", "arguments", "input")
"""The fields of events that end a part or arguments."""

_PLAIN = frozenset({"id", "type", "role", "status", "content", "call_id", "name", "arguments", "input"})
"""Fields of an item that a message in the chat shape can hold, or that need not go back."""


class _Item:
    """One item of the output, so far."""

    __slots__ = ("done", "kind", "names", "order", "place", "raw", "said", "spot", "starts")

    def __init__(self, raw: Mapping[str, Any], spot: Any) -> None:
        self.raw = raw
        self.kind = str(raw.get("type"))
        self.spot = spot  # the item's index in the output
        self.names = {raw.get("id"), raw.get("call_id")} - {None, ""}
        self.place: int | None = None  # the number of the tool call
        self.order: dict[str, list[int]] = {}  # the indices of the parts of each type: some servers count from 1 in a stream
        self.said: dict[Any, str] = {}  # (type of a part, its number among the parts of this type) → the text so far
        self.starts: dict[Any, int] = {}
        self.done = False

    def number(self, part: str, index: int) -> int:
        """Return the number of a streamed part among the parts of its type."""
        known = self.order.setdefault(part, [])
        if index not in known:
            known.append(index)
        return known.index(index)


class ResponsesReading(JsonReading):
    """Reads one answer.

    Args:
        call: The call, for notes.
        headers: The headers of the answer.
    """

    def __init__(self, call: CallContext, headers: Mapping[str, str]) -> None:
        super().__init__(call, headers)
        self._items: list[_Item] = []
        self._known: dict[str, Any] = {}
        self._length = 0
        self._calls = 0
        self._thought: Any = None  # the latest part of reasoning

    def event(self, data: dict[str, Any], name: str) -> Pieces:
        """Read one event; see `JsonReading.event`.

        Args:
            data: The event's data.
            name: The event's name, for data without a type.

        Yields:
            The pieces of the event.
        """
        kind = str(data.get("type") or name)
        if kind in _DELTAS:
            yield from self._delta(data, *_DELTAS[kind])
        elif kind.endswith(".done") and kind.removesuffix("done") + "delta" in _DELTAS:
            yield from self._whole_part(data, *_DELTAS[kind.removesuffix("done") + "delta"])
        elif kind == "response.output_item.added":
            yield from self._added(_of(data, "item"), data.get("output_index"))
        elif kind == "response.output_item.done":
            yield from self._done(_of(data, "item"), data.get("output_index"))
        elif kind in _ENDS:
            yield from self.whole(_of(data, "response"))
            self.done = True
        elif isinstance(data.get("response"), Mapping):
            yield from self._details(data["response"])

    def whole(self, data: dict[str, Any]) -> Pieces:
        """Read an answer that is one object, or the new parts of the answer that ends a stream; see `JsonReading.whole`.

        Args:
            data: The answer.

        Yields:
            Its pieces, with the turn that goes back and `Finish`.

        Raises:
            ProtocolError: It has an unexpected shape.
        """
        yield from self._details(data)
        output = data.get("output")
        if not isinstance(output, list):
            output = [] if output is None and self._items else _of(data, "output", list)
        if not output and not self._items and isinstance(data.get("output_text"), str):
            output = [{"type": "message", "content": data["output_text"]}]
        for spot, item in enumerate(output):
            yield from self._done(item, spot, last=True)
        for item in self._items:
            yield from self._told(item)
        if isinstance(data.get("usage"), dict):
            yield UsageDelta(openai_chat.usage_of(data["usage"]))
        status = str(data.get("status") or "completed")
        if status in _REASONS and not self._is_plain():
            yield Turn(output or [item.raw for item in self._items])
        said = str((data.get("incomplete_details") or {}).get("reason") or status)
        reason = "tool_calls" if self._calls and _REASONS.get(said) == "stop" else _REASONS.get(said, said)
        yield Finish(reason, None if said == reason else said)

    def refuse(self, data: dict[str, Any], name: str) -> None:
        """Raise an error if an object is an error: an event `error`, with or without a field `error`, or a failed answer.

        Args:
            data: The object of an event, or the whole answer.
            name: The event's name.
        """
        inner = data.get("response")
        answer = inner if isinstance(inner, dict) else data
        error = data.get("error") or answer.get("error")
        if error or "error" in {name, data.get("type")}:
            said = {"error": error} if error else data
            raise self.failure(said)
        if answer.get("status") in _FAILED:
            msg = f"the answer ended with the status {answer['status']!r}, and the service gives no reason"
            raise ServerError(msg, excerpt=repr(data)[:500])
        if "output" not in data and "response" not in data:
            super().refuse(data, name)

    def _is_plain(self) -> bool:
        """Return whether a message in the chat shape can hold all of the output."""
        return sum(item.kind == "message" for item in self._items) <= 1 and all(
            (item.kind == "message" or item.kind in _CALLS)
            and _PLAIN.issuperset(name for name, value in item.raw.items() if value is not None)
            and not any(part.get("annotations") for part in _parts(item.raw.get("content")))
            for item in self._items
        )

    def _details(self, answer: Mapping[str, Any]) -> Pieces:
        for field, value in answer.items():
            name = _DETAILS.get(field, field)
            if field not in _READ and value not in (None, [], {}, "") and self._known.get(name) != value:
                self._known[name] = value
                yield Detail(name, value)

    def _found(self, event: Mapping[str, Any], kind: str) -> _Item:
        """Return the item that an event continues. Some servers leave out its start."""
        name, spot = event.get("item_id"), event.get("output_index")
        item = self._by_name({name}) or self._by_spot(spot, kind)
        if item is None and spot is None and name is None:
            item = next((one for one in reversed(self._items) if one.kind == kind and not one.done), None)
        return item or self._begun({"id": name, "type": kind}, spot)

    def _by_name(self, names: set[Any]) -> _Item | None:
        return next((item for item in reversed(self._items) if item.names & names), None)

    def _by_spot(self, spot: Any, kind: str) -> _Item | None:
        if spot is None:
            return None
        return next((item for item in reversed(self._items) if item.spot == spot and item.kind == kind), None)

    def _begun(self, raw: Mapping[str, Any], spot: Any) -> _Item:
        item = _Item(raw, spot)
        self._items.append(item)
        return item

    def _added(self, raw: Mapping[str, Any], spot: Any) -> Pieces:
        item = self._by_name({raw.get("id"), raw.get("call_id")} - {None, ""}) or self._begun(raw, spot)
        if item.kind in _CALLS and item.place is None:
            yield self._call(item)

    def _call(self, item: _Item) -> Event:
        item.place, self._calls = self._calls, self._calls + 1
        name, identifier = item.raw.get("name"), item.raw.get("call_id") or item.raw.get("id")
        return ToolCallDelta(item.place, identifier, name, type=_CALLS[item.kind][0])

    def _delta(self, event: Mapping[str, Any], kind: str, part: str) -> Pieces:
        item = self._found(event, kind)
        if event.get("logprobs"):
            yield Detail("logprobs", event["logprobs"])
        yield from self._say(item, part, item.number(part, _index(event, part)), _of(event, "delta", str))

    def _whole_part(self, event: Mapping[str, Any], kind: str, part: str) -> Pieces:
        """Yield the new text of a whole part or whole arguments, since some servers send no pieces."""
        name, spot = event.get("item_id"), event.get("output_index")
        open_ones = (one for one in reversed(self._items) if one.kind == kind and not one.done)
        item = self._by_name({name}) or self._by_spot(spot, kind) or next(open_ones, None)
        item = item or self._begun({"id": name, "type": kind}, spot)
        text = next((event[name] for name in _WHOLE if isinstance(event.get(name), str)), None)
        yield from self._rest(item, part, item.number(part, _index(event, part)), text)

    def _say(self, item: _Item, part: str, number: int, text: str) -> Pieces:
        """Yield the next characters of a part or of arguments."""
        if not text:
            return
        key = (part, number)
        begins = key not in item.said
        item.said[key] = item.said.get(key, "") + text
        if item.kind in _CALLS:
            if item.place is None:
                yield self._call(item)
            yield ToolCallDelta(item.place or 0, arguments=text, type=_CALLS[item.kind][0])
            return
        if part == "output_text":
            if begins:
                item.starts[key] = self._length
            self._length += len(text)
        elif item.kind == "reasoning":
            if begins and self._thought is not None:
                yield ReasoningDelta("\n\n")
            self._thought = key
        yield _TEXTS[part](text)

    def _done(self, raw: Any, spot: Any, *, last: bool = False) -> Pieces:
        """Read a whole item. Pieces of it may have come before."""
        if not isinstance(raw, Mapping):
            raise openai_chat.shape_error("output", raw)
        kind = str(raw.get("type"))
        item = self._by_name({raw.get("id"), raw.get("call_id")} - {None, ""}) or self._by_spot(spot, kind)
        if item is None:  # perhaps an item that began with a delta
            item = next((one for one in self._items if one.kind == kind and one.raw.keys() <= {"id", "type"}), None)
        item = item or self._begun(raw, spot)
        if not item.done:
            item.raw = {**item.raw, **raw}
            if not last or raw.get("status") != "in_progress":
                yield from self._told(item)

    def _told(self, item: _Item) -> Pieces:
        """Yield the parts of an item that no event has sent, and the parts at its end. A second call yields nothing."""
        if item.done:
            return
        item.done = True
        raw = item.raw
        if item.kind in _CALLS:
            if item.place is None:
                yield self._call(item)
            given = raw.get(_CALLS[item.kind][1])
            text = given if given is None or isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            yield from self._rest(item, _CALLS[item.kind][1], 0, text)
        elif item.kind in {"message", "reasoning"}:
            kinds: list[str] = []
            for part in (*_parts(raw.get("summary")), *_parts(raw.get("content"))):
                kinds.append(str(part.get("type")))
                yield from self._part(item, part, kinds[-1], kinds.count(kinds[-1]) - 1)
        else:
            yield from _beside(raw)

    def _part(self, item: _Item, part: Mapping[str, Any], kind: str, number: int) -> Pieces:
        if kind not in _TEXTS:
            yield Detail("content", [part])
            return
        streamed = (kind, number) in item.said
        yield from self._rest(item, kind, number, part.get("refusal" if kind == "refusal" else "text"))
        if part.get("logprobs") and not streamed:
            yield Detail("logprobs", part["logprobs"])
        start = item.starts.get((kind, number), self._length)
        for annotation in _parts(part.get("annotations")):
            yield _citation(annotation, start)

    def _rest(self, item: _Item, part: str, number: int, text: Any) -> Pieces:
        said = item.said.get((part, number), "")
        if isinstance(text, str) and text.startswith(said):
            yield from self._say(item, part, number, text[len(said) :])


def _beside(raw: Mapping[str, Any]) -> Pieces:
    """Yield the output of a tool that the service ran itself."""
    kept = dict(raw)
    if raw.get("type") == "image_generation_call" and isinstance(raw.get("result"), str):
        identifier = str(raw["id"]) if raw.get("id") else None
        yield Media("image", f"image/{raw.get('output_format') or 'png'}", kept.pop("result"), id=identifier)
    yield Detail(str(raw.get("type")), [kept])


def _citation(said: Mapping[str, Any], start: int) -> Citation:
    fields = dict(said)
    begin, end = (fields.pop(name, None) for name in ("start_index", "end_index"))
    url, title, filename = (fields.pop(name, None) for name in ("url", "title", "filename"))
    place = fields.get("index")  # the citation of a file has one place
    begin, end = (place, place) if begin is None and type(place) is int else (begin, end)
    return Citation(
        url=url,
        title=title or filename,
        start=start + begin if type(begin) is int else None,
        end=start + end if type(end) is int else None,
        source={name: value for name, value in fields.items() if value is not None},
    )


def _index(event: Mapping[str, Any], part: str) -> int:
    return event.get("summary_index" if part == "summary_text" else "content_index") or 0


def _parts(value: Any) -> list[Mapping[str, Any]]:
    if value and isinstance(value, str):  # some servers write a text in place of its parts
        return [{"type": "output_text", "text": value}]
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list) else []


def _of(event: Mapping[str, Any], name: str, kind: type = dict) -> Any:
    value = event.get(name)
    if not isinstance(value, kind):
        raise openai_chat.shape_error(name, value)
    return value
