"""Reads the chunks of one streamed answer: ordinary chunks fast, all others by parsing them, with the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from providerhub._values import ReasoningDelta
from providerhub._values.errors import ProviderError
from providerhub._values.provider import Piece
from providerhub.wire._template import Template, learned
from providerhub.wire.openai_chat import ToolCalls, chunk_pieces, only_text, parse

MAX_UNUSED: Final = 4
"""How many templates in a row may match no chunk before the stream makes no more of them."""

TextReader = Callable[[bytes], str | None]
"""Takes a chunk and returns its text, or `None` if the chunk has to be parsed."""


def typed_reader() -> TextReader | None:
    """Return the reader of the extra `fast`, or `None` if the extra is not installed."""
    try:
        from providerhub.wire._typed import typed_text  # needs the extra `fast`
    except ImportError:
        return None
    return typed_text


class ChunkReader:
    """Reads the chunks of one stream. For each chunk, call `fast`, and `parsed` if that returns `None`.

    Args:
        parse: Parses a chunk into a JSON object; default `openai_chat.parse`.
        typed: Tried on each chunk that no template matches; default `None`, for none.
    """

    __slots__ = ("_calls", "_parse", "_reasoning", "_template", "_typed", "_unused", "_used")

    def __init__(self, parse: Callable[[bytes], dict[str, Any]] = parse, *, typed: TextReader | None = None) -> None:
        self._parse = parse
        self._calls = ToolCalls()
        self._typed = typed
        self._template: Template | None = None
        self._reasoning = False  # the template's text is reasoning
        self._used = False  # the template has matched a chunk
        self._unused = 0  # templates made since one of them has matched a chunk

    def fast(self, payload: bytes) -> Piece | None:
        """Read an ordinary chunk without parsing it.

        Args:
            payload: The chunk, valid UTF-8.

        Returns:
            The only piece of the chunk; `None` if the chunk has to be parsed.
        """
        if self._template is not None:
            text = self._template.text(payload)
            if text:
                self._used = True
                return ReasoningDelta(text) if self._reasoning else text
        return (self._typed(payload) or None) if self._typed is not None else None

    def parsed(self, payload: bytes) -> list[Piece]:
        """Parse any chunk, and make a template of it if it holds one text only.

        Args:
            payload: The chunk, valid UTF-8.

        Returns:
            The pieces of the chunk.

        Raises:
            ProviderError: The chunk is an error, or not a chunk of this protocol.
        """
        chunk = self._parse(payload)
        text = only_text(chunk)
        pieces: list[Piece] = list(chunk_pieces(chunk, self._calls)) if text is None else [text]
        if len(pieces) == 1 and self._unused < MAX_UNUSED:
            piece = pieces[0]
            if isinstance(piece, str | ReasoningDelta):
                self._learn(payload, piece)
        return pieces

    def _learn(self, payload: bytes, piece: str | ReasoningDelta) -> None:
        # Making a template costs as much as parsing. A stream whose chunks all differ should not pay for one on each chunk.
        self._unused = 0 if self._used else self._unused + 1
        self._used = False
        self._reasoning = not isinstance(piece, str)
        self._template = learned(payload, piece if isinstance(piece, str) else piece.text, _only_text)


def _only_text(payload: bytes) -> str | None:
    """Return the text or reasoning of a chunk that gives nothing else."""
    try:
        pieces = list(chunk_pieces(parse(payload)))
    except ProviderError:
        return None
    piece = pieces[0] if len(pieces) == 1 else None
    return piece.text if isinstance(piece, ReasoningDelta) else piece if isinstance(piece, str) else None
