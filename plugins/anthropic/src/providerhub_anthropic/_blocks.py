"""The content blocks of an answer, put together from their pieces, and the sources that they cite."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import Citation
from providerhub.wire import arguments_of

_FIELDS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
    "citations_delta": "citation",
}
"""The type of a delta → its field. Of any other type, all fields belong to the block."""

_PLAIN_CALL = frozenset({"type", "id", "name", "input"})


class Block:
    """One block, so far.

    Args:
        raw: The block as it began.
        start: The length of the answer's text before the block.

    Attributes:
        kind: Its type.
        place: The number of the tool call; `None` for a block of another type.
        closed: The block has ended.
    """

    __slots__ = ("_pieces", "closed", "kind", "place", "raw", "start")

    def __init__(self, raw: Mapping[str, Any], start: int) -> None:
        self.raw = raw
        self.kind = raw.get("type")
        self.start = start
        self.place: int | None = None
        self.closed = False
        self._pieces: dict[str, list[Any]] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take a piece, of any type."""
        kind = str(delta.get("type"))
        names = (_FIELDS[kind],) if kind in _FIELDS else tuple(name for name in delta if name != "type")
        for name in names:
            if delta.get(name) is not None:
                self._pieces.setdefault(name, []).append(delta[name])

    @property
    def arguments(self) -> str:
        """The arguments of a tool call, as JSON text."""
        streamed = "".join(self._pieces.get("partial_json", ()))
        if streamed.strip():
            return streamed
        given = self.raw.get("input")
        return given if isinstance(given, str) and given else json.dumps(given or {}, ensure_ascii=False)

    @property
    def was_streamed(self) -> bool:
        """Whether the arguments of a tool call came in pieces."""
        return any(piece.strip() for piece in self._pieces.get("partial_json", ()))

    @property
    def cited(self) -> list[Any]:
        """The sources of a text."""
        return [*(self.raw.get("citations") or ()), *self._pieces.get("citation", ())]

    @property
    def is_plain(self) -> bool:
        """Whether a message in the OpenAI chat shape can hold all of the block."""
        if self.kind == "text":
            return not self.cited
        caller = self.raw.get("caller")
        is_direct = not isinstance(caller, dict) or caller.get("type") == "direct"
        return self.kind == "tool_use" and is_direct and self.raw.keys() <= _PLAIN_CALL | {"caller"}

    def whole(self) -> dict[str, Any]:
        """Return the block as the API would have sent it whole.

        Raises:
            ValueError: The input of a tool that the service runs was cut.
        """
        found = dict(self.raw)
        for name, pieces in self._pieces.items():
            if name == "partial_json":
                called = {"function": {"arguments": self.arguments}}
                found["input"] = json.loads(self.arguments) if self.place is None else arguments_of(called)
            elif name == "citation":
                found["citations"] = self.cited
            elif name != "signature" and all(isinstance(piece, str) for piece in pieces):
                found[name] = str(found.get(name) or "") + "".join(pieces)
            else:
                found[name] = pieces[-1]
        return found


def citations(block: Block, end: int) -> Iterator[Citation]:
    """Give the sources of a text block.

    Args:
        block: The block.
        end: The length of the answer's text up to the end of the block.
    """
    for cited in block.cited:
        if isinstance(cited, dict):
            source = cited.get("source")
            is_address = isinstance(source, str) and source.startswith(("https://", "http://"))
            known = {"url", "title", "document_title", "cited_text"}
            yield Citation(
                url=cited.get("url") or (source if is_address else None),
                title=cited.get("title") or cited.get("document_title"),
                text=cited.get("cited_text"),
                start=block.start,
                end=end,
                source={name: value for name, value in cited.items() if name not in known and value is not None},
            )
