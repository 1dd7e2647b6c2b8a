"""The provider object for Claude at Vertex AI. Requests and answers are those of the Messages API.

Reference: "Claude on Vertex AI" in Anthropic's documentation.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import quote

from providerhub import (
    AuthenticationError,
    CallContext,
    ModelInfo,
    ProviderConfig,
    ProviderConnectionError,
    ProviderError,
    Request,
)
from providerhub.wire_provider import Blocking, HttpAnswer, HttpRequest
from providerhub_anthropic._models import described
from providerhub_anthropic.provider import Anthropic, counted_part

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_VERSION = "vertex-2023-10-16"
_PAGES = 20
"""The most pages of a list."""


class AnthropicVertex(Anthropic):
    """A provider for Claude at Vertex AI.

    Args:
        config: The instance's configuration. With `api_key`, requests carry it; otherwise a token of Google's credentials.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    key_header = "Authorization"

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.headers = {"anthropic-beta": self._beta} if self._beta else {}
        self._credentials: Any = None

    def build(self, request: Request, call: CallContext) -> Any:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        sent = self.written(request, call)
        body = {"anthropic_version": _VERSION, **{name: value for name, value in sent.body.items() if name != "model"}}
        headers = {**sent.headers, **(yield from self._authorization())}
        way = "streamRawPredict" if request.stream else "rawPredict"
        return HttpRequest(self._path(f"{quote(request.model, safe='@')}:{way}"), body, stream=request.stream, headers=headers)

    def counting(self, request: Request, call: CallContext) -> Generator[Any, Any, int]:
        """Ask how many input tokens a request has; see `WireProvider.counting`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The fetch of a token, where it is due, and the request.

        Returns:
            The number of tokens.
        """
        sent = self.written(request, call)
        headers = {**sent.headers, **(yield from self._authorization())}
        body = {"anthropic_version": _VERSION, **counted_part(sent.body)}
        answer: HttpAnswer = yield HttpRequest(self._path("count-tokens:rawPredict"), body, headers=headers)
        return answer.number("input_tokens")

    def _path(self, end: str) -> str:
        place = f"/projects/{quote(self.config.get('project'), safe='')}/locations/{self.config.get('location') or 'global'}"
        return f"{self.prefix}{place}/publishers/anthropic/models/{end}"

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error for a refused request; see `Wire.refusal`.

        Args:
            status: The HTTP status, which is not a success.
            headers: The headers of the answer, by name.
            body: The body of the answer.
        """
        error = super().refusal(status, headers, body)
        if isinstance(error, AuthenticationError):
            self._credentials = None
            error.args = (f"{error}; check `credentials`, or run `gcloud auth application-default login`",)
        return error

    def models(self) -> Generator[Any, Any, list[ModelInfo]]:
        """List the Claude models in the model garden, for `listed`.

        Yields:
            The requests.

        Returns:
            The models.
        """
        headers = yield from self._authorization()
        host = (self.config.url or "").rstrip("/").removesuffix("/v1")
        query: dict[str, str] = {"pageSize": "1000"}
        found: list[ModelInfo] = []
        for _ in range(_PAGES):
            path = f"{host}/v1beta1/publishers/anthropic/models"  # the stable version has no list
            answer: HttpAnswer = yield HttpRequest(path, method="GET", query=query, headers=headers)
            found += [described(str(entry.get("name")).rpartition("/")[2]) for entry in answer.entries("publisherModels")]
            if not (token := answer.json().get("nextPageToken")):
                break
            query = {**query, "pageToken": token}
        return found

    def _authorization(self) -> Generator[Blocking, Any, dict[str, str]]:
        """Return the headers that carry a token. A valid one is used again."""
        if self.config.api_key:
            return {}
        found = self._credentials
        if found is None or not found.valid:
            found = self._credentials = yield Blocking(self._refreshed)
            self.secrets = (found.token,)
        billed = {"x-goog-user-project": found.quota_project_id} if getattr(found, "quota_project_id", None) else {}
        return {"Authorization": f"Bearer {found.token}", **billed}

    def _refreshed(self) -> Any:
        """Look up Google's credentials and fetch a token. It blocks."""
        try:
            auth, transport = import_module("google.auth"), import_module("google.auth.transport.requests")
        except ImportError as error:
            msg = (
                "Google's credentials need google-auth: pip install 'providerhub-anthropic[vertex]', or set `api_key` to a token"
            )
            raise AuthenticationError(msg) from error
        path, found = self.config.get("credentials"), self._credentials
        try:
            if found is None:
                found, _ = auth.load_credentials_from_file(str(path), scopes=_SCOPES) if path else auth.default(scopes=_SCOPES)
            found.refresh(transport.Request())
        except auth.exceptions.TransportError as error:
            msg = f"Google's token service cannot be reached: {error}"
            raise ProviderConnectionError(msg) from error
        except (auth.exceptions.GoogleAuthError, OSError) as error:
            fix = "set `credentials` or GOOGLE_APPLICATION_CREDENTIALS to a file, or run `gcloud auth application-default login`"
            msg = f"no valid Google credentials: {error}; {fix}"
            raise AuthenticationError(msg) from error
        return found
