"""Writes a request as the JSON object of the Responses API.

Reference: OpenAI API reference, "Responses", and "Reasoning models" and "Migrate to the Responses API" in its guides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from providerhub import CapabilityError, InvalidRequestError, Message, Request
from providerhub.wire import left_out, openai_chat
from providerhub_openai.models import reasons

ENCRYPTED = "reasoning.encrypted_content"
"""The value of `include` that asks for reasoning which can go back although the service stores nothing."""

Item = dict[str, Any]

_SYSTEM = frozenset({"system", "developer"})
_CALLED = frozenset({"tool", "function"})
_FOREIGN = frozenset(
    {"thinking", "redacted_thinking", "reasoning", "reasoning_content", "thought", "tool_use", "server_tool_use"}
)
"""Types of parts from other protocols."""

_MERGED = frozenset({"reasoning", "text"})
"""Fields to which both a keyword and an option may add."""

_OWN_CALLS = frozenset({"function_call", "custom_tool_call"})
_ID_LENGTH = 64
"""The maximum length of the identifier of a tool call, in characters."""


def written(request: Request) -> tuple[dict[str, Any], list[str]]:
    """Write a request.

    Args:
        request: The request. Its options override other fields; an option that is `None` removes its field. The options `tools`
            and `input` come after the tools and the conversation; the fields of `reasoning` and `text` are merged.

    Returns:
        The JSON object, and notes about changes, for the caller.

    Raises:
        InvalidRequestError: A part of the request is not valid.
        CapabilityError: The API does not support a part of the request. Another API may.
    """
    if request.stop:
        msg = "the Responses API has no `stop`; leave it out, or set api = 'chat' if the model answers at chat completions"
        raise CapabilityError(msg, capability="stop")
    notes = left_out(request.messages, "the Responses API")
    notes += [] if request.seed is None else ["the Responses API has no seed; it was left out"]
    options = dict(request.options)
    stores = options.get("store", False) is not False
    leading = next((n for n, one in enumerate(request.messages) if not _is_instruction(one)), len(request.messages))
    if "instructions" in options or leading == len(request.messages):
        leading = 0  # the API requires an input
    tools = [*map(_tool, request.tools or ()), *(options.pop("tools", None) or ())]
    body: dict[str, Any] = {
        "model": request.model,
        "instructions": "\n\n".join(_text(one["content"]) for one in request.messages[:leading]) or None,
        "input": [*_Input(request.messages[leading:], stores=stores).items(), *(options.pop("input", None) or ())],
        "stream": request.stream or None,
        "store": False,
        "include": [ENCRYPTED] if not stores and _thinks(request) else None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_output_tokens": request.max_tokens,
        "tools": tools or None,
        "tool_choice": _choice(request.tool_choice),
        "parallel_tool_calls": request.parallel_tool_calls,
        "reasoning": None if request.reasoning is None else {"effort": _effort(request.reasoning)},
        "text": _form(request.response_format),
    }
    for name, value in options.items():
        both = name in _MERGED and isinstance(body.get(name), Mapping) and isinstance(value, Mapping)
        body[name] = {**body[name], **value} if both else value
    return {name: value for name, value in body.items() if value is not None}, notes


def _thinks(request: Request) -> bool:
    return reasons(request.model) or request.reasoning not in {None, "none", 0}


def _effort(reasoning: str | int) -> Any:
    return openai_chat.reasoning_effort(reasoning)["reasoning_effort"]


def _is_instruction(message: Message) -> bool:
    """Return whether a message is a system prompt of text, which the field `instructions` can hold."""
    content = message.get("content")
    return message["role"] in _SYSTEM and (
        isinstance(content, str) or all(isinstance(part, Mapping) and part.get("type") == "text" for part in content or ())
    )


class _Input:
    """Translates a conversation into items, in its order."""

    def __init__(self, messages: Sequence[Message], *, stores: bool) -> None:
        self._messages = messages
        self._stores = stores
        self._custom: set[Any] = set()
        """The identifiers of calls whose input is free text. Their results have another type."""

    def items(self) -> Iterator[Item]:
        for place, message in enumerate(self._messages):
            where = f"messages[{place}]"
            role = message["role"]
            if role == "assistant":
                yield from self._answer(message, where)
            elif role in _CALLED:
                yield self._result(message, where)
            else:
                yield {"role": role, "content": _content(message.get("content"), where)}

    def _result(self, message: Message, where: str) -> Item:
        given = message.get("tool_call_id") or (_legacy(message["name"]) if message.get("name") else None)
        if given is None:
            msg = f"{where}: a message of the role {message['role']!r} needs the key 'tool_call_id'"
            raise InvalidRequestError(msg)
        kind = "custom_tool_call_output" if given in self._custom else "function_call_output"
        return {"type": kind, "call_id": _id(given), "output": _content(message.get("content"), where)}

    def _answer(self, message: Message, where: str) -> Iterator[Item]:
        turn = message.get("turn")
        if isinstance(turn, list | tuple):  # a turn of this API; a turn of chat completions is a mapping
            yield from self._own(turn, message.get("tool_calls") or ())
            return
        content = message.get("content")
        said = content if isinstance(content, str) else _said(content or (), where)
        if message.get("refusal"):
            texts = [{"type": "output_text", "text": said}] if isinstance(said, str) and said else said or []
            said = [*texts, {"type": "refusal", "refusal": message["refusal"]}]
        if said:
            yield {"role": "assistant", "content": said}
        calls = list(message.get("tool_calls") or ())
        if message.get("function_call"):
            legacy = message["function_call"]
            calls.append({"id": _legacy(legacy.get("name")), "function": legacy})
        for call in calls:
            yield self._call(call)

    def _own(self, turn: Sequence[Any], calls: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
        """Yield the unchanged items of a turn, without reasoning that the service neither stored nor encrypted.

        A call gets the identifier in the message, which replaces a missing or repeated one.
        """
        items = [dict(item) for item in turn if isinstance(item, Mapping)]
        for item, call in zip((one for one in items if one.get("type") in _OWN_CALLS), calls, strict=False):
            item["call_id"] = _id(call.get("id"))
        lost = [] if self._stores else [item for item in items if _is_lost(item)]
        for item in items:
            if item.get("type") == "custom_tool_call":
                self._custom.add(item.get("call_id"))
            if item in lost:
                continue
            if item.get("type") == "reasoning":  # the service refuses null in its fields
                item = {name: value for name, value in item.items() if value is not None}  # noqa: PLW2901 -- a copy
            elif lost:  # without its reasoning, the service refuses an item with an identifier
                item.pop("id", None)
            yield item

    def _call(self, call: Mapping[str, Any]) -> Item:
        if call.get("type") == "custom":
            self._custom.add(call.get("id"))
            own = call.get("custom") or {}
            return {
                "type": "custom_tool_call",
                "call_id": _id(call.get("id")),
                "name": own.get("name"),
                "input": own.get("input"),
            }
        own = call.get("function") or {}
        arguments = own.get("arguments")
        if not isinstance(arguments, str):
            arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
        return {"type": "function_call", "call_id": _id(call.get("id")), "name": own.get("name"), "arguments": arguments or "{}"}


def _is_lost(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "reasoning" and not item.get("encrypted_content") and not item.get("content")


def _id(given: Any) -> str:
    text = str(given)
    return text if len(text) <= _ID_LENGTH else f"call_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _legacy(name: Any) -> str:
    """Make an identifier for a call in the shape of 2023, which has no identifiers."""
    return f"function_{name}"


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(str(part.get("text") or "") for part in content or ())


def _said(parts: Sequence[Any], where: str) -> list[Item]:
    """Translate the parts of an assistant's message."""
    found: list[Item] = []
    for place, part in enumerate(parts):
        kind = part.get("type")
        if kind == "text":
            found.append({"type": "output_text", "text": part.get("text") or ""})
        elif kind in {"refusal", "output_text"}:
            found.append(dict(part))
        elif kind not in _FOREIGN:
            msg = f"{where}['content'][{place}]: the Responses API takes no {kind!r} in a message of the assistant; leave it out"
            raise CapabilityError(msg)
    return found


