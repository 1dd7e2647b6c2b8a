"""Reads the chunks of one streamed answer, the ordinary ones by the shortest way that gives the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from providerhub._values import ReasoningDelta
from providerhub._values.errors import ProviderError
from providerhub._values.provider import Piece
from providerhub.wire._template import Template, learned
from providerhub.wire.openai_chat import ToolCalls, chunk_pieces, only_text, parse

TRIES: Final = 4
"""How many templates in a row may turn out to be of no use before a stream's chunks are all parsed."""

Text = Callable[[bytes], str | None]


def installed() -> Text | None:
    """The typed reader of the extra `fast`; `None` where that is not installed."""
    try:
        from providerhub.wire._typed import typed_text  # noqa: PLC0415 -- optional, and nothing to import before it is used
    except ImportError:
        return None
    return typed_text


class ChunkReader:
    """Reads the chunks of one stream. `short` or else `long` gives for each what `openai_chat.chunk_pieces` gives.

    Args:
        parse: Makes an object of a chunk that is read the long way; by default `openai_chat.parse`.
        typed: Gives the text of an ordinary chunk, or `None`; by default nothing does, and chunks are compared with one another.
    """

    __slots__ = ("_calls", "_parse", "_reasoning", "_template", "_tries", "_typed", "_used")

    def __init__(self, parse: Callable[[bytes], dict[str, Any]] = parse, *, typed: Text | None = None) -> None:
        self._parse = parse
        self._calls = ToolCalls()
        self._typed = typed
        self._template: Template | None = None
        self._reasoning = self._used = False
        self._tries = TRIES

    def short(self, payload: bytes) -> Piece | None:
        """Read a chunk whose meaning is plain.

        Args:
            payload: The chunk, valid UTF-8.

        Returns:
            The one piece that it gives; `None` when that takes the long way, whatever the chunk is.
        """
        if self._template is not None:
            text = self._template.text(payload)
            if text:
                self._used = True
                return ReasoningDelta(text) if self._reasoning else text
        return (self._typed(payload) or None) if self._typed is not None else None

    def long(self, payload: bytes) -> list[Piece]:
        """Read any chunk, and learn from it how to read the next ones.

        Args:
            payload: The chunk, valid UTF-8.

        Returns:
            Its pieces.

        Raises:
            ProviderError: The chunk is an error, or none.
        """
        chunk = self._parse(payload)
        text = only_text(chunk)
        pieces: list[Piece] = list(chunk_pieces(chunk, self._calls)) if text is None else [text]
        if len(pieces) == 1 and self._tries:
            piece = pieces[0]
            if isinstance(piece, str | ReasoningDelta):
                self._learn(payload, piece)
        return pieces

    def _learn(self, payload: bytes, piece: str | ReasoningDelta) -> None:
        # A stream whose chunks differ in more than their text is not to pay for every one of them.
        self._tries = TRIES if self._used else self._tries - 1
        self._used = False
        self._reasoning = not isinstance(piece, str)
        self._template = learned(payload, piece if isinstance(piece, str) else piece.text, _only)


def _only(payload: bytes) -> str | None:
    """The text that is all a chunk gives."""
    try:
        pieces = list(chunk_pieces(parse(payload)))
    except ProviderError:
        return None
    piece = pieces[0] if len(pieces) == 1 else None
    return piece.text if isinstance(piece, ReasoningDelta) else piece if isinstance(piece, str) else None
