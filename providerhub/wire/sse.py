"""Server-sent events: an incremental decoder that takes bytes and returns events, and does no I/O itself.

It follows the WHATWG HTML standard, "Server-sent events", sections "Parsing" and "Interpreting an event stream": UTF-8 with
invalid bytes replaced by U+FFFD, one leading byte order mark dropped, lines that end at LF, CR or CRLF, comments,
`field: value` with one leading space removed, several `data` lines joined by LF, a blank line that dispatches. Three rules
differ, because here the stream is an answer and not a subscription:

- `data: [DONE]` as the first data line of an event, with or without blanks around the word, ends the stream at once, without a
  blank line. The decoder ignores the bytes after it.
- An event whose data is empty is ignored.
- A line, an event and the whole stream have limits, so that a broken server cannot fill the memory.

`SSEDecoder.feed` returns payloads, for protocols that use only the data (OpenAI's). `SSEDecoder.feed_events` returns
`ServerSentEvent` objects, for protocols that name their events (Anthropic's). The decoder splits an ordinary buffer (whole
events of one `data: ` line each) with a few calls of `bytes.split` and similar methods. It reads any other buffer line by line.
Both ways give the same events, and take time in proportion to the input, however it is cut.
"""

from __future__ import annotations

import sys
from typing import Final, NamedTuple, Protocol

from providerhub.wire._framing import EXCERPT, MAX_LINE, Framing

MAX_EVENT: Final = 64 * 1024 * 1024
"""Default limit of one event's data, in bytes, the LFs between its lines included."""

MAX_STREAM: Final = 64 * 1024 * 1024
"""Default limit of the whole stream, in bytes."""

_BOM = b"\xef\xbb\xbf"
_CR, _LF, _COLON, _OPEN = b"\r\n:{"
_PREFIX = b"data: "
_OBJECT = b"data: {"
_NAME = b"event: "
# Input is cut into slices of this many bytes, so that lists of lines stay small however much the caller feeds.
_SLICE = 64 * 1024
# Below this many bytes, searching for several ordinary events costs more than it saves.
_SMALL = 512
# Above this many bytes, checking first for a single ordinary event costs more than it saves.
_SINGLE = 1024
# Lines of an ordinary event: its data and the blank one.
_ORDINARY_LINES = 2
# No sensible number of milliseconds has more digits; int() raises for some thousands of them.
_RETRY_DIGITS = 15


class SSELimitError(ValueError):
    """The stream is longer than a limit of the decoder. Nothing more can be read from it.

    Attributes:
        limit: The limit: `"line"`, `"event"` or `"stream"`.
        maximum: Its value in bytes.
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
        event: The event's type; `"message"` if the stream names none.
        id: The last event id that the stream gave before the event's end; `""` if it gave none.
        retry: The last reconnection time that the stream gave, in milliseconds; `None` if it gave none.
    """

    data: bytes
    event: str = "message"
    id: str = ""
    retry: int | None = None

    @property
    def text(self) -> str:
        """Return the payload as text."""
        return self.data.decode()


class _Sink(Protocol):
    """Collects dispatched events."""

    def plain(self, payloads: list[bytes], last_id: str, retry: int | None) -> None: ...

    def named(self, data: bytes, event: str, last_id: str, retry: int | None) -> None: ...


class ErrorData(bytes):
    """The data of an event of type `error`. It is an error, even if its shape is not that of one."""


class _Payloads(list[bytes]):
    """Collects the data of events."""

    def plain(self, payloads: list[bytes], _last_id: str, _retry: int | None) -> None:
        self += payloads

    def named(self, data: bytes, event: str, _last_id: str, _retry: int | None) -> None:
        self.append(ErrorData(data) if event == "error" else data)


