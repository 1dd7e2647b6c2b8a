"""A base class for services that speak the OpenAI chat shape over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from providerhub._rules.status import error_from_status
from providerhub._values import Finish, ProviderConfig, Request
from providerhub._values.errors import EmptyAnswerError, ProtocolError, ProviderError
from providerhub._values.provider import CallContext, Piece
from providerhub.http import Answer, HttpClient
from providerhub.wire import openai_chat
from providerhub.wire._chunk_reader import ChunkReader, installed
from providerhub.wire.sse import SSEDecoder, SSELimitError

_BLANK = b"\xef\xbb\xbf \t\r\n"
"""What may stand before the first sign of an answer."""


class OpenAIChatProvider:
    """Answers by `POST {url}{path}`. Override what a service does differently.

    Args:
        config: The instance's settings.

    Raises:
        ConfigurationError: The address is missing or unusable.
    """

    path = "/v1/chat/completions"
    """Appended to the configured address."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.http = HttpClient(config)
        if (config.url or "").rstrip("/").endswith("/v1"):
            # Many services give their address with the version at its end.
            self.path = self.path.removeprefix("/v1")

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON object to send; override to add what the service wants.

        Args:
            request: What is asked.

        Returns:
            What becomes the body.
        """
        return openai_chat.request_body(request)

    def oddity(self, data: bytes) -> ProviderError | None:
        """What an event or body that is not JSON means.

        Args:
            data: The event's data.

        Returns:
            The error to raise, or `None` for a protocol error.
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
                # Services repeat the key that they refuse, and whatever else they were sent.
                self.http.redacted(error)
                raise

    def close(self) -> None:
        """Close the kept connections."""
        self.http.close()

    def reading(self, call: CallContext, kind: str) -> ChatReading:
        """What reads one streamed answer; for a transport of one's own, such as an asynchronous one.

        Args:
            call: The call, for its notes.
            kind: The answer's content type, in lower case.

        Returns:
            A reader for this one answer.
        """
        return ChatReading(self, call, kind)

    def whole(self, data: bytes) -> Iterator[Piece]:
        """The pieces of an answer that came whole.

        Args:
            data: Its body.

        Yields:
            The pieces.

        Raises:
            ProviderError: It is an error, or no answer.
        """
        return openai_chat.answer_pieces(self._parsed(data))

    def _events(self, answer: Answer, call: CallContext, kind: str) -> Iterator[Piece]:
        reading = self.reading(call, kind)
        for data in answer:
            given = None
            for given in reading.pieces(data):
                yield given
            if given is not None:
                # Of the pieces of one read only the last can matter to the clock that the next read is held to.
                answer.token()
            if reading.done:
                if not reading.surplus:
                    answer.finished()
                break
        yield from reading.end()

    def _refuse_error(self, data: bytes) -> None:
        """Raise the error that the beginning of a whole answer is: at once, since the connection may stay open behind it."""
        with contextlib.suppress(ProtocolError):  # there is more to come
            openai_chat.refuse_error(openai_chat.parse(data))

    def _error_event(self, data: bytes) -> ProviderError:
        """What an event of type `error` says."""
        told = self._parsed(data)
        openai_chat.refuse_error(told)
        return error_from_status(200, {}, told)

    def _decoded(self, decoder: SSEDecoder, data: bytes) -> list[bytes]:
        try:
            return decoder.feed(data)
        except SSELimitError as error:
            raise ProtocolError(str(error)) from error

    def _note_kind(self, call: CallContext, kind: str) -> None:
        if kind and "event-stream" not in kind:
            call.note(f"the stream came with the content type {kind!r}")

    def _refuse_stray(self, line: bytes) -> None:
        """Raise what can be nothing but an error or a page at once, and not at the connection's end.

        Anything else may be a field of a later standard, which does not keep events from following: what a stream means must
        not depend on how its bytes were cut.
        """
        if line.startswith((b"{", b"<")) or self.oddity(line):
            raise self._stray(line)

    def _stray(self, line: bytes) -> ProviderError:
        """What stands in place of events: a bare error, an error object, or a page."""
        if line.startswith(b"{"):
            openai_chat.refuse_error(self._parsed(line))
        msg = "the answer is not a stream of events; check the configured address"
        return self.oddity(line) or ProtocolError(msg, excerpt=self.http.redact(line.decode("utf-8", "replace")))

    def _unfinished(self, decoder: SSEDecoder, call: CallContext, *, any_event: bool) -> Finish:
        try:
            left = decoder.finish()
        except SSELimitError as error:  # a broken limit is told late when events came before it
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
    """Reads one streamed answer, bytes in and pieces out, without I/O: whatever brings the bytes shares it.

    Args:
        provider: Whose answer it is.
        call: The call, for its notes.
        kind: The answer's content type, in lower case.

    Attributes:
        surplus: Something came behind the end mark: it is ignored, and the connection must not be used again.
    """

    __slots__ = ("_any_event", "_begun", "_call", "_decoder", "_finished", "_kind", "_provider", "_reader", "_whole", "surplus")

    def __init__(self, provider: OpenAIChatProvider, call: CallContext, kind: str) -> None:
        self._provider = provider
        self._call = call
        self._kind = kind
        self._decoder = SSEDecoder()
        self._reader = ChunkReader(provider._parsed, typed=installed())  # noqa: SLF001 -- two halves of one class
        self._finished = self._any_event = False
        self._begun = False
        self._whole: bytearray | None = None
        self.surplus = False

    @property
    def done(self) -> bool:
        """Whether the protocol's end mark has come, so that nothing more need be read."""
        return self._decoder.done

    def pieces(self, data: bytes) -> Iterator[Piece]:
        """Take the next bytes.

        Args:
            data: Bytes as they came.

        Yields:
            The pieces that they complete; to be exhausted before more is taken.

        Raises:
            ProviderError: The stream holds an error, or is none.
        """
        provider, decoder = self._provider, self._decoder
        if (not self._begun and self._begins_whole(data)) or self._whole is not None:
            self._whole = bytearray() if self._whole is None else self._whole
            self._whole += data
            return
        short, long = self._reader.short, self._reader.long
        for event in provider._decoded(decoder, data):  # noqa: SLF001 -- two halves of one class
            if not self._any_event:
                self._any_event = True
                provider._note_kind(self._call, self._kind)  # noqa: SLF001 -- as above
            if type(event) is not bytes:
                raise provider._error_event(event)  # noqa: SLF001 -- as above
            piece = short(event)
            if piece is not None:
                yield piece
                continue
            for piece in long(event):
                self._finished = self._finished or type(piece) is Finish
                yield piece
        if decoder.stray and not self._any_event:
            provider._refuse_stray(decoder.stray)  # noqa: SLF001 -- as above
        if decoder.done:
            self.surplus = bool(data.partition(b"[DONE]")[2].strip())

    def _begins_whole(self, data: bytes) -> bool:
        """Whether the answer's first sign says that it is one object. What its type says is no guide.

        Asked for a stream, some services answer whole all the same.
        """
        begin = data.lstrip(_BLANK)
        self._begun = bool(begin)
        if begin[:1] != b"{":
            return False
        self._provider._refuse_error(begin)  # noqa: SLF001 -- two halves of one class
        return True

    def end(self) -> Iterator[Piece]:
        """Say that the bytes are at their end.

        Yields:
            The end mark, where the stream gave none but is whole all the same.

        Raises:
            ProviderError: The stream was cut.
        """
        if self._whole is not None:
            yield from self._provider.whole(bytes(self._whole))
        elif not self._finished:
            yield self._provider._unfinished(self._decoder, self._call, any_event=self._any_event)  # noqa: SLF001 -- as above
