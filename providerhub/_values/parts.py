"""Content parts of messages: images, files and audio, in the OpenAI chat shape."""

from __future__ import annotations

import os
from typing import Any

from providerhub._values.errors import InvalidRequestError
from providerhub._values.value import public

Source = str | os.PathLike[str] | bytes
"""A path, the bytes themselves, or an address that begins with `https:`, `http:` or `data:`."""

_FIRST = (
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"II\*\0|MM\0\*", "image/tiff"),
    (rb"BM....\0\0\0\0", "image/bmp"),
    (rb"....ftypavif", "image/avif"),
    (rb"....ftyp(?:hei[cx]|mif1)", "image/heic"),
    (rb"%PDF-", "application/pdf"),
    (rb"RIFF....WAVE", "audio/wav"),
    (rb"ID3|\xff[\xf2\xf3\xfa\xfb]", "audio/mpeg"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "audio/aac"),
    (rb"OggS", "audio/ogg"),
    (rb"fLaC", "audio/flac"),
    (rb"....ftypM4[AB]", "audio/mp4"),
    (rb"....ftyp", "video/mp4"),
    (rb"\x1aE\xdf\xa3", "video/webm"),
)
"""First bytes of a file → its media type. Source: the formats' specifications, as in the WHATWG standard "MIME Sniffing"."""

_FORMATS = {"mpeg": "mp3", "mp4": "m4a", "x-wav": "wav", "x-m4a": "m4a", "x-flac": "flac"}
"""Subtype of audio → its other name in the OpenAI chat shape."""

_SHOWN = 60
_BEGIN = 16


@public
def image(source: Source, *, detail: str | None = None) -> dict[str, Any]:
    """Make the content part of an image, as in `complete("gpt-5", ["What is this?", providerhub.image("cat.png")])`.

    Args:
        source: A path, bytes, or an address (`https:`, `http:` or `data:`). The service itself fetches the address.
        detail: The resolution for the model, if the vendor has it: `"low"`, `"high"` or `"auto"`. Default: the vendor's
            choice.

    Returns:
        The part, in the OpenAI chat shape.

    Raises:
        InvalidRequestError: The file cannot be read, or is not an image.
    """
    url = source if _is_address(source) else _data_url("image", source, _read("image", source))
    return {"type": "image_url", "image_url": {"url": url} if detail is None else {"url": url, "detail": detail}}


@public
def file(source: Source, *, name: str | None = None) -> dict[str, Any]:
    """Make the content part of a file, such as a PDF document.

    Args:
        source: A path, bytes, or an address (`https:`, `http:` or `data:`). The service itself fetches the address.
        name: The name of the file; the model may see it. Default: the name of the path.

    Returns:
        The part, in the OpenAI chat shape.

    Raises:
        InvalidRequestError: The file cannot be read, or its media type is unknown.
    """
    url = str(source) if _is_address(source) else _data_url("file", name or source, _read("file", source))
    return {"type": "file", "file": {"filename": name or _name(source, url), "file_data": url}}


@public
def audio(source: Source) -> dict[str, Any]:
    """Make the content part of a sound.

    Args:
        source: A path, bytes, or an address (`https:`, `http:` or `data:`). Few services can fetch an address.

    Returns:
        The part, in the OpenAI chat shape.

    Raises:
        InvalidRequestError: The file cannot be read, or is not a sound.
    """
    text = _is_address(source) and str(source)
    if text and not text.startswith("data:"):
        found = _by_name(text.partition("?")[0])
        data = text
    else:
        url = text or _data_url("audio", source, _read("audio", source))
        head, _, data = url.partition(",")
        found = head.removeprefix("data:").partition(";")[0]
    subtype = found.rpartition("/")[2] or "wav"
    return {"type": "input_audio", "input_audio": {"data": data, "format": _FORMATS.get(subtype, subtype)}}


def _is_address(source: Source) -> bool:
    return isinstance(source, str) and source.startswith(("https:", "http:", "data:"))


def _name(source: Source, url: str) -> str:
    if isinstance(source, bytes):
        return f"file.{url.partition(';')[0].rpartition('/')[2]}"
    path = os.fspath(source).partition("?")[0].rstrip("/")
    return "file" if path.startswith("data:") else os.path.basename(path)


def _read(what: str, source: Source) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, str | os.PathLike):
        try:
            with open(source, "rb") as opened:
                data = opened.read()
        except (OSError, ValueError) as error:  # `ValueError`: a path with a null character
            reason = getattr(error, "strerror", None) or error
            raise InvalidRequestError(f"{what}: cannot read the file {_shown(source)}: {reason}") from error
    else:
        raise InvalidRequestError(f"{what} takes a path, bytes or an address, not {type(source).__name__}")
    if not data:
        raise InvalidRequestError(f"{what}: {_shown(source)} is empty")
    return data


def _data_url(what: str, source: Source, data: bytes) -> str:
    from binascii import b2a_base64  # only requests with media need it

    kind = media_type(source, data)
    if not kind:
        msg = f"{what}: the first bytes of {_shown(source)} are of no known format, and no name says the media type"
        raise InvalidRequestError(f"{msg}; give a path with a usual ending" + ", or name=" * (what == "file"))
    if what == "audio" and kind in {"video/mp4", "video/webm"}:  # these containers may hold sound alone
        kind = kind.replace("video", "audio")
    if what != "file" and not kind.startswith(f"{what}/"):
        family = kind.partition("/")[0]
        maker = family if family in {"image", "audio"} else "file"
        raise InvalidRequestError(f"{what}: {_shown(source)} is {kind}; use providerhub.{maker}() for it")
    return f"data:{kind};base64,{b2a_base64(data, newline=False).decode()}"


def media_type(source: Source, data: bytes) -> str:
    """The media type of a file, by its first bytes, or else by the name of its `source`; empty when unknown."""
    import re  # as above

    begin = data[:_BEGIN]
    by_name = "" if isinstance(source, bytes) else os.fspath(source)
    return next((kind for first, kind in _FIRST if re.match(first, begin, re.DOTALL)), "") or _by_name(by_name)


def _by_name(name: str) -> str:
    import mimetypes  # as above

    return mimetypes.guess_type(name)[0] or ""


def _shown(source: object) -> str:
    text = f"{len(source)} bytes" if isinstance(source, bytes) else repr(source)
    return text[:_SHOWN] + "…" * (len(text) > _SHOWN)