class _Events(list[ServerSentEvent]):
    """Collects whole events."""

    def plain(self, payloads: list[bytes], last_id: str, retry: int | None) -> None:
        self += [ServerSentEvent(data, "message", last_id, retry) for data in payloads]

    def named(self, data: bytes, event: str, last_id: str, retry: int | None) -> None:
        self.append(ServerSentEvent(data, event, last_id, retry))


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

    `feed` and `feed_events` may be mixed. Each returns the events that its bytes complete. The events do not depend on how the
    input is cut into pieces.

    When the stream breaks a limit, the events that were complete before are still returned. The call raises if there are none;
    otherwise the next call raises, `finish` included.

    Args:
        max_line: Limit of one line in bytes, its ending not counted; default `MAX_LINE`, at least 1, `None` for no limit.
        max_event: Limit of one event's data in bytes; default `MAX_EVENT`, at least 1, `None` for no limit.
        max_stream: Limit of the whole stream in bytes; default `MAX_STREAM`, at least 1, `None` for no limit.
        sentinel: The data that ends the stream; default `[DONE]`. It is never returned as a payload. `None` for a protocol that
            has no sentinel.

    Attributes:
        done: The sentinel has come. The decoder ignores all further bytes.
        stray: The first lines that are neither a comment nor a field of the standard, joined by LF, at most `EXCERPT` bytes.
            Servers write bare error messages, HTML or JSON there. Events ignore such lines, as the standard does.

    Raises:
        ValueError: A limit is below 1.
    """

    __module__ = "providerhub.wire"

    __slots__ = (
        "_clean", "_error", "_event", "_finished", "_first", "_head", "_id", "_left", "_max_event", "_max_line", "_max_stream",
        "_ordinary_max", "_partial", "_plain", "_rest", "_retry", "_sentinel", "_single_max", "_skip_lf", "done", "stray",
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
        # Data that begins with this byte is not the sentinel.
        self._plain = -1 if sentinel and sentinel.startswith(b"{") else _OPEN
        self._max_line = _checked("max_line", max_line)
        self._max_event = _checked("max_event", max_event)
        self._max_stream = _checked("max_stream", max_stream)
        # A block of at most this many bytes cannot break the limit of a line or of an event.
        self._ordinary_max = min(self._max_line, self._max_event)
        self._single_max = min(self._ordinary_max, _SINGLE) if self._plain == _OPEN else 0
        self._left = self._max_stream  # bytes left of the stream's limit
        self._sentinel = sentinel
        self.done = False
        self.stray = b""
        self._error: SSELimitError | None = None
        self._finished = False
        self._clean = False  # nothing is pending: the next byte starts an event's first line
        self._head: bytes | None = b""  # the first bytes, while they may begin a byte order mark; then None
        self._skip_lf = False  # the last byte was a CR: a LF that follows belongs to it
        self._partial = bytearray()  # the beginning of a line
        self._first: bytes | None = None  # the current event's first data line ...
        self._rest = bytearray()  # ... and the others, each behind its LF
        self._event = b""
        self._id = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return payloads.

        Args:
            chunk: Bytes as they came from the transport, decompressed; may be empty.

        Returns:
            The data of each event, as valid UTF-8. The data of an event of type `error` is an `ErrorData`.

        Raises:
            SSELimitError: The stream has broken a limit, in this call or before.
            RuntimeError: `finish` was called before.
        """
        # The most frequent case, one ordinary event in a piece of its own, without further calls. bytes, unlike str, are split at
        # CR, LF and CRLF only. A CR at the end may be half of a CRLF; its LF then counts as one more blank line, which changes
        # nothing.
        if self._clean and (size := len(chunk)) <= self._single_max and size <= self._left:
            lines = chunk.splitlines()
            if len(lines) == _ORDINARY_LINES:
                line, blank = lines
                if not blank and line.startswith(_OBJECT):
                    self._left -= size
                    return [line[6:] if line.isascii() else _valid(line[6:])]
        out = _Payloads()
        self._take(chunk, out)
        if self._error is not None and not out:
            raise self._error.with_traceback(None)
        return out

    def feed_events(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes, and return events with their type, id and reconnection time; see `Framing.feed_events`."""
        out = _Events()
        self._take(chunk, out)
        if self._error is not None and not out:
            raise self._error.with_traceback(None)
        return out

    def finish(self) -> bytes:
        """End the input. An incomplete event is dropped; a last `[DONE]` still counts. A second call returns the same.

        Returns:
            The incomplete line or event, at most `EXCERPT` bytes, for an error message; empty if the input ended between events.

        Raises:
            SSELimitError: The stream has broken a limit.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        self._finished = True
        self._clean = False
        line = bytes(self._partial) or self._head or b""
        if self._first is None and self._ends(_data_value(line) or b""):
            self._stop()
            self.done = True
        if self.done:
            return b""
        named = b"event: " + self._event if self._event else b""
        data = (self._first or b"") + self._rest[:EXCERPT]
        return _valid(b"\n".join(part for part in (named, data, line) if part)[:EXCERPT])

    def _take(self, chunk: bytes, out: _Sink) -> None:
        """Decode a piece of any size, and keep the error if it breaks a limit."""
        if self._finished:
            message = "feed() after finish(): make a new decoder for a new stream"
            raise RuntimeError(message)
        if self.done or self._error is not None:
            return
        try:
            self._take_allowed(chunk, out)
        except SSELimitError as error:
            self._stop()
            self._error = error
        self._clean = self._idle()

    def _take_allowed(self, chunk: bytes, out: _Sink) -> None:
        allowed = chunk[: self._left]
        self._left -= len(allowed)
        for start in range(0, len(allowed), _SLICE):
            self._take_slice(allowed[start : start + _SLICE], out)
        if len(allowed) < len(chunk) and not self.done:
            raise SSELimitError("stream", self._max_stream)

    def _take_slice(self, piece: bytes, out: _Sink) -> None:
        """Decode a slice: the rest of a begun event by line, then ordinary events at once, then the tail by line."""
        if self._skip_lf or self._head is not None:
            piece = self._past_prefix(piece)
        # The middle of a long line is not searched for blank lines: a search for two bytes costs far more than one for one byte.
        if len(piece) < _SMALL or (_LF not in piece and _CR not in piece):
            self._by_line(piece, out)
            return
        blank = b"\r\n\r\n" if _CR in piece else b"\n\n"
        start = 0
        if not self._idle():
            start = _behind(piece.find(blank), blank, len(piece))
            self._by_line(piece[:start], out)
        end = _behind(piece.rfind(blank, start), blank, start)
        if not (end > start and self._idle() and self._took_ordinary(piece[start:end], blank, out)):
            end = start
        self._by_line(piece[end:], out)

    def _past_prefix(self, piece: bytes) -> bytes:
        """Drop a leading byte order mark, and the LF of a CRLF that was cut in two."""
        if self._head is not None:
            piece = self._head + piece
            if len(piece) < len(_BOM) and _BOM.startswith(piece):
                self._head = piece
                return b""
            self._head = None
            piece = piece.removeprefix(_BOM)
        if self._skip_lf and piece:
            self._skip_lf = False
            if piece[0] == _LF:
                return piece[1:]
        return piece

    def _took_ordinary(self, block: bytes, blank: bytes, out: _Sink) -> bool:
        """Take a block that ends with a blank line, if each of its events is ordinary; return whether it did."""
        if len(block) > self._ordinary_max:
            return False
        if block.startswith(_PREFIX):
            payloads = self._ordinary(_valid(block), blank)
            out.plain(payloads or [], self._id, self._retry)
            return payloads is not None
        named = self._ordinary_named(_valid(block)) if block.startswith(_NAME) and _CR not in blank else None
        for name, payload in named or ():
            out.named(payload, name.decode() or "message", self._id, self._retry)
        return named is not None

    def _ordinary_named(self, block: bytes) -> list[tuple[bytes, bytes]] | None:
        """Split a block, if each event in it is one `event: ` line and one `data: ` line; otherwise return `None`."""
        found = []
        for event in block[:-2].split(b"\n\n"):
            name, _, data = event.partition(b"\n")
            payload = data[len(_PREFIX) :]
            ordinary = name.startswith(_NAME) and data.startswith(_PREFIX) and payload and b"\n" not in payload
            if not ordinary or (payload[0] != self._plain and self._ends(payload)):
                return None
            found.append((name[len(_NAME) :], payload))
        return found

    def _ordinary(self, block: bytes, blank: bytes) -> list[bytes] | None:
        """Split a block that ends with a blank line, if each event in it is one `data: ` line; otherwise return `None`."""
        payloads = block[len(_PREFIX) : -len(blank)].split(blank + _PREFIX)
        has_cr, plain = _CR in blank, self._plain
        for number, payload in enumerate(payloads):
            if not payload or _LF in payload or (has_cr and _CR in payload):
                return None
            # The mark stands in the last read of most streams, which must not be read line by line for it.
            if payload[0] != plain and self._ends(payload):
                del payloads[number:]
                self._stop()
                self.done = True
                break
        return payloads

    def _by_line(self, piece: bytes, out: _Sink) -> None:
        """Decode anything, line by line."""
        if not piece or self.done:
            return
        for line in self._lines(piece):
            if len(line) > self._max_line:
                raise SSELimitError("line", self._max_line)
            if line:
                self._take_line(line)
            else:
                self._dispatch(out)
            if self.done:
                return  # type: ignore[unreachable]  # mypy does not see that the calls above set it
        if len(self._partial) > self._max_line:
            raise SSELimitError("line", self._max_line)

    def _lines(self, piece: bytes) -> list[bytes]:
        """Give the lines that are complete now, without their ends; keep the beginning of the next one."""
        if _CR in piece:
            self._skip_lf = piece[-1] == _CR
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if _LF not in piece:
            self._partial += piece  # when nothing is found, `in` is many times as fast as `split`
            return []
        lines = piece.split(b"\n")
        tail = lines.pop()
        if lines and self._partial:
            self._partial += lines[0]
            lines[0] = bytes(self._partial)
            self._partial = bytearray()
        self._partial += tail
        return lines

    def _take_line(self, line: bytes) -> None:
        """Interpret one line that is not blank."""
        data = _data_value(line)
        if data is not None:
            self._add_data(data)
        elif line[0] != _COLON:
            name, _, value = line.partition(b":")
            self._take_field(name, value.removeprefix(b" "), line)

    def _take_field(self, name: bytes, value: bytes, line: bytes) -> None:
        """Interpret a field other than `data`."""
        if name == b"event":
            self._event = value
        elif name == b"id":
            if 0 not in value:  # the standard ignores an id that contains U+0000
                self._id = value.decode(errors="replace")
        elif name == b"retry":
            if value.isdigit() and len(value) <= _RETRY_DIGITS:
                self._retry = int(value)
        elif len(self.stray) < EXCERPT:
            self.stray = _valid(self.stray + (b"\n" if self.stray else b"") + line[:EXCERPT])[:EXCERPT]

    def _add_data(self, value: bytes) -> None:
        """Add one data line to the current event."""
        if self._first is None:
            if self._ends(value):
                self._stop()
                self.done = True
                return
            self._first = value
        else:
            self._rest += b"\n"
            self._rest += value
        if len(self._first) + len(self._rest) > self._max_event:
            raise SSELimitError("event", self._max_event)

    def _ends(self, value: bytes) -> bool:
        """Return whether the first data of an event is the sentinel. Some servers put blanks around it."""
        return bool(self._sentinel) and value.strip() == self._sentinel

    def _dispatch(self, out: _Sink) -> None:
        """Dispatch the current event if it has data, and begin the next one."""
        data = self._first or b""
        if self._rest:
            data += self._rest
        if data:
            event = self._event.decode(errors="replace") or "message"
            out.named(_valid(data), event, self._id, self._retry)
        self._begin()

    def _begin(self) -> None:
        """Reset the current event. The last id and the reconnection time stay."""
        self._first = None
        self._event = b""
        if self._rest:
            self._rest = bytearray()

    def _stop(self) -> None:
        """Drop all pending input, since nothing more is read."""
        self._begin()
        self._head = None
        self._skip_lf = False
        self._partial = bytearray()

    def _idle(self) -> bool:
        """Return whether the next byte begins the first line of an event."""
        return not (
            self._partial
            or self._first is not None
            or self._event
            or self._skip_lf
            or self._head is not None
            or self.done
            or self._error is not None
        )


def _checked(name: str, maximum: int | None) -> int:
    """Check a limit, and replace `None` by a number that no stream reaches."""
    if maximum is None:
        return sys.maxsize
    if maximum < 1:
        message = f"{name} must be at least 1 byte, or None for no limit, not {maximum!r}"
        raise ValueError(message)
    return maximum


def _behind(index: int, found: bytes, otherwise: int) -> int:
    """Return the index after `found` at `index`; `otherwise` if `find` has returned -1."""
    return otherwise if index < 0 else index + len(found)


def _data_value(line: bytes) -> bytes | None:
    """Return the value of a `data` line; `None` for any other line."""
    if line.startswith(_PREFIX):
        return line[6:]  # in one step, since each cut copies a long line
    if line.startswith(b"data:"):
        return line[5:]
    return b"" if line == b"data" else None
