"""For the tests of plugins and of applications: a server that misbehaves as told, and a clock that obeys."""

from __future__ import annotations

from providerhub.testing._clock import FakeClock
from providerhub.testing._connection import Connection, RecordedRequest
from providerhub.testing._fault_process import ServerProcess, Stats, serve_in_process
from providerhub.testing._fault_server import FaultServer, Scripted, refusing_url, unanswering_url
from providerhub.testing._scripts import (
    LAST_CHUNK,
    chunk,
    chunked,
    close_delimited,
    http_response,
    openai_chunk,
    openai_completion,
    openai_error,
    openai_stream,
    response_head,
    sse,
)
from providerhub.testing._steps import (
    AtConnect,
    Close,
    Drip,
    Gate,
    Hold,
    Mark,
    Pause,
    Peer,
    Repeat,
    Reset,
    Script,
    Send,
    Step,
    flatten,
    tls_handshake_hang,
)

__all__ = [
    "LAST_CHUNK",
    "AtConnect",
    "Close",
    "Connection",
    "Drip",
    "FakeClock",
    "FaultServer",
    "Gate",
    "Hold",
    "Mark",
    "Pause",
    "Peer",
    "RecordedRequest",
    "Repeat",
    "Reset",
    "Script",
    "Scripted",
    "Send",
    "ServerProcess",
    "Stats",
    "Step",
    "chunk",
    "chunked",
    "close_delimited",
    "flatten",
    "http_response",
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
