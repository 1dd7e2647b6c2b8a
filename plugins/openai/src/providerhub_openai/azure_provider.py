"""The provider object for Azure, at its v1 address and at the dated ones.

Reference: "Azure OpenAI in Microsoft Foundry Models REST API", and "API version lifecycle" in Microsoft's documentation.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import time
from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import attrs

from providerhub import (
    AuthenticationError,
    CallContext,
    CapabilityError,
    ConfigurationError,
    EmbeddingRequest,
    Embeddings,
    ModelInfo,
    ModelUnavailableError,
    ProtocolError,
    ProviderConfig,
    ProviderConnectionError,
    Refusal,
    Request,
)
from providerhub.wire_provider import Blocking, Fetched, HttpRequest, Order
from providerhub_openai.azure import SCOPE
from providerhub_openai.models import openai_model
from providerhub_openai.provider import OpenAI, choice

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_UNDATED = frozenset({"v1", "preview", "latest"})
_NEW = "2024-09"
"""The first API version that knows `stream_options` and `max_completion_tokens`."""

_LISTING = "2023-03-15-preview"
"""The API version that lists the deployments of a resource. Later ones list the models that could be deployed."""

_NO_TEXT = re.compile(r"whisper|dall-e|tts|image|transcribe|realtime|sora|babbage|davinci")
_EARLY = 300
"""Seconds before its end at which a token is replaced."""


class Azure(OpenAI):
    """A provider for the deployments of a resource at Azure. The name of a model is the name of its deployment.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    key_header = "api-key"

    def __init__(self, config: ProviderConfig) -> None:
        config, version, self._deployment = _placed(config)
        self._dated = version if version not in _UNDATED else ""
        is_new = not self._dated or self._dated >= _NEW
        usage = config.get("stream_usage") or ("yes" if is_new else "no")
        super().__init__(attrs.evolve(config, options={**config.options, "stream_usage": usage}))
        self._query = {} if version in {"", "v1"} else {"api-version": version}
        self.path = "/openai/v1/chat/completions"
        self.resources = "" if self._dated else "/openai/v1"
        self.responses = "/openai/responses" if self._dated else "/openai/v1/responses"
        self.refusals = (*_refusals(config.name), *self.refusals)
        self.at_openai = is_new  # older versions do not know `max_completion_tokens`
        self.be_strict()
        self._token = Fetched(self._fetch)
        self._credential: Any = config.get("credential")
        self._scope = str(config.get("scope") or SCOPE)
        self._entra = choice(config, "auth", ("key", "entra")) == "entra"
        if self._entra:
            self.key_header = ""
            self._check_credential()

    def build(self, request: Request, call: CallContext) -> Generator[Order, Any, HttpRequest]:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request to write.
            call: The call, for notes.

        Yields:
            The work that fetches a token, if one is needed.

        Returns:
            The request.
        """
        built = super().build(request, call)
        if not isinstance(built, HttpRequest):  # pragma: no cover -- `OpenAI.build` needs no other request
            built = yield from built
        return (yield from self._addressed(built, request, call, "/chat/completions"))

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask a deployment for embeddings; see `WireProvider.embedding`.

        Args:
            request: The request to write.
            call: The call, for notes.

        Yields:
            The work that fetches a token, if one is needed, and the request.

        Returns:
            The vectors.
        """
        steps = super().embedding(request, call)
        answer = yield (yield from self._addressed(next(steps), request, call, "/embeddings"))  # type: ignore[arg-type]
        try:
            steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        raise AssertionError  # pragma: no cover -- it asks once

    def counting(self, request: Request, call: CallContext) -> Generator[Order, Any, int]:
        """Refuse the count: a resource of Azure has no such path; see `WireProvider.counting`.

        Args:
            request: The request, which is not sent.
            call: The call, which is not used.

        Raises:
            CapabilityError: Always.
        """
        del request, call
        msg = "Azure does not count tokens (November 2026); name a model of another provider, such as openai"
        raise CapabilityError(msg)

    def _addressed(self, built: HttpRequest, request: Request, call: CallContext, end: str) -> Generator[Order, Any, HttpRequest]:
        """A request with a token, the version and, at a dated address, the path of its deployment."""
        headers, path = (yield from self.authorized(call)), built.path
        if self._dated and path.endswith(end):
            path = f"/openai/deployments/{quote(self._deployment or request.model, safe='')}{end}"
        return attrs.evolve(built, path=path, headers={**built.headers, **headers}, query={**self._query, **built.query})

    def models(self) -> Generator[Order, Any, list[ModelInfo]]:
        """List the deployments of the resource, for `listed`.

        Yields:
            The work that fetches a token, if one is needed, and the request.

        Returns:
            The deployments that answer a conversation, with the capabilities of their models.

        Raises:
            ProviderError: The service refused, or its answer is not a list.
        """
        headers = yield from self.authorized()
        request = HttpRequest("/openai/deployments", method="GET", headers=headers, query={"api-version": _LISTING})
        try:
            answer = yield request
        except (ProtocolError, ModelUnavailableError) as error:
            msg = f"{error}; the resource does not list its deployments: name them in `models` of [providers.{self.config.name}]"
            raise type(error)(msg, status=error.status, excerpt=error.excerpt) from error
        found = (self.model(entry) for entry in answer.entries() if str(entry.get("id") or "").strip())
        return [model for model in found if model is not None]

    def model(self, entry: Mapping[str, Any]) -> ModelInfo | None:
        """Read one deployment.

        Args:
            entry: The entry of the list: the deployment's name as `id`, and its `model`.

        Returns:
            The model; `None` for a deployment that is not ready, or does not answer a conversation.
        """
        name, model = str(entry["id"]), str(entry.get("model") or entry["id"])
        if _NO_TEXT.search(model) or entry.get("status", "succeeded") != "succeeded":
            return None
        if openai_model(model, "auto") is None:  # a model of another vendor
            return ModelInfo(name, supports_stream=True)
        return openai_model(model, self._api, served=name)

    def authorized(self, call: CallContext | None = None) -> Generator[Order, Any, dict[str, str]]:
        """Return the header with an Entra token; none when a key is used.

        Args:
            call: The call that uses the token; `None`, the default, without a call.

        Yields:
            The work that fetches a token, if one is needed.
        """
        if not self._entra:
            return {}
        return {"Authorization": f"Bearer {(yield from self._token.get(call))}"}

    def _fetch(self) -> Generator[Order, Any, tuple[str, float]]:
        found = yield Blocking(self._fetched)
        return found.token, found.expires_on - _EARLY - time.time()

    def _check_credential(self) -> None:
        if self._credential is not None and not callable(getattr(self._credential, "get_token", None)):
            msg = f"provider {self.config.name!r}: credential has no get_token(); pass a credential of azure-identity"
            raise ConfigurationError(msg)
        if self._credential is None and not _has_identity():
            msg = (
                f"provider {self.config.name!r}: auth = 'entra' needs the package azure-identity: "
                "pip install 'providerhub-openai[azure]'"
            )
            raise ConfigurationError(msg)

    def _fetched(self) -> Any:
        """Fetch a token. This blocks."""
        if self._credential is None:
            # Slow to import, and needed with `auth = "entra"` only.
            self._credential = importlib.import_module("azure.identity").DefaultAzureCredential()
        try:
            return self._credential.get_token(self._scope)
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            if type(error).__name__ in {"ServiceRequestError", "ServiceResponseError"}:
                msg = f"the sign-in service of Entra was not reached: {said}"
                raise ProviderConnectionError(msg) from error
            msg = (
                f"no Entra token for provider {self.config.name!r}: {said}; sign in again (az login), "
                "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or set auth = 'key' and api_key"
            )
            raise AuthenticationError(msg) from error


