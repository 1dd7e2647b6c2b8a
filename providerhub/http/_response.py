"""Reads one HTTP/1.1 response from its bytes, without I/O, for both transports.

A model's answer comes in chunks of a few hundred bytes. The standard library reads each chunk with three calls, and parses each
head with the parser for e-mail. Together that costs more than all other work on an answer. Framing: RFC 9112, sections 2 to 7.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from providerhub._values.errors import ProtocolError, ProviderConnectionError

READ_SIZE: Final = 65536

MAX_HEAD: Final = 262144
"""The maximum bytes of a head."""

MAX_SIZE_LINE: Final = 4096
"""The maximum bytes of a chunk's size line, including extensions."""

MAX_TRAILERS: Final = 65536
"""The maximum bytes of all trailer fields together."""

UNPACKED_AT_ONCE: Final = 262144
"""The maximum bytes that are unpacked at once, since a few bytes may hold gigabytes."""

CUT = "the connection ended before the answer did"
UNPACKED = "the answer cannot be unpacked as its Content-Encoding says"
NOT_HTTP = "the server does not speak HTTP; check the configured url"

_START = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: .*)?")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_NAME = re.compile(r"[!-9;-~]+")
_LENGTH = re.compile(r"[0-9]+")
_SIZE = re.compile(rb"0*[0-9A-Fa-f]{1,16}")
_BODILESS = frozenset({101, 204, 304})
"""Answers with these statuses have no body, even if their fields say so."""
_PACKED = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi"})
"""The content codings with compression; see IANA's registry of HTTP content codings."""
_LONGEST = 10**18
"""The value for a length with more digits, since int() refuses numbers with thousands of digits."""


class Headers(dict[str, str]):
    """The headers of an answer, looked up without regard to case. Values of the same name are joined by commas."""

    def __init__(self, fields: Iterable[Sequence[str]]) -> None:
        super().__init__()
        for name, value in fields:
            key, text = name.lower(), value.strip(" \t")
            self[key] = f"{self[key]}, {text}" if key in self else text

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return super().get(name.lower(), default)


