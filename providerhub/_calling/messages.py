"""A conversation: the check of its shape, and its messages as one provider gets them.

A vendor's own form of a turn may hold secrets of the vendor, such as encrypted reasoning. So it goes back only to the host that
wrote it, and to providers whose plugins accept it. Every other provider gets the message in the common shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from providerhub._finding.instance import Instance
from providerhub._values import Completion, Message, errors
from providerhub._values.answer import message_digest
from providerhub._values.checks import ANY_TEXT, MAPPINGS, Check, instance_of

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})  # the roles of the OpenAI chat shape

Conversation = str | Sequence[Message | Completion | str]  # the values of `messages`


def checked(messages: Any) -> Sequence[Message]:
    """Check a conversation's shape. Texts and content parts that follow each other become one user message."""
    if isinstance(messages, str):
        return ({"role": "user", "content": messages},)
    if type(messages) not in _LISTS and (isinstance(messages, Mapping | bytes) or not isinstance(messages, Sequence)):
        raise _wrong("messages", "must be a text or a list of messages", messages)
    if not messages:
        raise _wrong("messages", "must hold at least one message", messages)
    whole = True
    for index, message in enumerate(messages):
        if _is_plain(message):
            continue
        if isinstance(message, str | Completion) or _is_part(message):
            whole = False
        else:
            _check(f"messages[{index}]", message)
    return messages if whole else _joined(messages)


def _is_plain(message: Any) -> bool:
    """Whether a message has only a role and a text. Most messages need no other check."""
    if type(message) is not dict or len(message) != len(_PLAIN):
        return False
    return type(message.get("content")) is str and message.get("role") in _USUAL


def _is_part(message: object) -> bool:
    return isinstance(message, Mapping) and "role" not in message and message.get("type") in _PARTS


def _joined(messages: Sequence[Any]) -> list[Message]:
    found: list[Message] = []
    parts: list[Any] = []
    for message in (*messages, None):
        if isinstance(message, str) or _is_part(message):
            parts.append(message)
            continue
        if parts:
            whole = [{"type": "text", "text": one} if isinstance(one, str) else one for one in parts]
            found.append({"role": "user", "content": parts[0] if len(parts) == 1 and isinstance(parts[0], str) else whole})
            parts = []
        if message is not None:
            found.append(message.message if isinstance(message, Completion) else message)
    return found


def _check(where: str, message: object) -> None:
    if not isinstance(message, Mapping):
        raise _wrong(where, "must be a mapping with the keys 'role' and 'content', a text or a Completion", message)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise _wrong(f"{where}['role']", f"must be one of {', '.join(sorted(ROLES))}", role, _hint(message, "role"))
    _check_keys(where, message, _MESSAGE)
    for number, call in enumerate(message.get("tool_calls") or ()):
        here = f"{where}['tool_calls'][{number}]"
        _check_keys(here, call, _CALL)
        if not (call.get("function") or call.get("custom")):
            raise _wrong(here, "must hold the called tool under 'function', with its name", call, _hint(call, "function"))
    _check_content(where, role, message)


def _check_content(where: str, role: str, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, str):
        return
    if isinstance(content, list | tuple):
        for number, part in enumerate(content):
            here = f"{where}['content'][{number}]"
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise _wrong(here, "must be a content part with the key 'type'", part, _hint(part, "type"))
            _check_keys(here, part, _REFUSAL if part["type"] == "refusal" else _PARTS.get(part["type"], {}))
    elif content is None:
        if role != "assistant" or not any(map(message.get, _WITHOUT_CONTENT)):
            hint = _hint(message, "content", "tool_calls") or f"; its keys are {', '.join(map(str, message))}"
            raise _wrong(f"{where}['content']", "must be a text or a list of parts", content, hint)
    else:
        raise _wrong(f"{where}['content']", "must be a text or a list of parts", content)


def _check_keys(where: str, found: Mapping[str, Any], rules: Mapping[str, Check | Mapping[str, Check]]) -> None:
    """Check the values of the keys of the OpenAI shape. A value that is a mapping has its own rules."""
    for key, rule in rules.items():
        value = found.get(key)
        if isinstance(rule, Check):
            if not rule.test(value):
                raise _wrong(f"{where}[{key!r}]", f"must be {rule.wanted}", value)
        elif isinstance(value, Mapping):
            _check_keys(f"{where}[{key!r}]", value, rule)
        elif value is not None and not (rule is _ADDRESS and isinstance(value, str)):
            raise _wrong(f"{where}[{key!r}]", "must be a mapping", value)


_LISTS = (list, tuple)
_PLAIN = ("role", "content")
_USUAL = ("user", "assistant", "system", "tool")

