"""`http.client`'s response with two short cuts: it parses an ordinary head at once, and reads many chunks with one call.

A model's answer comes in chunks of a few hundred bytes. The standard library reads each chunk with three calls of the buffered
stream, and parses each head with the parser for e-mail. Together that costs more than all other work on an answer. Anything out
of the ordinary is read by the standard library. Framing: RFC 9112, sections 6 and 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, Final

READ_SIZE: Final = 65536

MAX_SIZE_LINE: Final = 4096
"""The most bytes of a chunk's size line, extensions included."""

MAX_TRAILERS: Final = 65536
"""The most bytes of all trailer fields together."""

_HEAD = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: ([^\r\n]*))?\r\n((?:[!-9;-~]+:[^\r\n\0]*\r\n)+)\r\n")
# int() refuses numbers of some thousands of digits; no answer needs more digits than these.
_LENGTH = re.compile(r"[0-9]{1,18}")
_SIZE = re.compile(rb"0*[0-9A-Fa-f]{1,16}")
# Answers with these statuses have no body, even if their fields say so.
_BODILESS = (b"204", b"304")
_FRAMING = ("content-length", "transfer-encoding", "connection")


class ChunkError(HTTPException):
    """An answer is not framed as RFC 9112 says, so that its end cannot be found."""


class Headers(Mapping[str, str]):
    """The headers of an answer, looked up without regard to case. Values of the same name are joined by commas."""

    __slots__ = ("_values",)

    def __init__(self, fields: Iterable[Sequence[str]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in fields:
            key, text = name.lower(), value.strip(" \t")
            self._values[key] = f"{self._values[key]}, {text}" if key in self._values else text

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Response(HTTPResponse):
    """One response. Only `read1` reads its body.

    Attributes:
        ended: The body has been read to its end.
        surplus: Bytes came after the body's end, so the connection must not be used again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ended = False
        self.surplus = False
        # A size line begins with the line break that ends the chunk before it; this one stands before the first chunk.
        self._held = b"\r\n"
        self._of_chunk = 0  # bytes of the current chunk that have not come yet
        self._broken: ChunkError | None = None
        self._trailers = bytearray()
        self._in_trailers = False

    def begin(self) -> None:
        """Read the head, and any interim ones in front of it (RFC 9110, section 15.2)."""
        while not self._parsed_head():
            super().begin()
            if self.status < HTTPStatus.OK and self.status != HTTPStatus.SWITCHING_PROTOCOLS:  # `http.client` skips 100 only
                self.headers = self.msg = None  # type: ignore[assignment]  # so that it reads the next head
                continue
            self._check_framing()
            self.headers = Headers(self.headers.items())  # type: ignore[assignment]
            # Bytes after 101 belong to another protocol.
            self.will_close = self.will_close or self.status == HTTPStatus.SWITCHING_PROTOCOLS
            return

    def _check_framing(self) -> None:
        """Refuse a head of which `http.client` drops a part. It then waits for the connection's end as that of the body."""
        coding = self.headers.get("transfer-encoding", "identity")
        if self.headers.defects:
            msg = "the answer is not HTTP: a line of its head is not a field; check the configured url"
            raise ChunkError(msg)
        if not self.chunked and coding.strip().lower() != "identity":
            msg = f"the answer has the transfer coding {coding[:50]!r}, which no request allows; check the configured url"
            raise ChunkError(msg)

    def read1(self, n: int = -1) -> bytes:
        """Wait for bytes and return those that have come, at most `n` of a body that is not chunked; none at the body's end."""
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

    def _parsed_head(self) -> bool:
        """Parse an ordinary head that has come in one piece. Return false if `http.client` has to read it."""
        # `peek` consumes nothing, so `http.client` can read from the beginning.
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
        self.fp.read(found.end())
        self.headers = self.msg = Headers(fields)  # type: ignore[assignment]
        self.code = self.status = int(status)
        self.reason = (reason or b"").decode("iso-8859-1").strip()
        self.version = 11
        self.chunked = coding is not None
        self.chunk_left = None
        self.length = None if length is None else int(length)
        self.will_close = "close" in values.get("connection", "")
        return True

    def _chunks(self) -> bytes:
        """Return the data of all chunks that have come."""
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
        if self._in_trailers:
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
                # Return the chunks before the broken one first; the next call raises.
                self._broken = error
                break
            at = line_end + 2
            if not left:
                self._in_trailers = True
                self._trailers += b"\r\n"
                self._skip_trailers(data[at:])
                break
        self._of_chunk = left
        return found[0] if len(found) == 1 else b"".join(found)

    def _skip_trailers(self, data: bytes) -> None:
        """Read up to the blank line after the last chunk, and drop the fields before it."""
        trailers = self._trailers
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
        # http.client does the same at the end of a body: the connection can be used again.
        self._close_conn()  # type: ignore[attr-defined]


def _checked_start(data: bytes) -> bytes:
    """Return bytes that may begin a size line; raise `ChunkError` for others."""
    if not b"\r\n".startswith(data[:2]) or len(data) > MAX_SIZE_LINE:
        msg = f"a chunk of the answer is followed by {data[:20]!r}"
        raise ChunkError(msg)
    return data


def _size(line: bytes) -> int:
    """Return the size that a size line gives. Extensions are ignored."""
    if not line.isalnum():
        line = line.partition(b";")[0].strip(b" \t")
    if _SIZE.fullmatch(line):  # int() also accepts signs, underscores and the prefix 0x
        return int(line, 16)
    msg = f"a chunk of the answer has the size {line[:20]!r}"
    raise ChunkError(msg)
