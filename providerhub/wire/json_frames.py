"""Lines of JSON, and one JSON array of objects: incremental decoders from bytes to frames, without I/O."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from providerhub.wire._framing import EXCERPT, MAX_LINE, Framing

BLANK = b"\xef\xbb\xbf \t\r\n"
"""Bytes that may stand before an answer: a byte order mark, and white space."""

_UNDECIDED = 65536
"""Bytes. A first line that is longer is not held back to look at the second one."""

_IN_STRING = re.compile(rb'["\\]')
_STRUCTURE = re.compile(rb'["{}\[\]]')
_BETWEEN = re.compile(rb"[^ \t\r\n,\xef\xbb\xbf]")


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
            # After a broken line, another object follows. In an object on several lines, a field follows.
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


class ArrayDecoder(Framing):
    """Decodes one array, object by object, without waiting for the array's end.

    Args:
        max_object: Limit of one object in bytes; default 64 MiB.

    Attributes:
        done: Whether the array has ended.
        stray: The beginning of a text that is not an array; at most `EXCERPT` bytes.
    """

    __module__ = "providerhub.wire"

    __slots__ = ("_begun", "_broken", "_depth", "_escaped", "_in_string", "_max_object", "_partial", "done", "stray")

    content_type = "json"
    tail = b""

    def __init__(self, *, max_object: int = MAX_LINE) -> None:
        self._max_object = max_object
        self._partial = bytearray()  # the incomplete object
        self._depth = 0  # the number of open brackets in it
        self._broken = ""  # the reason why nothing more can be read
        self._begun = self._in_string = self._escaped = False
        self.done = False
        self.stray = b""

    @staticmethod
    def is_whole(begin: bytes) -> bool:
        """Return whether an answer is one object in place of a stream; see `Framing.is_whole`."""
        return begin.startswith(b"{")

    def feed_events(self, data: bytes) -> list[JsonFrame]:
        """Take the next bytes; see `Framing.feed_events`. Raises `ValueError` for an object that is longer than the limit."""
        frames: list[JsonFrame] = []
        at = 0
        while at < len(data) and not (self.done or self.stray or self._broken):
            at = self._inside(data, at, frames) if self._depth else self._between(data, at)
        if self._broken and not frames:
            raise ValueError(self._broken)
        return frames

    def finish(self) -> bytes:
        """End the input; see `Framing.finish`."""
        if self._broken:
            raise ValueError(self._broken)
        return bytes(self._partial[:EXCERPT])

    def _between(self, data: bytes, at: int) -> int:
        """Read up to the next object; return the index of the first byte in it."""
        found = _BETWEEN.search(data, at)
        if found is None:
            return len(data)
        sign, at = found[0], found.start()
        if not self._begun and sign != b"[":
            self.stray = data[at : at + EXCERPT]
        elif not self._begun:
            self._begun = True
        elif sign == b"]":
            self.done = True
        elif sign == b"{":
            self._depth, self._partial = 1, bytearray(b"{")
        else:
            self._broken = f"the array of the stream holds {data[at : at + 20]!r} in place of an object"
        return at + 1

    def _inside(self, data: bytes, at: int, frames: list[JsonFrame]) -> int:
        """Read the rest of an object; return the index of the first byte after it, or of the end."""
        start = at
        if self._escaped:
            self._escaped = False
            at += 1
        while self._depth and (found := (_IN_STRING if self._in_string else _STRUCTURE).search(data, at)):
            sign, at = found[0], found.end()
            if sign == b'"':
                self._in_string = not self._in_string
            elif sign == b"\\":
                self._escaped = at == len(data)
                at += 1
            else:
                self._depth += 1 if sign in b"{[" else -1
        end = len(data) if self._depth else at
        self._partial += data[start:end]
        if len(self._partial) > self._max_object:
            self._broken = f"an object of the stream is longer than its limit of {self._max_object:,} bytes"
        elif not self._depth:
            frames.append(JsonFrame(bytes(self._partial)))
            self._partial = bytearray()
        return end
