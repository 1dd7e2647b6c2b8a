"""A request in providerhub's shape → what a model of `llm` is prompted with."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import llm
from llm.parts import AttachmentPart, Message, Part, TextPart, ToolCallPart, ToolResultPart

from providerhub import BadRequestError, CallContext, Request

MAX_TOKENS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict")
"""What plugins of `llm` call the option that bounds the answer."""


def prompt_arguments(request: Request, model: Any, call: CallContext) -> dict[str, Any]:
    """The arguments of `model.prompt()`.

    The last turn goes in by itself and all that went before as `messages`, since plugins of `llm` read either the one or the
    other; the system message goes in both ways.

    Args:
        request: What is asked.
        model: A model of `llm`.
        call: Gets a note for each knob that the model does not have.

    Raises:
        BadRequestError: A message, a tool or an option cannot be expressed for this model.
    """
    names = _call_names(request.messages)
    before, last = _split(request.messages)
    arguments: dict[str, Any] = {
        "messages": [_message(message, names) for message in before],
        "system": _system(request.messages),
        "stream": request.stream,
        "options": _options(request, model, call),
    }
    if last and last[0]["role"] == "tool":
        arguments["tool_results"] = [
            llm.ToolResult(name=names.get(m.get("tool_call_id"), ""), output=_text(m), tool_call_id=m.get("tool_call_id"))
            for m in last
        ]
    elif last:
        parts = _parts(last[0].get("content"))
        arguments["prompt"] = "\n".join(part.text for part in parts if isinstance(part, TextPart))
        arguments["attachments"] = [part.attachment for part in parts if isinstance(part, AttachmentPart)]
    if request.tools:
        arguments["tools"] = [_tool(tool) for tool in request.tools]
    schema = _schema(request)
    if schema is not None:
        arguments["schema"] = schema
    return arguments


def _split(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """All that went before, and the last turn: a user's message, or the tool results at the end."""
    at = len(messages)
    if messages[-1]["role"] == "user":
        at -= 1
    else:
        while at and messages[at - 1]["role"] == "tool":
            at -= 1
    return list(messages[:at]), list(messages[at:])


def _system(messages: Sequence[Mapping[str, Any]]) -> str | None:
    return "\n\n".join(_text(m) for m in messages if m["role"] in {"system", "developer"}) or None


def _call_names(messages: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
    """Tool call's identifier → the tool's name, which `llm` wants beside each result."""
    return {
        call.get("id"): call.get("function", {}).get("name", "")
        for message in messages
        for call in message.get("tool_calls") or ()
    }


def _message(message: Mapping[str, Any], names: Mapping[Any, str]) -> Message:
    role = "system" if message["role"] == "developer" else message["role"]
    if role == "tool":
        call = message.get("tool_call_id")
        return Message(role="tool", parts=[ToolResultPart(name=names.get(call, ""), output=_text(message), tool_call_id=call)])
    calls = [_call_part(call) for call in message.get("tool_calls") or ()]
    return Message(role=role, parts=[*_parts(message.get("content")), *calls])


def _call_part(call: Mapping[str, Any]) -> Part:
    function = call.get("function", {})
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError as error:
        msg = f"the arguments of the tool call {call.get('id')!r} are not JSON"
        raise BadRequestError(msg) from error
    return ToolCallPart(name=function.get("name", ""), arguments=arguments, tool_call_id=call.get("id"))


def _text(message: Mapping[str, Any]) -> str:
    return "\n".join(part.text for part in _parts(message.get("content")) if isinstance(part, TextPart))


def _parts(content: Any) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [TextPart(text=content)]
    return [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> Part:
    if part.get("type") == "text":
        return TextPart(text=part["text"])
    if part.get("type") == "image_url":
        return AttachmentPart(attachment=_attachment(part["image_url"]["url"]))
    msg = f"a content part of type {part.get('type')!r} cannot be given to a model of llm; use 'text' or 'image_url'"
    raise BadRequestError(msg)


def _attachment(url: str) -> llm.Attachment:
    if not url.startswith("data:"):
        return llm.Attachment(url=url)
    head, _, data = url.partition(",")
    kind, _, encoding = head.removeprefix("data:").partition(";")
    try:
        content = base64.b64decode(data, validate=True) if encoding == "base64" else None
    except binascii.Error:
        content = None
    if content is None:
        msg = "an image given as a data: address must be base64, as in data:image/png;base64,..."
        raise BadRequestError(msg)
    return llm.Attachment(type=kind or None, content=content)


def _tool(tool: Mapping[str, Any]) -> llm.Tool:
    function = tool.get("function") or {}
    if tool.get("type") != "function" or not function.get("name"):
        msg = "a tool must look like {'type': 'function', 'function': {'name': ..., 'parameters': {...}}}"
        raise BadRequestError(msg)
    return llm.Tool(
        name=function["name"], description=function.get("description"), input_schema=dict(function.get("parameters") or {})
    )


def _schema(request: Request) -> dict[str, Any] | None:
    form = request.response_format or {}
    if form.get("type") != "json_schema":
        return None
    return dict((form.get("json_schema") or {}).get("schema") or {})


def _options(request: Request, model: Any, call: CallContext) -> dict[str, Any]:
    known = model.Options.model_fields
    options: dict[str, Any] = {}
    for name, value in (("temperature", request.temperature), ("seed", request.seed), ("stop", request.stop)):
        _choose(options, known, (name,), value, call)
    _choose(options, known, MAX_TOKENS, request.max_tokens, call)
    for name, value in request.options.items():
        _choose(options, known, (name,), value, call)
    return options


def _choose(options: dict[str, Any], known: Any, names: tuple[str, ...], value: Any, call: CallContext) -> None:
    if value is None:
        return
    name = next((name for name in names if name in known), None)
    if name is None:
        call.note(f"the model has no option {names[0]}, so it was left out")
    else:
        options[name] = list(value) if isinstance(value, tuple) else value
