"""Wire formats for plugin authors: pure translations between bytes and events, with no I/O and no clock."""

from __future__ import annotations

from providerhub._values.value import publish
from providerhub.wire.sse import ServerSentEvent, SSEDecoder, SSELimitError

__all__ = ["SSEDecoder", "SSELimitError", "ServerSentEvent"]

publish(globals(), __name__)
