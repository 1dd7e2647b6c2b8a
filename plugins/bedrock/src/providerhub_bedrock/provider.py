"""The provider object. It speaks the Converse API; the toolkit sends the requests, synchronously and under asyncio."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from providerhub import (
    CallContext,
    CapabilityError,
    EmbeddingRequest,
    Embeddings,
    ModelInfo,
    Request,
    Usage,
)
from providerhub.wire_provider import Blocking, HttpRequest, Order
from providerhub_bedrock._body import asked
from providerhub_bedrock._message import ConverseReading
from providerhub_bedrock._traits import described
from providerhub_bedrock.aws import AwsProvider

_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""The fields that CountTokens takes."""

_MEDIA = {"supports_images": {"IMAGE"}, "supports_audio": {"AUDIO", "SPEECH"}}


class Bedrock(AwsProvider):
    """A provider for Amazon Bedrock.

    Args:
        config: The instance's configuration. With `api_key`, requests carry it; otherwise they are signed.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    def build(self, request: Request, call: CallContext) -> Generator[Blocking, Any, HttpRequest]:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The work of fetching credentials, where it is due.

        Returns:
            The request.
        """
        sent = asked(request)
        call.notes += sent.notes
        yield from self.ready()
        way = "converse-stream" if request.stream else "converse"
        return HttpRequest(f"/model/{quote(request.model, safe='')}/{way}", sent.body, stream=request.stream)

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> ConverseReading:
        """Make the reader of one answer; see `WireProvider.reading`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
            headers: The headers of the answer, by name.
        """
        return ConverseReading(call, headers, asked(request).form if request.response_format else "")

    embedding_limit = 96
    """The most texts of one request to a model of Cohere."""

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings by InvokeModel, in the form of the model's maker; see `WireProvider.embedding`.

        Args:
            request: The request to write.
            call: The call, which is not used.

        Yields:
            The work of fetching credentials, where it is due, and the requests: one for each text at a model of Amazon.

        Returns:
            The vectors.

        Raises:
            CapabilityError: The form of the model's embeddings is not known.
        """
        del call
        path, found, tokens = f"/model/{quote(request.model, safe='')}/invoke", [], 0
        yield from self.ready()
        if "cohere.embed" in request.model:
            sizes = {} if request.dimensions is None else {"output_dimension": request.dimensions}
            body = {"texts": list(request.texts), "input_type": "search_document", "embedding_types": ["float"], **sizes}
            said = (yield HttpRequest(path, {**body, **request.options})).json()
            vectors = said.get("embeddings") if isinstance(said, dict) else None
            return Embeddings(vectors.get("float") or [] if isinstance(vectors, dict) else vectors or [])
        if "titan-embed" not in request.model:
            msg = f"the form of embeddings of {request.model} is not known; use a model of amazon.titan-embed or cohere.embed"
            raise CapabilityError(msg, capability="embeddings")
        sizes = {} if request.dimensions is None else {"dimensions": request.dimensions}
        for text in request.texts:
            said = (yield HttpRequest(path, {"inputText": text, **sizes, **request.options})).json()
            said = said if isinstance(said, dict) else {}
            found.append(said.get("embedding") or ())
            tokens += said.get("inputTextTokenCount") or 0
        return Embeddings(found, Usage(input_tokens=tokens))

    def counting(self, request: Request, call: CallContext) -> Generator[Order, Any, int]:
        """Ask how many input tokens a request has; see `WireProvider.counting`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The work of fetching credentials, where it is due, and the request.

        Returns:
            The number of tokens.
        """
        sent = asked(request)
        call.notes += sent.notes
        return self.tokens(request.model, {"converse": {name: sent.body[name] for name in _COUNTED if name in sent.body}})

    def models(self) -> Generator[HttpRequest | Blocking, Any, list[ModelInfo | str]]:
        """List the models of the region that answer in text, and the inference profiles, for `listed`.

        Yields:
            The requests.

        Returns:
            The models, with the capabilities that the service states.
        """
        served = yield from self.served({"byOutputModality": "TEXT"})
        return [_model(name, entry) for name, entry in served]


def _model(name: str, entry: Mapping[str, Any]) -> ModelInfo:
    reads = entry.get("inputModalities")
    stated: dict[str, Any] = {ability: bool(kinds & set(reads)) for ability, kinds in _MEDIA.items()} if reads else {}
    if isinstance(entry.get("responseStreamingSupported"), bool):
        stated["supports_stream"] = entry["responseStreamingSupported"]
    own = described(str(entry.get("modelId")), stated)
    return attrs.evolve(own, name=name)
