"""Reads one answer from bytes to pieces, without I/O, so that every transport can use it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import GeneratorType
from typing import Any

from providerhub._rules.status import error_from_status
from providerhub._values import Finish
from providerhub._values.errors import EXCERPT_LIMIT, EmptyAnswerError, PluginError, ProtocolError, ProviderError
from providerhub._values.provider import CallContext, Piece
from providerhub.wire._framing import Framing
from providerhub.wire._halves import Halves
from providerhub.wire._json import parse, prepare_stream
from providerhub.wire.json_frames import BLANK
from providerhub.wire.sse import SSEDecoder

_EARLY = 65536
"""Bytes. A whole answer up to this size is parsed before its end, since a service may leave the connection open after an
error."""

_PATIENCE = 16
"""The objects that are parsed before a faster parser is imported. The import takes as long as some 500 of them."""

_KEPT_BLANK = 16
"""The kept bytes of white space before an answer."""

_BACKSLASH = 0x5C
_FIRST_HALF = re.compile(rb"\\u[dD][89abAB]").search
"""Finds the escape of the first half of a character. JSON writes characters above U+FFFF as two escapes."""


class Reading:
    """Reads one answer. The toolkit makes a new object for each answer and calls `feed` for each read, then `end`.

    Attributes:
        done: Whether the protocol's end mark has come, so that no more bytes need to be read.
        surplus: Whether bytes came after the end mark. They are ignored, and the connection is not used again.
        linger: Seconds to wait for more bytes after a complete answer, which then ends without a failure. `None`, the default,
            while the ordinary timeouts hold.
    """

    __module__ = "providerhub.wire"

    done: bool = False
    surplus: bool = False
    linger: float | None = None

    def feed(self, data: bytes) -> Iterable[Piece]:
        """Take the next bytes. The caller exhausts the result before the next call.

        Args:
            data: Bytes from the transport; not empty.

        Returns:
            The complete pieces, such as a generator of pieces.

        Raises:
            ProviderError: The answer contains an error, or cannot be read.
        """
        del data
        raise self._missing("feed")

    def end(self) -> Iterable[Piece]:
        """End the input. Called once, after the last bytes or after `done`.

        Returns:
            The remaining pieces.

        Raises:
            ProviderError: The answer was cut.
        """
        raise self._missing("end")

    def _missing(self, method: str) -> PluginError:
        return PluginError(f"{type(self).__qualname__}: the method {method}() is missing; write it as Reading.{method} says")


class JsonReading(Reading):
    """Reads an answer of JSON objects, in frames or as one object.

    The first character of an answer decides whether it is a stream or one object. Services may send an object in place of a
    stream, or a stream in place of an object, often with the wrong content type. A subclass writes `event`, and `whole` if an
    answer without streaming has another shape. It yields `Finish` when the service sends the reason, and sets `done` after the
    end mark. A stream without both was cut.

    Args:
        call: The call, for notes about oddities.
        headers: The headers of the answer.

    Attributes:
        call: The call.
    """

    __module__ = "providerhub.wire"

    frames: Callable[[], Framing] = SSEDecoder
    """Makes the framing of a stream: a class such as `SSEDecoder`, `LineDecoder` or `ArrayDecoder`."""

    trailing: float | None = None
    """Seconds to wait for data after `Finish`, in a protocol without an end mark. `None`, the default: wait for the end mark or
    the connection's end."""

    refusal: Callable[[bytes], ProviderError] | None = None
    """Makes the error from an error object, passed as JSON; by default the `refusal` of the `WireProvider`."""

    def __init__(self, call: CallContext, headers: Mapping[str, str]) -> None:
        self.call = call
        self._kind = headers.get("content-type", "").lower()
        frames: object = self.frames
        if not callable(frames):
            msg = f"{type(self).__qualname__}: frames is {frames!r}; name a class of framing itself, such as LineDecoder"
            raise PluginError(msg)
        self._framing = self.frames()
        self._begin: bytes | None = b""  # the first bytes, until they show the form of the answer; then None
        self._whole: bytearray | None = None
        self._object: dict[str, Any] | None = None  # the whole answer, parsed before its end
        self._any_event = self._finished = False
        self._seen = 0  # the number of parsed objects
        self._halves = Halves()

    def event(self, data: dict[str, Any], name: str) -> Iterable[Piece]:
        """Read one frame of a stream.

        Args:
            data: The parsed object; not an error.
            name: The frame's name; empty if the framing has no names.

        Returns:
            The pieces of the frame, such as a generator of pieces.

        Raises:
            ProviderError: The frame cannot be read.
            PluginError: The subclass has no `event`.
        """
        del data, name
        msg = f"{type(self).__qualname__}: the method event() is missing; write it, so that it yields the pieces of a frame"
        raise PluginError(msg)

    def whole(self, data: dict[str, Any]) -> Iterable[Piece]:
        """Read an answer that is one object. The default reads it as the only frame of a stream, with `Finish`.

        Args:
            data: The parsed object; not an error.

        Returns:
            The pieces of the answer.

        Raises:
            ProviderError: The object is not an answer.
        """
        return self.event(data, "")

    def refuse(self, data: dict[str, Any], name: str) -> None:
        """Raise an error if an object is an error: a field `error`, the type `error`, or only a message.

        Args:
            data: The object of a frame, or the whole answer.
            name: The frame's name. An object in a frame with the name `error` is an error.

        Raises:
            ProviderError: The object is an error. Its content decides the class.
        """
        bare = (type(data.get("message")) is str or type(data.get("detail")) is str) and not any(
            isinstance(value, list | dict) for value in data.values()
        )
        if bare or name == "error" or data.get("error") or data.get("type") == "error" or data.get("object") == "error":
            raise self.failure(data)

    def failure(self, said: Mapping[str, Any] | bytes) -> ProviderError:
        """Return the error for an error object in an answer, with the class that the provider gives to a refusal.

        Args:
            said: The object, or its JSON.

        Returns:
            The error.
        """
        if self.refusal is None:
            return error_from_status(200, {}, said)
        return self.refusal(said if isinstance(said, bytes) else json.dumps(said).encode())

    def refuse_first(self, data: bytes, name: str = "") -> None:
        """Raise an error if the data begin with a whole error object. Bytes after the object may have come in the same read.

        Args:
            data: Bytes that begin with JSON, possibly incomplete. Some services put the object into a list.
            name: As for `refuse`.

        Raises:
            ProviderError: The object is an error.
        """
        try:
            first, _ = json.JSONDecoder().raw_decode(data.decode("utf-8", "replace").lstrip())
        except (ValueError, RecursionError):
            return
        if isinstance(first, list) and first:
            first = first[0]
        if isinstance(first, dict):
            self.refuse(first, name)

    def oddity(self, data: bytes) -> ProviderError | None:
        """Return the error for a text that is not JSON. The default returns `None`.

        Args:
            data: The text that is not JSON.

        Returns:
            The error to raise; `None` for a `ProtocolError`.
        """
        del data
        return None

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Take the next bytes; see `Reading.feed`."""
        data, held = self._framed(data), self._halves.held
        frames = self._cut(self._framing.feed_events, data) if data else ()
        for frame in frames:
            if self.done:
                self.surplus = True
                return
            raw, name = frame.data, frame.event
            found = self.parsed(raw) if name != "error" else self._of_error(raw)
            self.refuse(found, name)
            pieces = self.event(found, name)
            if type(pieces) is not GeneratorType:  # most are generators, and need no check
                pieces = _pieces(pieces, self.event)
            if held or (_BACKSLASH in raw and _FIRST_HALF(raw)):
                pieces = self._halves.pieces(pieces)
            for piece in pieces:
                if type(piece) is Finish:
                    self._complete()
                yield piece
        self._checked(data)

    def end(self) -> Iterator[Piece]:
        """End the input; see `Reading.end`."""
        if self._begin and self._begin.strip(BLANK):  # too short to show the form
            self._whole = bytearray(self._begin.lstrip(BLANK))
        if self._whole is not None:
            for piece in self._object_pieces():
                self._finished = self._finished or type(piece) is Finish
                yield piece
            if not self._finished and type(self).whole is JsonReading.whole:  # it may be the first frame of a cut stream
                msg = "the answer ended after one object without a finish reason; if every answer does, check the configured url"
                raise ProtocolError(msg, excerpt=bytes(self._whole[:EXCERPT_LIMIT]).decode(errors="replace"))
            return
        cut: ProtocolError | None = None
        last: list[Piece] = []
        if self._framing.tail and not self.done and not self._framing.done:
            try:
                last = list(self.feed(self._framing.tail))
            except ProtocolError as error:
                cut = error
        if not self._finished:  # a last frame without its end does not count: it may be cut
            self._check_end(cut)
        yield from last
        yield from self._halves.rest()

    def parsed(self, data: bytes) -> dict[str, Any]:
        """Parse a JSON object.

        Args:
            data: The object as bytes.

        Returns:
            The parsed object.

        Raises:
            ProviderError: The bytes are not a JSON object; see `oddity`.
        """
        self._seen += 1
        if self._seen == _PATIENCE:
            prepare_stream()
        try:
            return parse(data)
        except ProtocolError as error:
            odd = self.oddity(data.strip())
            if odd is not None:
                raise odd from error
            raise

    def _of_error(self, data: bytes) -> dict[str, Any]:
        """Parse the data of an event `error`. The data may be plain text."""
        try:
            return self.parsed(data)
        except ProtocolError:
            return {"error": {"message": data.decode(errors="replace")}}

    def _refuse_line(self, text: bytes) -> None:
        """Raise an error if one of the lines outside frames begins an error object."""
        at = (b"\n" + text).find(b"\n{")
        if at >= 0:
            self.refuse_first(text[at:])

    def _framed(self, data: bytes) -> bytes:
        """Return the bytes to cut into frames; empty while the answer is, or may be, one object."""
        if self._begin is not None:
            data = self._begin + data
            begin = data.lstrip(BLANK)
            is_whole = self._framing.is_whole(begin) if begin else None
            if is_whole is None:
                # Of white space, the end is enough: a service may send it for minutes, and each read would copy all of it.
                self._begin = data if begin else data[-_KEPT_BLANK:]
                self._parsed_early(begin)
                return b""
            self._begin = None
            if not is_whole:
                return data
            self._whole, data = bytearray(), begin
        if self._whole is None:
            return data
        self._whole += data
        self._object = self._parsed_early(self._whole)
        return b""

    def _parsed_early(self, data: bytes | bytearray) -> dict[str, Any] | None:
        """Parse an answer that may be one object, before its end. Raise an error if it is an error."""
        if not 0 < len(data) <= _EARLY or not data.rstrip(BLANK).endswith((b"}", b"]")):
            return None
        try:
            found = parse(bytes(data))
        except ProtocolError:  # the object is not complete yet
            return None
        self.refuse(found, "")
        return found

    def _cut(self, feed: Callable[[bytes], Sequence[Any]], data: bytes) -> Sequence[Any]:
        """Cut bytes into frames. Remember the first frames."""
        try:
            frames = feed(data)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        if frames and not self._any_event:
            self._any_event = True
            if self._kind and self._framing.content_type not in self._kind:
                self.call.note(f"the stream came with the content type {self._kind!r}")
        return frames

    def _complete(self) -> None:
        self._finished = True
        self.linger = self.trailing

    def _checked(self, data: bytes) -> None:
        """Check the framing after a read: its end mark, or a line outside frames."""
        framing = self._framing
        if framing.done:
            self.done = True
            self.surplus = self.surplus or bool(data.partition(b"[DONE]")[2].strip())
        elif framing.stray and self._any_event and not self._finished:
            self._refuse_line(framing.stray)
        elif framing.stray and not self._any_event:
            line = framing.stray
            # An error or a web page is refused at once, not at the connection's end. Any other line may be a field of a later
            # standard, with events after it. The result must not depend on the sizes of the reads.
            if line.startswith((b"{", b"[", b"<")) or self.oddity(line):
                raise self._stray(line)

    def _stray(self, line: bytes) -> ProviderError:
        """Return the error for text in place of frames: a bare error, an error object or a web page."""
        if line.startswith((b"{", b"[")):
            self.refuse(self.parsed(line), "")
        msg = "the answer is not a stream of events; check the configured url"
        return self.oddity(line) or ProtocolError(msg, excerpt=line[:EXCERPT_LIMIT].decode("utf-8", "replace"))

    def _object_pieces(self) -> Iterable[Piece]:
        data = bytes(self._whole or b"")
        try:
            found = self.parsed(data) if self._object is None else self._object
        except ProtocolError:
            self.refuse_first(data)
            raise
        if self._object is None:
            self.refuse(found, "")
        return _pieces(self.whole(found), self.event if type(self).whole is JsonReading.whole else self.whole)

    def _check_end(self, cut: ProtocolError | None) -> None:
        """Raise an error if the stream was cut. Accept a complete stream without a finish reason."""
        framing = self._framing
        try:
            left = framing.finish()
        except ValueError as error:  # the frames before the broken limit were returned
            raise ProtocolError(str(error)) from error
        if (self.done or framing.done) and self._any_event:
            self.call.note("the stream ended with its end mark but gave no finish_reason")
            return
        if not self._any_event and (stray := framing.stray or left):
            raise self._stray(stray)
        if not self._any_event and cut is None:
            raise EmptyAnswerError("the stream ended before any event came")
        self._refuse_line(left)
        left = left or (cut.excerpt.encode() if cut else b"")
        where = "in the middle of an event" if left else "without an end mark"
        raise ProtocolError(f"the stream ended {where}", excerpt=left.decode("utf-8", "replace"))


def _pieces(found: Iterable[Piece], method: Callable[..., Iterable[Piece]]) -> Iterable[Piece]:
    """Return the pieces of a method; refuse a text or a mapping, since its letters or keys would become pieces."""
    if isinstance(found, str | Mapping) or not isinstance(found, Iterable):
        fix = f"yield each piece, or return a list of them{awaited(found)}"
        raise PluginError(f"{method.__qualname__}() returned {type(found).__name__}; {fix}")
    return found


def awaited(found: object) -> str:
    """Return the end of a message about a wrongly asynchronous method; empty for another object."""
    if not hasattr(found, "__anext__") and not hasattr(found, "__await__"):
        return ""
    close = getattr(found, "close", None)
    if close is not None:
        close()  # a coroutine that is not awaited would warn
    return "; write `def` in place of `async def`, since the toolkit waits for the service"
