"""Wire formats for plugin authors: they translate bytes into events, and do no I/O themselves."""

from __future__ import annotations

from providerhub._values.value import publish
from providerhub.wire.sse import ServerSentEvent, SSEDecoder, SSELimitError

__all__ = ["SSEDecoder", "SSELimitError", "ServerSentEvent"]

publish(globals(), __name__)
