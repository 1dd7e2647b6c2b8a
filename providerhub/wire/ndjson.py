"""Lines of JSON, one object in each: an incremental decoder from bytes to frames, without I/O."""

from __future__ import annotations

import json
from typing import NamedTuple

from providerhub.wire._framing import EXCERPT, MAX_LINE, Framing

BLANK = b"\xef\xbb\xbf \t\r\n"
"""Bytes that may stand before an answer: a byte order mark, and white space."""

_UNDECIDED = 65536
"""Bytes. A first line that is longer is not held back to look at the second one."""


class JsonFrame(NamedTuple):
    """One object of a stream of JSON.

    Args:
        data: The object as bytes.
        event: Always empty: lines have no names.
    """

    data: bytes
    event: str = ""


class LineDecoder(Framing):
    """Decodes one stream of lines that end at LF or CRLF. Blank lines are ignored.

    Args:
        max_line: Limit of one line in bytes; default 64 MiB.

    Attributes:
        done: Always false, because the format has no end mark.
        stray: Always empty, because each line is a frame.
    """

    __module__ = "providerhub.wire"

    __slots__ = ("_max_line", "_partial", "done", "stray")

    content_type = "json"
    tail = b"\n"

    def __init__(self, *, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._partial = bytearray()
        self.done = False
        self.stray = b""

    @staticmethod
    def is_whole(begin: bytes) -> bool | None:
        """Return whether an answer is one object in place of a stream; see `Framing.is_whole`."""
        line, end, rest = begin.partition(b"\n")
        if not begin.startswith(b"{"):
            return False
        if not end:
            return None if len(begin) < _UNDECIDED else False
        try:
            json.loads(line.decode(errors="replace"))
        except (ValueError, RecursionError):
            # A line that is broken has another object after it, an object on several lines has its fields.
            return not rest.startswith(b"{") if rest else None
        return False

    def feed_events(self, data: bytes) -> list[JsonFrame]:
        """Take the next bytes; see `Framing.feed_events`. Raises `ValueError` for a line that is longer than the limit."""
        lines = data.split(b"\n")
        tail = lines.pop()
        if lines:
            self._partial += lines[0]
            lines[0] = bytes(self._partial)
            self._partial = bytearray()
        self._partial += tail[: self._max_line + 1]
        frames = [JsonFrame(stripped) for line in lines if (stripped := line.strip(BLANK))]
        if len(self._partial) > self._max_line and not frames:
            raise ValueError(f"a line of the stream is longer than its limit of {self._max_line:,} bytes")
        return frames

    def finish(self) -> bytes:
        """End the input; see `Framing.finish`."""
        return bytes(self._partial[:EXCERPT]).strip(BLANK)
