"""The provider object for Claude at Vertex AI. Requests and answers have the form of the Messages API.

Reference: "Claude on Vertex AI" in Anthropic's documentation.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from providerhub import (
    AuthenticationError,
    CallContext,
    ModelInfo,
    ProviderConfig,
    ProviderError,
    RefusalTable,
    Request,
)
from providerhub.wire_provider import HttpAnswer, HttpRequest
from providerhub_anthropic._models import described
from providerhub_anthropic.provider import Anthropic, counted_part

_VERSION = "vertex-2023-10-16"


class AnthropicVertex(Anthropic):
    """A provider for Claude at Vertex AI.

    Args:
        config: The instance's configuration. With `api_key`, requests carry it; otherwise a token of Google's credentials, which
            `providerhub-gemini` fetches.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    key_header = "Authorization"
    refusals = RefusalTable("providerhub_anthropic", "google", "line")

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.headers = {"anthropic-beta": self._beta} if self._beta else {}
        self._tokens: Any = None
        if not config.api_key:
            with suppress(ImportError):  # a call names the extra that is missing
                from providerhub_gemini.google import Tokens

                self._tokens = Tokens(self, "providerhub-anthropic[vertex]")

    def build(self, request: Request, call: CallContext) -> Any:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        sent = self.written(request, call)
        body = {"anthropic_version": _VERSION, **{name: value for name, value in sent.body.items() if name != "model"}}
        headers = {**sent.headers, **(yield from self._authorized(call))}
        way = "streamRawPredict" if request.stream else "rawPredict"
        return HttpRequest(self._path(f"{quote(request.model, safe='@')}:{way}"), body, stream=request.stream, headers=headers)

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
        sent = self.written(request, call)
        headers = {**sent.headers, **(yield from self._authorized(call))}
        body = {"anthropic_version": _VERSION, **counted_part(sent.body)}
        answer: HttpAnswer = yield HttpRequest(self._path("count-tokens:rawPredict"), body, headers=headers)
        return answer.number("input_tokens")

    def _path(self, end: str) -> str:
        place = f"/projects/{quote(self.config.get('project'), safe='')}/locations/{self.config.get('location') or 'global'}"
        return f"{self.prefix}{place}/publishers/anthropic/models/{end}"

    def models(self) -> Generator[Any, Any, list[ModelInfo]]:
        """List the Claude models in the model garden, for `listed`.

        Yields:
            The requests.

        Returns:
            The models.
        """
        host = (self.config.url or "").rstrip("/").removesuffix("/v1")
        path = f"{host}/v1beta1/publishers/anthropic/models"  # the stable version has no list
        request = HttpRequest(path, method="GET", query={"pageSize": "1000"}, headers=(yield from self._authorized()))
        entries = yield from request.pages("publisherModels", "nextPageToken", "pageToken")
        return [described(str(entry.get("name")).rpartition("/")[2]) for entry in entries]

    def failed(self, error: ProviderError) -> ProviderError:
        """Add the names of the settings to the error of a refused token; see `WireProvider.failed`.

        Args:
            error: The failure.
        """
        return self._tokens.explained(error) if self._tokens else error

    def _authorized(self, call: CallContext | None = None) -> Generator[Any, Any, dict[str, str]]:
        """Return the headers with a token, if the settings have no key."""
        if self._tokens or self.config.api_key:
            return (yield from self._tokens.headers(call)) if self._tokens else {}
        msg = (
            "Google's credentials need providerhub-gemini and google-auth: pip install 'providerhub-anthropic[vertex]', "
            "or set an access token in `api_key`"
        )
        raise AuthenticationError(msg)
