"""`http.client`'s response with two short cuts: an ordinary head is taken apart at once, and chunks are taken off many at a time.

A model's answer comes in chunks of a few hundred bytes. The standard library reads each with three calls into the buffered
stream, and parses each head with the parser for e-mail; together that costs more than everything else that is done to an
answer. What is out of the ordinary goes the standard library's way. Framing: RFC 9112, sections 6 and 7.
"""

from __future__ import annotations

import re
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from typing import Any, Final

READ_SIZE: Final = 65536

MAX_SIZE_LINE: Final = 4096
"""Bytes of a chunk's size line with its extensions."""

MAX_TRAILERS: Final = 65536
"""Bytes of all trailer fields."""

_HEAD = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: ([^\r\n]*))?\r\n((?:[!-9;-~]+:[^\r\n\0]*\r\n)+)\r\n")
# int() refuses some thousands of digits, and so does whoever would print them; no answer has a length of more than these.
_LENGTH = re.compile(r"[0-9]{1,18}")
_SIZE = re.compile(rb"0*[0-9A-Fa-f]{1,16}")
# No body follows these, whatever their fields say.
_BODILESS = (b"204", b"304")
_FRAMING = ("content-length", "transfer-encoding", "connection")


class ChunkError(HTTPException):
    """The chunks of an answer are not framed as they must be."""


class Body(HTTPResponse):
    """One answer. `read1` gives what has come, as much as fits one read; no other method reads the body.

    Attributes:
        ended: The body was read to its end.
        surplus: Something stood behind the body's end: the connection must not be used again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ended = False
        self.surplus = False
        # The end of the chunk before belongs to the next size line; with this the first chunk is like any other.
        self._held = b"\r\n"
        self._of_chunk = 0  # bytes that are still to come of the chunk begun
        self._broken: ChunkError | None = None
        self._trailers: bytearray | None = None

    def begin(self) -> None:
        """Read the head."""
        if not self._begun_at_once():
            super().begin()

    def read1(self, n: int = -1) -> bytes:
        """Read what is there, waiting for the first of it.

        Args:
            n: The most bytes to give of a body that is not chunked.

        Returns:
            Bytes; none at the body's end.

        Raises:
            HTTPException: The body was cut short, or is framed wrongly.
            OSError: The connection broke.
        """
        if self.fp is None or self.ended:
            self.ended = True
            return b""
        if self.chunked:
            return self._chunks()
        size = READ_SIZE if n < 0 else n
        length = self.length
        data: bytes = self.fp.read1(size if length is None else min(size, length))
        if length is not None:
            self.length = length - len(data)
            if not data and length:
                raise IncompleteRead(b"", length)
        if not data or self.length == 0:
            self._end()
        return data

    def _begun_at_once(self) -> bool:
        """Take an ordinary head that has come in one piece; false when it is to be read the long way."""
        # Not consumed: the long way starts from the beginning.
        found = _HEAD.match(self.fp.peek(1))
        if found is None:
            return False
        status, reason, block = found.groups()
        fields = [line.split(":", 1) for line in block.decode("iso-8859-1").split("\r\n")[:-1]]
        framing = [(name.lower(), value.strip().lower()) for name, value in fields if name.lower() in _FRAMING]
        values = dict(framing)
        length, coding = values.get("content-length"), values.get("transfer-encoding")
        if status in _BODILESS or len(values) < len(framing) or (length is not None) == (coding is not None):
            return False
        if (coding or "chunked") != "chunked" or not _LENGTH.fullmatch(length or "0"):
            return False
        message = HTTPMessage()
        for name, value in fields:
            message[name] = value.strip(" \t")
        self.fp.read(found.end())
        self.headers = self.msg = message
        self.code = self.status = int(status)
        self.reason = (reason or b"").decode("iso-8859-1").strip()
        self.version = 11
        self.chunked = coding is not None
        self.chunk_left = None
        self.length = None if length is None else int(length)
        self.will_close = "close" in values.get("connection", "")
        return True

    def _chunks(self) -> bytes:
        """The data of as many chunks as came."""
        while True:
            if self._broken is not None:
                raise self._broken
            data: bytes = self.fp.read1(READ_SIZE)
            if not data:
                raise IncompleteRead(b"", self._of_chunk or None)
            found = self._unframed(data)
            if found or self.ended:
                return found

    def _unframed(self, data: bytes) -> bytes:
        left, at = self._of_chunk, 0
        if self._held:
            data, self._held = self._held + data, b""
        if self._trailers is not None:
            self._skip_trailers(data)
            return b""
        found: list[bytes] = []
        while True:
            if left:
                part = data[at : at + left]
                found.append(part)
                at += len(part)
                left -= len(part)
                if left:
                    break
            line_end = data.find(b"\r\n", at + 2)
            try:
                if line_end < 0 or data[at : at + 2] != b"\r\n":
                    self._held = _checked_start(data[at:])
                    break
                left = _size(data[at + 2 : line_end])
            except ChunkError as error:
                # What came whole before it is handed over first.
                self._broken = error
                break
            at = line_end + 2
            if not left:
                self._trailers = bytearray(b"\r\n")
                self._skip_trailers(data[at:])
                break
        self._of_chunk = left
        return found[0] if len(found) == 1 else b"".join(found)

    def _skip_trailers(self, data: bytes) -> None:
        """Read up to the blank line behind the last chunk; nobody wants the fields before it."""
        trailers = self._trailers
        assert trailers is not None  # noqa: S101 -- set by the last chunk
        trailers += data
        end = trailers.find(b"\r\n\r\n")
        if end >= 0:
            self.surplus = len(trailers) > end + 4
            self._end()
        elif len(trailers) > MAX_TRAILERS:
            msg = f"the trailer is longer than {MAX_TRAILERS} bytes"
            raise ChunkError(msg)

    def _end(self) -> None:
        self.ended = True
        # As http.client does at the end of a body: the connection may serve again.
        self._close_conn()  # type: ignore[attr-defined]


def _checked_start(data: bytes) -> bytes:
    """The beginning of a size line.

    Raises:
        ChunkError: It is none.
    """
    if not b"\r\n".startswith(data[:2]) or len(data) > MAX_SIZE_LINE:
        msg = f"a chunk of the answer is followed by {data[:20]!r}"
        raise ChunkError(msg)
    return data


def _size(line: bytes) -> int:
    """The number in a size line; extensions are ignored.

    Raises:
        ChunkError: There is none.
    """
    if not line.isalnum():
        line = line.partition(b";")[0].strip(b" \t")
    if _SIZE.fullmatch(line):  # int() would take signs, underscores and a prefix as well
        return int(line, 16)
    msg = f"a chunk of the answer has the size {line[:20]!r}"
    raise ChunkError(msg)
