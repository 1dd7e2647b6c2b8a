"""Writes a request as the JSON object of `generateContent`.

Reference: "GenerateContentRequest", "GenerationConfig", "Tool" and "ToolConfig" in the reference of the Gemini API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providerhub import CapabilityError, InvalidRequestError, Request
from providerhub.wire import form_of, left_out, modern
from providerhub_gemini._contents import Contents
from providerhub_gemini._models import generation

_MODES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY", "any": "ANY", "validated": "VALIDATED"}

_SCHEMA = "parametersJsonSchema"
_BUDGETS: Mapping[str, int] = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
"""The thinking budgets of models without levels, in tokens. All of these models accept them."""


def asked(request: Request) -> tuple[dict[str, Any], list[str]]:
    """Write a request.

    Args:
        request: The request. Its `options` override other fields; an option that is `None` removes its field.

    Returns:
        The JSON object, and notes about changes, for the caller.

    Raises:
        InvalidRequestError: A part of the request is not valid.
        CapabilityError: The API or the model does not support a part of the request. Another model may.
    """
    talk = Contents(request.model)
    for place, message in enumerate(modern(request.messages)):
        talk.add(message, f"messages[{place}]")
    if not talk.contents:
        msg = "messages hold only a system prompt or blank texts; add a message of the user"
        raise InvalidRequestError(msg)
    if request.parallel_tool_calls is False and request.tools:
        msg = "the Gemini API cannot forbid parallel tool calls; leave parallel_tool_calls out"
        raise CapabilityError(msg, capability="parallel_tool_calls")
    body: dict[str, Any] = {
        "contents": talk.contents,
        "systemInstruction": {"parts": talk.system} if talk.system else None,
        "tools": _tools(request),
        "toolConfig": _tool_config(request),
        "generationConfig": _kept(_generation(request)) or None,
    }
    for name, value in request.options.items():
        merged = name in {"generationConfig", "toolConfig"} and isinstance(value, dict)
        body[name] = _kept({**(body.get(name) or {}), **value}) if merged else value
    return _kept(body), talk.notes + left_out(request.messages, "the Gemini API")


def _kept(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _generation(request: Request) -> dict[str, Any]:
    form = form_of(request.response_format)
    return {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "seed": request.seed,
        "stopSequences": None if request.stop is None else list(request.stop),
        "thinkingConfig": _thinking(request),
        "responseMimeType": None if form.kind == "text" else "application/json",
        "responseJsonSchema": form.schema if form.kind == "json_schema" else None,
    }


def _thinking(request: Request) -> dict[str, Any] | None:
    """Translate `reasoning`: into a level for Gemini 3 and later, otherwise into a budget of tokens."""
    asked, own = request.reasoning, generation(request.model)
    if asked is None:
        return None
    if asked == "none":
        if own >= (3, 0) or (own == (2, 5) and "pro" in request.model):
            msg = f"{request.model} always thinks: ask for reasoning='minimal', which is its lowest level"
            raise CapabilityError(msg)
        return {"thinkingBudget": 0} if own == (2, 5) else None  # the other models do not think
    if own >= (3, 0) and isinstance(asked, str):
        return {"thinkingLevel": "low" if asked == "minimal" and "pro" in request.model else asked, "includeThoughts": True}
    budget = _BUDGETS[asked] if isinstance(asked, str) else asked
    if isinstance(asked, str) and request.max_tokens:  # thoughts count towards max_tokens; half is for the answer
        budget = min(budget, max(_BUDGETS["minimal"], request.max_tokens // 2))
    return {"thinkingBudget": budget, "includeThoughts": True}


def _tools(request: Request) -> list[dict[str, Any]] | None:
    """Translate the tools: functions into declarations, and the service's own tools by their names."""
    declared, own = [], []
    for place, tool in enumerate(request.tools or ()):
        function, kind = tool.get("function"), tool.get("type")
        if kind == "custom":
            msg = f"tools[{place}] takes free text, which the Gemini API cannot express; give it parameters"
            raise CapabilityError(msg)
        if isinstance(function, Mapping):
            schema = function.get("parameters") or None
            declared.append(_kept({"name": function.get("name"), "description": function.get("description"), _SCHEMA: schema}))
        elif isinstance(kind, str):  # such as {"type": "google_search"}
            first, *rest = kind.split("_")
            own.append({first + "".join(map(str.title, rest)): {name: tool[name] for name in tool if name != "type"}})
        else:
            own.append(dict(tool))
    return [*([{"functionDeclarations": declared}] if declared else ()), *own] or None


def _tool_config(request: Request) -> dict[str, Any] | None:
    """Translate `tool_choice`. `strict` of a function asks the API to keep to the schemas of all functions."""
    choice = request.tool_choice
    if isinstance(choice, Mapping):
        named = choice.get("function")
        if not isinstance(named, Mapping):
            if "type" in choice:
                raise CapabilityError(f"the Gemini API has no tool_choice {choice!r:.80}; name a function, or leave it out")
            return dict(choice)
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [named.get("name")]}}
    if choice in {None, "auto"} and any((tool.get("function") or {}).get("strict") for tool in request.tools or ()):
        choice = "validated"
    if choice is not None and choice not in _MODES:
        msg = f"tool_choice must be 'auto', 'none', 'required', or name a tool, not {choice!r}"
        raise InvalidRequestError(msg)
    return None if choice is None else {"functionCallingConfig": {"mode": _MODES[choice]}}
