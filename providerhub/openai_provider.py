"""A base class for providers of services with the OpenAI chat shape over HTTP."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from providerhub._values import EmbeddingRequest, Embeddings, Finish, ModelInfo, ProviderConfig, Request
from providerhub._values.errors import PluginError, ProviderError
from providerhub._values.provider import CallContext, Piece
from providerhub.http import HttpAnswer, HttpRequest
from providerhub.wire import openai_chat
from providerhub.wire._chunk_reader import ChunkReader
from providerhub.wire.reading import JsonReading, Reading
from providerhub.wire_provider import Built, Order, WireProvider

_RUNS = 4
"""How often the events of a read are searched for ordinary chunks that follow each other."""


class OpenAIChatProvider(WireProvider):
    """Answers a request by `POST {url}{path}`. A subclass overrides the parts in which its service differs.

    Args:
        config: The configuration of the instance.

    Raises:
        ConfigurationError: The configuration cannot be used; see `HttpClient`.
    """

    path = "/v1/chat/completions"
    """The path, appended to the configured url. If the url ends with `/v1`, this part is left out."""

    unwanted: frozenset[str] = openai_chat.UNWANTED
    """Keys to leave out of messages, their parts and the tools, because the service refuses them."""

    call_ids: tuple[str, int] | None = None
    """The pattern that the whole identifier of a tool call must match, and the length of a replacement. `None` for a service that
    accepts any identifier. Mistral needs `("[a-zA-Z0-9]{9}", 9)`."""

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        if (config.url or "").partition("?")[0].rstrip("/").endswith("/v1"):
            # Many services document their address with the version at its end.
            self.path = self.path.removeprefix("/v1")

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send. Override this to add the service's own fields.

        Args:
            request: The request to write.

        Returns:
            The object.
        """
        return openai_chat.request_body(request, reasoning=self.reasoning, unwanted=self.unwanted, call_ids=self.call_ids)

    def reasoning(self, reasoning: str | int) -> dict[str, Any]:
        """Return the fields that ask for reasoning. Override this for a service without `reasoning_effort`.

        Args:
            reasoning: A word such as `"low"`, or the maximum number of tokens to think; see `Request.reasoning`.

        Returns:
            The fields of the body.
        """
        return openai_chat.reasoning_effort(reasoning)

    def oddity(self, data: bytes) -> ProviderError | None:
        """Return the error for an event or body that is not JSON. Override this for a service that sends such text.

        Args:
            data: The event's data or the body.

        Returns:
            The error to raise; `None`, the default, for a `ProtocolError`.
        """
        del data
        return None

    def build(self, request: Request, call: CallContext) -> Built:
        """Write a request; see `WireProvider.build`."""
        del call
        return HttpRequest(self.path, self.body(request), stream=request.stream)

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        """Make the reader of one answer; see `WireProvider.reading`. A subclass may return a subclass of `ChatReading`."""
        del request
        return ChatReading(self, call, headers)

    embedding_limit = 2048
    embedding_characters = 300_000
    """OpenAI accepts 300,000 tokens in one request. In nearly all texts a character is at most one token."""

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings by `POST {url}/embeddings`; see `WireProvider.embedding`.

        Args:
            request: The request to write.
            call: The call, for notes.

        Yields:
            The request.

        Returns:
            The vectors.

        Raises:
            CapabilityError: The path for embeddings is unknown, because `path` does not end with the path of chat completions.
            ProtocolError: The answer is not a list of vectors.
        """
        start, suffix, end = self.path.rpartition("/chat/completions")
        if not suffix or end:
            yield from super().embedding(request, call)
        sizes = {} if request.dimensions is None else {"dimensions": request.dimensions}
        body = {"model": request.model, "input": list(request.texts), **sizes, **request.options}
        answer: HttpAnswer = yield HttpRequest(f"{start}/embeddings", body)
        found = openai_chat.parse(answer.body)
        openai_chat.refuse_error(found, partial(self.refusal, 200, answer.headers))
        return openai_chat.embeddings(found)

    def models(self) -> Generator[Order, Any, list[ModelInfo]]:
        """List the models of the service by `GET {url}/models`, for `listed`.

        Yields:
            The request.

        Returns:
            The models.

        Raises:
            ProviderError: The service refused, or its answer is not a list of models.
        """
        answer: HttpAnswer = yield HttpRequest(f"{self.path.removesuffix('/chat/completions')}/models", method="GET")
        found = (self.model(entry) for entry in answer.entries() if str(entry.get("id") or "").strip())
        # The models of embeddings come last, since a caller without a choice gets the first model.
        return sorted((model for model in found if model is not None), key=lambda model: model.supports_embeddings is True)

    def model(self, entry: Mapping[str, Any]) -> ModelInfo | None:
        """Read one entry of the service's list. Override this to read further capabilities.

        Args:
            entry: The entry; its `id` is not empty.

        Returns:
            The model; `None` for a model that does not chat.
        """
        return ModelInfo(str(entry["id"]), supports_stream=True)


class ChatReading(JsonReading):
    """Reads one answer in the OpenAI chat shape.

    If a service writes data in another place, a subclass moves them: in `parsed` for a chunk, in `whole` for an answer that is
    one object. `event` is not called; a subclass with `event` raises `PluginError`.

    Args:
        provider: The provider that answers; the reading calls its `oddity`.
        call: The call, for notes about oddities.
        headers: The headers of the answer.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.event is not JsonReading.event:
            msg = f"{cls.__qualname__}: a ChatReading never calls event(); override parsed() for chunks, whole() for one object"
            raise PluginError(msg)

    def __init__(self, provider: OpenAIChatProvider, call: CallContext, headers: Mapping[str, str]) -> None:
        super().__init__(call, headers)
        self.oddity = provider.oddity  # type: ignore[method-assign]
        self._reader: ChunkReader | None = None  # only for a stream

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Take the next bytes; see `Reading.feed`. An ordinary chunk is read without parsing it."""
        if self._begin is not None or self._whole is not None:
            data = self._framed(data)
            if not data:
                return
        reader, decoder = self._reader, self._framing
        if reader is None:
            reader = self._reader = ChunkReader(self.parsed)
        fast, runs, at = reader.fast, _RUNS, 0
        events = self._cut(decoder.feed, data)  # type: ignore[attr-defined]  # it is an SSEDecoder
        while at < len(events):
            event = events[at]
            at += 1
            piece = fast(event) if type(event) is bytes else None
            if piece is None:
                yield from self._parsed(event, reader)
                continue
            yield piece
            if runs and at < len(events):
                texts = reader.run(events, at)
                runs, at = runs - 1, at + len(texts)
                yield from texts
        if decoder.done or decoder.stray:
            self._checked(data)

    def _parsed(self, event: bytes, reader: ChunkReader) -> Iterator[Piece]:
        if type(event) is not bytes:
            self.refuse(self._of_error(event), "error")
        for piece in reader.parsed(event):
            if type(piece) is Finish:
                self._complete()
            yield piece

    def whole(self, data: dict[str, Any]) -> Iterable[Piece]:
        """Read an answer that is one object; see `JsonReading.whole`."""
        return openai_chat.answer_pieces(data)

    def refuse(self, data: dict[str, Any], name: str) -> None:
        """Raise an error if an object is an error; see `JsonReading.refuse`."""
        openai_chat.refuse_error({**data, "object": "error"} if name == "error" else data, self.refusal)

    def parsed(self, data: bytes) -> dict[str, Any]:
        """Parse a JSON object that is not an error; see `JsonReading.parsed`."""
        found = super().parsed(data)
        self.refuse(found, "")
        return found

    def end(self) -> Iterator[Piece]:
        """End the input; see `Reading.end`."""
        yield from super().end()
        if self._whole is None and self._reader is not None:
            yield from self._reader.end()
