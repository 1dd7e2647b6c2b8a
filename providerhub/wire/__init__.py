"""Wire formats for plugin authors: they translate bytes into events, and do no I/O themselves."""

from __future__ import annotations

from collections.abc import Callable as Callable

from providerhub._values.errors import ProviderError as ProviderError
from providerhub._values.value import publish
from providerhub.wire._framing import Frame, Framing
from providerhub.wire.json_array import ArrayDecoder
from providerhub.wire.ndjson import JsonFrame, LineDecoder
from providerhub.wire.reading import JsonReading, Reading
from providerhub.wire.sse import ServerSentEvent, SSEDecoder, SSELimitError

__all__ = [
    "ArrayDecoder", "Frame", "Framing", "JsonFrame", "JsonReading", "LineDecoder", "Reading", "SSEDecoder", "SSELimitError",
    "ServerSentEvent",
]  # fmt: skip

publish(globals(), __name__)
