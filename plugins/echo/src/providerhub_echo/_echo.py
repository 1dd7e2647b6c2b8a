"""The provider object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from providerhub import CallContext, Event, Finish, ProviderConfig, Request


class Echo:
    """Answers with the words of the conversation's last message.

    Args:
        config: The instance's configuration; not used.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config

    def stream(self, request: Request, call: CallContext) -> Iterator[str | Event]:
        """Answer a request; see `providerhub.Provider.stream`.

        Args:
            request: The request.
            call: The call; not used, since this provider never waits.

        Yields:
            Each word with a space after it, then `Finish`.
        """
        del call
        for word in _text(request.messages[-1].get("content")).split():
            yield word + " "
        yield Finish("stop")


def _text(content: Any) -> str:
    """Return the text of a message's content: a text, a list of parts, or `None` for a message that holds tool calls only."""
    if isinstance(content, list | tuple):
        return " ".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""
