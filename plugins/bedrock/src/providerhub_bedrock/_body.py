"""Writes a request as the JSON object of the Converse API.

Reference: Amazon Bedrock API reference, "Converse"; Amazon Bedrock User Guide, "Extended thinking", "Adaptive thinking",
"Structured output" and, for Nova, "Extended thinking" in the Amazon Nova User Guide.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from providerhub import CapabilityError, InvalidRequestError, Request
from providerhub.wire import form_of
from providerhub_bedrock._conversation import Writer
from providerhub_bedrock._traits import claude_version, takes_format

_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384}
"""The budgets for thinking of Claude models that take no effort, in tokens. The first is the least that they take."""

_ADAPTIVE, _NO_BUDGET, _SILENT = (4, 6), (4, 7), (5, 0)
"""The versions of Claude from which on it takes an effort, takes no budget, and thinks unless the request switches it off."""

_RULES = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
        "uniqueItems",
    }
)  # fmt: skip
_JSON = "Answer with one JSON object and with nothing else."


class Asked(NamedTuple):
    """A request as it is sent.

    Args:
        body: The JSON object.
        form: The name of the tool that the model must call in place of an answer in JSON; `""` for none.
        notes: Changes of which the caller should know.
    """

    body: dict[str, Any]
    form: str
    notes: list[str]


def asked(request: Request) -> Asked:
    """Write a request.

    Args:
        request: The request. Its `options` are merged in last, and one that is `None` removes its field.

    Raises:
        InvalidRequestError: A part of the request is not valid.
        CapabilityError: The API or the model does not take a part of the request. Another model may.
    """
    version = claude_version(request.model)
    writer = Writer(request.messages, inside=version is not None and (version >= _SILENT or version == (4, 8)))
    limits = {"maxTokens": request.max_tokens, "temperature": request.temperature, "topP": request.top_p}
    limits["stopSequences"] = list(request.stop) if request.stop else None  # type: ignore[assignment]
    extra = _thinking(request, version)
    tools, notes = _tools(request, writer.called, extra)
    if request.seed is not None:
        notes.append("the Converse API has no seed; it was left out")
    body: dict[str, Any] = {"messages": writer.talk, "system": writer.system, "inferenceConfig": _given(limits)}
    body |= {"toolConfig": tools, "additionalModelRequestFields": extra}
    form = _shape(body, request)
    for name, value in request.options.items():
        both = isinstance(body.get(name), Mapping) and isinstance(value, Mapping)
        body[name] = {**body[name], **value} if both else value
    return Asked({name: value for name, value in body.items() if value not in (None, {}, [])}, form, notes)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _thinking(request: Request, version: tuple[int, int] | None) -> dict[str, Any]:
    """Translate `reasoning` into the fields of the model's own, since the API has none."""
    wanted, model = request.reasoning, request.model
    if wanted is None:
        return {}
    level = wanted if isinstance(wanted, str) else next((name for name, most in _BUDGETS.items() if wanted <= most), "high")
    low = "low" if level == "minimal" else level
    if version is not None:
        return _claude(wanted, low, version, request.max_tokens)
    if "nova" in model:
        return {"reasoningConfig": {"type": "disabled"} if wanted == "none" else {"type": "enabled", "maxReasoningEffort": low}}
    if "gpt" in model and wanted != "none":
        return {"reasoning_effort": low}
    if "gpt" not in model and wanted == "none":
        return {}
    if "qwen" in model or "deepseek" in model:
        return {"reasoning_config": low}
    msg = f"{model}: no reasoning={wanted!r} is known for this model; set it by options: additionalModelRequestFields"
    raise CapabilityError(msg, capability="" if "gpt" in model else "reasoning")


