"""Reads an answer that carries on a text: Mistral repeats the text at its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from providerhub import CallContext, Event, Finish, TextDelta
from providerhub.openai_provider import ChatReading, OpenAIChatProvider

Pieces = Iterator[str | Event]


class PrefixReading(ChatReading):
    """Reads one answer, and leaves out the repeated text.

    Args:
        provider: The provider that answers.
        call: The call, for notes about oddities.
        headers: The headers of the answer.
        prefix: The text that the answer continues.
    """

    def __init__(self, provider: OpenAIChatProvider, call: CallContext, headers: Mapping[str, str], prefix: str) -> None:
        super().__init__(provider, call, headers)
        self._prefix = prefix
        self._held = ""

    def feed(self, data: bytes) -> Pieces:
        """Take the next bytes; see `ChatReading.feed`.

        Args:
            data: Bytes from the transport.
        """
        return self._told(super().feed(data))

    def end(self) -> Pieces:
        """End the input; see `ChatReading.end`.

        Yields:
            The remaining pieces.
        """
        yield from self._told(super().end())
        if self._held:
            yield self._held

    def _told(self, pieces: Iterable[str | Event]) -> Pieces:
        for piece in pieces:
            if self._prefix and isinstance(piece, str | TextDelta):
                self._held += piece if isinstance(piece, str) else piece.text
                if self._prefix.startswith(self._held) and self._held != self._prefix:
                    continue
                text, self._held, self._prefix = self._held.removeprefix(self._prefix), "", ""
                if text:
                    yield text
                continue
            if isinstance(piece, Finish) and self._held:
                yield self._held
                self._held = ""
            yield piece
