"""The provider objects for Claude at Amazon Bedrock and at Vertex AI. Requests and answers are those of the Messages API.

Reference: "Claude on Amazon Bedrock" and "Claude on Vertex AI" in Anthropic's documentation; Amazon Bedrock API reference,
"InvokeModelWithResponseStream".
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs

from providerhub import (
    AuthenticationError,
    CallContext,
    ConfigurationError,
    ForbiddenError,
    ModelInfo,
    ProviderConfig,
    ProviderConnectionError,
    ProviderError,
    Refusal,
    Request,
    error_from_status,
)
from providerhub.wire_provider import Blocking, HttpAnswer, HttpRequest, listed
from providerhub_anthropic._models import described
from providerhub_anthropic._refusals import REFUSALS
from providerhub_anthropic.provider import Anthropic

if TYPE_CHECKING:
    from providerhub_anthropic._aws import Signer

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_PAGES = 20
"""The most pages of a list."""

_CLOUD_REFUSALS = (
    Refusal(
        error=AuthenticationError,
        codes=("expiredtokenexception", "unrecognizedclientexception", "invalidsignatureexception"),
        phrases=(r"make sure your api key is valid",),
        hint="; check or renew the credentials of the `profile` (aws sso login), or `api_key`",
    ),
    *REFUSALS,
)


class AnthropicBedrock(Anthropic):
    """A provider for Claude at Amazon Bedrock.

    Args:
        config: The instance's configuration. With `api_key`, requests carry it; otherwise they are signed.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used, or botocore is not installed.
    """

    key_header = "Authorization"

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.headers = {}
        try:
            aws = import_module("providerhub_anthropic._aws")
        except ImportError as error:
            msg = f"provider {config.name!r} needs botocore: pip install 'providerhub-anthropic[bedrock]'"
            raise ConfigurationError(msg) from error
        self.reader = aws.BedrockReading
        self._signer: Signer | None = None if config.api_key else aws.Signer(config)

    def build(self, request: Request, call: CallContext) -> Any:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        sent = self.written(request, call)
        body = {name: value for name, value in sent.body.items() if name not in {"model", "stream"}}
        betas = [name for one in (sent.headers.get("anthropic-beta") or self._beta).split(",") if (name := one.strip())]
        body = {"anthropic_version": "bedrock-2023-05-31", **({"anthropic_beta": betas} if betas else {}), **body}
        yield from self._ready()
        way = "invoke-with-response-stream" if request.stream else "invoke"
        return HttpRequest(f"/model/{quote(request.model, safe='')}/{way}", body, stream=request.stream)

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
        error = error_from_status(status, headers, body.replace(b'"Message"', b'"message"', 1), refusals=_CLOUD_REFUSALS)
        if self._signer and isinstance(error, AuthenticationError):
            self._signer.forget()
        return error

    def models(self) -> Generator[Any, Any, list[ModelInfo]]:
        """List the Claude models of the region and the inference profiles, for `listed`.

        Yields:
            The requests.

        Returns:
            The models.
        """
        yield from self._ready()
        answer: HttpAnswer = yield HttpRequest("/foundation-models", method="GET", query={"byProvider": "Anthropic"})
        known = {str(entry.get("modelId")): entry for entry in answer.entries("modelSummaries")}
        direct = [name for name, one in known.items() if (one.get("inferenceTypesSupported") or []) != ["INFERENCE_PROFILE"]]
        found = {name: name for name in direct}
        query = {"maxResults": "1000"}
        for _ in range(_PAGES):
            try:
                answer = yield HttpRequest("/inference-profiles", method="GET", query=query)
            except ForbiddenError:  # a permission of its own
                break
            for entry in answer.entries("inferenceProfileSummaries"):
                key = "inferenceProfileArn" if entry.get("type") == "APPLICATION" else "inferenceProfileId"
                found[str(entry.get(key))] = str((entry.get("models") or [{}])[0].get("modelArn")).rpartition("/")[2]
            if not (token := answer.json().get("nextToken")):
                break
            query = {**query, "nextToken": token}
        return [attrs.evolve(described(model), name=name) for name, model in found.items() if model in known]

    def _ready(self) -> Generator[Blocking, Any, None]:
        if self._signer:
            yield from self._signer.ready()
            self.secrets = self._signer.secrets


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
        body = {"anthropic_version": "vertex-2023-10-16", **{name: value for name, value in sent.body.items() if name != "model"}}
        headers = {**sent.headers, **(yield from self._authorization())}
        place = f"/projects/{quote(self.config.get('project'), safe='')}/locations/{self.config.get('location') or 'global'}"
        way = "streamRawPredict" if request.stream else "rawPredict"
        path = f"{self.prefix}{place}/publishers/anthropic/models/{quote(request.model, safe='@')}:{way}"
        return HttpRequest(path, body, stream=request.stream, headers=headers)

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


def bedrock(config: ProviderConfig) -> AnthropicBedrock:
    """Make the provider object of an instance at Amazon Bedrock.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used, or botocore is not installed.
    """
    return AnthropicBedrock(config)


def vertex(config: ProviderConfig) -> AnthropicVertex:
    """Make the provider object of an instance at Vertex AI.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """
    return AnthropicVertex(config)


def discover_bedrock(config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo | str]:
    """Ask Amazon Bedrock's control plane, which has an address of its own, for its Claude models.

    Args:
        config: The instance's configuration.
        call: The timeouts and the cancellation; `None`, the default, for those of `listed`.

    Raises:
        ProviderError: The service refused, or its answer is not a list of models.
    """
    provider = AnthropicBedrock(attrs.evolve(config, url=(config.url or "").replace("//bedrock-runtime", "//bedrock", 1)))
    return listed(provider, provider.models(), call)


def discover_vertex(config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo | str]:
    """Ask Vertex AI for its Claude models.

    Args:
        config: The instance's configuration.
        call: The timeouts and the cancellation; `None`, the default, for those of `listed`.

    Raises:
        ProviderError: The service refused, or its answer is not a list of models.
    """
    provider = AnthropicVertex(config)
    return listed(provider, provider.models(), call)
