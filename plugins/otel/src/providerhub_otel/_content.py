"""The content of a call as attributes of the conventions: JSON texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import CallRecord

SYSTEM = {"system", "developer"}


def attributes(call: CallRecord) -> dict[str, str]:
    """The messages, the system texts, the tools and the answer of a call.

    Args:
        call: The record of the call at its end.
    """
    request, answer = call.request, call.completion
    found: dict[str, Any] = {
        "gen_ai.input.messages": [_message(one) for one in request.messages if one.get("role") not in SYSTEM],
        "gen_ai.system_instructions": [part for one in request.messages if one.get("role") in SYSTEM for part in _parts(one)],
        "gen_ai.tool.definitions": list(request.tools or ()),
    }
    if answer is not None:
        thought = [{"type": "reasoning", "content": answer.reasoning}] if answer.reasoning else []
        message = _message(answer.message_plain)
        found["gen_ai.output.messages"] = [
            message | {"parts": thought + message["parts"], "finish_reason": answer.finish_reason or "unknown"}
        ]
    return {name: json.dumps(value, ensure_ascii=False, default=str) for name, value in found.items() if value}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": message.get("role", "user"), "parts": list(_parts(message))}


def _parts(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    if message.get("role") == "tool":
        yield {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}
        return
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
        if part.get("type") == "text":
            if part["text"]:
                yield {"type": "text", "content": part["text"]}
        else:
            yield dict(part)
    if message.get("refusal"):
        yield {"type": "refusal", "content": message["refusal"]}
    for call in message.get("tool_calls") or ():
        said = call.get(call.get("type") or "function") or {}
        arguments = said.get("arguments", said.get("input"))
        yield {"type": "tool_call", "id": call.get("id"), "name": said.get("name"), "arguments": arguments}
