"""Translates a conversation from the OpenAI chat shape into the system prompt and the messages of the Messages API.

The API requires user and assistant in turn, tool results as blocks of a user message, identifiers of tool calls in its own
alphabet, and no blank text. Reference: Anthropic API reference, "Messages", and "Tool use" and "Mid-conversation system messages"
in its guides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from providerhub import CapabilityError, InvalidRequestError, Message
from providerhub.wire import arguments_of, left_out, modern
from providerhub_anthropic._parts import Block, blocks_of, is_blank

CONTAINER = "container"
"""The type of the last block of a turn that ran code: it names the container, which the next request names too."""

_NO_CACHE = frozenset({"thinking", "redacted_thinking"})
"""Types of blocks that cannot have a mark for prompt caching."""


class Talk(NamedTuple):
    """A conversation as the API takes it.

    Args:
        system: The blocks of the system prompt.
        messages: The messages.
        tail: White space removed from the end of a partial answer. The answer may begin with it, and must not repeat it.
        container: The container of the last turn that ran code; `None` if there is none.
        notes: Notes about changes, for the caller.
    """

    system: list[Block]
    messages: list[dict[str, Any]]
    tail: str
    container: str | None
    notes: list[str]


def written(messages: Sequence[Message], *, model: str, inside: bool) -> Talk:
    """Translate a conversation.

    Args:
        messages: The conversation in the OpenAI chat shape. The key `turn` of a message holds its blocks as the API wrote them.
        model: The model's name, for errors.
        inside: Whether the model takes system messages in the middle of a conversation.

    Returns:
        The conversation.

    Raises:
        InvalidRequestError: The API cannot express a part of the conversation.
        CapabilityError: The model does not support a part of it.
    """
    messages = modern(messages)
    writer = _Writer(messages, model, inside=inside)
    for place, message in enumerate(messages):
        writer.add(message, f"messages[{place}]")
    writer.release("the last message")
    talk = joined = _joined(writer.turns)
    tail = _cut_off(joined[-1]["content"]) if joined and joined[-1]["role"] == "assistant" else ""
    if joined and (not joined[-1]["content"] or any(is_blank(block) for one in joined for block in one["content"])):
        talk = _joined((one["role"], [block for block in one["content"] if not is_blank(block)]) for one in joined)
    if not talk:
        msg = "messages hold only a system prompt or blank texts; add a message of the user"
        raise InvalidRequestError(msg)
    system = [block for block in writer.system if not is_blank(block)]
    return Talk(system, talk, tail, writer.container, writer.notes)


class _Writer:
    """Translates one message after the other."""

    def __init__(self, messages: Sequence[Message], model: str, *, inside: bool) -> None:
        self._model = model
        self._inside = inside
        self._ids = _Ids()
        self._held: list[Block] = []
        self.system: list[Block] = []
        self.turns: list[tuple[str, list[Block]]] = []
        self.container: str | None = None
        self.notes = left_out(messages, "the Messages API")

    def add(self, message: Message, where: str) -> None:
        role = message["role"]
        if role == "system":
            self._add_system(_marked(blocks_of(message.get("content"), where), message), where)
            return
        if role == "assistant":
            self.release(where)
        elif self._held:
            self._note("a system message stands after the user's next message, where the API takes it")
        self.turns.append(("assistant" if role == "assistant" else "user", _marked(self._blocks(message, where), message)))

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _add_system(self, blocks: list[Block], where: str) -> None:
        if not self.turns:
            self.system += blocks
            return
        if not self._inside:
            msg = (
                f"{where}: {self._model} takes system messages at the beginning only; "
                "move the text there, or into a message of the user"
            )
            raise CapabilityError(msg)  # without a capability: the model accepts a system message at the beginning
        self._held += blocks

    def release(self, where: str) -> None:
        """Write the held system messages, before an answer or at the end.

        The API accepts them after a user's turn, and after an answer that ends with the result of a server's tool.
        """
        if not self._held:
            return
        role, blocks = self.turns[-1]
        if role != "user" and not (blocks and str(blocks[-1].get("type")).endswith("_tool_result")):
            msg = f"{where}: the Messages API takes a system message only after a message of the user; move it there"
            raise InvalidRequestError(msg)
        self.turns.append(("system", self._held))
        self._held = []

    def _blocks(self, message: Message, where: str) -> list[Block]:
        role = message["role"]
        if role == "user":
            return blocks_of(message.get("content"), where)
        if role == "assistant":
            return self._answer(message, where)
        if role == "tool" and message.get("tool_call_id"):
            return [self._result(message["tool_call_id"], message, where)]
        msg = f"{where}: the result of a tool needs the key 'tool_call_id', or 'name' where the role is 'function'"
        raise InvalidRequestError(msg)

    def _result(self, identifier: str, message: Message, where: str) -> Block:
        content = [block for block in blocks_of(message.get("content"), where) if not is_blank(block)]
        found: Block = {"type": "tool_result", "tool_use_id": self._ids.result(identifier), "content": content}
        return {**found, "is_error": True} if message.get("is_error") else found

    def _answer(self, message: Message, where: str) -> list[Block]:
        self._ids.begin()
        turn = message.get("turn")
        if isinstance(turn, list | tuple) and all(isinstance(block, Mapping) for block in turn):
            return self._own(turn, message.get("tool_calls") or ())
        found = blocks_of(message.get("content"), where)
        for call in message.get("tool_calls") or ():
            name, given = (call.get("function") or {}).get("name"), arguments_of(call)
            found.append({"type": "tool_use", "id": self._ids.call(call.get("id")), "name": name, "input": given})
        return found

    def _own(self, turn: Iterable[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> list[Block]:
        """Yield the blocks of a turn. A call gets the identifier in the message, which replaces a missing or repeated one."""
        found = [dict(block) for block in turn]
        if found and found[-1].get("type") == CONTAINER:
            self.container = found.pop().get("id") or self.container
        uses = [block for block in found if block.get("type") == "tool_use"]
        for block, call in zip(uses, calls, strict=False):
            block["id"] = self._ids.call(call.get("id"))
        return found


class _Ids:
    """Identifiers of tool calls in the API's alphabet: unique, and equal in call and result."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._open: dict[Any, list[str]] = {}

    def begin(self) -> None:
        """Begin an answer. A vendor may repeat the identifiers of an earlier answer."""
        self._open = {}

    def call(self, given: Any) -> str:
        """Return the identifier of a call."""
        base = found = _alphabet(given or "call")
        number = 1
        while found in self._used:
            number += 1
            found = f"{base[:56]}_{number}"
        self._used.add(found)
        self._open.setdefault(given, []).append(found)
        return found

    def result(self, given: Any) -> str:
        """Return the identifier of the call to which a result belongs."""
        waiting = self._open.get(given) or [_alphabet(given)]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


