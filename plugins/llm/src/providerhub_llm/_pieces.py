"""Translates the events of llm's responses into pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import llm
from llm.parts import AttachmentPart

from providerhub import Detail, Event, Finish, Media, ReasoningDelta, ToolCallDelta, Turn, Usage, UsageDelta

_DETAILS = {"id": "id", "model": "model", "system_fingerprint": "fingerprint", "service_tier": "tier"}
"""Field of the service's answer in llm → the name of the detail."""


def piece_of(event: Any) -> str | Event | None:
    """Translate one event of a response.

    Args:
        event: A `StreamEvent` of llm.

    Returns:
        The piece; `None` for an event that callers do not see. llm collects tool calls, so they come whole, from `ended`.
    """
    if event.type == "text":
        return str(event.chunk)
    if event.type == "reasoning" and event.chunk:
        return ReasoningDelta(str(event.chunk))
    return None


def ended(response: Any, calls: Sequence[Any], messages: Sequence[llm.Message]) -> Iterator[Event]:
    """Translate the end of a response.

    Args:
        response: The response, read to its end.
        calls: The tool calls of the response.
        messages: The messages of the response.

    Yields:
        Tool calls, media, token counts, details, the turn if it holds more than texts and calls, and `Finish`. llm has no
        finish reason. So the reason is the service's if llm has kept it; otherwise `"tool_calls"` or `"stop"`.
    """
    for index, call in enumerate(calls):
        yield ToolCallDelta(index, call.tool_call_id, call.name, json.dumps(call.arguments, ensure_ascii=False))
    parts = [part for message in messages for part in message.parts]
    for part in parts:
        if isinstance(part, AttachmentPart) and part.attachment:
            yield _medium(part.attachment)
    if response.input_tokens is not None or response.output_tokens is not None:
        yield UsageDelta(_usage(response))
    kept = response.response_json if isinstance(response.response_json, Mapping) else {}
    yield from (Detail(name, kept[field]) for field, name in _DETAILS.items() if isinstance(kept.get(field), str))
    opaque = any(getattr(one, "provider_metadata", None) for one in (*messages, *parts))
    if opaque and len(messages) == 1:
        yield Turn({"model": response.model.model_id, "message": messages[0].to_dict()})
    reason = kept.get("finish_reason")
    yield Finish(reason if isinstance(reason, str) else "tool_calls" if calls else "stop")


def _medium(attachment: llm.Attachment) -> Media:
    kind = (attachment.type or "").partition("/")[0]
    kind = kind if kind in {"image", "audio", "video"} else "file"
    if attachment.url:
        return Media(kind, attachment.type, url=attachment.url)
    return Media(kind, attachment.type, str(attachment.base64_content()))  # type: ignore[no-untyped-call]  # of llm


def _usage(response: Any) -> Usage:
    details = response.token_details or {}

    def count(group: str, name: str) -> int | None:
        inner = details.get(group)
        value = inner.get(name) if isinstance(inner, Mapping) else details.get(name)
        return value if isinstance(value, int) else None

    return Usage(
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        cached_tokens=count("prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=count("completion_tokens_details", "reasoning_tokens"),
    )
