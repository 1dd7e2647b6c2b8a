"""Writes a request in the OpenAI chat shape, without parts of other wires in the conversation."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from providerhub._values import Request

UNWANTED = frozenset({"turn", "is_error"})
"""Keys of a message that are unknown to every service of this wire."""

_FIELDS = ("temperature", "top_p", "max_tokens", "tools", "parallel_tool_calls", "response_format", "seed")
_PLAIN = frozenset({"role", "content", "name"})
_FOREIGN = frozenset({"redacted_thinking", "tool_use", "server_tool_use"})
_TEXT = {"type": "text"}
_LOW, _MEDIUM = 2048, 8192
"""The maximum tokens of low and of medium effort."""


def reasoning_effort(reasoning: str | int) -> dict[str, Any]:
    """Return the field of OpenAI and most servers that asks for reasoning.

    Args:
        reasoning: A word, sent unchanged; or tokens, which become the nearest word: 0 `"none"`, up to 2,048 `"low"`, up to 8,192
            `"medium"`, more `"high"`.
    """
    if isinstance(reasoning, str):
        return {"reasoning_effort": reasoning}
    words = (("none", 0), ("low", _LOW), ("medium", _MEDIUM))
    return {"reasoning_effort": next((word for word, most in words if reasoning <= most), "high")}


def request_body(
    request: Request,
    *,
    reasoning: Callable[[str | int], Mapping[str, Any]] = reasoning_effort,
    unwanted: frozenset[str] = UNWANTED,
    call_ids: tuple[str, int] | None = None,
) -> dict[str, Any]:
    """Return the JSON object of a request.

    Args:
        request: The request. Fields with `None` are left out.
        reasoning: Returns the fields that ask for reasoning. Default `reasoning_effort`.
        unwanted: Keys to leave out of messages, their parts and the tools. Default `UNWANTED`.
        call_ids: The pattern that the whole identifier of a tool call must match, and the length of a replacement. Default
            `None`, for services that accept any identifier.

    Returns:
        The object. The request's `options` override other fields.
    """
    messages = conversation(request.messages, unwanted)
    if call_ids is not None:
        messages = with_call_ids(messages, *call_ids)
    body: dict[str, Any] = {"model": request.model, "messages": messages}
    for name in _FIELDS:
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if unwanted != UNWANTED and request.tools is not None:
        body["tools"] = [_without(tool, unwanted) for tool in request.tools]
    if request.tool_choice is not None:
        body["tool_choice"] = "required" if request.tool_choice == "any" else request.tool_choice
    if request.reasoning is not None:
        body.update(reasoning(request.reasoning))
    if request.stop is not None:
        body["stop"] = list(request.stop)
    if request.stream:
        body["stream"] = True
    body.update(request.options)
    return body


def conversation(messages: Iterable[Mapping[str, Any]], unwanted: frozenset[str] = UNWANTED) -> list[Mapping[str, Any]]:
    """Return a conversation in the form of this wire, without the `unwanted` keys.

    A turn of the same service replaces its message. Arguments of tool calls become JSON text. Blocks of other wires are left out.
    Images in the result of a tool move to a user message after the results, since a tool's message holds only text.
    """
    found: list[Mapping[str, Any]] = []
    beside: list[Any] = []  # parts of tools' results that a tool's message cannot hold
    for message in messages:
        if beside and message.get("role") != "tool":
            found.append({"role": "user", "content": beside})
            beside = []
        content = message.get("content")
        if isinstance(content, str) and _PLAIN.issuperset(message):
            found.append(message)
            continue
        sent = _message(message, unwanted)
        content = sent.get("content")
        if sent.get("role") == "tool" and isinstance(content, list):
            sent["content"], parts = _result(content, sent.get("tool_call_id"))
            beside += parts
        found.append(sent)
    return [*found, {"role": "user", "content": beside}] if beside else found


def _message(message: Mapping[str, Any], unwanted: frozenset[str]) -> dict[str, Any]:
    turn = message.get("turn")
    sent = _without(message, unwanted)
    if isinstance(turn, Mapping):
        sent = _with_turn(sent, turn)
    content = sent.get("content")
    if isinstance(content, list | tuple):
        parts = [part for part in content if not _is_foreign(part)]
        sent["content"] = [_without(part, unwanted) if isinstance(part, Mapping) else part for part in parts]
    if calls := sent.get("tool_calls"):
        sent["tool_calls"] = [_with_text(call, call.get("type") or "function") for call in calls]
    if sent.get("function_call"):
        sent = _with_text(sent, "function_call")
    return sent


def _with_turn(message: Mapping[str, Any], turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with the fields of its service's turn. The texts and calls come from the message."""
    merged = {**message, **turn}
    content = turn.get("content")
    if isinstance(content, list):
        # A part `{"type": "text"}` without a text stands for the message's text.
        text = message.get("content")
        merged["content"] = [{**part, "text": text} if part == _TEXT else part for part in content if part != _TEXT or text]
    calls, extras = message.get("tool_calls") or (), turn.get("tool_calls") or ()
    if extras and len(calls) == len(extras):
        merged["tool_calls"] = [
            {**call, **extra, **{kind: {**call.get(kind, {}), **extra.get(kind, {})} for kind in _kinds(call, extra)}}
            for call, extra in zip(calls, extras, strict=True)
        ]
    return {name: value for name, value in merged.items() if value is not None or (name == "content" and "audio" not in turn)}


