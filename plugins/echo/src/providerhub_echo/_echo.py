"""The provider object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from providerhub import CallContext, Event, Finish, ProviderConfig, Request


class Echo:
    """Answers with the words of the conversation's last message.

    Args:
        config: The instance's settings; nothing in them is needed.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config

    def stream(self, request: Request, call: CallContext) -> Iterator[str | Event]:
        """Answer a request; see `providerhub.Provider.stream`."""
        del call  # nothing here waits for anything
        for word in _text(request.messages[-1].get("content")).split():
            yield word + " "
        yield Finish("stop")


def _text(content: Any) -> str:
    """The text of a message's content, which may be a text, a list of parts, or nothing beside tool calls."""
    if isinstance(content, list | tuple):
        return " ".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""
