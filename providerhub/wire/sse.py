"""Server-sent events: an incremental decoder from bytes to events, without I/O.

It follows the WHATWG HTML standard, "Server-sent events", sections "Parsing" and "Interpreting an event stream": UTF-8 with
invalid bytes replaced by U+FFFD, one leading byte order mark dropped, lines that end at LF, CR or CRLF, comments,
`field: value` with one leading space removed, several `data` lines joined by LF, a blank line that dispatches. Three rules
differ, because the stream is an answer, not a subscription:

- `data: [DONE]` as the first data line of an event, with or without blanks around the word, ends the stream at once, even without
  a blank line. The decoder ignores the bytes after it.
- An event whose data is empty is ignored.
- A line, an event and the whole stream have limits, so that a broken server cannot fill the memory.

`SSEDecoder.feed` returns payloads, for protocols that use only the data (OpenAI's). `SSEDecoder.feed_events` returns
`ServerSentEvent` objects, for protocols that name their events (Anthropic's). The decoder splits an ordinary buffer (whole
events of one `data: ` line each) at once. It reads any other buffer line by line. Both ways
give the same events, and take time in proportion to the input, however it is cut.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from providerhub.wire._framing import EXCERPT, MAX_LINE, Framing

MAX_EVENT: Final = 64 * 1024 * 1024
"""Default limit of one event's data, in bytes, including the LFs between its lines."""

MAX_STREAM: Final = 64 * 1024 * 1024
"""Default limit of the whole stream, in bytes."""

_BOM = b"\xef\xbb\xbf"
_OBJECT = b"data: {"
_LF, _OPEN = b"\n{"
_PREFIX = b"data: "
_NAMED = re.compile(rb"^event: (.*)\ndata: (.+)\n\n", re.MULTILINE)
"""One event of a name and a line of data. It begins a line, so that a line of many beginnings is not searched from each."""
_SLICE = 64 * 1024
"""Bytes of input that are split at once, so that lists of lines stay small however much the caller feeds."""
_SINGLE = 1024
"""Bytes. In a larger piece, checking first for a single ordinary event costs more than it saves."""
_SMALL = 512
"""Bytes. In a smaller piece, searching for several ordinary events costs more than it saves."""
_RETRY_DIGITS = 15
"""No sensible number of milliseconds has more digits; int() raises for some thousands of them."""


class SSELimitError(ValueError):
    """The stream is longer than a limit of the decoder. No more can be read from this stream.

    Attributes:
        limit: The limit: `"line"`, `"event"` or `"stream"`.
        maximum: The value of the limit in bytes.
    """

    __module__ = "providerhub.wire"

    def __init__(self, limit: str, maximum: int) -> None:
        # Both go to the base class, so that the error pickles and copies.
        super().__init__(limit, maximum)
        self.limit = limit
        self.maximum = maximum

    def __str__(self) -> str:
        """Return a sentence that names the limit and its value."""
        return f"server-sent events: a {self.limit} is longer than its limit of {self.maximum:,} bytes"


class ServerSentEvent(NamedTuple):
    """One event. A tuple is made in a third of the time of another object.

    Args:
        data: The payload, valid UTF-8, never empty. Several `data` lines are joined by LF.
        event: The event's type; `"message"` if the stream names no type.
        id: The last event id before the event's end; `""` without an id.
        retry: The last reconnection time, in milliseconds; `None` without a time.
    """

    data: bytes
    event: str = "message"
    id: str = ""
    retry: int | None = None

    @property
    def text(self) -> str:
        """Return the payload as text."""
        return self.data.decode()


class ErrorData(bytes):
    """The data of an event of type `error`. It is an error in any shape."""


def _payload(data: bytes, name: str) -> bytes:
    return ErrorData(data) if name == "error" else data


_Make = Callable[[bytes, str], object]


def _valid(raw: bytes) -> bytes:
    """Return the bytes with invalid UTF-8 replaced by U+FFFD; the same object if they are valid."""
    if raw.isascii():
        return raw
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="replace").encode()
    return raw


