"""Translates a conversation from the OpenAI chat shape into contents of the Gemini API.

The API requires contents of user and model, the results of parallel calls in one content, and a signature on the first call of a
model's turn. Reference: "Generating content", "Function calling" and "Thought signatures" in the documentation of the Gemini API.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import CapabilityError, InvalidRequestError, Message
from providerhub.wire import arguments_of, inline_data, source_of
from providerhub_gemini._models import generation

Part = dict[str, Any]

_FOREIGN = frozenset({"reasoning", "reasoning_content", "thinking", "redacted_thinking", "thought"})
"""Types of parts in which other vendors write their thinking."""

_SOURCES = frozenset({"image_url", "video_url", "file", "input_audio"})
"""Types of parts with a file."""

_CARRIED = ("videoMetadata", "mediaResolution")
"""Keys of a part that belong to the API itself."""

UNSIGNED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""The signature that Google's documentation gives for calls of another model: `skip_thought_signature_validator` in base64."""


class Contents:
    """Writes one conversation.

    Args:
        model: The model's name.

    Attributes:
        system: The parts of the system instruction.
        contents: The contents.
        notes: Notes about changes, for the caller.
    """

    def __init__(self, model: str) -> None:
        self._newer = generation(model) >= (3, 0)
        self._calls: dict[Any, tuple[str, str | None]] = {}  # the caller's identifier → name and the service's identifier
        self.system: list[Part] = []
        self.contents: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def add(self, message: Message, where: str) -> None:
        """Translate the next message.

        Args:
            message: The message. Its key `turn` holds the parts as the API wrote them.
            where: Its place in the request, for errors.

        Raises:
            InvalidRequestError: A part is not valid.
            CapabilityError: The API does not support a part of this kind.
        """
        role = message["role"]
        if role == "system":
            if self.contents:
                self._note("the API takes one system prompt; a later system message was moved into it")
            self.system += self._parts(message.get("content"), where)
            return
        write, role = (self._turn, "model") if role == "assistant" else (self._said if role == "user" else self._result, "user")
        found = list(write(message, where))
        if found and self.contents and self.contents[-1]["role"] == role:  # successive messages of one role are one content
            self.contents[-1]["parts"] += found
        elif found:
            self.contents.append({"role": role, "parts": found})

    def _note(self, text: str) -> None:
        self.notes += [] if text in self.notes else [text]

    def _said(self, message: Message, where: str) -> Iterator[Part]:
        return self._parts(message.get("content"), where)

    def _turn(self, message: Message, where: str) -> Iterator[Part]:
        calls = message.get("tool_calls") or ()
        own = message.get("turn")
        if isinstance(own, list | tuple) and all(isinstance(part, Mapping) for part in own):
            sent = [part["functionCall"] for part in own if isinstance(part.get("functionCall"), Mapping)]
            for call, function in zip(calls, sent, strict=False):
                self._calls[call.get("id")] = (str(function.get("name")), function.get("id"))
            yield from map(dict, own)
            return
        yield from self._said(message, where)
        signature = {"thoughtSignature": UNSIGNED} if self._newer else {}
        for call in calls:
            name = str((call.get("function") or {}).get("name"))
            self._calls[call.get("id")] = (name, None)  # the service refuses other identifiers than its own
            yield {"functionCall": {"name": name, "args": arguments_of(call)}, **signature}
            signature = {}

    def _result(self, message: Message, where: str) -> Iterator[Part]:
        given = message.get("tool_call_id")
        name, identifier = self._calls.get(given, (message.get("name"), None))
        if not name:
            msg = f"{where}: no earlier message has the tool call {given!r}; the API needs its name, so add the key 'name'"
            raise InvalidRequestError(msg)
        found = list(self._said(message, where))
        files = [part for part in found if "text" not in part]
        text = "".join(part.get("text", "") for part in found)
        response: Part = {"name": name, "response": {"error" if message.get("is_error") else "output": text}}
        response |= {"id": identifier} if identifier else {}
        response |= {"parts": files} if files and self._newer else {}
        yield {"functionResponse": response}
        yield from () if self._newer else files

    def _parts(self, content: Any, where: str) -> Iterator[Part]:
        """Translate the content of a message. Leave out blank texts, which the API refuses, and the thinking of other vendors."""
        for place, part in enumerate([{"type": "text", "text": content}] if isinstance(content, str) else content or ()):
            kind = part.get("type")
            here = f"{where}['content'][{place}]"
            if kind == "text":
                if part.get("text"):
                    yield {"text": part["text"]}
            elif kind in _SOURCES:
                yield {**self._file(kind, part, here), **{name: part[name] for name in _CARRIED if name in part}}
            elif kind not in _FOREIGN:
                own = {name: value for name, value in part.items() if name != "type"}
                if not any(isinstance(value, Mapping) for value in own.values()):
                    msg = f"{here}: the Gemini API has no part of the type {kind!r}; leave it out, or ask another provider"
                    raise CapabilityError(msg)
                yield own

    def _file(self, kind: str, part: Mapping[str, Any], where: str) -> Part:
        value = part.get(kind)
        value = value if isinstance(value, Mapping) else {}
        if value.get("detail") not in {None, "auto"}:
            self._note("the API has no `detail` of an image; it was left out")
        url, named = source_of(part), f"audio/{value.get('format') or 'wav'}" if kind == "input_audio" else None
        if found := inline_data(url, where):
            return {"inlineData": {"mimeType": found[0] or named or "application/octet-stream", "data": found[1]}}
        if re.match(r"\w+://|files/", url):
            guessed = named or mimetypes.guess_type(url.partition("?")[0])[0]
            return {"fileData": {"fileUri": url, **({"mimeType": guessed} if guessed else {})}}
        if named and url:
            return {"inlineData": {"mimeType": named, "data": url}}
        if value.get("file_id"):
            msg = f"{where}: the Gemini API knows its own files only, as 'files/NAME', and not {url[:40]!r}; send the bytes"
            raise CapabilityError(msg)  # without a capability: the API accepts other files
        msg = f"{where}: expected an address, the name of an uploaded file or a data: URL in base64, not {url[:40]!r}"
        raise InvalidRequestError(msg)
