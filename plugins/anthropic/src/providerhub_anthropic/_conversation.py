"""Translates a conversation from the OpenAI chat shape into the system prompt and the messages of the Messages API.

The API requires a separate system prompt, user and assistant in turn, tool results as blocks of a user message, and no empty
text. Reference: Anthropic API reference, "Messages", and "Tool use", "Vision" and "PDF support" in its guides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from providerhub import InvalidRequestError, Message

Block = dict[str, Any]

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)
_SYSTEM = frozenset({"system", "developer"})


def split(messages: Sequence[Message]) -> tuple[list[Block], list[dict[str, Any]]]:
    """Translate a conversation.

    Args:
        messages: The conversation in the OpenAI chat shape.

    Returns:
        The blocks of the system prompt, and the messages.

    Raises:
        InvalidRequestError: The API cannot express a part of the conversation.
    """
    system: list[Block] = []
    talk: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if message["role"] in _SYSTEM:
            system += _content(message.get("content"), where)
            continue
        role, blocks = _turn(message, where)
        if blocks and talk and talk[-1]["role"] == role:
            talk[-1]["content"] += blocks
        elif blocks:
            talk.append({"role": role, "content": blocks})
    if not talk:
        msg = "messages hold only a system prompt; add a message of the user"
        raise InvalidRequestError(msg)
    return system, talk


def held_back(talk: Sequence[dict[str, Any]]) -> str:
    """Cut the white space off the end of a partial answer, since the API refuses it there.

    Args:
        talk: The messages. The last one is changed in place.

    Returns:
        The white space. The answer may begin with it again, and must not repeat it.
    """
    last = talk[-1]
    if last["role"] != "assistant" or last["content"][-1]["type"] != "text":
        return ""
    text: str = last["content"][-1]["text"]
    kept = text.rstrip()
    if kept:
        last["content"][-1]["text"] = kept
    return text[len(kept) :] if kept else ""


def _turn(message: Message, where: str) -> tuple[str, list[Block]]:
    role = message["role"]
    if role == "user":
        return role, list(_content(message.get("content"), where))
    if role == "assistant":
        refusal = message.get("refusal")
        said = _content(message.get("content") or refusal, where)
        return role, [*said, *_tool_uses(message.get("tool_calls") or (), where)]
    if role == "tool" and message.get("tool_call_id"):
        result = list(_content(message.get("content"), where))
        return "user", [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": result}]
    msg = f"{where}: the Messages API has no role {role!r}" + (" without a tool_call_id" if role == "tool" else "")
    raise InvalidRequestError(msg)


def _tool_uses(calls: Iterable[Mapping[str, Any]], where: str) -> Iterator[Block]:
    for place, call in enumerate(calls):
        function = call.get("function") or {}
        try:
            given = json.loads(function.get("arguments") or "{}")
        except ValueError as error:
            msg = f"{where}['tool_calls'][{place}]: the arguments are not JSON, which the Messages API requires"
            raise InvalidRequestError(msg) from error
        yield {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": given}


def _content(content: Any, where: str) -> Iterator[Block]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for place, part in enumerate(content or ()):
        block = _block(part, f"{where}['content'][{place}]")
        if block.get("type") != "text" or block.get("text"):
            yield block


def _block(part: Mapping[str, Any], where: str) -> Block:
    kind = part.get("type")
    if kind == "image_url":
        return {**_marks(part), "type": "image", "source": _source(_url(part["image_url"]), where)}
    if kind == "file":
        file = part.get("file") or {}
        return {**_marks(part), "type": "document", "source": _source(str(file.get("file_data") or ""), where)}
    if kind == "refusal":
        return {"type": "text", "text": part.get("refusal") or ""}
    if kind == "input_audio":
        msg = f"{where}: the Messages API does not take audio"
        raise InvalidRequestError(msg)
    # Text is the same in both shapes. Any other block is one of the API's own, such as a thinking block that goes back unchanged.
    return dict(part)


def _marks(part: Mapping[str, Any]) -> Block:
    """Return the mark for prompt caching, if the caller has set one."""
    return {"cache_control": part["cache_control"]} if "cache_control" in part else {}


def _url(value: Any) -> str:
    return str(value.get("url") or "") if isinstance(value, Mapping) else str(value)


def _source(url: str, where: str) -> Block:
    found = _DATA_URL.match(url)
    if found:
        return {"type": "base64", "media_type": found[1], "data": found[2]}
    if url.startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    msg = f"{where}: expected an https:// address or a data: URL in base64, not {url[:40]!r}"
    raise InvalidRequestError(msg)
