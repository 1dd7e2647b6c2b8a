"""A base class for providers of services that speak the OpenAI chat shape over HTTP."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from providerhub._rules.status import error_from_status
from providerhub._values import Finish, ProviderConfig, Request, Timeout
from providerhub._values.errors import EmptyAnswerError, ProtocolError, ProviderError
from providerhub._values.provider import CallContext, Piece
from providerhub.http import Answer, HttpClient
from providerhub.wire import openai_chat
from providerhub.wire._chunk_reader import ChunkReader, typed_reader
from providerhub.wire.sse import SSEDecoder, SSELimitError

_BLANK = b"\xef\xbb\xbf \t\r\n"
"""Characters that may stand before an answer."""

_EVENT_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""The beginnings of a stream of events."""


class OpenAIChatProvider:
    """Answers a request by `POST {url}{path}`. A subclass overrides the parts that its service does differently.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The configuration cannot be used; see `HttpClient`.

    Attributes:
        config: The instance's configuration.
        http: The client that sends the requests.
    """

    path = "/v1/chat/completions"
    """The path, appended to the configured url. `/v1` is left out if the url ends with it."""

    unwanted: frozenset[str] = openai_chat.UNWANTED
    """Keys that are left out of messages, their parts and the tools, since the service refuses them."""

    call_ids: tuple[str, int] | None = None
    """The pattern that the service wants of the identifiers of tool calls, as a whole, and the length of those that replace the
    others; `None` for a service that takes any identifier. Mistral wants `("[a-zA-Z0-9]{9}", 9)`."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.http = HttpClient(config)
        if (config.url or "").partition("?")[0].rstrip("/").endswith("/v1"):
            # Many services document their address with the version at its end.
            self.path = self.path.removeprefix("/v1")

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send. Override this to add the service's own fields.

        Args:
            request: The request.

        Returns:
            The object.
        """
        return openai_chat.request_body(request, reasoning=self.reasoning, unwanted=self.unwanted, call_ids=self.call_ids)

    def reasoning(self, reasoning: str | int) -> dict[str, Any]:
        """Return the fields that ask for reasoning. Override this for a service that does not know `reasoning_effort`.

        Args:
            reasoning: A word such as `"low"`, or the most tokens to think with; see `Request.reasoning`.

        Returns:
            The fields of the body.
        """
        return openai_chat.reasoning_effort(reasoning)

    def oddity(self, data: bytes) -> ProviderError | None:
        """Return the error that an event or body means if it is not JSON. Override this for a service that sends such text.

        Args:
            data: The event's data or the body.

        Returns:
            The error to raise; `None`, the default, for a `ProtocolError`.
        """
        del data
        return None

    def stream(self, request: Request, call: CallContext) -> Iterator[Piece]:
        """Answer a request; see `Provider.stream`."""
        body = self.body(request)
        with self.http.post(self.path, body, call, stream=request.stream) as answer:
            kind = answer.headers.get("content-type", "").lower()
            try:
                if request.stream:
                    yield from self._events(answer, call, kind)
                else:
                    yield from self.whole(answer.read())
            except ProviderError as error:
                # Some services repeat the refused key, or other parts of the request, in the error.
                self.http.redacted(error)
                raise

    def close(self) -> None:
        """Close the idle connections."""
        self.http.close()

    def reading(self, call: CallContext, kind: str) -> ChatReading:
        """Make the reader of one streamed answer. A subclass with a transport of its own, such as an asynchronous one, uses it.

        Args:
            call: The call. The reader adds notes to it.
            kind: The answer's content type, in lower case.

        Returns:
            A new reader.
        """
        return ChatReading(self, call, kind)

    def whole(self, data: bytes) -> Iterator[Piece]:
        """Read an answer that is not streamed.

        Args:
            data: The answer's body.

        Returns:
            An iterator over the pieces. It raises `ProviderError` if the body is an error or not an answer.
        """
        if data.lstrip(_BLANK).startswith(_EVENT_STARTS):  # some gateways stream although a whole answer was asked for
            return self._streamed(data)
        return openai_chat.answer_pieces(self._parsed(data))

    def _streamed(self, data: bytes) -> Iterator[Piece]:
        """Read a whole body that holds a stream of events."""
        reading = self.reading(CallContext(Timeout(), math.inf), "text/event-stream")
        yield from reading.pieces(data)
        yield from reading.end()

    def _events(self, answer: Answer, call: CallContext, kind: str) -> Iterator[Piece]:
        reading = self.reading(call, kind)
        idles = False
        for data in answer:
            given = None
            for given in reading.pieces(data):
                yield given
                idles = idles or answer.token(given)
            if idles and given is not None:
                # Once for all pieces of a read: the token-idle timeout is checked at the next read.
                answer.token()
            if reading.done:
                if not reading.surplus:
                    answer.finished()
                break
        yield from reading.end()

    def _error_event(self, data: bytes) -> ProviderError:
        """Return the error of an event of type `error`."""
        error = self._parsed(data)
        openai_chat.refuse_error(error)
        return error_from_status(200, {}, error)

    def _decoded(self, decoder: SSEDecoder, data: bytes) -> list[bytes]:
        try:
            return decoder.feed(data)
        except SSELimitError as error:
            raise ProtocolError(str(error)) from error

    def _refuse_stray(self, line: bytes) -> None:
        """Raise at once, not at the connection's end, if a line outside of events is an error or a web page.

        Any other line may be a field of a later standard, with events after it. The meaning of a stream must not depend on how
        its bytes were cut.
        """
        if line.startswith((b"{", b"[", b"<")) or self.oddity(line):
            raise self._stray(line)

    def _stray(self, line: bytes) -> ProviderError:
        """Return the error for a line in place of events: a bare error, an error object or a web page."""
        if line.startswith((b"{", b"[")):
            openai_chat.refuse_error(self._parsed(line))
        msg = "the answer is not a stream of events; check the configured url"
        return self.oddity(line) or ProtocolError(msg, excerpt=self.http.redact(line.decode("utf-8", "replace")))

    def _unfinished(self, decoder: SSEDecoder, call: CallContext, *, any_event: bool) -> Finish:
        try:
            left = decoder.finish()
        except SSELimitError as error:  # `feed` returned the events before the broken limit
            raise ProtocolError(str(error)) from error
        if decoder.done and any_event:
            call.note("the stream ended with [DONE] but gave no finish_reason")
            return Finish(None)
        if not any_event and (stray := decoder.stray or left):
            raise self._stray(stray)
        if not any_event:
            msg = "the stream ended before any event came"
            raise EmptyAnswerError(msg)
        where = "in the middle of an event" if left else "without an end mark"
        msg = f"the stream ended {where}"
        raise ProtocolError(msg, excerpt=self.http.redact(left.decode("utf-8", "replace")))

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            return openai_chat.parse(data)
        except ProtocolError as error:
            odd = self.oddity(data.strip())
            if odd is not None:
                raise odd from self.http.redacted(error)
            raise


