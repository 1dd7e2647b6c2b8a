"""Writes a request as the JSON object of the Messages API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from providerhub import InvalidRequestError, Request
from providerhub_anthropic import _conversation

_CHOICES: Mapping[str, Mapping[str, Any]] = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}


def body_of(request: Request, max_tokens: int) -> tuple[dict[str, Any], str]:
    """Write a request as a JSON object.

    Args:
        request: The request.
        max_tokens: The most tokens of the answer, for a request without `max_tokens`.

    Returns:
        The object, and the white space that was cut off the end of a partial answer. The request's `options` are merged in last;
        an option that is `None` removes its field.

    Raises:
        InvalidRequestError: The API cannot express a part of the request.
    """
    system, talk = _conversation.split(request.messages)
    tail = _conversation.held_back(talk)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": _max_tokens(request, max_tokens),
        "messages": talk,
        "system": system or None,
        "stream": request.stream or None,
        "temperature": request.temperature,
        "stop_sequences": None if request.stop is None else list(request.stop),
        "tools": None if request.tools is None else _tools(request.tools),
        "tool_choice": None if request.tool_choice is None else _choice(request.tool_choice),
    }
    _refuse_format(request.response_format)
    body.update(request.options)
    return {name: value for name, value in body.items() if value is not None}, tail


def _max_tokens(request: Request, otherwise: int) -> int:
    if request.max_tokens is not None:
        return request.max_tokens
    thinking = request.options.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    # The budget counts towards max_tokens and must be smaller.
    return otherwise + budget if isinstance(budget, int) else otherwise


def _tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_tool(tool) for tool in tools]


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, Mapping):
        return dict(tool)  # a tool that the service runs itself, in the API's own shape
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    found = {"name": function.get("name"), "description": function.get("description"), "input_schema": schema}
    return {name: value for name, value in found.items() if value is not None}


def _choice(choice: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(choice, Mapping):
        function = choice.get("function")
        return {"type": "tool", "name": function.get("name")} if isinstance(function, Mapping) else dict(choice)
    if choice not in _CHOICES:
        msg = f"tool_choice must be one of {', '.join(_CHOICES)}, or name a tool, not {choice!r}"
        raise InvalidRequestError(msg)
    return dict(_CHOICES[choice])


def _refuse_format(form: Mapping[str, Any] | None) -> None:
    kind = (form or {}).get("type", "text")
    if kind != "text":
        msg = (
            f"the Messages API has no response_format {kind!r}; ask for the format in the prompt, or pass a tool with that schema"
        )
        raise InvalidRequestError(msg)
