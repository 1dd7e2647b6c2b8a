"""The event stream in which Amazon Bedrock answers.

Reference: "Amazon event stream specification" in the documentation of Smithy; Amazon Bedrock API reference,
"InvokeModelWithResponseStream".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from struct import unpack_from
from zlib import crc32

from providerhub.wire import JsonFrame

_PRELUDE, _CRC = 12, 4
_LARGEST = 24 * 1024 * 1024 + 128 * 1024
"""The maximum bytes of a frame: its payload has at most 24 MiB, and its headers 128 KiB."""

_EXCERPT = 2048
_WIDTHS: Mapping[int, int] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""The type of a header → the bytes of its value. Types 6 (bytes) and 7 (text) have their length first."""

_STATUSES: Mapping[str, int] = {
    "validationException": 400, "accessDeniedException": 403, "resourceNotFoundException": 404, "modelTimeoutException": 408,
    "modelStreamErrorException": 424, "throttlingException": 429, "internalServerException": 500,
    "serviceUnavailableException": 503,
}  # fmt: skip
"""The exception of a stream → its status before a stream."""


class EventStream:
    """Cuts an event stream into the events of the Messages API, which its chunks hold; see `providerhub.wire.Framing`."""

    content_type = "eventstream"
    tail = b""
    done = False

    def __init__(self) -> None:
        self._data = bytearray()
        self._begun = False
        self.stray = b""

    @staticmethod
    def is_whole(begin: bytes) -> bool:
        """Return whether an answer is one JSON object in place of a stream; see `Framing.is_whole`."""
        return begin[:1] in {b"{", b"["}

    def feed_events(self, data: bytes) -> list[JsonFrame]:
        """Take the next bytes of the stream; see `Framing.feed_events`."""
        if self.stray or (not self._begun and data[:1] > b"\x01"):  # the first byte of a frame's length is 0 or 1
            self.stray = (self.stray + data)[:_EXCERPT]
            return []
        self._begun = True
        self._data += data
        frames: list[JsonFrame] = []
        try:
            while size := _size(self._data):
                frames.append(_frame(bytes(self._data[:size])))
                del self._data[:size]
        except (ValueError, IndexError) as error:
            if not frames:  # otherwise the next call finds it again
                raise ValueError(f"a frame of the event stream is broken: {error}") from error
        return frames

    def finish(self) -> bytes:
        """End the input, and return the beginning of the frame that is not complete; see `Framing.finish`."""
        self.feed_events(b"")
        return bytes(self._data[:_EXCERPT])


def _size(data: bytearray) -> int:
    """Return the length of the first frame; 0 if it is not complete."""
    if len(data) < _PRELUDE:
        return 0
    size, headers, checksum = unpack_from(">III", data)
    if checksum != crc32(data[: _PRELUDE - _CRC]):
        raise ValueError("the checksum of its beginning is wrong")
    if not _PRELUDE + headers + _CRC <= size <= _LARGEST:
        raise ValueError(f"its length cannot be {size:,} bytes")
    return size if len(data) >= size else 0


def _frame(data: bytes) -> JsonFrame:
    """Read a frame: the event inside its chunk, or its exception as an error of the Messages API."""
    end = _PRELUDE + unpack_from(">I", data, 4)[0]
    if unpack_from(">I", data, len(data) - _CRC)[0] != crc32(data[:-_CRC]):
        raise ValueError("its checksum is wrong")
    headers, payload = _headers(data[_PRELUDE:end]), data[end:-_CRC]
    try:
        said = json.loads(payload)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    kind = headers.get(":message-type", "event")
    if kind == "event":
        try:
            return JsonFrame(base64.b64decode(said["bytes"], validate=True))
        except (ValueError, TypeError, KeyError):
            return JsonFrame(payload)  # the parser names the mistake
    name = headers.get(":exception-type") or headers.get(":error-code") or kind
    told = said.get("message") or headers.get(":error-message", name)
    failure = {"type": name, "message": told, "code": _STATUSES.get(name, 200)}
    return JsonFrame(json.dumps({"type": "error", "error": failure}).encode(), "error")


def _headers(data: bytes) -> dict[str, str]:
    found, at = {}, 0
    while at < len(data):
        end = at + 1 + data[at]
        name, kind, at = data[at + 1 : end].decode(), data[end], end + 1
        if kind in {6, 7}:
            size, at = int.from_bytes(data[at : at + 2]), at + 2
        elif (size := _WIDTHS.get(kind, -1)) < 0:
            raise ValueError(f"a header has the unknown type {kind}")
        found[name] = data[at : at + size].decode(errors="replace")
        at += size
    return found