def _alphabet(given: Any) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", str(given))[:64]


def _marked(blocks: list[Block], message: Message) -> list[Block]:
    """Move a message's mark for prompt caching to its last block, where the API accepts it."""
    if message.get("cache_control"):
        last = next((block for block in reversed(blocks) if block.get("type") not in _NO_CACHE and not is_blank(block)), {})
        last["cache_control"] = message["cache_control"]
    return blocks


def _joined(turns: Iterable[tuple[str, list[Block]]]) -> list[dict[str, Any]]:
    """Join successive messages of one role, and leave out empty messages. The API requires the results of tools first."""
    talk: list[dict[str, Any]] = []
    for role, blocks in turns:
        if blocks and talk and talk[-1]["role"] == role:
            talk[-1]["content"] += blocks
        elif blocks:
            talk.append({"role": role, "content": list(blocks)})
    for one in talk:
        if one["role"] == "user" and len(one["content"]) > 1:
            one["content"].sort(key=_is_no_result)  # otherwise the order stays
    return talk


def _is_no_result(block: Block) -> bool:
    return block.get("type") != "tool_result"


def _cut_off(blocks: list[Block]) -> str:
    """Remove the white space at the end of a partial answer, because the API refuses it.

    Args:
        blocks: The blocks of the answer. They are changed in place.

    Returns:
        The white space.
    """
    tail = ""
    while blocks and blocks[-1].get("type") == "text":
        text = str(blocks[-1].get("text") or "")
        kept = text.rstrip()
        tail = text[len(kept) :] + tail
        if kept:
            blocks[-1] = {**blocks[-1], "text": kept}
            break
        blocks.pop()
    return tail