def _claude(wanted: str | int, level: str, version: tuple[int, int], max_tokens: int | None) -> dict[str, Any]:
    if wanted == "none":
        return {"thinking": {"type": "disabled"}} if version >= _SILENT else {}
    if version >= _ADAPTIVE and not (isinstance(wanted, int) and version < _NO_BUDGET):
        return {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": level}}
    least = _BUDGETS["minimal"]
    if isinstance(wanted, int):
        return {"thinking": {"type": "enabled", "budget_tokens": max(wanted, least)}}
    budget = min(_BUDGETS[wanted], max(least, (max_tokens or 2 * _BUDGETS[wanted]) // 2))  # leaves half to the answer
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _tools(request: Request, called: Iterable[str], extra: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Write the tools. The API refuses a conversation with calls and without tools."""
    tools = [block for tool in request.tools or () for block in _tool(tool)]
    called = list(called)
    choice, notes = request.tool_choice, []
    if choice == "none" and not called:
        return None, []
    tools = tools or [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
    if not tools:
        return None, []
    found: dict[str, Any] = {"tools": tools}
    if isinstance(choice, Mapping):
        own = choice.get("function")
        found["toolChoice"] = {"tool": {"name": own.get("name")}} if isinstance(own, Mapping) else dict(choice)
    elif choice in {"required", "any"}:
        found["toolChoice"] = {"any": {}}
    elif choice == "none":
        notes.append("the Converse API has no tool_choice 'none': the tools of the conversation are sent with it")
    elif choice not in {"auto", None}:
        msg = f"tool_choice must be 'auto', 'none', 'required', or name a tool, not {choice!r}"
        raise InvalidRequestError(msg)
    if request.parallel_tool_calls is False and request.tools:
        if claude_version(request.model) is None or found.get("toolChoice"):
            msg = "parallel_tool_calls=False is known for Claude only, and without a tool_choice; leave it out"
            raise CapabilityError(msg, capability="parallel_tool_calls")
        extra["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    return found, notes


def _tool(tool: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    own = tool.get("function")
    if tool.get("type") == "custom":
        msg = "a tool that takes free text cannot be expressed by the Converse API; give it parameters"
        raise CapabilityError(msg)
    if not isinstance(own, Mapping):
        return [dict(tool)]  # a tool in the API's own shape, such as systemTool or cachePoint
    schema = {"type": "object", **(own.get("parameters") or {})}
    spec = {"name": own.get("name"), "description": own.get("description") or None, "inputSchema": {"json": schema}}
    if own.get("strict"):
        spec |= {"strict": True, "inputSchema": {"json": _adapted(schema)}}
    mark = tool.get("cache_control") or own.get("cache_control")
    return [{"toolSpec": _given(spec)}, *([{"cachePoint": {"type": "default"}}] if mark else ())]


def _shape(body: dict[str, Any], request: Request) -> str:
    """Translate `response_format`, and return the name of the tool that stands in for it; `""` for none."""
    kind, schema, name, about = form_of(request.response_format)
    if kind == "text":
        return ""
    if kind == "json_object":
        body["system"] = [*body["system"], {"text": _JSON}]
        return ""
    if takes_format(request.model):
        own = _given({"schema": json.dumps(_adapted(schema), ensure_ascii=False), "name": name, "description": about})
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": own}}}
        return ""
    if body["toolConfig"]:
        msg = f"{request.model} cannot call tools and keep to a JSON schema in one request; leave one of the two out"
        raise CapabilityError(msg)
    spec = {"name": name, "description": about or "Gives the answer.", "inputSchema": {"json": dict(schema)}}
    body["toolConfig"] = {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": name}}}
    return name


def _adapted(schema: Any) -> Any:
    """Write a schema in the part of the language that structured output takes. Other rules go into the description."""
    if isinstance(schema, list):
        return [_adapted(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {name: _adapted(value) if name not in {"enum", "const"} else value for name, value in schema.items()}
    if not isinstance(schema.get("type", ""), str | list):  # the names of properties, one of which is `type`
        return found
    told = {name: found.pop(name) for name in _RULES & found.keys() if not isinstance(found[name], Mapping)}
    if found.get("type") == "object" and not isinstance(found.get("additionalProperties"), bool):
        found["additionalProperties"] = False
    if told:
        rules = ", ".join(f"{name}: {json.dumps(told[name])}" for name in sorted(told))
        found["description"] = f"{found['description']} ({rules})" if found.get("description") else rules
    return found
