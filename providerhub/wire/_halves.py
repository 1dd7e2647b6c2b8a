"""Joins the halves of a character that some services write as two JSON escapes in two pieces of a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from providerhub._values import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from providerhub._values.provider import Piece

_MAKERS: Mapping[object, Callable[[str], Piece]] = {"text": str, "reasoning": ReasoningDelta, "refusal": RefusalDelta}


class Halves:
    """The halves that wait for the rest of their character: of the text, the reasoning, the refusal and each tool call."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: dict[object, str] = {}

    def text(self, channel: object, text: str) -> str:
        """Return a text with the waiting half before it. Hold back the first half of a character at its end."""
        if text.isascii() and not self.held:
            return text
        half = self.held.pop(channel, "")
        if half:
            text = (half + text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        if "\ud800" <= text[-1:] <= "\udbff":
            self.held[channel] = text[-1]
            text = text[:-1]
        return text

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yield the pieces with whole characters."""
        for piece in pieces:
            if isinstance(piece, str):
                if text := self.text("text", piece):
                    yield text
            elif isinstance(piece, TextDelta):
                yield attrs.evolve(piece, text=self.text("text", piece.text))
            elif isinstance(piece, ReasoningDelta | RefusalDelta):
                channel = "reasoning" if isinstance(piece, ReasoningDelta) else "refusal"
                yield attrs.evolve(piece, text=self.text(channel, piece.text))
            elif isinstance(piece, ToolCallDelta):
                yield attrs.evolve(piece, arguments=self.text(piece.index, piece.arguments))
            else:
                yield piece

    def rest(self) -> Iterator[Piece]:
        """Yield the halves without a second half."""
        for channel, half in self.held.items():
            make = _MAKERS.get(channel)
            yield make(half) if make is not None else ToolCallDelta(channel, arguments=half)  # type: ignore[arg-type]
        self.held.clear()
