"""What llm's models yield → pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from providerhub import Event, Finish, ReasoningDelta, ToolCallDelta, Usage, UsageDelta


def piece_of(event: Any) -> str | Event | None:
    """One event of a response.

    Args:
        event: llm's `StreamEvent`.

    Returns:
        Its piece; `None` for what callers do not see. Tool calls come at the end, whole, as llm gathers them.
    """
    if event.type == "text":
        return str(event.chunk)
    if event.type == "reasoning" and event.chunk:
        return ReasoningDelta(str(event.chunk))
    return None


def ended(response: Any, calls: Sequence[Any]) -> Iterator[Event]:
    """What is known when a response is at its end.

    Args:
        response: The response.
        calls: The tools that the model wants called.

    Yields:
        Tool calls, token counts and `Finish`. llm has no word for why an answer ended, so it is the service's own where that is
        kept, and otherwise what can be seen.
    """
    for index, call in enumerate(calls):
        yield ToolCallDelta(index, call.tool_call_id, call.name, json.dumps(call.arguments, ensure_ascii=False))
    if response.input_tokens is not None or response.output_tokens is not None:
        yield UsageDelta(_usage(response))
    told = response.response_json if isinstance(response.response_json, Mapping) else {}
    reason = told.get("finish_reason")
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
