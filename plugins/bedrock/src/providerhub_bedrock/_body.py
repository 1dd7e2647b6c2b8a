"""Writes a request as the JSON object of the Converse API.

Reference: Amazon Bedrock API reference, "Converse"; Amazon Bedrock User Guide, "Structured output"; for Nova, "Extended
thinking" in the Amazon Nova User Guide.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from providerhub import CapabilityError, InvalidRequestError, Request
from providerhub.wire import form_of, left_out
from providerhub.wire.claude import BUDGETS, OTHER_VENDOR, adapted, calm, think, traits
from providerhub_bedrock._conversation import Writer
from providerhub_bedrock._traits import takes_format

_JSON = "Answer with one JSON object and with nothing else."


class Asked(NamedTuple):
    """A request as it is sent.

    Args:
        body: The JSON object.
        form: The name of the tool that the model must call in place of an answer in JSON; `""` for none.
        notes: Notes about changes, for the caller.
    """

    body: dict[str, Any]
    form: str
    notes: list[str]


def asked(request: Request) -> Asked:
    """Write a request.

    Args:
        request: The request. Its `options` override other fields; an option that is `None` removes its field.

    Raises:
        InvalidRequestError: A part of the request is not valid.
        CapabilityError: The API or the model does not support a part of the request. Another model may.
    """
    own, notes = traits(request.model), left_out(request.messages, "the Converse API")
    is_claude = own is not OTHER_VENDOR
    writer = Writer(request.messages, inside=is_claude and own.system)
    if own.prefill is False and writer.continues:
        msg = f"{request.model} continues no partial answer: let the last message be the user's, or a tool's result"
        raise CapabilityError(msg, capability="prefill")
    extra = think(request, own, notes) if is_claude else _thinking(request)
    tools = _tools(request, writer.called, extra, notes)
    if request.seed is not None:
        notes.append("the Converse API has no seed; it was left out")
    body: dict[str, Any] = {"messages": writer.talk, "system": writer.system, "toolConfig": tools}
    form = _shape(body, request)
    sampling = {"temperature": request.temperature, "top_p": request.top_p}
    calm(extra, sampling, own, notes, forced=not {"any", "tool"}.isdisjoint((body["toolConfig"] or {}).get("toolChoice") or ()))
    limits = {"maxTokens": request.max_tokens, "temperature": sampling["temperature"], "topP": sampling["top_p"]}
    body["inferenceConfig"] = _given({**limits, "stopSequences": list(request.stop) if request.stop else None})
    body["additionalModelRequestFields"] = extra
    for name, value in request.options.items():
        both = isinstance(body.get(name), Mapping) and isinstance(value, Mapping)
        body[name] = {**body[name], **value} if both else value
    return Asked({name: value for name, value in body.items() if value not in (None, {}, [])}, form, notes)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _thinking(request: Request) -> dict[str, Any]:
    """Translate `reasoning` into the fields of a model that is not Claude, since the API has none."""
    wanted, model = request.reasoning, request.model
    if wanted is None:
        return {}
    level = wanted if isinstance(wanted, str) else next((name for name, most in BUDGETS.items() if wanted <= most), "high")
    low = "low" if level == "minimal" else level
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


def _tools(request: Request, called: Iterable[str], extra: dict[str, Any], notes: list[str]) -> dict[str, Any] | None:
    """Write the tools. The API refuses a conversation with calls and without tools."""
    tools = [block for tool in request.tools or () for block in _tool(tool)]
    called = list(called)
    choice = request.tool_choice
    if choice == "none" and not called:
        return None
    tools = tools or [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
    if not tools:
        return None
    found: dict[str, Any] = {"tools": tools}
    if isinstance(choice, Mapping):
        own = choice.get("function")
        if own is None and "type" in choice:
            raise CapabilityError(f"the Converse API has no tool_choice {choice!r:.80}; name a function, or leave it out")
        found["toolChoice"] = {"tool": {"name": own.get("name")}} if isinstance(own, Mapping) else dict(choice)
    elif choice in {"required", "any"}:
        found["toolChoice"] = {"any": {}}
    elif choice == "none":
        notes.append("the Converse API has no tool_choice 'none': the tools of the conversation are sent with it")
    elif choice not in {"auto", None}:
        msg = f"tool_choice must be 'auto', 'none', 'required', or name a tool, not {choice!r}"
        raise InvalidRequestError(msg)
    if request.parallel_tool_calls is False and request.tools:
        if traits(request.model) is OTHER_VENDOR or found.get("toolChoice"):
            msg = "parallel_tool_calls=False is known for Claude only, and without a tool_choice; leave it out"
            raise CapabilityError(msg, capability="" if found.get("toolChoice") else "parallel_tool_calls")
        extra["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    return found


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
        spec |= {"strict": True, "inputSchema": {"json": adapted(schema)}}
    mark = tool.get("cache_control") or own.get("cache_control")
    return [{"toolSpec": _given(spec)}, *([{"cachePoint": {"type": "default"}}] if mark else ())]


def _shape(body: dict[str, Any], request: Request) -> str:
    """Translate `response_format`, and return the name of the tool that replaces it; `""` for none."""
    kind, schema, name, about = form_of(request.response_format)
    if kind == "text":
        return ""
    if kind == "json_object":
        body["system"] = [*body["system"], {"text": _JSON}]
        return ""
    if takes_format(request.model):
        own = _given({"schema": json.dumps(adapted(schema), ensure_ascii=False), "name": name, "description": about})
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": own}}}
        return ""
    if body["toolConfig"]:
        msg = f"{request.model} cannot call tools and keep to a JSON schema in one request; leave one of the two out"
        raise CapabilityError(msg)
    spec = {"name": name, "description": about or "Gives the answer.", "inputSchema": {"json": dict(schema)}}
    body["toolConfig"] = {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": name}}}
    return name
