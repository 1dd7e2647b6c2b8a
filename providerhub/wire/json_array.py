"""One JSON array of objects: an incremental decoder from bytes to frames, without I/O."""

from __future__ import annotations

import re

from providerhub.wire._framing import EXCERPT, MAX_LINE, Framing
from providerhub.wire.ndjson import JsonFrame

_IN_STRING = re.compile(rb'["\\]')
_STRUCTURE = re.compile(rb'["{}\[\]]')
_BETWEEN = re.compile(rb"[^ \t\r\n,\xef\xbb\xbf]")


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
        self._partial = bytearray()  # the object under way
        self._depth = 0  # of open brackets in it
        self._broken = ""  # why nothing more can be read
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
        """Read on in an object; return the index of the first byte that is left."""
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