def _content(content: Any, where: str) -> Any:
    """Translate the content of a message of the user or the system, or the result of a tool."""
    if content is None or isinstance(content, str):
        return content or ""
    found = []
    for place, part in enumerate(content):
        kind = part.get("type")
        if kind in _PARTS:
            found.append(_PARTS[kind](part, f"{where}['content'][{place}]"))
        elif kind not in _FOREIGN:
            found.append(dict(part))  # in the API's own shape
    return found


def _text_part(part: Mapping[str, Any], _where: str) -> Item:
    return {"type": "input_text", "text": part.get("text") or ""}


def _image(part: Mapping[str, Any], _where: str) -> Item:
    value = part.get("image_url")
    fields = value if isinstance(value, Mapping) else {"url": value}
    found = {"type": "input_image", "image_url": fields.get("url")}
    return {**found, "detail": fields["detail"]} if fields.get("detail") else found


def _file(part: Mapping[str, Any], _where: str) -> Item:
    found = {name: value for name, value in (part.get("file") or {}).items() if value is not None}
    if not str(found.get("file_data", "data:")).startswith("data:"):  # an address has its own field, and needs no name
        found = {"file_url": found["file_data"]}
    return {"type": "input_file", **found}


def _refused(part: Mapping[str, Any], where: str) -> Item:
    kind = "audio" if part["type"] == "input_audio" else "video"
    msg = f"{where}: the Responses API does not take {kind}; set api = 'chat' if the model answers at chat completions"
    raise CapabilityError(msg, capability=kind)


_PARTS: Mapping[Any, Callable[[Mapping[str, Any], str], Item]] = {
    "text": _text_part,
    "image_url": _image,
    "file": _file,
    "input_audio": _refused,
    "video_url": _refused,
}


def _tool(tool: Mapping[str, Any]) -> Item:
    kind = tool.get("type")
    own = tool.get(kind) if kind in {"function", "custom"} else None
    if not isinstance(own, Mapping):
        return dict(tool)  # a tool of the service itself, in the API's own shape
    found = {"type": kind, **own}
    if kind == "function":
        found.setdefault("parameters", {"type": "object", "properties": {}})
        found["strict"] = bool(own.get("strict"))  # by default true here, and false in chat completions
    elif isinstance(grammar := (own.get("format") or {}).get("grammar"), Mapping):
        found["format"] = {"type": "grammar", **grammar}
    return found


def _choice(choice: Any) -> Any:
    if not isinstance(choice, Mapping):
        return "required" if choice == "any" else choice
    kind = choice.get("type")
    if kind in {"auto", "any", "none", "required"}:
        return "required" if kind == "any" else kind
    own = choice.get(kind)
    if not isinstance(own, Mapping):
        return dict(choice)
    tools = own.get("tools")
    return {"type": kind, **own, **({"tools": [_choice(one) for one in tools]} if isinstance(tools, list) else {})}


def _form(form: Mapping[str, Any] | None) -> Item | None:
    kind = (form or {}).get("type", "text")
    if form is None or kind == "text":
        return None
    own = form.get(kind)
    fields = own if isinstance(own, Mapping) else {name: value for name, value in form.items() if name != "type"}
    named = {"name": "answer"} if kind == "json_schema" else {}
    return {"format": {"type": kind, **named, **fields}}