class Response:
    """One response. Call `feed` with the bytes of each read, and `eof` when the connection has ended.

    `status` is 0 before the head has come. While `ready`, `feed` has more to return, or to raise, without further bytes.
    `surplus`: bytes came after the body's end. After these, or if it `will_close`, the connection must not be used again.
    """

    __slots__ = (
        "_body", "_broken", "_coding", "_held", "_inflater", "_is_over", "_left", "_method", "_tail", "_trailers", "ended",
        "headers", "ready", "status", "surplus", "will_close",
    )  # fmt: skip

    def __init__(self, method: str = "POST") -> None:
        self._method = method
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.ready = self.ended = self.surplus = self.will_close = False
        self._body: Callable[[bytes], bytes] = self._counted
        self._held = b""  # bytes that wait for the bytes after them
        self._left = 0  # the missing bytes of the body or the current chunk
        self._trailers: bytearray | None = None
        self._broken: ProtocolError | None = None
        self._coding = ""  # the coding that packs the body; empty for none
        self._inflater: Any = None
        self._tail = b""  # the part of a packed body that waits for the next call
        self._is_over = False  # whether the packed body has ended

    def feed(self, data: bytes = b"") -> bytes:
        """Take the next bytes, or none while `ready`. Return the received bytes of the body; empty before the end of the head."""
        if not self.status:
            self._take_head(self._held + data)
            return b""
        if self.ready:
            self.ready = False
            data, self._held = self._held + data, b""
        return self._unpacked(data) if self._coding else self._body(data)

    def eof(self) -> None:
        """Note that the connection has ended. Raise if the answer was cut."""
        if not self.status:
            raise ProviderConnectionError("the connection ended before an answer came")
        if not self.ended and self._body is not _until_closed:
            raise ProtocolError(CUT)
        self.ended = True

    def _take_head(self, data: bytes) -> None:
        """Read the head, and drop any interim heads before it (RFC 9110, section 15.2)."""
        while True:
            end = _END_OF_HEAD.search(data)
            if not data.startswith(b"HTTP/"[: len(data)]) or (end is None and len(data) > MAX_HEAD):
                raise ProtocolError(NOT_HTTP)
            if end is None:
                self._held = data
                return
            start, *lines = data[: end.start()].decode("iso-8859-1").split("\n")
            found = _START.fullmatch(data, 0, len(start.rstrip("\r")))
            if found is None:
                raise ProtocolError(NOT_HTTP)
            status, data = int(found[2]), data[end.end() :]
            if status >= 200 or status == 101:
                break
        self.headers = Headers(_fields(lines))
        self._begin(status, is_old=found[1] == b"0")
        self.status, self._held = status, self._held + data
        self.surplus, self.ready = self.ended and bool(data), bool(data) and not self.ended

    def _begin(self, status: int, *, is_old: bool) -> None:
        """Find the framing of the body."""
        get, self._held = self.headers.get, b""
        length, coding, connection = get("content-length"), get("transfer-encoding"), get("connection", "").lower()
        self.will_close = "close" in connection or status == 101
        self.will_close = self.will_close or (is_old and "keep-alive" not in connection)
        if self._method == "CONNECT" and 200 <= status < 300:  # a tunnel follows, so the fields do not matter
            self.ended = True
            return
        if coding is not None and coding.lower() not in {"chunked", "identity"}:
            msg = f"the answer has the transfer coding {coding[:50]!r}, which no request allows; check the configured url"
            raise ProtocolError(msg)
        if self._method == "HEAD" or status in _BODILESS:
            self.ended = True
        elif coding is not None and coding.lower() == "chunked":
            # An additional length may be an attempt to smuggle in another answer (RFC 9112, section 6.1).
            self.will_close = self.will_close or length is not None
            # A size line begins with the line break of the chunk before it. This is the line break before the first chunk.
            self._body, self._held = self._unframed, b"\r\n"
        elif length is not None:
            self._left = _checked_length(length)
            self.ended = not self._left
        else:
            self._body, self.will_close = _until_closed, True
        packing = get("content-encoding", "").lower()
        # Some servers compress although the request asked for no compression. Others name a character set here.
        if not self.ended and not _PACKED.isdisjoint(part.strip() for part in packing.split(",")):
            self._coding = packing

    def _counted(self, data: bytes) -> bytes:
        left = self._left = self._left - len(data)
        if left <= 0:
            self.ended, self.surplus = True, left < 0
            return data[:left] if left else data
        return data

    def _unframed(self, data: bytes) -> bytes:
        """Return the data of the chunks that have come."""
        if self._broken is not None:
            raise self._broken
        left, at = self._left, 0
        if self._held:
            data, self._held = self._held + data, b""
        if self._trailers is not None:
            self._skip_trailers(self._trailers, data)
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
            except ProtocolError as error:
                # First return the chunks before the broken chunk; the next call raises.
                self._broken, self.ready = error, True
                break
            at = line_end + 2
            if not left:
                self._trailers = bytearray(b"\r\n")
                self._skip_trailers(self._trailers, data[at:])
                break
        self._left = left
        return found[0] if len(found) == 1 else b"".join(found)

    def _skip_trailers(self, trailers: bytearray, data: bytes) -> None:
        """Read up to the blank line after the last chunk, and drop the fields before it."""
        trailers += data
        end = trailers.find(b"\r\n\r\n")
        if end >= 0:
            self.ended, self.surplus = True, len(trailers) > end + 4
        elif len(trailers) > MAX_TRAILERS:
            raise ProtocolError(f"the trailer is longer than {MAX_TRAILERS} bytes")

    def _unpacked(self, data: bytes) -> bytes:
        """Return a limited number of the next bytes of a packed body. One read may need several calls."""
        packed = self._tail or self._body(data)
        self._is_over = self._is_over or self.ended
        found = self._inflated(packed) if packed else b""
        self.ready = self.ready or bool(self._tail)
        self.ended = self._is_over and not self._tail
        return found

    def _inflated(self, data: bytes) -> bytes:
        if self._coding not in {"gzip", "x-gzip", "deflate"}:  # not raised at the head: a refusal's status says more
            fix = "make the service, or the proxy in front of it, send plain answers or gzip"
            raise ProtocolError(f"the answer has the Content-Encoding {self._coding[:50]!r}, which no request asks for; {fix}")
        if self._inflater is None:
            # gzip; or zlib; or deflate without a head, which some servers send for "deflate".
            self._inflater = zlib.decompressobj(31 if self._coding != "deflate" else 15 if data[0] & 15 == zlib.DEFLATED else -15)
        try:
            found: bytes = self._inflater.decompress(data, UNPACKED_AT_ONCE)
        except zlib.error as error:
            raise ProtocolError(UNPACKED) from error
        self._tail = self._inflater.unconsumed_tail
        if self._inflater.eof and self._inflater.unused_data.startswith(b"\x1f\x8b"):  # another gzip part follows
            self._tail, self._inflater = self._inflater.unused_data, None
        return found


def _until_closed(data: bytes) -> bytes:
    return data


def _fields(lines: Iterable[str]) -> list[list[str]]:
    """Return the names and values of a head. A line that begins with white space continues the line before it."""
    fields: list[list[str]] = []
    for line in lines:
        name, colon, value = line.rstrip("\r").partition(":")
        if colon and _NAME.fullmatch(name) and "\0" not in value:
            fields.append([name, value])
        elif fields and line[:1] in {" ", "\t"}:
            fields[-1][1] += f" {line.strip()}"
        else:
            raise ProtocolError("the answer is not HTTP: a line of its head is not a field; check the configured url")
    return fields


def _checked_length(value: str) -> int:
    values = {part.strip() for part in value.split(",")}
    length = values.pop()
    if values or not _LENGTH.fullmatch(length):
        raise ProtocolError(f"the answer has the length {value[:50]!r}; check the configured url")
    return int(length) if len(length) < len(str(_LONGEST)) else _LONGEST


def _checked_start(data: bytes) -> bytes:
    """Return the bytes if they may begin a size line, else raise `ProtocolError`."""
    if not b"\r\n".startswith(data[:2]) or len(data) > MAX_SIZE_LINE:
        raise ProtocolError(f"a chunk of the answer is followed by {data[:20]!r}")
    return data


def _size(line: bytes) -> int:
    """Return the size that a size line gives. Extensions are ignored."""
    if not line.isalnum():
        line = line.partition(b";")[0].strip(b" \t")
    if _SIZE.fullmatch(line):  # int() also accepts signs, underscores and the prefix 0x
        return int(line, 16)
    raise ProtocolError(f"a chunk of the answer has the size {line[:20]!r}")
