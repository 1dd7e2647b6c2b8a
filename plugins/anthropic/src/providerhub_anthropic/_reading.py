"""Reads answers of the Messages API, whole or as an event stream, as pieces. It does no I/O."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from providerhub import CallContext, EmptyAnswerError, Event, ProtocolError, Timeout, error_from_status
from providerhub.wire import openai_chat
from providerhub.wire.sse import ServerSentEvent, SSEDecoder, SSELimitError
from providerhub_anthropic._message import Message
from providerhub_anthropic._refusals import REFUSALS

Pieces = Iterator[str | Event]


def whole(data: bytes, form: str = "") -> Pieces:
    """Read an answer that is not streamed.

    Args:
        data: The answer's body.
        form: The name of the tool whose input is the text of the answer; `""`, the default, for none.

    Yields:
        The pieces of the answer, `Finish` last.

    Raises:
        ProviderError: The body is an error, or not an answer.
    """
    if data.lstrip(_BLANK).startswith(_EVENT_STARTS):  # some gateways stream although a whole answer was asked for
        reading = Reading(CallContext(Timeout(), math.inf), "text/event-stream", form=form)
        yield from reading.pieces(data)
        yield from reading.end()
        return
    message = Message(form=form)
    yield from message.whole(parsed(data))
    yield from message.end()


def parsed(data: bytes) -> dict[str, Any]:
    """Parse a JSON object, and raise if it is an error.

    Args:
        data: The object as bytes.

    Raises:
        ProviderError: The object is an error. Its class follows from the error's type.
        ProtocolError: The bytes are not a JSON object.
    """
    found = openai_chat.parse(data)
    if found.get("type") == "error" or isinstance(found.get("error"), dict):
        raise error_from_status(200, {}, found, refusals=REFUSALS)
    return found


_BLANK = b"\xef\xbb\xbf \t\r\n"
"""Characters that may stand before an answer."""

_EVENT_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""The beginnings of a stream of events."""


class Reading:
    """Reads one event stream.

    Args:
        call: The call. The reader adds notes to it.
        kind: The answer's content type, in lower case.
        tail: White space that was cut off a partial answer. The first text must not repeat it. Default empty.
        form: The name of the tool whose input is the text of the answer; `""`, the default, for none.
    """

    def __init__(self, call: CallContext, kind: str, tail: str = "", form: str = "") -> None:
        self._call = call
        self._kind = kind
        self._message = Message(tail, form)
        self._form = form
        # This protocol ends with an event. Imitators send `[DONE]` after it, which is never read.
        self._decoder = SSEDecoder()
        self._begun = False
        self._signed = False
        self._whole: bytearray | None = None

    @property
    def done(self) -> bool:
        """Whether `message_stop` has come."""
        return self._message.done

    def pieces(self, data: bytes) -> Pieces:
        """Take the next bytes.

        Args:
            data: Bytes as they came from the transport.

        Yields:
            The pieces that the bytes complete.

        Raises:
            ProviderError: The stream contains an error, or is not a stream of events.
        """
        if (not self._signed and self._begins_whole(data)) or self._whole is not None:
            self._whole = bytearray() if self._whole is None else self._whole
            self._whole += data
            return
        message = self._message
        for event in self._decoded(data):
            if not self._begun:
                self._begun = True
                if self._kind and "event-stream" not in self._kind:
                    self._call.note(f"the stream came with the content type {self._kind!r}")
            yield from message.event(parsed(event.data), event.event)
            if message.done:
                return
        if self._decoder.stray and not self._begun:
            raise _no_stream(self._decoder.stray)

    def _begins_whole(self, data: bytes) -> bool:
        """Return whether the answer is one object, although a stream was asked for. Its first character decides, not its type."""
        begin = data.lstrip(_BLANK)
        self._signed = bool(begin)
        if begin[:1] != b"{":
            return False
        # An error is raised at once, since the service may leave the connection open after it.
        with contextlib.suppress(ProtocolError):  # the object is not complete yet
            parsed(begin)
        return True

    def end(self) -> Pieces:
        """End the input. Call this after the last bytes, or after `done`.

        Yields:
            `Finish`; before it, the turn to send back, and the pieces of an answer that came as one object.

        Raises:
            ProviderError: The stream was cut.
        """
        if self._whole is not None:
            yield from whole(bytes(self._whole), self._form)
            return
        if self.done:
            yield from self._message.end()
            return
        try:
            left = self._decoder.finish()
        except SSELimitError as error:
            raise ProtocolError(str(error)) from error
        if not self._begun and not left:
            msg = "the stream ended before any event came"
            raise EmptyAnswerError(msg)
        if not self._begun:
            raise _no_stream(left)
        msg = "the stream ended in the middle of an event" if left else "the stream ended without message_stop"
        raise ProtocolError(msg, excerpt=left.decode("utf-8", "replace"))

    def _decoded(self, data: bytes) -> list[ServerSentEvent]:
        try:
            return self._decoder.feed_events(data)
        except SSELimitError as error:
            raise ProtocolError(str(error)) from error


def _no_stream(line: bytes) -> ProtocolError:
    msg = "the answer is not a stream of events; check the configured url"
    return ProtocolError(msg, excerpt=line.decode("utf-8", "replace"))
