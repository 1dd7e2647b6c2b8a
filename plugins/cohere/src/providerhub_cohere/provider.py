"""The provider object. It uses version 2 of the chat API; the toolkit sends the requests, synchronously and under asyncio."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import attrs

from providerhub import CallContext, EmbeddingRequest, Embeddings, ModelInfo, Request, Usage
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.wire import left_out, modern
from providerhub.wire_provider import HttpAnswer, HttpRequest, Order, Reading
from providerhub_cohere._body import body, kept
from providerhub_cohere._reading import ChatReading
from providerhub_cohere._refusals import REFUSALS


class Cohere(OpenAIChatProvider):
    """A provider for a service with the Cohere chat API. Its conversations have nearly the OpenAI chat shape.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    path = "/v2/chat"
    unwanted = OpenAIChatProvider.unwanted | {"cache_control"}
    refusals = REFUSALS

    def build(self, request: Request, call: CallContext) -> HttpRequest:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        call.notes += left_out(request.messages, "the Cohere API")
        chat = self.body(attrs.evolve(request, messages=kept(modern(request.messages)), options={}))
        written = body(request, chat["messages"], chat.get("tool_choice"))
        return HttpRequest(self.path, written, stream=request.stream)

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        """Make the reader of one answer; see `WireProvider.reading`.

        Args:
            request: The request, which is not used.
            call: The call, for notes.
            headers: The headers of the answer, by name.
        """
        del request
        return ChatReading(call, headers)

    embedding_limit = 96

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings; see `WireProvider.embedding`. The option `input_type` is `"search_document"` by default.

        Args:
            request: The request to write.
            call: The call, which is not used.

        Yields:
            The request.

        Returns:
            The vectors.
        """
        del call
        asked: dict[str, Any] = {"model": request.model, "texts": list(request.texts), "embedding_types": ["float"]}
        asked |= {} if request.dimensions is None else {"output_dimension": request.dimensions}
        # A text that is too long becomes an error. By default, the service would cut it without notice.
        asked |= {"input_type": "search_document", "truncate": "NONE", **request.options}
        said = (yield HttpRequest("/v2/embed", asked)).json()
        found = said.get("embeddings") if isinstance(said, dict) else None
        found = found if isinstance(found, dict) else {}  # version 1 of the API answers with a list
        count = ((said.get("meta") or {}).get("billed_units") or {}).get("input_tokens") if found else None
        return Embeddings(found.get("float") or [], None if count is None else Usage(input_tokens=int(count)))

    def models(self) -> Generator[HttpRequest, HttpAnswer, list[ModelInfo]]:
        """List the models of the service, for `listed`.

        Yields:
            The request of each page.

        Returns:
            First the models that chat, with the values from the service; then the models of embeddings.
        """
        request = HttpRequest("/v1/models", method="GET", query={"page_size": "1000"})
        entries = yield from request.pages("models", "next_page_token", "page_token")
        found = (_model(entry) for entry in entries if str(entry.get("name") or "").strip())
        return sorted((model for model in found if model is not None), key=lambda model: model.supports_embeddings is True)


def _model(entry: Mapping[str, Any]) -> ModelInfo | None:
    """Describe a model; `None` if it does not chat or make embeddings."""
    ways = entry.get("endpoints")
    if isinstance(ways, list) and "chat" not in ways:
        return ModelInfo(str(entry["name"]), supports_embeddings=True) if "embed" in ways else None
    stated = entry.get("features")
    able = stated if isinstance(stated, list) else []
    window = entry.get("context_length")
    return ModelInfo(
        str(entry["name"]),
        supports_stream=True,
        supports_tools="tools" in able if able else None,
        supports_images="vision" in able if able else None,
        supports_json_schema="json_schema" in able if able else None,
        supports_reasoning="reasoning" in able if able else None,
        supports_audio=False,
        context_window=int(window) if isinstance(window, int | float) and window >= 1 else None,
    )
