"""The provider objects. They use the Gemini API; the toolkit sends the requests, synchronously and under asyncio."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from providerhub import (
    CallContext,
    EmbeddingRequest,
    Embeddings,
    ModelInfo,
    ProtocolError,
    ProviderConfig,
    ProviderError,
    RefusalTable,
    Request,
    Usage,
)  # fmt: skip
from providerhub.wire_provider import HttpAnswer, HttpRequest, Order, WireProvider
from providerhub_gemini import VERSION, vertex
from providerhub_gemini._body import asked
from providerhub_gemini._models import described
from providerhub_gemini._reading import GeminiReading
from providerhub_gemini.google import Tokens

_NO_CHAT = re.compile(r"embedding|gecko|ima|veo|chirp|lyria|speech|virtual-try-on|weather|ocr")
"""Names of Google's models in the model garden that do not answer a chat."""

_COUNTED = ("contents", "systemInstruction", "tools", "generationConfig")
"""The fields of a request that `countTokens` of Vertex AI takes."""

Listing = Generator[Any, Any, list[ModelInfo | str]]
Embedding = Generator[Any, Any, Embeddings]


class Gemini(WireProvider):
    """A provider for the Gemini API of Google AI Studio.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    key_header = "x-goog-api-key"
    refusals = RefusalTable("providerhub_gemini")
    version = VERSION
    _tokens: Tokens | None = None

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        has_version = re.search(r"/v\d\w*/?$", urlsplit(config.url or "").path)
        self.prefix = "" if has_version else f"/{config.get('api_version') or self.version}"

    def path(self, model: str) -> str:
        """Return the path of a model.

        Args:
            model: The model's name: a plain name, or a resource such as `tunedModels/mine`.
        """
        return f"{self.prefix}/{'' if '/' in model else 'models/'}{quote(model, safe='/')}"

    def build(self, request: Request, call: CallContext) -> Any:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        body = _noted(request, call)
        method, query = ("streamGenerateContent", {"alt": "sse"}) if request.stream else ("generateContent", {})
        return HttpRequest(f"{self.path(request.model)}:{method}", body, stream=request.stream, query=query)

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> GeminiReading:
        """Make the reader of one answer; see `WireProvider.reading`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
            headers: The headers of the answer, by name.
        """
        del request
        return GeminiReading(call, headers)

    def counting(self, request: Request, call: CallContext) -> Generator[Any, Any, int]:
        """Ask for the number of input tokens of a request; see `WireProvider.counting`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The fetch of a token, if necessary, and the request.

        Returns:
            The number of tokens.
        """
        path = self.path(request.model)
        body, headers = self._counted(path, _noted(request, call)), (yield from self._authorized(call))
        answer: HttpAnswer = yield HttpRequest(f"{path}:countTokens", body, headers=headers)
        return answer.number("totalTokens")

    def _counted(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"generateContentRequest": {"model": path.removeprefix(f"{self.prefix}/"), **body}}

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Embedding:
        """Ask for embeddings; see `WireProvider.embedding`.

        Args:
            request: The request to write.
            call: The call, which is not used.

        Yields:
            The request.

        Returns:
            The vectors. The service states no token counts.
        """
        del call
        path, sizes = self.path(request.model), _sizes(request)
        one = {"model": path.removeprefix(f"{self.prefix}/"), **sizes, **request.options}
        contents = [{**one, "content": {"parts": [{"text": text}]}} for text in request.texts]
        answer = yield HttpRequest(f"{path}:batchEmbedContents", {"requests": contents})
        return Embeddings([entry.get("values") or () for entry in answer.entries("embeddings")])

    def failed(self, error: ProviderError) -> ProviderError:
        """Add the names of the settings to the error of a wrong address or a refused token; see `WireProvider.failed`.

        Args:
            error: The failure.
        """
        if isinstance(error, ProtocolError) and error.status == 404:
            error.args = (f"{error} (the settings `url` and `api_version` make it)",)
        return self._tokens.explained(error) if self._tokens else error

    def models(self) -> Listing:
        """List the models of the service, for `listed`.

        Yields:
            The request of each page.

        Returns:
            The models that answer a chat, then the models of embeddings, with the window that the service states.
        """
        entries = yield from self._listed("/models", "models")
        found: list[ModelInfo | str] = []
        for method, make in (("generateContent", _of_chat), ("embedContent", _of_embeddings)):
            able = (entry for entry in entries if method in (entry.get("supportedGenerationMethods") or ()))
            found += [make(entry["name"].removeprefix("models/"), entry) for entry in able]
        return found

    def _listed(self, path: str, field: str) -> Generator[Any, Any, list[Mapping[str, Any]]]:
        headers = yield from self._authorized()
        request = HttpRequest(f"{self.prefix}{path}", method="GET", query={"pageSize": "1000"}, headers=headers)
        return (yield from request.pages(field, "nextPageToken", "pageToken"))

    def _authorized(self, call: CallContext | None = None) -> Generator[Order, Any, dict[str, str]]:
        """Return the headers with a token, if the settings have no key."""
        return (yield from self._tokens.headers(call)) if self._tokens else {}


class Vertex(Gemini):
    """A provider for Gemini models at Vertex AI.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    version = vertex.VERSION

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        location = config.get("location") or vertex.LOCATION
        self._tokens = None if config.api_key else Tokens(self)
        self._parent = self.prefix + ("" if config.api_key else f"/projects/{config.get('project')}/locations/{location}")

    def path(self, model: str) -> str:
        """Return the path of a model.

        Args:
            model: The model's name: a plain name, `publisher/model`, or a resource such as `endpoints/123`.
        """
        publisher, _, name = model.rpartition("/")
        if model.startswith(("projects/", "endpoints/", "publishers/")):
            return f"{self.prefix if publisher.startswith('projects') else self._parent}/{quote(model, safe='/')}"
        return f"{self._parent}/publishers/{quote(publisher or 'google')}/models/{quote(name)}"

    def build(self, request: Request, call: CallContext) -> Generator[Order, Any, HttpRequest]:
        """Write a request, with a fresh token; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The fetch of a token, if necessary.
        """
        made: HttpRequest = super().build(request, call)  # a generator in the base class would cost 6 µs for each call
        return attrs.evolve(made, headers=(yield from self._authorized(call)))

    def _counted(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        del path
        return {name: body[name] for name in _COUNTED if name in body}

    embedding_characters = 20_000
    """The service takes 20,000 tokens in one request, and in nearly all texts a character is at most one token."""

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Embedding:
        """Ask for embeddings; see `WireProvider.embedding`. The options are fields of each text, such as `task_type`.

        Args:
            request: The request to write.
            call: The call, for the token.

        Yields:
            The refresh of the credentials, and the requests: one for each text at a Gemini model, which takes no more.

        Returns:
            The vectors.
        """
        headers = yield from self._authorized(call)
        texts, found = list(request.texts), list[Mapping[str, Any]]()
        size = 1 if "gemini" in request.model else len(texts)
        for place in range(0, len(texts), size):
            instances = [{"content": text, **request.options} for text in texts[place : place + size]]
            body = {"instances": instances, "parameters": {"autoTruncate": False, **_sizes(request)}}  # an error, not a cut text
            answer = yield HttpRequest(f"{self.path(request.model)}:predict", body, headers=headers)
            found += [entry["embeddings"] for entry in answer.entries("predictions") if isinstance(entry.get("embeddings"), dict)]
        counts = [one.get("statistics", {}).get("token_count") for one in found]
        usage = Usage(input_tokens=sum(map(int, counts))) if None not in counts else None
        return Embeddings([one.get("values") or () for one in found], usage)

    def models(self) -> Listing:
        """List Google's models in the model garden, which states no window; see `Gemini.models`.

        Yields:
            The request of each page.

        Returns:
            Google's models that answer a chat, then the models of embeddings.
        """
        entries = yield from self._listed("/publishers/google/models", "publisherModels")
        names = [entry["name"].rpartition("/")[2] for entry in entries]
        found = [described(name) for name in names if not _NO_CHAT.search(name)]
        return [*found, *(_of_embeddings(name, {}) for name in names if "embedding" in name)]


def _noted(request: Request, call: CallContext) -> dict[str, Any]:
    """The JSON object of a request, with notes about changes."""
    body, notes = asked(request)
    call.notes += notes
    return body


def _sizes(request: EmbeddingRequest) -> dict[str, int]:
    return {} if request.dimensions is None else {"outputDimensionality": request.dimensions}


def _of_chat(name: str, entry: Mapping[str, Any]) -> ModelInfo:
    most = entry.get("outputTokenLimit") or None
    return described(name, window=entry.get("inputTokenLimit"), most=most, thinks=entry.get("thinking"))


def _of_embeddings(name: str, entry: Mapping[str, Any]) -> ModelInfo:
    window = entry.get("inputTokenLimit")
    return ModelInfo(name, supports_embeddings=True, context_window=window if isinstance(window, int) and window > 0 else None)
