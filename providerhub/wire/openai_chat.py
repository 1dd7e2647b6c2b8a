"""The OpenAI chat-completions shape: writes a request as a JSON object, and reads answers and chunks as pieces.

It accepts the deviations of other servers with this shape: `null` deltas, missing `index`, empty `choices`, extra fields, numeric
identifiers, errors in a successful answer. Reference: OpenAI API reference, "Chat" and "Chat streaming".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub._values import Embeddings
from providerhub._values.errors import ProtocolError
from providerhub._values.provider import Piece
from providerhub.wire._chat_answer import ChatAnswer, refuse_error
from providerhub.wire._chat_beside import usage_of
from providerhub.wire._chat_request import UNWANTED, reasoning_effort, request_body
from providerhub.wire._json import parse
from providerhub.wire._shape import shape_error

__all__ = [
    "UNWANTED", "ChatAnswer", "answer_pieces", "embeddings", "parse",
    "reasoning_effort", "refuse_error", "request_body",
    "shape_error", "usage_of",
]  # fmt: skip


def embeddings(data: Mapping[str, Any]) -> Embeddings:
    """Read the answer to a request for embeddings.

    Raises `ProviderError` for an error, or `ProtocolError` if there is no list of vectors with the numbers 0, 1, 2 and so on.
    """
    refuse_error(data)
    entries, usage = data.get("data"), data.get("usage")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ProtocolError("the answer is not a list of vectors; check the configured url", excerpt=json.dumps(data)[:2000])
    places = [entry.get("index") for entry in entries]
    if any(place is not None for place in places):  # some servers give no numbers
        if sorted(map(str, places)) != sorted(map(str, range(len(entries)))):
            msg = f"the vectors have the numbers {str(places)[:200]} in place of 0, 1, 2 and so on, so their texts are unknown"
            raise ProtocolError(msg)
        entries = [entry for _, entry in sorted(zip(map(int, places), entries, strict=True), key=lambda pair: pair[0])]
    return Embeddings([entry.get("embedding") for entry in entries], usage_of(usage) if isinstance(usage, dict) else None)


def answer_pieces(answer: Mapping[str, Any]) -> Iterator[Piece]:
    """Read an answer without streaming: text as `str`, everything else as events.

    Raises `ProviderError` if the answer is an error, or has no choices.
    """
    if not answer.get("choices"):
        refuse_error(answer)
        raise shape_error("choices", answer.get("choices"))
    found = ChatAnswer(whole=True)
    yield from found.pieces(answer)
    yield from found.end()
