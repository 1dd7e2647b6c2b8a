"""The provider object. It speaks the Converse API; the toolkit sends the requests, synchronously and under asyncio."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from providerhub import (
    AuthenticationError,
    CallContext,
    CapabilityError,
    EmbeddingRequest,
    Embeddings,
    ForbiddenError,
    ModelInfo,
    ProviderConfig,
    ProviderError,
    Request,
    Usage,
)
from providerhub import error_from_status as error_of
from providerhub.wire_provider import Blocking, HttpAnswer, HttpRequest, Order, WireProvider
from providerhub_bedrock._aws import Signer
from providerhub_bedrock._body import asked
from providerhub_bedrock._message import ConverseReading
from providerhub_bedrock._refusals import REFUSALS
from providerhub_bedrock._traits import described

_PAGES = 20
"""The most pages of a list."""

_MEDIA = {"supports_images": {"IMAGE"}, "supports_audio": {"AUDIO", "SPEECH"}}


class Bedrock(WireProvider):
    """A provider for Amazon Bedrock.

    Args:
        config: The instance's configuration. With `api_key`, requests carry it; otherwise they are signed.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self._signer = None if config.api_key else Signer(config)

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
        for note in sent.notes:
            call.note(note)
        yield from self._ready()
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
        yield from self._ready()
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

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """Sign a request; see `Wire.sign`.

        Args:
            method: The HTTP method.
            url: The address, exactly as it is sent.
            headers: The headers that are sent. The signature does not cover them, since proxies change some.
            body: The body.
        """
        del headers
        return self._signer.headers(method, url, body) if self._signer else {}

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error for a refused request; see `Wire.refusal`.

        Args:
            status: The HTTP status, which is not a success.
            headers: The headers of the answer, by name.
            body: The body of the answer.
        """
        error = error_of(status, headers, body.replace(b'"Message"', b'"message"', 1), refusals=REFUSALS, redact=self.redact)
        if self._signer and isinstance(error, AuthenticationError):
            self._signer.forget()
        return error

    def models(self) -> Generator[HttpRequest | Blocking, Any, list[ModelInfo | str]]:
        """List the models of the region that answer in text, and the inference profiles, for `listed`.

        Yields:
            The requests.

        Returns:
            The models, with the capabilities that the service states.
        """
        yield from self._ready()
        answer: HttpAnswer = yield HttpRequest("/foundation-models", method="GET", query={"byOutputModality": "TEXT"})
        known = {str(entry.get("modelId")): entry for entry in answer.entries("modelSummaries")}
        found = [_model(name, entry) for name, entry in known.items() if _only_way(entry) != "INFERENCE_PROFILE"]
        query = {"maxResults": "1000"}
        for _ in range(_PAGES):
            try:
                answer = yield HttpRequest("/inference-profiles", method="GET", query=query)
            except ForbiddenError:  # a permission of its own
                break
            for entry in answer.entries("inferenceProfileSummaries"):
                name, model = _served(entry)
                if model in known:
                    found.append(_model(name, known[model]))
            token = answer.json().get("nextToken")
            if not token:
                break
            query = {**query, "nextToken": token}
        return list(found)

    @classmethod
    def discover(cls, config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo | str]:
        """Ask the control plane, which has an address of its own, for the models; see `WireProvider.discover`.

        Args:
            config: The instance's configuration.
            call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT` of the toolkit.
        """
        return super().discover(attrs.evolve(config, url=(config.url or "").replace("//bedrock-runtime", "//bedrock", 1)), call)

    def _ready(self) -> Generator[Blocking, Any, None]:
        if self._signer:
            yield from self._signer.ready()
            self.secrets = self._signer.secrets


def _only_way(entry: Mapping[str, Any]) -> str:
    """Return the one way in which a model can be asked; empty if there are several, or if none is stated."""
    ways = entry.get("inferenceTypesSupported") or [""]
    return str(ways[0]) if len(ways) == 1 else ""


def _served(profile: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of an inference profile, and that of its model. A profile of the account is named by its ARN."""
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