def _kinds(*calls: Mapping[str, Any]) -> Iterator[str]:
    return (kind for kind in ("function", "custom") if any(isinstance(call.get(kind), Mapping) for call in calls))


def _without(fields: Mapping[str, Any], unwanted: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in unwanted}


def _is_foreign(part: Any) -> bool:
    """Return whether a part of the content belongs to another wire. Mistral's thinking is a list, Claude's is a text."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind in _FOREIGN or (kind == "thinking" and not isinstance(part.get("thinking"), list))


def _with_text(call: Mapping[str, Any], kind: str) -> dict[str, Any]:
    said = call.get(kind)
    if kind == "custom" or not isinstance(said, Mapping):
        return dict(call)
    arguments = said.get("arguments")
    if not isinstance(arguments, str):
        arguments = "{}" if arguments is None else json.dumps(arguments, ensure_ascii=False)
    return {**call, kind: {**said, "arguments": arguments or "{}"}}


def _result(content: list[Any], identifier: object) -> tuple[Any, list[Any]]:
    """Return the texts of a tool's result, and its other parts with a text that names the call."""
    texts = [part for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
    parts = [part for part in content if part not in texts]
    if not parts:
        return content, []
    head = {"type": "text", "text": f"Content of the result of the tool call {identifier}:"}
    return texts or "The result follows in the next user message.", [head, *parts]


def with_call_ids(messages: Sequence[Mapping[str, Any]], pattern: str, length: int) -> list[Mapping[str, Any]]:
    """Return a conversation with valid identifiers of tool calls, equal in call and result.

    An identifier that matches the whole pattern stays. Others are replaced by `length` letters and digits, at most 40.
    """

    def fitting(identifier: object) -> str:
        text = str(identifier)
        if re.fullmatch(pattern, text):
            return text
        import hashlib  # slow to import; few identifiers need it

        digest = base64.b32encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return digest.decode()[:length]

    found: list[Mapping[str, Any]] = []
    for message in messages:
        changed = message
        if message.get("tool_calls"):
            calls = [{**call, "id": fitting(call.get("id"))} for call in message["tool_calls"]]
            changed = {**message, "tool_calls": calls}
        elif message.get("tool_call_id") is not None:
            changed = {**message, "tool_call_id": fitting(message["tool_call_id"])}
        found.append(changed)
    return found
