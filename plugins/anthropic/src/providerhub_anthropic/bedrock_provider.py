"""The provider object for Claude at Amazon Bedrock. Requests and answers have the form of the Messages API.

Reference: "Claude on Amazon Bedrock" in Anthropic's documentation; Amazon Bedrock API reference, "InvokeModel", "CountTokens",
"ListFoundationModels" and "ListInferenceProfiles".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import attrs

from providerhub import (
    AuthenticationError,
    CallContext,
    ForbiddenError,
    ModelInfo,
    ProviderConfig,
    RefusalTable,
    Request,
)
from providerhub.wire_provider import HttpAnswer, HttpRequest
from providerhub_anthropic._aws import EventStream
from providerhub_anthropic._models import described
from providerhub_anthropic._reading import MessagesReading
from providerhub_anthropic.provider import Anthropic

_GEOGRAPHY = re.compile(r"^(?:[a-z]{2}|apac|global|us-gov)\.")
"""The beginning of the name of an inference profile; the name of its model follows."""


class BedrockReading(MessagesReading):
    """Reads one answer, whose events come in chunks of an event stream; see `MessagesReading`."""

    frames = EventStream


class AnthropicBedrock(Anthropic):
    """A provider for Claude at Amazon Bedrock.

    Args:
        config: The instance's configuration. With `api_key`, requests have this key; without it, `providerhub-bedrock` signs
            them.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    key_header = "Authorization"
    reader = BedrockReading
    refusals = RefusalTable("providerhub_anthropic", "aws", "line")

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.headers = {}
        self._signer: Any = None
        if not config.api_key:
            with suppress(ImportError):  # a call names the extra that is missing
                from providerhub_bedrock.aws import Signer

                self._signer = Signer(self)

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """Sign a request that carries no key; see `Wire.sign`.

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

    def build(self, request: Request, call: CallContext) -> Any:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        body = self._invoked(request, call)
        yield from self._ready(call)
        way = "invoke-with-response-stream" if request.stream else "invoke"
        return HttpRequest(f"/model/{quote(request.model, safe='')}/{way}", body, stream=request.stream)

    def counting(self, request: Request, call: CallContext) -> Generator[Any, Any, int]:
        """Ask for the number of input tokens of a request; see `WireProvider.counting`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The fetch of the credentials, if necessary, and the request.

        Returns:
            The number of tokens.
        """
        body = base64.b64encode(json.dumps(self._invoked(request, call)).encode()).decode()
        yield from self._ready(call)
        path = f"/model/{quote(_GEOGRAPHY.sub('', request.model), safe='')}/count-tokens"  # CountTokens takes no area
        answer: HttpAnswer = yield HttpRequest(path, {"input": {"invokeModel": {"body": body}}})
        return answer.number("inputTokens")

    def _invoked(self, request: Request, call: CallContext) -> dict[str, Any]:
        """The body of InvokeModel."""
        sent = self.written(request, call)
        body = {name: value for name, value in sent.body.items() if name not in {"model", "stream"}}
        betas = [name for one in (sent.headers.get("anthropic-beta") or self._beta).split(",") if (name := one.strip())]
        return {"anthropic_version": "bedrock-2023-05-31", **({"anthropic_beta": betas} if betas else {}), **body}

    def models(self) -> Generator[Any, Any, list[ModelInfo]]:
        """List the Claude models of the region and the inference profiles, for `discover`.

        Yields:
            The requests.

        Returns:
            The models.
        """
        yield from self._ready()
        answer: HttpAnswer = yield HttpRequest("/foundation-models", method="GET", query={"byProvider": "Anthropic"})
        known = {str(entry.get("modelId")): entry.get("inferenceTypesSupported") for entry in answer.entries("modelSummaries")}
        names = {name: name for name, ways in known.items() if ways != ["INFERENCE_PROFILE"]}
        with suppress(ForbiddenError):  # needs a separate permission
            request = HttpRequest("/inference-profiles", method="GET", query={"maxResults": "1000"})
            names |= map(_served, (yield from request.pages("inferenceProfileSummaries", "nextToken", "nextToken")))
        return [attrs.evolve(described(model), name=name) for name, model in names.items() if model in known]

    def _ready(self, call: CallContext | None = None) -> Generator[Any, Any, None]:
        """Fetch the credentials, if necessary."""
        if self._signer:
            yield from self._signer.ready(call)
        elif not self.config.api_key:
            msg = (
                "requests without a key are signed by providerhub-bedrock and botocore: "
                "pip install 'providerhub-anthropic[bedrock]', or set a key of Bedrock in `api_key` (AWS_BEARER_TOKEN_BEDROCK)"
            )
            raise AuthenticationError(msg)


def _served(profile: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of an inference profile and its model. The name of a profile of the account is its ARN."""
    key = "inferenceProfileArn" if profile.get("type") == "APPLICATION" else "inferenceProfileId"
    models = profile.get("models") or [{}]
    return str(profile.get(key)), str(models[0].get("modelArn")).rpartition("/")[2]
