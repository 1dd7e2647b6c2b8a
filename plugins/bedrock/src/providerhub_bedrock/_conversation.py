"""Translates a conversation from the OpenAI chat shape into the system prompt and the messages of the Converse API.

The API requires user and assistant in turn, results of tools as blocks of a user message, identifiers of its own alphabet, no
blank text, and names of documents that differ. Reference: Amazon Bedrock API reference, "Converse" and "ContentBlock".
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from providerhub import CapabilityError, InvalidRequestError, Message
from providerhub.wire import arguments_of, inline_data, modern, source_of

Block = dict[str, Any]

_FORMATS: Mapping[str, tuple[str, str]] = {
    "image/jpeg": ("image", "jpeg"), "image/jpg": ("image", "jpeg"), "image/png": ("image", "png"), "image/gif": ("image", "gif"),
    "image/webp": ("image", "webp"),
    "application/pdf": ("document", "pdf"), "text/csv": ("document", "csv"), "text/html": ("document", "html"),
    "text/markdown": ("document", "md"), "application/json": ("document", "txt"), "application/msword": ("document", "doc"),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ("document", "docx"),
    "application/vnd.ms-excel": ("document", "xls"),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ("document", "xlsx"),
    "video/mp4": ("video", "mp4"), "video/quicktime": ("video", "mov"), "video/x-matroska": ("video", "mkv"),
    "video/webm": ("video", "webm"), "video/mpeg": ("video", "mpeg"), "video/3gpp": ("video", "three_gp"),
    "audio/mpeg": ("audio", "mp3"), "audio/wav": ("audio", "wav"), "audio/x-wav": ("audio", "wav"), "audio/ogg": ("audio", "ogg"),
}  # fmt: skip
"""Media type → block and its format."""

_FOREIGN = frozenset({"thinking", "reasoning", "reasoning_content", "thought"})
"""Types of parts in which other vendors write their thinking."""


class Writer:
    """Translates a conversation, message by message.

    Args:
        messages: The conversation. The key `turn` of a message holds its blocks as the API wrote them.
        inside: Whether the model takes a system message in the middle of a conversation.

    Attributes:
        system: The blocks of the system prompt.
        talk: The messages.
        called: The names of the tools that the conversation calls.

    Raises:
        InvalidRequestError: The API cannot express a part of the conversation.
        CapabilityError: The API does not support a part of this kind. Another service may.
    """

    def __init__(self, messages: Sequence[Message], *, inside: bool) -> None:
        self.system: list[Block] = []
        self.talk: list[dict[str, Any]] = []
        self.called: dict[str, None] = {}
        self._inside = inside
        self._ids: set[str] = set()
        self._open: dict[Any, list[str]] = {}
        self._names: set[str] = set()
        for place, message in enumerate(modern(messages)):
            self._add(message, f"messages[{place}]")
        if self.continues:  # the API refuses white space at the end of a partial answer
            last = self.talk[-1]["content"][-1]
            last["text"] = last["text"].rstrip()
        if not self.talk:
            msg = "messages hold only a system prompt or blank texts; add a message of the user"
            raise InvalidRequestError(msg)

    @property
    def continues(self) -> bool:
        """Whether the last message is a partial answer."""
        return bool(self.talk) and self.talk[-1]["role"] == "assistant" and "text" in self.talk[-1]["content"][-1]

    def _add(self, message: Message, where: str) -> None:
        role = message["role"]
        if role == "system":
            blocks = self._marked(self._parts(message.get("content"), where), message)
            if not self.talk:
                self.system += blocks
                return
            if not self._inside:
                msg = f"{where}: the model takes system messages at the beginning only; move the text there"
                raise CapabilityError(msg)
            role = "system"
        elif role == "assistant":
            blocks = self._answer(message, where)
        elif role == "tool":
            role, blocks = "user", self._marked([self._result(message, where)], message)
        else:
            blocks = self._marked(self._parts(message.get("content"), where), message)
        if not blocks:
            return
        if not self.talk or self.talk[-1]["role"] != role:
            self.talk.append({"role": role, "content": []})
        content = self.talk[-1]["content"]
        content += blocks
        content.sort(key=lambda block: role == "user" and "toolResult" not in block)  # the API wants results first

    def _marked(self, blocks: list[Block], message: Message) -> list[Block]:
        return [*blocks, _cache_point(message["cache_control"])] if message.get("cache_control") else blocks

    def _answer(self, message: Message, where: str) -> list[Block]:
        self._open = {}  # a vendor may use the identifiers of an earlier answer again
        turn = message.get("turn")
        if isinstance(turn, list | tuple):
            return self._own(turn, message.get("tool_calls") or ())
        blocks = self._parts(message.get("content"), where)
        for call in message.get("tool_calls") or ():
            name, found = (call.get("function") or {}).get("name"), arguments_of(call)
            blocks.append({"toolUse": {"toolUseId": self._call(call.get("id")), "name": name, "input": found}})
            self.called[str(name)] = None
        return self._marked(blocks, message)

    def _own(self, turn: Sequence[Block], calls: Sequence[Mapping[str, Any]]) -> list[Block]:
        """Yield the blocks of a turn. A call gets the identifier in the message, which replaces a missing or repeated one."""
        given = iter(calls)
        found = []
        for block in turn:
            use = block.get("toolUse")
            if use is not None and use.get("type") in {None, "tool_use"}:
                self.called[use["name"]] = None
                block = {"toolUse": {**use, "toolUseId": self._call(next(given, {}).get("id") or use.get("toolUseId"))}}  # noqa: PLW2901 -- a copy
            found.append(dict(block))
        return found

    def _result(self, message: Message, where: str) -> Block:
        name = message.get("tool_call_id")
        if not name:
            msg = f"{where}: the result of a tool needs the key 'tool_call_id', or 'name' where the role is 'function'"
            raise InvalidRequestError(msg)
        waiting = self._open.get(name) or [_alphabet(name)]
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        result: Block = {"toolUseId": found, "content": self._parts(message.get("content"), where)}
        return {"toolResult": {**result, "status": "error"} if message.get("is_error") else result}

    def _call(self, given: Any) -> str:
        """Return an identifier of a call that the API accepts: unique, and equal in call and result."""
        base = found = _alphabet(given or "call")
        number = 1
        while found in self._ids:
            number += 1
            found = f"{base[:56]}_{number}"
        self._ids.add(found)
        self._open.setdefault(given, []).append(found)
        return found

    def _parts(self, content: Any, where: str) -> list[Block]:
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
        return [block for place, part in enumerate(parts) for block in self._part(part, f"{where}['content'][{place}]")]

    def _part(self, part: Mapping[str, Any], where: str) -> Iterator[Block]:
        kind = part.get("type")
        if kind == "text":
            text = part.get("text") or ""
            if text.strip():
                yield {"text": text}
        elif kind in {"image_url", "video_url", "file"}:
            file = part.get("file") or {}
            yield self._media(source_of(part), file.get("filename") or "", where)
        elif kind == "input_audio":
            sound = part.get("input_audio") or {}
            yield {"audio": {"format": sound.get("format"), "source": {"bytes": sound.get("data")}}}
        elif isinstance(part.get(str(kind)), Mapping):
            yield {str(kind): part[str(kind)]}  # a block in the API's own shape, such as guardContent
        elif kind not in _FOREIGN:
            msg = f"{where}: the Converse API has no part of the type {kind!r}; leave it out, or write a block of the API's own"
            raise CapabilityError(msg)
        if part.get("cache_control"):
            yield _cache_point(part["cache_control"])

    def _media(self, url: str, name: str, where: str) -> Block:
        found = inline_data(url, where)
        if not found and not url.startswith("s3://"):
            msg = f"{where}: the Converse API takes a data: URL in base64 or an s3:// address, not {url[:40]!r}; send the bytes"
            raise CapabilityError(msg)
        kind = found[0] if found else mimetypes.guess_type(url)[0] or ""
        block, form = _FORMATS.get(kind) or (("document", "txt") if kind.startswith("text/") else ("", ""))
        if not block:
            msg = f"{where}: the Converse API does not take {kind or 'data without a media type'}"
            raise CapabilityError(msg)
        media: Block = {"format": form, "source": {"bytes": found[1]} if found else {"s3Location": {"uri": url}}}
        return {block: {"name": self._named(name), **media} if block == "document" else media}

    def _named(self, name: str) -> str:
        """Return a valid name for a document."""
        base = found = " ".join(re.sub(r"[^A-Za-z0-9 ()\[\]-]", " ", name.rpartition(".")[0] or name).split())[:180] or "document"
        while found in self._names:
            found = f"{base} {len(self._names) + 1}"
        self._names.add(found)
        return found


def _cache_point(mark: Any) -> Block:
    ttl = mark.get("ttl") if isinstance(mark, Mapping) else None
    return {"cachePoint": {"type": "default", **({"ttl": ttl} if ttl else {})}}


def _alphabet(given: Any) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", str(given))[:64]
