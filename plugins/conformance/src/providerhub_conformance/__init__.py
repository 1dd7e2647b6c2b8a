"""The conformance kit for providers, and a fault server on loopback."""

from providerhub._values.value import publish
from providerhub.testing import Gate, Hold, Mark, Pause
from providerhub_conformance._faults.connection import Connection, RecordedRequest
from providerhub_conformance._faults.peer import Peer
from providerhub_conformance._faults.process import ServerProcess, Stats, serve_in_process
from providerhub_conformance._faults.scripts import (
    LAST_CHUNK,
    chunk,
    chunked,
    close_delimited,
    eventstream,
    http_response,
    ndjson,
    openai_chunk,
    openai_completion,
    openai_error,
    openai_stream,
    response_head,
    sse,
)
from providerhub_conformance._faults.server import FaultServer, Scripted, refusing_url, unanswering_url
from providerhub_conformance._faults.steps import (
    AtConnect,
    Close,
    Drip,
    Repeat,
    Reset,
    Script,
    Send,
    Step,
    flatten,
    tls_handshake_hang,
)
from providerhub_conformance._kit.anthropic_wire import AnthropicWire
from providerhub_conformance._kit.catalogue import CHECKS
from providerhub_conformance._kit.check import Check
from providerhub_conformance._kit.openai_wire import OpenAIChatWire
from providerhub_conformance._kit.report import Report, Result
from providerhub_conformance._kit.suite import ProviderConformance
from providerhub_conformance._kit.wire import Asked, Frames, NoWire, Reply, Wire

__all__ = [
    "CHECKS",
    "LAST_CHUNK",
    "AnthropicWire",
    "Asked",
    "AtConnect",
    "Check",
    "Close",
    "Connection",
    "Drip",
    "FaultServer",
    "Frames",
    "Gate",
    "Hold",
    "Mark",
    "NoWire",
    "OpenAIChatWire",
    "Pause",
    "Peer",
    "ProviderConformance",
    "RecordedRequest",
    "Repeat",
    "Reply",
    "Report",
    "Reset",
    "Result",
    "Script",
    "Scripted",
    "Send",
    "ServerProcess",
    "Stats",
    "Step",
    "Wire",
    "chunk",
    "chunked",
    "close_delimited",
    "eventstream",
    "flatten",
    "http_response",
    "ndjson",
    "openai_chunk",
    "openai_completion",
    "openai_error",
    "openai_stream",
    "refusing_url",
    "response_head",
    "serve_in_process",
    "sse",
    "tls_handshake_hang",
    "unanswering_url",
]

publish(globals(), __name__)
