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
        if role != "assistant" or not (message.get("tool_calls") or message.get("refusal")):
            hint = _hint(message, "content", "tool_calls")
            raise _wrong(f"{where}['content']", "must be a text or a list of parts", content, hint)
    else:
        raise _wrong(f"{where}['content']", "must be a text or a list of parts", content)


_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "type"})
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
