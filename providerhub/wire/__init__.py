"""Wire formats for plugin authors: they translate requests, and bytes into events, and do no I/O themselves."""

from __future__ import annotations

from collections.abc import Callable as Callable
from collections.abc import Mapping as Mapping
from typing import Any as Any

from providerhub._values.errors import ProviderError as ProviderError
from providerhub._values.value import publish
from providerhub.wire._framing import Frame, Framing
from providerhub.wire._modern import Form, arguments_of, form_of, inline_data, modern, source_of
from providerhub.wire.json_array import ArrayDecoder
from providerhub.wire.ndjson import JsonFrame, LineDecoder
from providerhub.wire.reading import JsonReading, Reading
from providerhub.wire.sse import ServerSentEvent, SSEDecoder, SSELimitError

__all__ = [
    "ArrayDecoder", "Form", "Frame", "Framing", "JsonFrame", "JsonReading", "LineDecoder", "Reading", "SSEDecoder",
    "SSELimitError", "ServerSentEvent", "arguments_of", "form_of", "inline_data", "modern", "source_of",
]  # fmt: skip

publish(globals(), __name__)
