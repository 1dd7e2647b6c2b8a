"""Changes a request in the OpenAI chat shape to what Mistral takes.

Reference: "Chat completion" in Mistral's API reference. A field that the API does not know makes it refuse the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from providerhub import CapabilityError, InvalidRequestError, Message
from providerhub.wire import modern, source_of

_KEYS: Mapping[str, frozenset[str]] = {
    "assistant": frozenset({"role", "content", "tool_calls", "prefix", "turn"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name", "is_error"}),
}
"""The keys of a message by its role; of all other roles: the role and the content."""

_PLAIN = frozenset({"role", "content"})


def fitted(messages: Sequence[Message]) -> list[Message]:
    """Remove the parts of a conversation that Mistral does not accept. The result has the OpenAI chat shape.

    Args:
        messages: The conversation.

    Raises:
        InvalidRequestError: A part of it is not valid.
        CapabilityError: Mistral does not take a part of it.
    """
    found = [_message(message, f"messages[{place}]") for place, message in enumerate(modern(messages))]
    # Mistral refuses an assistant's message without content and calls.
    return [
        message for message in found if message["role"] != "assistant" or any(map(message.get, ("content", "tool_calls", "turn")))
    ]


def prefixed(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a conversation whose last message, if it is an assistant's, is marked as the beginning of the answer.

    Args:
        messages: The conversation.
    """
    *before, last = messages
    return [*before, {**last, "prefix": True} if last["role"] == "assistant" and not last.get("tool_calls") else last]


def prefix_of(messages: Sequence[Message]) -> str:
    """Return the text that the answer repeats at its beginning; empty for none.

    Args:
        messages: The conversation.
    """
    last = messages[-1]
    content = last.get("content") if last["role"] == "assistant" and not last.get("tool_calls") else ""
    if isinstance(content, list | tuple):
        content = "".join(str(part.get("text") or "") for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _message(message: Message, where: str) -> dict[str, Any]:
    keys = _KEYS.get(message["role"], _PLAIN)
    found = {name: value for name, value in message.items() if name in keys}
    if calls := message.get("tool_calls"):
        found["tool_calls"] = [{name: call.get(name) for name in ("id", "type", "function")} for call in calls]
    content = found.get("content")
    if isinstance(content, list | tuple):
        found["content"] = [_part(part, f"{where}['content'][{place}]") for place, part in enumerate(content)]
    return found


def _part(part: Any, where: str) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind != "file" or not isinstance(file := part.get("file"), Mapping):
        return part
    if file.get("file_id"):
        return {"type": "file", "file_id": file["file_id"]}
    url = source_of(part)
    if not url.startswith(("data:", "https://", "http://")):
        raise InvalidRequestError(f"{where}: expected an address or a data: URL of the file, not {url[:40]!r}")
    name = file.get("filename")
    return {"type": "document_url", "document_url": url, **({"document_name": name} if name else {})}


def tools(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools as Mistral takes them: functions, which must have parameters.

    Args:
        given: The tools in the OpenAI chat shape.

    Raises:
        CapabilityError: A tool takes free text.
    """
    custom = next((tool["custom"] for tool in given if tool.get("type") == "custom"), None)
    if custom is not None:
        msg = f"tools: {custom.get('name')!r} takes free text, which Mistral cannot express; give it parameters"
        raise CapabilityError(msg)
    return [
        {**tool, "function": {"parameters": {"type": "object", "properties": {}}, **tool["function"]}}
        if "function" in tool
        else dict(tool)
        for tool in given
    ]
