"""Translates the events of llm's responses into pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from providerhub import Event, Finish, ReasoningDelta, ToolCallDelta, Usage, UsageDelta


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


def ended(response: Any, calls: Sequence[Any]) -> Iterator[Event]:
    """Translate the end of a response.

    Args:
        response: The response, read to its end.
        calls: The tool calls of the response.

    Yields:
        Tool calls, token counts and `Finish`. llm has no finish reason. So the reason is the service's if llm has kept it;
        otherwise `"tool_calls"` or `"stop"`.
    """
    for index, call in enumerate(calls):
        yield ToolCallDelta(index, call.tool_call_id, call.name, json.dumps(call.arguments, ensure_ascii=False))
    if response.input_tokens is not None or response.output_tokens is not None:
        yield UsageDelta(_usage(response))
    kept = response.response_json if isinstance(response.response_json, Mapping) else {}
    reason = kept.get("finish_reason")
    yield Finish(reason if isinstance(reason, str) else "tool_calls" if calls else "stop")


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