def _placed(config: ProviderConfig) -> tuple[ProviderConfig, str, str]:
    """Read an address in each usual form: of the resource, of `/openai/v1`, or of one deployment with its API version.

    Returns:
        The configuration with the resource's address, the API version, and the deployment, if the address names one.
    """
    try:
        parts = urlsplit(config.url or "")
    except ValueError:
        return config, "v1", ""  # the toolkit raises the error of the address
    base, _, rest = parts.path.rstrip("/").partition("/openai")
    query = parse_qs(parts.query)
    stated = (query.pop("api-version", None) or [""])[0]
    set_one = str(config.get("api_version") or "v1").strip()
    version = stated if stated and set_one == "v1" else set_one
    if version not in _UNDATED and not _DATED.fullmatch(version):
        msg = f"provider {config.name!r}: api_version must be 'v1', 'preview' or a date such as '2024-10-21', not {version!r}"
        raise ConfigurationError(msg)
    found = re.match(r"/deployments/([^/]+)", rest)
    url = parts._replace(path=base, query="&".join(f"{name}={quote(one)}" for name, many in query.items() for one in many))
    return attrs.evolve(config, url=url.geturl() or None), version, found[1] if found else ""


def _has_identity() -> bool:
    try:
        return importlib.util.find_spec("azure.identity") is not None
    except ModuleNotFoundError:
        return False


def _refusals(name: str) -> tuple[Refusal, ...]:
    """Return the refusals of Azure, each with the wrong setting."""
    place, options = f"in [providers.{name}]", f"in [providers.{name}.options]"
    return (
        Refusal(
            error=ModelUnavailableError,
            codes=("deploymentnotfound",),
            hint=f"; the name of a model is that of a deployment of the resource: correct `models` {place}",
        ),
        Refusal(
            error=ProtocolError,
            codes=("unsupportedapiversion", "invalidapiversionparameter", "missingapiversionparameter"),
            phrases=(
                r"api[- _]?version\b.{0,60}(?:not (?:supported|valid|enabled|found)|unsupported|invalid|required|retired)",
                r"(?:unsupported|invalid|missing|unknown|retired).{0,30}api[- _]?version",
            ),
            hint=f"; set api_version {options}: 'v1', or a date such as '2024-10-21'",
        ),
        Refusal(
            error=ProtocolError,
            phrases=(r"^resource not found",),
            only=(404,),
            hint=f"; check url {place} and api_version {options}",
        ),
        Refusal(
            error=AuthenticationError,
            codes=("permissiondenied",),
            phrases=(r"lacks the required data action", r"does not have access to the"),
            only=(401, 403),
            hint="; give the account the role 'Cognitive Services OpenAI User'",
        ),
        Refusal(
            error=AuthenticationError,
            codes=("401", "unauthorized", "invalidauthenticationtoken"),
            phrases=(r"subscription key", r"wrong api endpoint", r"\bexpired\b"),
            only=(401,),
            hint=f"; set api_key and url {place}, or auth = 'entra' {options} and sign in again",
        ),
    )