class ChatReading:
    """Reads one streamed answer: takes bytes and yields pieces. It does no I/O, so every transport can use it.

    Args:
        provider: The provider that answers.
        call: The call. The reader adds notes to it.
        kind: The answer's content type, in lower case.

    Attributes:
        surplus: Bytes came after the end mark. They are ignored, and the connection must not be used again.
    """

    __slots__ = ("_any_event", "_begun", "_call", "_decoder", "_finished", "_kind", "_provider", "_reader", "_whole", "surplus")

    def __init__(self, provider: OpenAIChatProvider, call: CallContext, kind: str) -> None:
        self._provider = provider
        self._call = call
        self._kind = kind
        self._decoder = SSEDecoder()
        self._reader = ChunkReader(provider._parsed, typed=typed_reader())
        self._finished = self._any_event = False
        self._begun = False
        self._whole: bytearray | None = None
        self.surplus = False

    @property
    def done(self) -> bool:
        """Return whether the end mark has come, so that no more bytes need to be read."""
        return self._decoder.done

    def pieces(self, data: bytes) -> Iterator[Piece]:
        """Take the next bytes. Exhaust the iterator before the next call.

        Args:
            data: Bytes as they came from the transport.

        Yields:
            The pieces that the bytes complete.

        Raises:
            ProviderError: The stream contains an error, or is not a stream of events.
        """
        provider, decoder = self._provider, self._decoder
        if (not self._begun and self._begins_whole(data)) or self._whole is not None:
            self._whole = bytearray() if self._whole is None else self._whole
            self._whole += data
            return
        fast, parsed = self._reader.fast, self._reader.parsed
        for event in provider._decoded(decoder, data):
            if not self._any_event:
                self._any_event = True
                if self._kind and "event-stream" not in self._kind:
                    self._call.note(f"the stream came with the content type {self._kind!r}")
            if type(event) is not bytes:
                raise provider._error_event(event)
            piece = fast(event)
            if piece is not None:
                yield piece
                continue
            for piece in parsed(event):
                self._finished = self._finished or type(piece) is Finish
                yield piece
        if decoder.stray and not self._any_event:
            provider._refuse_stray(decoder.stray)
        if decoder.done:
            self.surplus = bool(data.partition(b"[DONE]")[2].strip())

    def _begins_whole(self, data: bytes) -> bool:
        """Return whether the answer is one object, although a stream was asked for. Some services do this.

        The first character decides, not the content type, which such services often leave at that of a stream.
        """
        begin = data.lstrip(_BLANK)
        self._begun = bool(begin)
        if begin[:1] not in {b"{", b"["}:
            return False
        # An error is raised at once, since the service may leave the connection open after it.
        with contextlib.suppress(ProtocolError):  # the object is not complete yet
            openai_chat.refuse_error(openai_chat.parse(begin))
        return True

    def end(self) -> Iterator[Piece]:
        """End the input. Call this after the last bytes.

        Yields:
            The pieces of an answer that came as one object; `Finish` if the stream is complete but gave none.

        Raises:
            ProviderError: The stream was cut.
        """
        if self._whole is not None:
            yield from self._provider.whole(bytes(self._whole))
            return
        cut: ProtocolError | None = None
        if not self._decoder.done:
            try:
                yield from self.pieces(b"\n\n")  # the last event may lack the blank line
            except ProtocolError as error:
                cut = error
        if not self._finished:
            if cut is not None and cut.excerpt:
                msg = "the stream ended in the middle of an event"
                raise ProtocolError(msg, excerpt=self._provider.http.redact(cut.excerpt))
            yield self._provider._unfinished(self._decoder, self._call, any_event=self._any_event)
        yield from self._reader.end()
