"""Reads the things beside the text of an answer in the chat shape: sources, images, sounds and parts of thinking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providerhub._values import Citation, Media
from providerhub.wire._shape import says

_SOUNDS = {"UklGR": "audio/wav", "SUQz": "audio/mpeg", "//": "audio/mpeg", "T2dn": "audio/ogg", "ZkxhQ": "audio/flac"}
"""The beginnings of sounds in base64."""

_URL = ("url", "link", "uri")
_TEXT = ("content", "snippet", "text", "quote", "cited_text")


def citations_of(sources: Mapping[str, Any]) -> Iterator[Citation]:
    """Read the sources of an answer. A source that two lists name is given once, with what the fuller list says."""
    told: set[str] = set()
    for key in ("annotations", "search_results", "web_search", "citations"):
        found = sources.get(key)
        for one in found if isinstance(found, list | tuple) else [found] if found else []:
            citation = _citation(one)
            if key == "citations" and citation.url is not None and citation.url in told:
                continue
            told.add(citation.url or "")
            yield citation


def _citation(said: Any) -> Citation:
    if not isinstance(said, dict):
        text = str(said)
        return Citation(url=text) if "://" in text else Citation(text=text)
    kind = said.get("type")
    fields = dict(said)
    inner = fields.pop(kind, None) if isinstance(kind, str) else None
    if isinstance(inner, dict):  # {"type": "url_citation", "url_citation": {...}}
        fields |= inner
    address, quoted, title = _taken(fields, _URL), _taken(fields, _TEXT), _taken(fields, ("title",))
    start, end = (fields.pop(name) if type(fields.get(name)) is int else None for name in ("start_index", "end_index"))
    return Citation(address, title, quoted, start, end, {name: value for name, value in fields.items() if says(value)})


def _taken(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    name = next((name for name in names if fields.get(name) and isinstance(fields[name], str)), None)
    return None if name is None else fields.pop(name)


def image_of(said: Any) -> Media:
    """Read one image: `{"type": "image_url", "image_url": {"url": ...}}`, a data URL, an address, or base64 text."""
    fields = said if isinstance(said, dict) else {"url": said}
    inner = fields.get("image_url") or fields
    url = inner.get("url") if isinstance(inner, dict) else inner
    data: Any = fields.get("b64_json") or fields.get("data") or ""
    identifier = None if fields.get("id") is None else str(fields["id"])
    text = url if isinstance(url, str) else ""
    if text.startswith("data:"):
        head, _, content = text.removeprefix("data:").partition(",")
        return Media("image", head.partition(";")[0] or None, content, id=identifier)
    return Media("image", None, data if isinstance(data, str) else "", text or None, identifier)


def sound_type(base64: str) -> str | None:
    """Return the media type of a sound by its first bytes in base64; `None` for samples without a head."""
    return next((kind for begin, kind in _SOUNDS.items() if base64.startswith(begin)), None)


def thinking_of(part: Mapping[str, Any]) -> str | None:
    """Return the text of a part of thinking, as Mistral and Databricks write it; `None` for another part."""
    kind = part.get("type")
    inner = part.get("summary" if kind == "reasoning" else "thinking")
    if kind not in {"thinking", "reasoning"} or not isinstance(inner, str | list):
        return None
    if isinstance(inner, str):
        return inner
    texts = (one.get("text") if isinstance(one, dict) else one for one in inner)
    return "".join(text for text in texts if isinstance(text, str))


def detail_of(said: Any) -> str | None:
    """Return the text of an entry of `reasoning_details`, for services that write the reasoning nowhere else; else `None`."""
    texts = (said.get("text"), said.get("summary")) if isinstance(said, dict) else ()
    return next((text for text in texts if text and isinstance(text, str)), None)
