"""The provider object. It uses the Converse API; the toolkit sends the requests, synchronously and under asyncio."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import attrs

from providerhub import (
    CallContext,
    CapabilityError,
    EmbeddingRequest,
    Embeddings,
    ForbiddenError,
    ModelInfo,
    ProviderConfig,
    RefusalTable,
    Request,
    Usage,
)
from providerhub.wire_provider import HttpAnswer, HttpRequest, Order, WireProvider
from providerhub_bedrock._body import asked
from providerhub_bedrock._message import ConverseReading
from providerhub_bedrock._traits import described
from providerhub_bedrock.aws import Signer

_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""The fields that CountTokens accepts."""

_GEOGRAPHY = re.compile(r"^(?:[a-z]{2}|apac|global|us-gov)\.")
"""The beginning of the name of an inference profile; the name of its model follows."""

_MEDIA = {"supports_images": {"IMAGE"}, "supports_audio": {"AUDIO", "SPEECH"}}


class Bedrock(WireProvider):
    """A provider for Amazon Bedrock.

    Args:
        config: The instance's configuration. With `api_key`, requests have this key; without it, they are signed.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    refusals = RefusalTable("providerhub_bedrock")

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self._signer = None if config.api_key else Signer(self)

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """Sign a request; see `Wire.sign`.

        Args:
            method: The HTTP method.
            url: The address, exactly as sent.
            headers: The sent headers. The signature does not cover them, since proxies change some headers.
            body: The body.
        """
        del headers
        return self._signer.headers(method, url, body) if self._signer else {}

    @classmethod
    def discover(cls, config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo | str]:
        """Ask the control plane, at its own address, for the models; see `WireProvider.discover`.

        Args:
            config: The instance's configuration.
            call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT` of the toolkit.
        """
        return super().discover(attrs.evolve(config, url=(config.url or "").replace("//bedrock-runtime", "//bedrock", 1)), call)

    def build(self, request: Request, call: CallContext) -> Generator[Order, Any, HttpRequest]:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The fetch of the credentials, if necessary.

        Returns:
            The request.
        """
        sent = asked(request)
        call.notes += sent.notes
        yield from self._ready(call)
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
    """The maximum number of texts in one request to a model of Cohere."""

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings by InvokeModel, in the form of the model's maker; see `WireProvider.embedding`.

        Args:
            request: The request to write.
            call: The call, for the credentials.

        Yields:
            The fetch of the credentials, if necessary, and the requests: one for each text at a model of Amazon.

        Returns:
            The vectors.

        Raises:
            CapabilityError: The form of the model's embeddings is not known.
        """
        path, found, tokens = f"/model/{quote(request.model, safe='')}/invoke", [], 0
        yield from self._ready(call)
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
        """Ask for the number of input tokens of a request; see `WireProvider.counting`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The fetch of the credentials, if necessary, and the request.

        Returns:
            The number of tokens.
        """
        sent = asked(request)
        call.notes += sent.notes
        yield from self._ready(call)
        given = {"converse": {name: sent.body[name] for name in _COUNTED if name in sent.body}}
        path = f"/model/{quote(_GEOGRAPHY.sub('', request.model), safe='')}/count-tokens"  # CountTokens takes no area
        answer: HttpAnswer = yield HttpRequest(path, {"input": given})
        return answer.number("inputTokens")

    def models(self) -> Generator[Order, Any, list[ModelInfo | str]]:
        """List the models of the region that answer in text, and the inference profiles, for `listed`.

        Yields:
            The requests.

        Returns:
            The models, with the capabilities that the service states.
        """
        yield from self._ready()
        answer = yield HttpRequest("/foundation-models", method="GET", query={"byOutputModality": "TEXT"})
        known = {str(entry.get("modelId")): entry for entry in answer.entries("modelSummaries")}
        names = {name: name for name, entry in known.items() if entry.get("inferenceTypesSupported") != ["INFERENCE_PROFILE"]}
        with suppress(ForbiddenError):  # needs a separate permission
            request = HttpRequest("/inference-profiles", method="GET", query={"maxResults": "1000"})
            names |= map(_served, (yield from request.pages("inferenceProfileSummaries", "nextToken", "nextToken")))
        return [_model(name, known[model]) for name, model in names.items() if model in known]

    def _ready(self, call: CallContext | None = None) -> Generator[Order, Any, None]:
        """Fetch the credentials, if necessary."""
        if self._signer:
            yield from self._signer.ready(call)


def _served(profile: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of an inference profile and its model. The name of a profile of the account is its ARN."""
    key = "inferenceProfileArn" if profile.get("type") == "APPLICATION" else "inferenceProfileId"
    models = profile.get("models") or [{}]
    return str(profile.get(key)), str(models[0].get("modelArn")).rpartition("/")[2]


def _model(name: str, entry: Mapping[str, Any]) -> ModelInfo:
    reads = entry.get("inputModalities")
    stated: dict[str, Any] = {ability: bool(kinds & set(reads)) for ability, kinds in _MEDIA.items()} if reads else {}
    if isinstance(entry.get("responseStreamingSupported"), bool):
        stated["supports_stream"] = entry["responseStreamingSupported"]
    own = described(str(entry.get("modelId")), stated)
    return attrs.evolve(own, name=name)
