"""The sources of an answer, as citations.

Reference: "GroundingMetadata" and "CitationMetadata" in the reference of the Gemini API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import Citation

_NAMES = frozenset({"uri", "title", "text", "startIndex", "endIndex"})


def citations(grounding: Mapping[str, Any], quoted: Mapping[str, Any], text: str) -> Iterator[Citation]:
    """Give the sources of an answer: those that a span of the text rests on, then the others.

    Args:
        grounding: The field `groundingMetadata`.
        quoted: The field `citationMetadata`.
        text: The text of the answer.

    Yields:
        A citation for each span and source.
    """
    chunks = [_source(chunk) for chunk in grounding.get("groundingChunks") or ()]
    named = set()
    for support in grounding.get("groundingSupports") or ():
        segment = support.get("segment") or {}
        for index in support.get("groundingChunkIndices") or ():
            if index < len(chunks):
                named.add(index)
                yield _citation(chunks[index], *_span(segment, text))
    for index, chunk in enumerate(chunks):
        if index not in named:
            yield _citation(chunk, None, None)
    for source in quoted.get("citations") or quoted.get("citationSources") or ():
        if source.get("uri") or source.get("title"):
            yield _citation(source, *_span(source, text))


def _source(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a source. They stand under its kind: `web`, `retrievedContext`, `maps` or another one."""
    return next((value for value in chunk.values() if isinstance(value, Mapping)), {})


def _citation(source: Mapping[str, Any], start: int | None, end: int | None) -> Citation:
    rest = {name: value for name, value in source.items() if name not in _NAMES}
    return Citation(source.get("uri"), source.get("title"), source.get("text"), start, end, rest)


def _span(segment: Mapping[str, Any], text: str) -> tuple[int | None, int | None]:
    """Return the first character of a segment and the one behind it. The API counts bytes, in one of several parts."""
    if segment.get("endIndex") is None:
        return None, None
    data = text.encode("utf-8", "surrogatepass")
    start, end = (len(data[: segment.get(name) or 0].decode("utf-8", "ignore")) for name in ("startIndex", "endIndex"))
    said = segment.get("text")
    if said and text[start:end] != said:
        start = text.find(said)
        return (start, start + len(said)) if start >= 0 else (None, None)
    return start, end
