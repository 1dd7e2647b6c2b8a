"""Reads the chunks of one streamed answer: ordinary chunks fast, all others by parsing them, with the same result."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final

from providerhub._values import ReasoningDelta
from providerhub._values.errors import ProviderError
from providerhub._values.provider import Piece
from providerhub.wire._chat_answer import PADDING, REASONING, ChatAnswer
from providerhub.wire._json import parse
from providerhub.wire._template import Template, learned
from providerhub.wire.openai_chat import only_text

MAX_UNUSED: Final = 4
"""How many templates in a row may match no chunk before the stream makes no more of them."""

PATIENCE: Final = 16
"""The chunks that are parsed before the reader of the extra `fast` is imported. The import takes as long as some 500 of them."""

LATE: Final = 32
"""The chunks that the typed reader reads before a template is made, which takes two thirds of its time but costs to make."""

_HALF = re.compile("[\ud800-\udfff]").search
_PLAIN_DELTA = frozenset({"role", "content", "token_id", *REASONING})
"""The keys of a delta that mean the same in each chunk, after any other chunk."""

TextReader = Callable[[bytes], str | None]
"""Takes a chunk and returns its text, or `None` if the chunk has to be parsed."""


@cache
def typed_reader() -> TextReader | None:
    """Return the reader of the extra `fast`, or `None` if the extra is not installed."""
    try:
        from providerhub.wire._typed import typed_text  # needs the extra `fast`
    except ImportError:
        return None
    return typed_text


class ChunkReader:
    """Reads the chunks of one stream. For each chunk, call `fast`, and `parsed` if that returns `None`; at the end, call `end`.

    Chunks up to the first one that holds text only are read in full, and so are all that hold anything beside text: they say who
    answers and what stands beside the answer.

    Args:
        parse: Parses a chunk into a JSON object; default `openai_chat.parse`.
        typed: Tried on each chunk that no template matches; default `None`, for none.
        later: Returns the value of `typed` after the first chunks that had to be parsed, so that a short answer need not wait for
            the import; default `None`.
    """

    __slots__ = (
        "_alike", "_answer", "_begun", "_found", "_later", "_left", "_parse", "_reasoning", "_template", "_typed", "_unused",
        "_used",
    )  # fmt: skip

    def __init__(
        self,
        parse: Callable[[bytes], dict[str, Any]] = parse,
        *,
        typed: TextReader | None = None,
        later: Callable[[], TextReader | None] | None = None,
    ) -> None:
        self._parse = parse
        self._later, self._left = later, PATIENCE  # and the chunks that are parsed until then
        self._answer = ChatAnswer()
        self._begun = False  # a chunk of text without a role has been read in full
        self._found = typed
        self._typed: TextReader | None = None  # `_found` while the next chunk's meaning depends on no earlier chunk
        self._template: Template | None = None
        self._alike = 0  # chunks of text that the typed reader has read without a template
        self._reasoning = False  # the template's text is reasoning
        self._used = False  # the template has matched a chunk
        self._unused = 0  # templates made since one of them has matched a chunk

    def fast(self, payload: bytes) -> Piece | None:
        """Read an ordinary chunk, valid UTF-8, without parsing it: its only piece. `None` if it has to be parsed."""
        if self._template is not None:
            text = self._template.text(payload)
            if text:
                self._used = True
                if not self._reasoning:
                    return text
                self._answer.reasoned.append(text)
                return ReasoningDelta(text)
        if self._typed is None:
            return None
        text = self._typed(payload) or None
        if text and self._template is None:
            self._alike += 1
            if self._alike == LATE:
                self._learn(payload, self._parse(payload), text)
        return text

    def run(self, payloads: Sequence[bytes], start: int) -> list[str]:
        """Read the ordinary chunks of text that follow each other from an index on, many at once."""
        return [] if self._template is None or self._reasoning else self._template.texts(payloads[start:])

    def parsed(self, payload: bytes) -> list[Piece]:
        """Parse any chunk, valid UTF-8, and return its pieces. Make a template of it if it holds one text only."""
        chunk = self._parse(payload)
        self._left -= 1
        if self._left == 0 and self._later is not None:
            self._found = self._later()
        is_same = self._begun and (not (name := chunk.get("id")) or name == self._answer.name)
        piece = only_text(chunk) if is_same and not self._answer.waits else None
        if piece is None or not _is_whole(piece):
            return self._in_full(payload, chunk)
        self._typed = self._found
        if isinstance(piece, ReasoningDelta):
            if not self._answer.reasoned:
                return self._in_full(payload, chunk)
            self._answer.reasoned.append(piece.text)
        self._learn(payload, chunk, piece)
        return [piece]

    def end(self) -> list[Piece]:
        """Return what can be said only at the end of the stream; see `ChatAnswer.end`."""
        return list(self._answer.end())

    def _in_full(self, payload: bytes, chunk: dict[str, Any]) -> list[Piece]:
        pieces = list(self._answer.pieces(chunk))
        if self._answer.waits:
            self._typed = self._template = None
            return pieces
        lone = only_text(chunk)
        if self._begun or lone is not None:
            if self._begun or self._answer.goes_on:
                self._begun, self._typed = True, self._found
            lone = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], str | ReasoningDelta) else lone
            if lone is not None and _is_whole(lone) and not (self._typed is not None and self._typed(payload)):
                self._learn(payload, chunk, lone)
        return pieces

    def _learn(self, payload: bytes, chunk: dict[str, Any], piece: str | ReasoningDelta) -> None:
        # Making a template costs as much as parsing. A stream whose chunks all differ should not pay for one on each chunk.
        if self._unused >= MAX_UNUSED:
            return
        self._unused = 0 if self._used else self._unused + 1
        self._used = False
        self._reasoning = not isinstance(piece, str)
        text = piece if isinstance(piece, str) else piece.text
        self._template = learned(payload, text, partial(_text_beside, chunk, text))


def _is_whole(piece: str | ReasoningDelta) -> bool:
    """Return whether the text has no half of a character."""
    text = piece if isinstance(piece, str) else piece.text
    return text.isascii() or not _HALF(text)


def _text_beside(chunk: dict[str, Any], text: str, payload: bytes) -> str | None:
    """Return the text of a payload that differs from a chunk and its text in the text only, and in its padding."""
    try:
        found = parse(payload)
        delta, of_other = found["choices"][0]["delta"], chunk["choices"][0]["delta"]
    except (LookupError, TypeError, ProviderError):
        return None
    changed = [key for key in delta if delta[key] != of_other.get(key)]
    if len(changed) != 1 or of_other[changed[0]] != text or not _PLAIN_DELTA.issuperset(key for key in delta if delta[key]):
        return None
    other, delta[changed[0]] = delta[changed[0]], text
    same = all(found.get(key) == chunk.get(key) for key in found.keys() | chunk.keys() if key not in PADDING)
    return other if same else None
