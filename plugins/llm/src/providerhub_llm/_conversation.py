"""Translates a conversation from the OpenAI chat shape into llm's.

Newer plugins of llm read `prompt.messages`. Older ones read the current prompt and the responses of the conversation before it.
Both are filled in.
"""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs
import llm
from llm.parts import Part, TextPart, ToolCallPart, ToolResultPart

from providerhub import InvalidRequestError, Message

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)
_SYSTEM = frozenset({"system", "developer"})


@attrs.define
class Turn:
    """One turn: the input of the model, and its answer.

    Args:
        texts: The user's texts.
        attachments: Images and files of the user.
        results: Results of tool calls, as llm's `ToolResult`.
        answer: The model's answer as a message of llm; `None` for the turn to be answered.
    """

    texts: list[str] = attrs.Factory(list)
    attachments: list[Any] = attrs.Factory(list)
    results: list[Any] = attrs.Factory(list)
    answer: Any = None

    @property
    def prompt(self) -> str | None:
        """Return the user's texts as one; `None` if there are none."""
        return "\n\n".join(self.texts) or None

    def messages(self) -> Iterator[Any]:
        """Yield the turn as messages of llm, in the order in which llm writes them."""
        if self.results:
            parts = [ToolResultPart(name=r.name, output=r.output, tool_call_id=r.tool_call_id) for r in self.results]
            yield llm.tool_message(*parts)
        if self.texts or self.attachments:
            yield llm.user(*([self.prompt] if self.texts else []), *self.attachments)
        if self.answer is not None:
            yield self.answer


@attrs.define
class Talk:
    """A whole conversation.

    Args:
        system: The system prompt; `None` if there is none.
        past: The turns that have been answered, the earliest first.
        now: The turn to be answered.
    """

    system: str | None
    past: list[Turn]
    now: Turn

    def history(self, count: int) -> list[Any]:
        """Return the system prompt and the first turns as messages of llm.

        Args:
            count: How many turns to include.
        """
        head = [llm.system(self.system)] if self.system else []
        return [*head, *(message for turn in self.past[:count] for message in turn.messages())]


def talk_of(messages: Sequence[Message], model: str = "") -> Talk:
    """Translate a conversation.

    Args:
        messages: The conversation in the OpenAI chat shape. The key `turn` of a message holds llm's own message.
        model: The model of llm that gets it. The turns of its other models are sent as texts and tool calls.

    Raises:
        InvalidRequestError: llm cannot express a part of the conversation.
    """
    system: list[str] = []
    past: list[Turn] = []
    now = Turn()
    names: dict[str, str] = {}
    for place, message in enumerate(messages):
        where, role, content = f"messages[{place}]", message["role"], message.get("content")
        if role in _SYSTEM:
            system.append(_text(content))
        elif role == "user":
            _take(now, content, where)
        elif role == "assistant":
            said, own = llm.assistant(*_said(message, names, where)), message.get("turn")
            now.answer = llm.Message.from_dict(own["message"]) if own and own["model"] == model else said
            past.append(now)
            now = Turn()
        elif role == "tool":
            identifier = str(message.get("tool_call_id") or "")
            result = llm.ToolResult(name=names.get(identifier, ""), output=_text(content), tool_call_id=identifier)
            now.results.append(result)
        else:
            msg = f"{where}: llm has no role {role!r}"
            raise InvalidRequestError(msg)
    return Talk("\n\n".join(filter(None, system)) or None, past, now)


def _take(turn: Turn, content: Any, where: str) -> None:
    if isinstance(content, str):
        turn.texts += [content] if content else []
        return
    for place, part in enumerate(content):
        kind = part["type"]
        if kind == "text":
            turn.texts += [part["text"]] if part.get("text") else []
        else:
            turn.attachments.append(_attachment(part, kind, f"{where}['content'][{place}]"))


def _said(message: Message, names: dict[str, str], where: str) -> Iterator[Part]:
    text = _text(message.get("content")) or str(message.get("refusal") or "")
    if text:
        yield TextPart(text=text)
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        name, identifier = str(function.get("name") or ""), str(call.get("id") or "")
        names[identifier] = name
        try:
            arguments = json.loads(function.get("arguments") or "{}")
        except ValueError as error:
            msg = f"{where}['tool_calls'][{place}]: the arguments are not JSON, which llm requires"
            raise InvalidRequestError(msg) from error
        yield ToolCallPart(name=name, arguments=arguments, tool_call_id=identifier)


def _text(content: Any) -> str:
    if isinstance(content, list | tuple):
        return "\n\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""


def _attachment(part: Mapping[str, Any], kind: str, where: str) -> Any:
    if kind == "image_url":
        image = part["image_url"]
        return _from_url(str(image.get("url") if isinstance(image, Mapping) else image), where)
    if kind == "file":
        return _from_url(str((part.get("file") or {}).get("file_data")), where)
    if kind == "input_audio":
        audio = part.get("input_audio") or {}
        kind = "audio/mpeg" if audio.get("format") == "mp3" else f"audio/{audio.get('format')}"
        return llm.Attachment(type=kind, content=_decoded(str(audio.get("data")), where))
    msg = f"{where}: llm has no place for a part of type {kind!r}"
    raise InvalidRequestError(msg)


def _from_url(url: str, where: str) -> Any:
    found = _DATA_URL.match(url)
    if found:
        return llm.Attachment(type=found[1], content=_decoded(found[2], where))
    if url.startswith(("https://", "http://")):
        # The type is guessed from the name: without a type, llm would request the address.
        return llm.Attachment(type=mimetypes.guess_type(urlsplit(url).path)[0], url=url)
    msg = f"{where}: expected an https:// address or a data: URL in base64, not {url[:40]!r}"
    raise InvalidRequestError(msg)


def _decoded(data: str, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = f"{where}: the data is not base64: {error}"
        raise InvalidRequestError(msg) from error
