"""The check of a conversation's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from providerhub._values import Completion, Message
from providerhub._values.errors import InvalidRequestError

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
"""The roles of the OpenAI chat shape."""

Conversation = str | Sequence[Message | Completion | str]
"""The values of `messages`."""


def checked(messages: Any) -> Sequence[Message]:
    """Check a conversation's shape.

    Args:
        messages: A text, which becomes one user message, or a non-empty sequence of messages. A `Completion` stands for its
            message. Texts and content parts that follow each other become one user message.

    Returns:
        The conversation, as a sequence of messages.

    Raises:
        InvalidRequestError: The shape is wrong; the message names the index and the key.
    """
    if isinstance(messages, str):
        return ({"role": "user", "content": messages},)
    if isinstance(messages, Mapping | bytes) or not isinstance(messages, Sequence):
        raise _wrong("messages", "must be a text or a list of messages", messages)
    if not messages:
        raise _wrong("messages", "must hold at least one message", messages)
    whole = True
    for index, message in enumerate(messages):
        if type(message) is dict and type(message.get("content")) is str and message.get("role") in _USUAL:
            continue  # a short cut, since every call comes here
        if isinstance(message, str | Completion) or _is_part(message):
            whole = False
        else:
            _check(f"messages[{index}]", message)
    return messages if whole else _joined(messages)


def _is_part(message: object) -> bool:
    return isinstance(message, Mapping) and "role" not in message and message.get("type") in _PARTS


def _joined(messages: Sequence[Any]) -> list[Message]:
    """The messages of a conversation with texts, parts and completions in it."""
    found: list[Message] = []
    parts: list[Any] = []
    for message in (*messages, None):
        if isinstance(message, str) or _is_part(message):
            parts.append(message)
            continue
        if parts:
            content = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else list(map(_part, parts))
            found.append({"role": "user", "content": content})
            parts = []
        if message is not None:
            found.append(message.message if isinstance(message, Completion) else message)
    return found


def _part(part: Any) -> Any:
    return {"type": "text", "text": part} if isinstance(part, str) else part


def _check(where: str, message: object) -> None:
    if not isinstance(message, Mapping):
        raise _wrong(where, "must be a mapping with the keys 'role' and 'content', a text or a Completion", message)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise _wrong(f"{where}['role']", f"must be one of {', '.join(sorted(ROLES))}", role, _hint(message, "role"))
    content = message.get("content")
    if isinstance(content, str):
        return
    if isinstance(content, list | tuple):
        for number, part in enumerate(content):
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                rule, hint = "must be a content part with the key 'type'", _hint(part, "type")
                raise _wrong(f"{where}['content'][{number}]", rule, part, hint)
    elif content is None:
        if role != "assistant" or not any(map(message.get, _WITHOUT_CONTENT)):
            hint = _hint(message, "content", "tool_calls")
            raise _wrong(f"{where}['content']", "must be a text or a list of parts", content, hint)
    else:
        raise _wrong(f"{where}['content']", "must be a text or a list of parts", content)


_USUAL = ("user", "assistant", "system", "tool")

_PARTS = frozenset({"text", "image_url", "input_audio", "file", "video_url"})
"""The types of the content parts that may stand among the messages."""

_WITHOUT_CONTENT = ("tool_calls", "refusal", "function_call", "audio", "turn")
"""The keys of an assistant's message of which one is enough without `content`."""

_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "type", *_WITHOUT_CONTENT})
"""The right keys of messages and parts, which are not misspelt."""

_SHOWN = 60
"""The most characters of a wrong value that an error shows."""


def _wrong(where: str, rule: str, value: object, hint: str = "") -> InvalidRequestError:
    shown = repr(value)
    return InvalidRequestError(f"{where} {rule}, not {type(value).__name__} {shown[:_SHOWN]}{'…' * (len(shown) > _SHOWN)}{hint}")


def _hint(found: object, *keys: str) -> str:
    """A hint at a misspelt key of a mapping; empty without one."""
    import difflib  # needed for an error message only

    names = [name for name in found if isinstance(name, str) and name not in _KEYS] if isinstance(found, Mapping) else []
    near = ((key, difflib.get_close_matches(key, names, n=1)) for key in keys)
    return next((f"; did you mean the key {key!r} in place of {similar[0]!r}?" for key, similar in near if similar), "")
