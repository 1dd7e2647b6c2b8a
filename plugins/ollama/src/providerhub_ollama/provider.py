"""The provider object. It uses Ollama's own protocol; the toolkit sends the requests, synchronously and under asyncio."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import urlsplit

from providerhub import (
    CallContext,
    ConfigurationError,
    EmbeddingRequest,
    Embeddings,
    ModelInfo,
    ProviderConfig,
    ProviderError,
    RefusalTable,
    Request,
    Usage,
)
from providerhub.wire import left_out
from providerhub.wire_provider import HttpAnswer, HttpRequest, Order, WireProvider
from providerhub_ollama import is_absent
from providerhub_ollama._body import body, tokens
from providerhub_ollama._reading import ChatReading

_LATEST = ":latest"
"""The tag of a name without a tag."""


class Ollama(WireProvider):
    """A provider for a server of Ollama.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    refusals = RefusalTable("providerhub_ollama")

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        host = urlsplit(config.url or "").hostname or ""
        if not config.api_key and f".{host}".endswith(".ollama.com"):
            msg = f"provider {config.name!r}: {host} needs a key; set api_key (environment variable OLLAMA_API_KEY)"
            raise ConfigurationError(msg)

    def build(self, request: Request, call: CallContext) -> HttpRequest:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        call.notes += left_out(request.messages, "Ollama")
        return HttpRequest("/api/chat", body(request, self.config), stream=request.stream)

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> ChatReading:
        """Make the reader of one answer; see `WireProvider.reading`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
            headers: The headers of the answer, by name.
        """
        return ChatReading(call, headers, max(tokens(request), tokens(request, usual=True)))

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings; see `WireProvider.embedding`. A text that is too long is an error, and is not cut in silence.

        Args:
            request: The request to write.
            call: The call, which is not used.

        Yields:
            The request.

        Returns:
            The vectors.
        """
        del call
        count = self.config.get("num_ctx")
        options = {"num_ctx": count} if count else {}
        asked = {"model": request.model, "input": list(request.texts), "truncate": False, "options": options}
        asked |= {} if request.dimensions is None else {"dimensions": request.dimensions}
        answer: HttpAnswer = yield HttpRequest("/api/embed", {**asked, **request.options})
        found = answer.json()
        found = found if isinstance(found, dict) else {}
        return Embeddings(found.get("embeddings") or [], Usage(input_tokens=found.get("prompt_eval_count")))

    def failed(self, error: ProviderError) -> ProviderError:
        """Add the fix to the error of a missing server at the usual address; see `WireProvider.failed`.

        Args:
            error: The failure.
        """
        if is_absent(error, self.config.url):
            error.args = (f"{error}; run `ollama serve`, or set url (environment variable OLLAMA_HOST)",)
        return error

    def models(self) -> Generator[HttpRequest, HttpAnswer, list[ModelInfo]]:
        """List the models of the server, for `listed`.

        Yields:
            The request of the list, and one for each model.

        Returns:
            The models that answer a chat, then the models of embeddings, with the capabilities and the context length that
            the server states.

        Raises:
            ProviderError: The server refused, or its answer is not a list of models.
        """
        answer = yield HttpRequest("/api/tags", method="GET")
        found = []
        entries = answer.entries("models")
        named = {name: entry for entry in entries if (name := str(entry.get("model") or entry.get("name") or "").strip())}
        for name, entry in named.items():
            try:
                shown = (yield HttpRequest("/api/show", {"model": name})).json()
            except ProviderError:  # the model was removed, or a proxy has only the list
                shown = {}
            found.append(self._model(name, {**entry, **(shown if isinstance(shown, dict) else {})}))
        return sorted((model for model in found if model is not None), key=lambda model: model.supports_embeddings is True)

    @classmethod
    def discover(cls, config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo | str]:
        """Ask a server for its models; see `WireProvider.discover`.

        Args:
            config: The instance's configuration.
            call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT` of the toolkit.

        Returns:
            The models; none if no server is at the usual address, since the plugin may be unused.
        """
        try:
            return super().discover(config, call)
        except ProviderError as error:
            if is_absent(error, config.url):
                return []
            raise

    def _model(self, name: str, entry: Mapping[str, Any]) -> ModelInfo | None:
        stated = entry.get("capabilities")
        able = stated if isinstance(stated, list) else []
        aliases = (name.removesuffix(_LATEST),) if name.endswith(_LATEST) else ()
        if able and "completion" not in able:
            if "embedding" not in able:
                return None
            return ModelInfo(name, aliases=aliases, supports_embeddings=True, context_window=self._window(entry))
        return ModelInfo(
            name,
            aliases=aliases,
            supports_stream=True,
            supports_tools="tools" in able if able else None,
            supports_images="vision" in able if able else None,
            supports_reasoning="thinking" in able if able else None,
            supports_json_schema=None if entry.get("remote_host") else True,  # the server enforces the schema
            supports_files=False,
            supports_audio=False,
            context_window=self._window(entry),
        )

    def _window(self, entry: Mapping[str, Any]) -> int | None:
        """Return the smallest context: of the model, of its file, or of the settings."""
        info = entry.get("model_info")
        own = [value for name, value in info.items() if name.endswith(".context_length")] if isinstance(info, Mapping) else []
        lines = str(entry.get("parameters") or "").splitlines()
        in_file = [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "num_ctx"]
        set_for_it = self.config.get("num_ctx") or next((int(word) for word in in_file if word.isdecimal()), None)
        return min((n for n in (*own, set_for_it) if isinstance(n, int) and n > 0), default=None)
