"""The conformance suites that `providerhub conformance` runs. They need the package `providerhub-conformance`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

import attrs

from providerhub_conformance import AnthropicWire, Asked, Frames, ProviderConformance, RecordedRequest, Reply, Wire, eventstream


class AnthropicConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "anthropic"
    wire = AnthropicWire()


class _Cloud(AnthropicWire):
    """A cloud with the model in the path and a bearer token."""

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        model, stream = self.path(request.path)
        found = super().asked(_Completed(request, model))  # type: ignore[arg-type]
        return attrs.evolve(found, stream=stream, key=request.header("authorization").removeprefix("Bearer "))

    def path(self, path: str) -> tuple[str, bool]:
        """Return the model that a path names, and whether it asks for a stream."""
        raise NotImplementedError


class BedrockWire(_Cloud):
    """`POST …/model/{name}/invoke`, answered by JSON, or `…/invoke-with-response-stream`, answered by an event stream."""

    stream_type: ClassVar[str] = "application/vnd.amazon.eventstream"
    newlines: ClassVar[tuple[bytes, ...]] = ()

    def path(self, path: str) -> tuple[str, bool]:
        """See `_Cloud.path`."""
        _, _, name, way = path.rsplit("/", 3)
        return unquote(name), way != "invoke"

    def stream(self, reply: Reply) -> Frames:
        """See `Wire.stream`."""
        found = super().stream(reply)
        return Frames(*(tuple(map(_chunks, part)) for part in (found.head, found.pieces, found.tail)))

    def error_event(self, message: str) -> bytes:
        """See `Wire.error_event`."""
        said = json.dumps({"message": message}).encode()
        return frame({":message-type": "exception", ":exception-type": "serviceUnavailableException"}, said)

    def keep_alive(self) -> bytes:
        """See `Wire.keep_alive`: a ping event."""
        return _chunks(super().keep_alive())

    def garbage(self) -> bytes:
        """See `Wire.garbage`."""
        return chunk(b'{"truncated": ')

    def endless(self) -> tuple[bytes, bytes]:
        """See `Wire.endless`."""
        return Wire.endless(self)

    def listing(self, models: Sequence[str]) -> bytes | None:
        """See `Wire.listing`."""
        return json.dumps({"modelSummaries": [{"modelId": name} for name in models], "inferenceProfileSummaries": []}).encode()


class VertexWire(_Cloud):
    """`POST …/publishers/anthropic/models/{name}:rawPredict`, or `:streamRawPredict`, answered as by Anthropic."""

    def path(self, path: str) -> tuple[str, bool]:
        """See `_Cloud.path`."""
        name, _, way = path.rpartition("/")[2].rpartition(":")
        return unquote(name), way == "streamRawPredict"

    def listing(self, models: Sequence[str]) -> bytes | None:
        """See `Wire.listing`."""
        return json.dumps({"publisherModels": [{"name": f"publishers/anthropic/models/{name}"} for name in models]}).encode()


class BedrockConformance(ProviderConformance):
    """All checks of the conformance kit, for Claude at Amazon Bedrock."""

    provider = "anthropic-bedrock"
    wire = BedrockWire()
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    settings: ClassVar[Mapping[str, Any]] = {"region": "us-east-1"}


class VertexConformance(ProviderConformance):
    """All checks of the conformance kit, for Claude at Vertex AI."""

    provider = "anthropic-vertex"
    wire = VertexWire()
    model = "claude-sonnet-4-5@20250929"


class _Completed:
    """A request with the model in its body."""

    def __init__(self, request: RecordedRequest, model: str) -> None:
        self.header = request.header
        self._body = {**request.json(), "model": model}

    def json(self) -> Mapping[str, Any]:
        return self._body


def chunk(event: bytes) -> bytes:
    """Write a frame that carries an event of the Messages API.

    Args:
        event: The event's JSON object.
    """
    payload = json.dumps({"bytes": base64.b64encode(event).decode(), "p": "abc"}).encode()
    return eventstream(payload)[0]


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Write a frame of `application/vnd.amazon.eventstream`.

    Args:
        headers: The headers, all of them texts.
        payload: The payload.
    """
    return eventstream(payload, headers=headers)[0]


def _chunks(events: bytes) -> bytes:
    """Write server-sent events as frames."""
    return b"".join(chunk(line.removeprefix(b"data: ")) for line in events.split(b"\n") if line.startswith(b"data: "))
