"""The conversation as one provider gets it: with its own form of the turns that it wrote, and without that of others.

A vendor's form may hold secrets of the vendor's, such as encrypted reasoning. So it goes back to the host that wrote it, and to
the providers whose plugins say that they take it. Every other provider gets the message in the common shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from providerhub._finding.instance import Instance
from providerhub._values import Message
from providerhub._values.answer import message_digest
from providerhub._values.errors import AttemptError, BadRequestError, ContentPolicyError, ContextLengthError, PluginError

_ABOUT_TURNS = re.compile(
    r"signature|thinking|thought|reasoning|encrypted|redacted|expired|container|server_tool|prefix|compaction|tool_plan"
    r"|srvtoolu|\w_tool_result|\binput\[\d+\]|\bcitations?\b"
    r"|\b(?:item|audio|message)\b.{0,120}\b(?:not found|without its|does not exist)",
    re.IGNORECASE | re.DOTALL,
)
"""Words in which services refuse what they once wrote: a signature, encrypted reasoning, an item that they no longer keep."""


def has_turns(messages: Sequence[Message]) -> bool:
    for message in messages:  # noqa: SIM110 -- every call comes here, and a generator costs more
        if "turn" in message:
            return True
    return False


def addressed(messages: Sequence[Message], instance: Instance | None, note: Callable[[str], object]) -> list[Message]:
    """The conversation as one provider gets it; `None` gets no turns. `note` records a turn that is malformed or was edited."""
    return [
        _addressed(message, f"messages[{index}]", instance, note) if "turn" in message else message
        for index, message in enumerate(messages)
    ]


def refuses_turns(error: AttemptError) -> bool:
    """Whether a service refused a request because of a turn in its own form, as far as its words say so, or could not read it."""
    if isinstance(error, ContextLengthError | ContentPolicyError):
        return False
    if isinstance(error, PluginError):  # a turn that was changed by hand may have a shape that its plugin cannot read
        return isinstance(error.__cause__, AttributeError | LookupError | TypeError | ValueError)
    if not isinstance(error, BadRequestError) and getattr(error, "status", None) != 404:
        return False
    return _ABOUT_TURNS.search(f"{error} {getattr(error, 'excerpt', '')}") is not None


def _addressed(message: Message, where: str, instance: Instance | None, note: Callable[[str], object]) -> Message:
    plain, turn = {key: value for key, value in message.items() if key != "turn"}, message["turn"]
    if instance is None or turn is None:
        return plain
    if flaw := _flaw(turn, message):
        note(f"{where}['turn'] is left out: {flaw}")
        return plain
    belongs = turn["name"] in instance.info.accepts_turns or instance.origin.items() <= turn.items()
    return {**plain, "turn": turn["content"]} if belongs else plain


def _flaw(turn: Any, message: Message) -> str:
    """The reason why a turn is good for no provider; empty if there is none."""
    if message.get("role") != "assistant":
        return "only a message of the assistant has one"
    texts = ("plugin", "name", "host", "of")
    if not isinstance(turn, Mapping) or "content" not in turn or not all(isinstance(turn.get(key), str) for key in texts):
        return f"it is not a mapping with the key content and the texts {', '.join(texts)}"
    if turn["of"] != message_digest(message):
        return "the message beside it was edited"
    return ""