_TEXT = ANY_TEXT.or_none
_ADDRESS = {"url": ANY_TEXT, "detail": _TEXT}
_FUNCTION = {"name": ANY_TEXT, "arguments": instance_of((str, Mapping), "a text or a mapping").or_none}
_CALL: Mapping[str, Check | Mapping[str, Check]] = {
    "id": _TEXT, "type": _TEXT, "function": _FUNCTION, "custom": {"name": ANY_TEXT, "input": _TEXT},
}  # fmt: skip
_MESSAGE: Mapping[str, Check | Mapping[str, Check]] = {
    "name": _TEXT, "refusal": _TEXT, "tool_call_id": _TEXT, "tool_calls": MAPPINGS.or_none, "function_call": _FUNCTION,
    "audio": {},
}  # fmt: skip
_PARTS: Mapping[str, Mapping[str, Check | Mapping[str, Check]]] = {
    "text": {"text": ANY_TEXT},
    "image_url": {"image_url": _ADDRESS},
    "video_url": {"video_url": _ADDRESS},
    "input_audio": {"input_audio": {"data": ANY_TEXT, "format": _TEXT}},
    "file": {"file": {"file_data": _TEXT, "file_id": _TEXT, "filename": _TEXT}},
}
"""The content parts that may also stand among the messages, with the checks of their fields."""

_REFUSAL: Mapping[str, Check] = {"refusal": ANY_TEXT}  # a content part in messages of the assistant only

_WITHOUT_CONTENT = ("tool_calls", "refusal", "function_call", "audio", "turn")
"""The keys of an assistant's message that may replace `content`."""

_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "type", *_WITHOUT_CONTENT})
"""The known keys of messages and parts, for hints at misspelt keys."""

_SHOWN = 60  # the most characters of a wrong value that an error shows


def _wrong(where: str, rule: str, value: object, hint: str = "") -> errors.InvalidRequestError:
    shown = repr(value)
    cut = f"{shown[:_SHOWN]}{'…' * (len(shown) > _SHOWN)}"
    return errors.InvalidRequestError(f"{where} {rule}, not {type(value).__name__} {cut}{hint}")


def _hint(found: object, *keys: str) -> str:
    import difflib  # needed for an error message only

    names = [name for name in found if isinstance(name, str) and name not in _KEYS] if isinstance(found, Mapping) else []
    near = ((key, difflib.get_close_matches(key, names, n=1)) for key in keys)
    return next((f"; did you mean the key {key!r} in place of {similar[0]!r}?" for key, similar in near if similar), "")


_ABOUT_TURNS = re.compile(
    r"signature|thinking|thought|reasoning|encrypted|redacted|expired|container|server_tool|prefix|compaction|tool_plan"
    r"|srvtoolu|\w_tool_result|\binput\[\d+\]|\bcitations?\b"
    r"|\b(?:item|audio|message)\b.{0,120}\b(?:not found|without its|does not exist)",
    re.IGNORECASE | re.DOTALL,
)
"""Phrases of services that refuse an earlier turn: a signature, encrypted reasoning, a missing item."""


def has_turns(messages: Sequence[Message]) -> bool:
    for message in messages:  # noqa: SIM110 -- a generator would make each call slower
        if "turn" in message:
            return True
    return False


def addressed(messages: Sequence[Message], instance: Instance | None, note: Callable[[str], object]) -> list[Message]:
    """The conversation for one provider; for `None`, without turns. `note` records a malformed or edited turn."""
    return [_addressed(one, index, instance, note) if "turn" in one else one for index, one in enumerate(messages)]


def refuses_turns(error: errors.AttemptError) -> bool:
    """Whether the message of a refusal is about a turn in the service's own form."""
    if isinstance(error, errors.ContextLengthError | errors.ContentPolicyError):
        return False
    if isinstance(error, errors.PluginError):  # the caller may have changed a turn to a shape that its plugin cannot read
        return isinstance(error.__cause__, AttributeError | LookupError | TypeError | ValueError)
    if not isinstance(error, errors.BadRequestError) and getattr(error, "status", None) != 404:
        return False
    return _ABOUT_TURNS.search(f"{error} {getattr(error, 'excerpt', '')}") is not None


def _addressed(message: Message, index: int, instance: Instance | None, note: Callable[[str], object]) -> Message:
    plain, turn = {key: value for key, value in message.items() if key != "turn"}, message["turn"]
    if instance is None or turn is None:
        return plain
    if flaw := _flaw(turn, message):
        note(f"messages[{index}]['turn'] is left out: {flaw}")
        return plain
    belongs = turn["name"] in instance.info.accepts_turns or instance.origin.items() <= turn.items()
    return {**plain, "turn": turn["content"]} if belongs else plain


def _flaw(turn: Any, message: Message) -> str:
    """The reason why no provider can use a turn; else empty."""
    if message.get("role") != "assistant":
        return "only a message of the assistant has one"
    texts = ("plugin", "name", "host", "of")
    if not isinstance(turn, Mapping) or "content" not in turn or not all(isinstance(turn.get(key), str) for key in texts):
        return f"it is not a mapping with the key content and the texts {', '.join(texts)}"
    if turn["of"] != message_digest(message):
        return "the message beside it was edited"
    return ""
