"""Writes a request as the JSON object of `generateContent`.

Reference: "GenerateContentRequest", "GenerationConfig", "Tool" and "ToolConfig" in the reference of the Gemini API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providerhub import CapabilityError, InvalidRequestError, Request
from providerhub_gemini._contents import Contents
from providerhub_gemini._models import generation

_MODES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY", "any": "ANY", "validated": "VALIDATED"}

_BUDGETS: Mapping[str, int] = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
"""The budgets for thinking of models that take no level, in tokens. All of them take these."""

_MERGED = frozenset({"generationConfig", "toolConfig"})
"""Fields of the request that come from keywords and from options, and are merged."""


def asked(request: Request) -> tuple[dict[str, Any], list[str]]:
    """Write a request.

    Args:
        request: The request. Its `options` are merged in last, and one that is `None` removes its field.

    Returns:
        The JSON object, and notes of changes of which the caller should know.

    Raises:
        InvalidRequestError: A part of the request is not valid.
        CapabilityError: The API or the model does not take a part of the request. Another model may.
    """
    talk = Contents(request.model)
    for place, message in enumerate(request.messages):
        talk.add(message, f"messages[{place}]")
    if not talk.contents:
        msg = "messages hold only a system prompt or blank texts; add a message of the user"
        raise InvalidRequestError(msg)
    if request.parallel_tool_calls is False:
        talk.notes.append("the API cannot forbid parallel tool calls; parallel_tool_calls was left out")
    body: dict[str, Any] = {
        "contents": talk.contents,
        "systemInstruction": {"parts": talk.system} if talk.system else None,
        "tools": _tools(request),
        "toolConfig": _tool_config(request),
        "generationConfig": _kept(_generation(request)) or None,
    }
    for name, value in request.options.items():
        known = body.get(name)
        both = name in _MERGED and isinstance(known, Mapping) and isinstance(value, Mapping)
        body[name] = _kept({**known, **value}) if both else value
    return _kept(body), talk.notes


def _kept(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _generation(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "seed": request.seed,
        "stopSequences": None if request.stop is None else list(request.stop),
        "thinkingConfig": _thinking(request),
    }
    form = request.response_format or {}
    kind = form.get("type", "text")
    if kind not in {"text", "json_object", "json_schema"}:
        msg = f"response_format must have the type 'json_schema', 'json_object' or 'text', not {kind!r}"
        raise InvalidRequestError(msg)
    if kind != "text":
        found["responseMimeType"] = "application/json"
    if kind == "json_schema":
        named = form.get("json_schema")
        schema = named.get("schema") if isinstance(named, Mapping) else None
        if not isinstance(schema, Mapping):
            msg = f"response_format['json_schema']['schema'] must be a JSON schema, not {schema!r:.60}"
            raise InvalidRequestError(msg)
        found["responseJsonSchema"] = schema
    return found


def _thinking(request: Request) -> dict[str, Any] | None:
    """Translate `reasoning`: into a level for Gemini 3 and later, otherwise into a budget of tokens."""
    asked, own = request.reasoning, generation(request.model)
    if asked is None:
        return None
    if asked == "none":
        if own >= (3, 0) or (own == (2, 5) and "pro" in request.model):
            msg = f"{request.model} always thinks: ask for reasoning='minimal', which is its lowest level"
            raise CapabilityError(msg)
        return {"thinkingBudget": 0} if own == (2, 5) else None  # the others do not think
    if isinstance(asked, int):
        return {"thinkingBudget": asked, "includeThoughts": True}
    if own >= (3, 0):
        level = "low" if asked == "minimal" and "pro" in request.model else asked
        return {"thinkingLevel": level, "includeThoughts": True}
    budget = _BUDGETS[asked]
    if request.max_tokens:  # thoughts count towards it, and half of it belongs to the answer
        budget = min(budget, max(_BUDGETS["minimal"], request.max_tokens // 2))
    return {"thinkingBudget": budget, "includeThoughts": True}


def _tools(request: Request) -> list[dict[str, Any]] | None:
    """Translate the tools: functions into declarations, and tools of the service's own by their names."""
    declared, own = [], []
    for place, tool in enumerate(request.tools or ()):
        function = tool.get("function")
        if tool.get("type") == "custom":
            msg = f"tools[{place}] takes free text, which the Gemini API cannot express; give it parameters"
            raise CapabilityError(msg)
        if isinstance(function, Mapping):
            schema = {"parametersJsonSchema": function["parameters"]} if function.get("parameters") else {}
            declared.append({**_kept({name: function.get(name) for name in ("name", "description")}), **schema})
        elif isinstance(tool.get("type"), str):  # such as {"type": "google_search"}
            first, *rest = tool["type"].split("_")
            own.append({first + "".join(map(str.title, rest)): {name: tool[name] for name in tool if name != "type"}})
        else:
            own.append(dict(tool))
    return [*([{"functionDeclarations": declared}] if declared else ()), *own] or None


def _tool_config(request: Request) -> dict[str, Any] | None:
    """Translate `tool_choice`. `strict` of a function asks the API to keep to the schemas of all functions."""
    choice = request.tool_choice
    if isinstance(choice, Mapping):
        function = choice.get("function")
        if not isinstance(function, Mapping):
            return dict(choice)
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [function.get("name")]}}
    functions = [tool["function"] for tool in request.tools or () if isinstance(tool.get("function"), Mapping)]
    if choice in {None, "auto"} and any(function.get("strict") for function in functions):
        choice = "validated"
    if choice is None:
        return None
    if choice not in _MODES:
        msg = f"tool_choice must be 'auto', 'none', 'required', or name a tool, not {choice!r}"
        raise InvalidRequestError(msg)
    return {"functionCallingConfig": {"mode": _MODES[choice]}}
