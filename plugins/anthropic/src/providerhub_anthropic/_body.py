"""Writes a request as the JSON object of the Messages API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from providerhub import CapabilityError, InvalidRequestError, Request
from providerhub.wire import form_of
from providerhub.wire.claude import Traits, adapted, calm, think, thinks, traits
from providerhub_anthropic._conversation import CONTAINER, written

_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any", "any": "any"}

MAX_TOKENS = 4096
"""The maximum tokens of an answer of a model whose own maximum is unknown."""

_JSON = "Answer with one JSON object and with nothing else."


class Asked(NamedTuple):
    """A request as it is sent.

    Args:
        body: The JSON object.
        headers: The headers of this request.
        tail: White space removed from the end of a partial answer; see `Talk`.
        form: The name of the tool that the model must call in place of an answer in JSON; `""` for none.
        notes: Notes about changes, for the caller.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    tail: str
    form: str
    notes: list[str]


def asked(request: Request, *, max_tokens: int | None = None, most: int | None = None, beta: str = "") -> Asked:
    """Write a request.

    Args:
        request: The request. Its `options` override other fields; an option that is `None` removes its field. `betas` is a list
            of names for the header `anthropic-beta`.
        max_tokens: The maximum tokens of an answer for a request without `max_tokens`; `None`, the default, for the model's
            maximum.
        most: The model's maximum as the service states it; `None`, the default, if it is unknown.
        beta: Names for the header `anthropic-beta` of every request, separated by commas. Default empty.

    Raises:
        InvalidRequestError: A part of the request is not valid.
        CapabilityError: The API or the model does not support a part of the request. Another model may.
    """
    own = traits(request.model)
    talk = written(request.messages, model=request.model, inside=own.system)
    notes = list(talk.notes)
    options = dict(request.options)
    betas = options.pop("betas", None) or ()
    names = [*beta.split(","), *([betas] if isinstance(betas, str) else betas)]
    headers = {"anthropic-beta": ",".join(dict.fromkeys(filter(None, map(str.strip, names))))} if betas else {}
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": talk.messages,
        "system": talk.system or None,
        "stream": request.stream or None,
        "temperature": request.temperature,
        "top_p": getattr(request, "top_p", None),
        "stop_sequences": None if request.stop is None else list(request.stop),
        "tools": None if request.tools is None else [_tool(tool) for tool in request.tools],
        "tool_choice": _choice(request.tool_choice, parallel=getattr(request, "parallel_tool_calls", None), tools=request.tools),
        CONTAINER: talk.container,
    }
    if request.seed is not None:
        notes.append("the Messages API has no seed; it was left out")
    body |= think(request, own, notes)
    form = _shape(body, request, own)
    calm(body, body, own, notes, forced=(body["tool_choice"] or {}).get("type") in {"any", "tool"})
    if own.prefill is False and _continues(talk.messages):
        msg = f"{request.model} continues no partial answer: let the last message be the user's, or a tool's result"
        raise CapabilityError(msg, capability="prefill")
    _merge(body, options)
    if body["max_tokens"] is None:
        body["max_tokens"] = _most(body, max_tokens, most or own.max_tokens)
    kept = {name: value for name, value in body.items() if value is not None}
    return Asked(kept, headers, talk.tail, form, notes)


def _merge(body: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Merge the options, and `output_config`, whose effort and format come from different keywords."""
    for name, value in options.items():
        both = name == "output_config" and isinstance(body.get(name), Mapping) and isinstance(value, Mapping)
        body[name] = {**body[name], **value} if both else value


def _most(body: Mapping[str, Any], configured: int | None, own: int | None) -> int:
    """Return the default maximum tokens of an answer, including a budget for thinking."""
    if configured is None and own is not None:
        return own
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    return (configured or MAX_TOKENS) + (budget if isinstance(budget, int) else 0)


def _continues(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the last message is a partial answer. All models continue a turn with a tool of the service."""
    last = messages[-1]
    return last["role"] == "assistant" and all(block.get("type") == "text" for block in last["content"])


def _shape(body: dict[str, Any], request: Request, own: Traits) -> str:
    """Translate `response_format`, and return the name of the tool that replaces it; `""` for none."""
    kind, schema, name, about = form_of(request.response_format)
    if kind == "text":
        return ""
    if kind == "json_schema" and own.schema:
        written_schema = {"type": "json_schema", "schema": adapted(schema)}
        body["output_config"] = {**(body.get("output_config") or {}), "format": written_schema}
        return ""
    if kind == "json_object" and (request.tools or thinks(body) or not own.forced):
        body["system"] = [*(body["system"] or ()), {"type": "text", "text": _JSON}]
        return ""
    if request.tools:
        msg = f"{request.model} cannot call tools and keep to a JSON schema in one request; leave one of the two out"
        raise CapabilityError(msg)
    tool = {
        "name": name,
        "description": about or "Gives the answer.",
        "input_schema": _input(schema),
    }
    body.update(tools=[tool], tool_choice={"type": "tool", "name": name})
    return name


def _input(schema: Any) -> dict[str, Any]:
    found = dict(schema) if isinstance(schema, Mapping) and schema else {"type": "object", "properties": {}}
    return {"type": "object", **found}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type") == "custom" and isinstance(tool.get("custom"), Mapping):
        msg = f"tools: {tool['custom'].get('name')!r} takes free text, which the Messages API cannot express; give it parameters"
        raise CapabilityError(msg)
    if tool.get("type") != "function" or not isinstance(function, Mapping):
        return dict(tool)  # a tool of the service itself, in the API's own shape
    found = {**{name: value for name, value in tool.items() if name not in {"type", "function"}}, **function}
    found["input_schema"] = _input(found.pop("parameters", None))
    if found.get("strict"):
        found["input_schema"] = adapted(found["input_schema"])
    return {name: value for name, value in found.items() if value is not None}


def _choice(
    choice: str | Mapping[str, Any] | None, *, parallel: bool | None, tools: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any] | None:
    if isinstance(choice, Mapping):
        function = choice.get("function")
        found = {"type": "tool", "name": function.get("name")} if isinstance(function, Mapping) else dict(choice)
    elif choice is not None:
        if choice not in _CHOICES:
            msg = f"tool_choice must be one of {', '.join(_CHOICES)}, or name a tool, not {choice!r}"
            raise InvalidRequestError(msg)
        found = {"type": _CHOICES[choice]}
    elif parallel is None or not tools:
        return None
    else:
        found = {"type": "auto"}
    if parallel is not None and found["type"] != "none":
        found.setdefault("disable_parallel_tool_use", not parallel)
    return found