class SSEDecoder(Framing):
    """Decodes one stream of server-sent events, fed in pieces of any size.

    `feed` and `feed_events` may be mixed. Each returns the events that its bytes complete. The cuts between the pieces do not
    change the events.

    When the stream exceeds a limit, earlier complete events are still returned, and the next call (also `finish`) raises. Without
    such events, the call itself raises.

    Args:
        max_line: Limit of one line in bytes, without its ending; default `MAX_LINE`, at least 1, `None` for no limit.
        max_event: Limit of one event's data in bytes; default `MAX_EVENT`, at least 1, `None` for no limit.
        max_stream: Limit of the whole stream in bytes; default `MAX_STREAM`, at least 1, `None` for no limit.
        sentinel: The data that ends the stream; default `[DONE]`. It is never returned as a payload. `None` for a protocol
            without a sentinel.

    Attributes:
        done: Whether the sentinel has come. The decoder ignores all further bytes.
        stray: The first lines that are not a comment or a field of the standard, joined by LF, at most `EXCERPT` bytes. Some
            servers write error messages, HTML or JSON there. The decoder ignores such lines, as the standard says.

    Raises:
        ValueError: A limit is below 1.
    """

    __module__ = "providerhub.wire"

    __slots__ = (
        "_clean", "_data", "_error", "_event", "_finished", "_head", "_id", "_left", "_max_event", "_max_line", "_max_stream",
        "_partial", "_plain_sign", "_retry", "_sentinel", "_single_max", "_skip_lf", "done", "stray",
    )  # fmt: skip

    content_type = "event-stream"
    tail = b"\n\n"  # the last event may lack its blank line

    @staticmethod
    def is_whole(begin: bytes) -> bool:
        """Return whether an answer is one object in place of a stream; see `Framing.is_whole`."""
        return begin.startswith((b"{", b"["))

    def __init__(
        self,
        *,
        max_line: int | None = MAX_LINE,
        max_event: int | None = MAX_EVENT,
        max_stream: int | None = MAX_STREAM,
        sentinel: bytes | None = b"[DONE]",
    ) -> None:
        self._max_line = _checked("max_line", max_line)
        self._max_event = _checked("max_event", max_event)
        self._max_stream = _checked("max_stream", max_stream)
        self._sentinel = sentinel
        # Data that begins with this byte is not the sentinel.
        self._plain_sign = -1 if sentinel and sentinel.startswith(b"{") else _OPEN
        self._single_max = min(self._max_line, self._max_event, _SINGLE) if self._plain_sign == _OPEN else 0
        self._left = self._max_stream  # bytes left of the stream's limit
        self.done = False
        self.stray = b""
        self._error: SSELimitError | None = None
        self._finished = False
        self._clean = False  # nothing is pending: the next byte starts an event's first line
        self._head: bytes | None = b""  # the first bytes, while they may begin a byte order mark; then None
        self._skip_lf = False  # the last byte was a CR: a LF that follows belongs to it
        self._partial = bytearray()  # the beginning of a line
        self._data: bytearray | None = None  # the data of the current event; `None` before its first line of data
        self._event = b""
        self._id = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return payloads.

        Args:
            chunk: Bytes from the transport, decompressed; may be empty.

        Returns:
            The data of each event, as valid UTF-8. The data of an event of type `error` is an `ErrorData`.

        Raises:
            SSELimitError: The stream has exceeded a limit, in this call or before.
            RuntimeError: `finish` was called before.
        """
        # The most frequent case: the piece is one ordinary event. It needs no further calls.
        if self._clean and 0 < (size := len(chunk)) <= self._single_max and size <= self._left:
            # A CR at the end may be half of a CRLF; its LF then counts as one more blank line, which changes nothing.
            lines = chunk.splitlines()
            if len(lines) == 2 and not lines[1] and lines[0].startswith(_OBJECT):
                self._left -= size
                return [_valid(lines[0][6:])]
        return self._take(chunk, _payload)

    def feed_events(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes, and return events with their type, id and reconnection time; see `Framing.feed_events`."""
        return self._take(chunk, lambda data, name: ServerSentEvent(data, name, self._id, self._retry))

    def finish(self) -> bytes:
        """End the input. An incomplete event is dropped; a last `[DONE]` still counts. A second call returns the same value.

        Returns:
            The incomplete line or event, at most `EXCERPT` bytes, for an error message; empty if the input ended between events.

        Raises:
            SSELimitError: The stream has exceeded a limit.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        self._finished = True
        self._clean = False
        line = bytes(self._partial) or self._head or b""
        name, _, value = line.partition(b":")
        if self._data is None and name == b"data" and self._ends(value):
            self._stop(done=True)
        if self.done:
            return b""
        named = b"event: " + self._event if self._event else b""
        return _valid(b"\n".join(part for part in (named, (self._data or b"")[:EXCERPT], line) if part)[:EXCERPT])

    def _take(self, chunk: bytes, make: _Make) -> list[Any]:
        """Decode a piece of any size, and keep the error if it breaks a limit. `make` makes the returned value of an event."""
        if self._finished:
            raise RuntimeError("feed() after finish(): make a new decoder for a new stream")
        out: list[Any] = []
        if not self.done and self._error is None:
            allowed = chunk[: self._left]
            self._left -= len(allowed)
            data = self._with_lfs(allowed)
            try:
                for start in range(0, len(data), _SLICE):
                    self._take_slice(data[start : start + _SLICE], out, make)
            except SSELimitError as error:
                self._error = error
            if len(allowed) < len(chunk) and not self.done:
                self._error = self._error or SSELimitError("stream", self._max_stream)
            if self._error is not None:
                self._stop()
            self._clean = self._idle()
        if self._error is not None and not out:
            raise self._error.with_traceback(None)
        return out

    def _with_lfs(self, data: bytes) -> bytes:
        """Return the bytes without a leading byte order mark, and with a LF at the end of each line."""
        if self._head is not None:
            data = self._head + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._head = data
                return b""
            self._head = None
            data = data.removeprefix(_BOM)
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _take_slice(self, piece: bytes, out: list[Any], make: _Make) -> None:
        """Decode a slice: the rest of a begun event by line, then ordinary events at once, then the tail by line."""
        # The middle of a long line is not searched for blank lines: searching for two bytes costs far more than for one byte.
        if len(piece) >= _SMALL and _LF in piece:
            if not self._idle():
                begun, blank, piece = piece.partition(b"\n\n")
                self._by_line(begun + blank, out, make)
            end = piece.rfind(b"\n\n") + 2
            if 2 < end <= min(self._max_line, self._max_event) and self._idle() and self._took(_valid(piece[:end]), out, make):
                piece = piece[end:]
        self._by_line(piece, out, make)

    def _took(self, block: bytes, out: list[Any], make: _Make) -> bool:
        """Take a block that ends with a blank line, if each of its events is ordinary; return whether it did."""
        names: list[bytes] = []
        if block.startswith(_PREFIX):
            payloads = block[len(_PREFIX) : -2].split(b"\n\n" + _PREFIX)
        else:
            parts: list[bytes] = _NAMED.split(block)
            if any(parts[::3]):
                return False
            names, payloads = parts[1::3], parts[2::3]
        plain = self._plain_sign
        for number, payload in enumerate(payloads):
            if not payload or _LF in payload:
                return False
            # The last read of most streams has the mark, and must not be read line by line because of it.
            if payload[0] != plain and self._ends(payload):
                del payloads[number:]
                self._stop(done=True)
                break
        if names:
            out += [make(payload, name.decode() or "message") for name, payload in zip(names, payloads, strict=False)]
        else:
            out += payloads if make is _payload else [make(payload, "message") for payload in payloads]
        return True

    def _by_line(self, piece: bytes, out: list[Any], make: _Make) -> None:
        if not piece or self.done:
            return
        lines = piece.split(b"\n") if _LF in piece else [piece]  # if there is no LF, `in` is many times as fast as `split`
        tail = lines.pop()
        if lines and self._partial:
            self._partial += lines[0]
            lines[0] = bytes(self._partial)
            self._partial = bytearray()
        self._partial += tail
        for line in lines:
            if len(line) > self._max_line:
                raise SSELimitError("line", self._max_line)
            if line:
                self._take_line(line)
                if self.done:
                    return  # type: ignore[unreachable]  # mypy does not see that the call above sets it
                continue
            if self._data:
                out.append(make(_valid(bytes(self._data)), self._event.decode(errors="replace") or "message"))
            self._data, self._event = None, b""
        if len(self._partial) > self._max_line:
            raise SSELimitError("line", self._max_line)

    def _take_line(self, line: bytes) -> None:
        """Interpret one line that is not blank. A comment is a field without a name."""
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add_data(value)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if 0 not in value:  # the standard ignores an id that contains U+0000
                self._id = value.decode(errors="replace")
        elif name == b"retry":
            if value.isdigit() and len(value) <= _RETRY_DIGITS:
                self._retry = int(value)
        elif name and len(self.stray) < EXCERPT:
            self.stray = _valid(self.stray + (b"\n" if self.stray else b"") + line[:EXCERPT])[:EXCERPT]

    def _add_data(self, value: bytes) -> None:
        if self._data is not None:
            self._data += b"\n"
            self._data += value
        elif self._ends(value):
            self._stop(done=True)
            return
        else:
            self._data = bytearray(value)
        if len(self._data) > self._max_event:
            raise SSELimitError("event", self._max_event)

    def _ends(self, value: bytes) -> bool:
        """Return whether the first data of an event is the sentinel. Some servers put blanks around it."""
        return bool(self._sentinel) and value.strip() == self._sentinel

    def _stop(self, *, done: bool = False) -> None:
        """Drop all pending input, since nothing more is read."""
        self._data, self._event, self._head, self._skip_lf, self._partial = None, b"", None, False, bytearray()
        self.done = done

    def _idle(self) -> bool:
        """Return whether the next byte begins the first line of an event."""
        pending = self._partial or self._data is not None or self._event or self._skip_lf or self._head is not None
        return not (pending or self.done or self._error is not None)


def _checked(name: str, maximum: int | None) -> int:
    """Check a limit, and replace `None` by an unreachable number."""
    if maximum is None:
        return sys.maxsize
    if maximum < 1:
        raise ValueError(f"{name} must be at least 1 byte, or None for no limit, not {maximum!r}")
    return maximum
