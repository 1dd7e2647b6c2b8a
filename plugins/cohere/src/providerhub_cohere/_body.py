"""Writes a request as the JSON object of `/v2/chat`.

Reference: "Chat" (version 2), "Tool use", "Reasoning" and "Structured outputs" in Cohere's documentation.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from providerhub import CapabilityError, InvalidRequestError, Request
from providerhub.wire import form_of, inline_data, source_of

_CHOICES = {"required": "REQUIRED", "none": "NONE"}
_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "tool_plan", "citations"})
"""The keys of a message."""

_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192}
"""The maximum tokens of thinking for each word; other words have no limit."""

THOUGHTS = "thoughts"
"""The key of a turn for the thinking of the answer."""


def body(request: Request, messages: Sequence[Mapping[str, Any]], choice: Any) -> dict[str, Any]:
    """Write a request.

    Args:
        request: The request. Its `options` override other fields; an option that is `None` removes its field.
        messages: The conversation in the OpenAI chat shape. Turns of this service have replaced their messages.
        choice: The choice of a tool, in the OpenAI shape.

    Raises:
        InvalidRequestError: A part of the request is not valid.
        CapabilityError: The service cannot express a part of the request. Another service may.
    """
    documents: list[dict[str, Any]] = []
    named = _name(choice)
    talk = [_message(message, f"messages[{place}]", documents) for place, message in enumerate(messages)]
    found = {
        "model": request.model,
        "messages": [message for message in talk if message.keys() != {"role"}],  # the API refuses an answer without content
        "stream": request.stream,
        "temperature": request.temperature,
        "p": request.top_p,
        "max_tokens": request.max_tokens,
        "stop_sequences": None if request.stop is None else list(request.stop),
        "seed": request.seed,
        "tools": _tools(request.tools, named),
        "tool_choice": "REQUIRED" if named else _CHOICES.get(choice),
        "strict_tools": any((tool.get("function") or {}).get("strict") for tool in request.tools or ()) or None,
        "response_format": _form(request.response_format),
        "thinking": None if request.reasoning is None else _thinking(request.reasoning),
        "documents": documents or None,
        **request.options,
    }
    if documents and request.options.get("documents"):
        found["documents"] = [*documents, *request.options["documents"]]
    if request.parallel_tool_calls is False and found["tools"] and choice != "none":
        msg = "the Cohere API cannot forbid parallel tool calls; leave parallel_tool_calls out"
        raise CapabilityError(msg, capability="parallel_tool_calls")
    return {name: value for name, value in found.items() if value is not None}


def kept(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a conversation in which documents in tools' results look like texts, so that the chat shape keeps them.

    Args:
        messages: The conversation.
    """
    return [
        {**message, "content": [_as_text(part) for part in message["content"]]}
        if message.get("role") == "tool" and isinstance(message.get("content"), list | tuple)
        else message
        for message in messages
    ]


def _as_text(part: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**part, "type": "text"} if part.get("type") == "document" else part


def _message(message: Mapping[str, Any], where: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    found = {name: value for name, value in message.items() if name in _KEYS}
    if calls := message.get("tool_calls"):
        found["tool_calls"] = [_call(call) for call in calls]
    content = message.get("content")
    if isinstance(content, list | tuple):
        parts = (_part(part, f"{where}['content'][{place}]", documents) for place, part in enumerate(content))
        content = [part for part in parts if part is not None]
    if thoughts := message.get(THOUGHTS):
        said = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
        content = [{"type": "thinking", "thinking": thoughts}, *said]
    if content or found["role"] != "assistant":
        found["content"] = content or ""
    else:
        found.pop("content", None)
    return found


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    said = call.get("function") or {}
    return {"id": call.get("id"), "type": "function", "function": {"name": said.get("name"), "arguments": said["arguments"]}}


def _part(part: Any, where: str, documents: list[dict[str, Any]]) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and "document" in part:
        return {**part, "type": "document"}
    if kind in {"input_audio", "video_url"}:
        name = "audio" if kind == "input_audio" else "video"
        raise CapabilityError(f"{where}: the Cohere API takes no {name}; leave the part out", capability=name)
    if kind != "file":
        return part
    media, data = inline_data(source_of(part), where) or ("", "")
    if not media.startswith("text/") and media != "application/json":
        msg = f"{where}: the Cohere API takes texts only as files, not {media or 'a file without its data'}; pass its text"
        raise CapabilityError(msg)  # without a capability: the API accepts texts
    try:
        text = base64.b64decode(data, validate=True).decode()
    except ValueError as error:
        raise InvalidRequestError(f"{where}: the data: URL does not hold valid base64, or its text is not UTF-8") from error
    documents.append({"data": {"title": (part.get("file") or {}).get("filename") or "file", "text": text}})
    return None


def _name(choice: Any) -> str | None:
    """Return the name of the tool that the model must call; `None` if it may choose."""
    if not isinstance(choice, Mapping):
        return None
    name = (choice.get("function") or {}).get("name")
    if not name:
        raise InvalidRequestError(f"tool_choice must be 'auto', 'none' or 'required', or name a function, not {choice!r:.80}")
    return str(name)


def _tools(tools: Sequence[Mapping[str, Any]] | None, named: str | None) -> list[dict[str, Any]] | None:
    """Translate the tools. The service cannot force one of several tools, so a forced tool is sent alone."""
    if tools is None:
        return None
    found: list[dict[str, Any]] = []
    for tool in tools:
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, Mapping):
            raise CapabilityError(f"tools: the Cohere API takes functions only, not {tool.get('type')!r}; leave it out")
        own = {name: value for name, value in function.items() if name != "strict" and value is not None}
        own.setdefault("parameters", {"type": "object", "properties": {}})
        found.append({"type": "function", "function": own})
    if named:
        found = [tool for tool in found if tool["function"].get("name") == named]
        if not found:
            raise InvalidRequestError(f"tool_choice names {named!r}, which is not among the tools")
    return found


def _form(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    form = form_of(given)
    if form.kind == "text":
        return None
    return dict(given or {}) if form.kind == "json_object" else {"type": "json_object", "json_schema": form.schema}


def _thinking(reasoning: str | int) -> dict[str, Any]:
    if reasoning == "none":
        return {"type": "disabled"}
    budget = reasoning if isinstance(reasoning, int) else _BUDGETS.get(reasoning)
    return {"type": "enabled", **({"token_budget": budget} if budget else {})}
