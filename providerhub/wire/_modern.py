"""Reads requests in the OpenAI chat shape, for plugins that write another shape. Equal contents have one form."""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from providerhub._values.errors import InvalidRequestError
from providerhub._values.parts import media_type

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL | re.IGNORECASE)
_ROLES = {"developer": "system", "function": "tool"}
_CALLED = frozenset({"tool", "function"})
_ADDRESSES = ("url", "file_data", "file_url", "file_id", "data")
_BEGIN = 24  # characters of base64: 18 bytes show the media type
_TYPES = ("text", "json_object", "json_schema")


class Form(NamedTuple):
    """The form that an answer must have.

    Args:
        kind: `"text"`, `"json_object"` or `"json_schema"`.
        schema: The schema, for `"json_schema"`; else empty.
        name: The name of the schema; `"answer"` if it has none.
        description: The purpose of the schema; `None` if unknown.
    """

    kind: str
    schema: Mapping[str, Any]
    name: str
    description: str | None


def modern(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation without the older and rarer forms of the OpenAI chat shape.

    Args:
        messages: The conversation.

    Returns:
        Copies of the messages. The roles are `"system"`, `"user"`, `"assistant"` and `"tool"`. A `function_call`, and the free
        text of a custom tool, become `tool_calls` of functions. A refusal becomes a text.
    """
    return [_modern(message) for message in messages]


def left_out(messages: Sequence[Mapping[str, Any]], api: str) -> list[str]:
    """Return notes about the keys `name` and `audio` of messages, for an API without these keys.

    Args:
        messages: The conversation. The name of a tool, in its result, is not counted.
        api: The name of the API, for the notes.

    Returns:
        A note for each key that a message has.
    """
    found = [key for key in ("name", "audio") for message in messages if message.get(key) and message["role"] not in _CALLED]
    return [f"{api} has no {key!r} of a message; it was left out" for key in dict.fromkeys(found)]


def _modern(message: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in message.items() if name not in {"function_call", "refusal"}}
    found["role"] = _ROLES.get(message["role"], message["role"])
    if message["role"] == "function":
        found["tool_call_id"] = message.get("name") and f"function_{message['name']}"
    calls = [_function(call) for call in message.get("tool_calls") or ()]
    if legacy := message.get("function_call"):
        calls.append({"id": f"function_{legacy.get('name')}", "type": "function", "function": legacy})
    if calls:
        found["tool_calls"] = calls
    content = message.get("content")
    if not content and message.get("refusal"):
        content = message["refusal"]
    if isinstance(content, list | tuple):
        content = [{"type": "text", "text": part.get("refusal")} if part.get("type") == "refusal" else part for part in content]
    return {**found, "content": content} if content is not None or "content" in message else found


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    own = call.get("custom")
    if call.get("function") or not isinstance(own, Mapping):
        return call
    return {**call, "type": "function", "function": {"name": own.get("name"), "arguments": {"input": own.get("input")}}}


def arguments_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read the arguments of a tool call. Some servers write `null`, `[]` or nothing for missing arguments.

    Args:
        call: The call, from `modern`.

    Returns:
        The arguments; an empty object without arguments. Arguments that are not a JSON object, such as cut JSON, are under the
        key `input`, so that the conversation can go on at services that accept only objects.
    """
    given = (call.get("function") or {}).get("arguments")
    try:
        found = json.loads(given.strip() or "{}") if isinstance(given, str) else given
    except (ValueError, RecursionError):
        found = given
    if found in (None, [], ""):
        return {}
    return found if isinstance(found, Mapping) else {"input": given}


def source_of(part: Mapping[str, Any]) -> str:
    """Find the source of an image, a file or a sound.

    Args:
        part: The part of a message's content.

    Returns:
        The address (with any scheme), the identifier, or the base64 text; empty if the part has none.
    """
    value = part.get(str(part.get("type")))
    if not isinstance(value, Mapping):
        return str(value or "")
    return str(next(filter(None, map(value.get, _ADDRESSES)), ""))


def inline_data(url: str, where: str) -> tuple[str, str] | None:
    """Read a `data:` URL.

    Args:
        url: The address.
        where: Its place in the request, for errors.

    Returns:
        The media type and the data in base64. The first bytes decide the media type, or else the address; empty if unknown.
        `None` for any other address.

    Raises:
        InvalidRequestError: The data is not base64.
    """
    found = _DATA_URL.match(url)
    if not found:
        return None
    try:
        begin = a2b_base64("".join(found[2][: 2 * _BEGIN].split())[:_BEGIN])
    except ValueError as error:
        raise InvalidRequestError(f"{where}: the data: URL does not hold valid base64: {error}") from error
    return media_type(b"", begin) or (found[1] or "").lower(), found[2]


def form_of(response_format: Mapping[str, Any] | None) -> Form:
    """Read `response_format`.

    Args:
        response_format: The keyword's value; `None` for a text.

    Returns:
        The form.

    Raises:
        InvalidRequestError: The value is not a text, a JSON object or a JSON schema.
    """
    form = response_format or {}
    kind, named = form.get("type", "text"), form.get("json_schema")
    own = named if isinstance(named, Mapping) else {}
    schema = own.get("schema") if kind == "json_schema" else {}
    if kind not in _TYPES or not isinstance(schema, Mapping):
        msg = f"response_format must be a text, a JSON object, or a JSON schema under 'schema', not {form!r:.80}"
        raise InvalidRequestError(msg)
    return Form(kind, schema, str(own.get("name") or "answer"), own.get("description"))
