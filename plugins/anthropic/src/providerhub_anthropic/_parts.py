"""Translates the parts of a message: texts, images and documents.

Reference: "Vision", "PDF support", "Citations" and "Prompt caching" in Anthropic's guides.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from providerhub import CapabilityError, InvalidRequestError
from providerhub.wire import inline_data, source_of

Block = dict[str, Any]

_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""The media types of images that the API accepts."""

_MARKS = ("cache_control", "citations", "context", "title")
"""Keys of a part that are copied to the block."""

_FOREIGN = frozenset({"reasoning", "reasoning_content", "thought"})
"""Types of parts in which other vendors write their thinking."""


def blocks_of(content: Any, where: str) -> list[Block]:
    """Translate the content of a message. Thinking that another vendor has written is left out.

    Args:
        content: A text, a list of parts, or `None`.
        where: The place in the request, for errors.

    Returns:
        The blocks.

    Raises:
        InvalidRequestError: A part is not valid.
        CapabilityError: The API does not support a part of this kind.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for place, part in enumerate(content or ()) for block in _blocks(part, f"{where}['content'][{place}]")]


def _blocks(part: Mapping[str, Any], where: str) -> Iterator[Block]:
    kind = part.get("type")
    if kind in _WRITERS:
        yield {**_WRITERS[kind](part, where), **{name: part[name] for name in _MARKS if name in part}}
    # Only the service's own thinking is signed. Every other part, as well as text, is a block of the API.
    elif kind not in _FOREIGN and (kind != "thinking" or part.get("signature")):
        yield dict(part)


def is_blank(block: Mapping[str, Any]) -> bool:
    """Return whether the API refuses a block since its text is empty or white space."""
    return block.get("type") == "text" and not str(block.get("text") or "").strip()


def _image(part: Mapping[str, Any], where: str) -> Block:
    return _sourced(source_of(part), where, otherwise="image")


def _file(part: Mapping[str, Any], where: str) -> Block:
    file = part.get("file") or {}
    if file.get("file_id"):
        return {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}}
    found = _sourced(source_of(part), where, otherwise="document")
    title = file.get("filename") if found["type"] == "document" else None
    return {**found, "title": title} if title else found


def _sourced(url: str, where: str, *, otherwise: str) -> Block:
    """Write a block for an address or a `data:` URL. The first bytes, or the media type, decide whether it is an image."""
    if found := inline_data(url, where):
        return _inline(*found, where)
    if url.startswith(("https://", "http://")):
        return {"type": otherwise, "source": {"type": "url", "url": url}}
    msg = f"{where}: expected an https:// address or a data: URL in base64, not {url[:40]!r}"
    raise InvalidRequestError(msg)


def _inline(kind: str, data: str, where: str) -> Block:
    if kind.startswith("text/") or kind == "application/json":
        try:
            text = binascii.a2b_base64(data).decode()
        except ValueError as error:
            msg = f"{where}: the data: URL does not hold valid base64, or its text is not UTF-8: {error}"
            raise InvalidRequestError(msg) from error
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}
    if kind in _IMAGES:
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    if kind in {"image/jpg", "image/pjpeg"}:
        return {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": data}}
    if kind == "application/pdf":
        return {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}
    msg = (
        f"{where}: the Messages API does not take {kind or 'data without a media type'}; "
        "it takes JPEG, PNG, GIF and WebP images, PDF documents and texts"
    )
    raise CapabilityError(msg)


def _refused(part: Mapping[str, Any], where: str) -> Block:
    kind = "audio" if part["type"] == "input_audio" else "video"
    msg = f"{where}: the Messages API does not take {kind}; leave the part out, or ask another provider"
    raise CapabilityError(msg, capability=kind)


_WRITERS: Mapping[Any, Callable[[Mapping[str, Any], str], Block]] = {
    "image_url": _image,
    "file": _file,
    "input_audio": _refused,
    "video_url": _refused,
}
