"""The provider object for Claude at Amazon Bedrock. Requests and answers are those of the Messages API.

Reference: "Claude on Amazon Bedrock" in Anthropic's documentation; Amazon Bedrock API reference, "InvokeModelWithResponseStream".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from typing import Any
from urllib.parse import quote

import attrs

from providerhub import CallContext, ConfigurationError, ModelInfo, ProviderConfig, Request
from providerhub.wire_provider import HttpRequest
from providerhub_anthropic._models import described
from providerhub_anthropic._reading import MessagesReading
from providerhub_anthropic._refusals import REFUSALS
from providerhub_anthropic.provider import Anthropic

try:
    from providerhub_bedrock.aws import AwsProvider, EventStream, Frame, status_of
except ImportError as error:
    msg = "Claude at Amazon Bedrock needs providerhub-bedrock and botocore: pip install 'providerhub-anthropic[bedrock]'"
    raise ConfigurationError(msg) from error


class ClaudeStream(EventStream):
    """Cuts an event stream whose chunks hold the events of the Messages API."""

    def frame(self, message: Any) -> Frame:
        """Return the event inside a chunk, or the exception as an error of the Messages API; see `EventStream.frame`.

        Args:
            message: The message, as botocore reads it.
        """
        data, event = super().frame(message)
        try:
            said = json.loads(data)
            if not event.startswith("error:"):
                return Frame(base64.b64decode(said["bytes"], validate=True), "")
        except (ValueError, TypeError, KeyError):
            said = {}
        if not event.startswith("error:"):
            return Frame(data, "")  # its parser says what is wrong
        name = event.removeprefix("error:")
        failure = {"type": name, "message": said.get("message") or name, "code": status_of(name, said)}
        return Frame(json.dumps({"type": "error", "error": failure}).encode(), "error")


class BedrockReading(MessagesReading):
    """Reads one answer, whose events come in chunks of an event stream; see `MessagesReading`."""

    frames = ClaudeStream


class AnthropicBedrock(AwsProvider, Anthropic):
    """A provider for Claude at Amazon Bedrock.

    Args:
        config: The instance's configuration. With `api_key`, requests carry it; otherwise they are signed.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    key_header = "Authorization"
    reader = BedrockReading
    refusals = (*AwsProvider.refusals, *REFUSALS)

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.headers = {}

    def build(self, request: Request, call: CallContext) -> Any:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        body = self._invoked(request, call)
        yield from self.ready()
        way = "invoke-with-response-stream" if request.stream else "invoke"
        return HttpRequest(f"/model/{quote(request.model, safe='')}/{way}", body, stream=request.stream)

    def counting(self, request: Request, call: CallContext) -> Generator[Any, Any, int]:
        """Ask how many input tokens a request has; see `WireProvider.counting`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The work of fetching credentials, where it is due, and the request.

        Returns:
            The number of tokens.
        """
        body = json.dumps(self._invoked(request, call)).encode()
        return self.tokens(request.model, {"invokeModel": {"body": base64.b64encode(body).decode()}})

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
        served = yield from self.served({"byProvider": "Anthropic"})
        return [attrs.evolve(described(str(entry["modelId"])), name=name) for name, entry in served]
