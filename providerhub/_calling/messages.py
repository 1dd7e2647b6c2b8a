"""The check of a conversation's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from providerhub._values import Message
from providerhub._values.errors import InvalidRequestError

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
"""The roles of the OpenAI chat shape."""


def checked(messages: Any) -> Sequence[Message]:
    """Check a conversation's shape.

    Args:
        messages: A text, which becomes one user message, or a non-empty sequence of messages.

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
    for index, message in enumerate(messages):
        _check(f"messages[{index}]", message)
    found: Sequence[Message] = messages
    return found


def _check(where: str, message: object) -> None:
    if not isinstance(message, Mapping):
        raise _wrong(where, "must be a mapping with the keys 'role' and 'content'", message)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise _wrong(f"{where}['role']", f"must be one of {', '.join(sorted(ROLES))}", role)
    content = message.get("content")
    if isinstance(content, list | tuple):
        for number, part in enumerate(content):
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise _wrong(f"{where}['content'][{number}]", "must be a content part with the key 'type'", part)
    elif content is None:
        if role != "assistant" or not (message.get("tool_calls") or message.get("refusal")):
            raise _wrong(f"{where}['content']", "must be a text or a list of parts", content)
    elif not isinstance(content, str):
        raise _wrong(f"{where}['content']", "must be a text or a list of parts", content)


_SHOWN = 60
"""The most characters of a wrong value that an error shows."""


def _wrong(where: str, rule: str, value: object) -> InvalidRequestError:
    shown = repr(value)
    return InvalidRequestError(f"{where} {rule}, not {type(value).__name__} {shown[:_SHOWN]}{'…' * (len(shown) > _SHOWN)}")
