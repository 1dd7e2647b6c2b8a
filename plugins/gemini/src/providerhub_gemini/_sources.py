"""The sources of an answer, as citations.

Reference: "GroundingMetadata" and "CitationMetadata" in the reference of the Gemini API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import Citation

_NAMES = {"uri", "title", "text", "startIndex", "endIndex"}


def citations(grounding: Mapping[str, Any], quoted: Mapping[str, Any], text: str) -> Iterator[Citation]:
    """Give the sources of an answer: first the sources of a span of the text, then the others.

    Args:
        grounding: The field `groundingMetadata`.
        quoted: The field `citationMetadata`.
        text: The text of the answer.

    Yields:
        A citation for each span and source.
    """
    # The fields of a source stand under its kind, such as `web`, `retrievedContext` or `maps`.
    chunks: list[Any] = [next(filter(_is_object, chunk.values()), {}) for chunk in grounding.get("groundingChunks") or ()]
    spans: list[tuple[Any, Any]] = [
        (index, support.get("segment") or {})
        for support in grounding.get("groundingSupports") or ()
        for index in support.get("groundingChunkIndices") or ()
        if index < len(chunks)
    ]
    named = {index for index, _ in spans}
    spans += [(index, {}) for index in range(len(chunks)) if index not in named]
    sources = [(chunks[index], segment) for index, segment in spans]
    sources += [
        (source, source) for source in quoted.get("citations") or quoted.get("citationSources") or () if source.get("uri")
    ]
    for source, segment in sources:
        rest = {name: value for name, value in source.items() if name not in _NAMES}
        yield Citation(source.get("uri"), source.get("title"), source.get("text"), *_span(segment, text), rest)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _span(segment: Mapping[str, Any], text: str) -> tuple[int | None, int | None]:
    """Return the first character of a segment, and the character after its end. The API counts bytes, in one of several parts."""
    if segment.get("endIndex") is None:
        return None, None
    data, said = text.encode("utf-8", "surrogatepass"), segment.get("text")
    start, end = (len(data[: segment.get(name) or 0].decode("utf-8", "ignore")) for name in ("startIndex", "endIndex"))
    if not said or "uri" in segment or text[start:end] == said:
        return start, end
    start = text.find(said)
    return (start, start + len(said)) if start >= 0 else (None, None)
