"""Wire formats for plugin authors. They write requests and turn bytes into events, without I/O.

Each module is imported when one of its names is first used (PEP 562), since a service needs only one format.
"""

from __future__ import annotations

from collections.abc import Callable as Callable
from collections.abc import Mapping as Mapping
from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as Any

from providerhub._values.errors import ProviderError as ProviderError
from providerhub._values.value import publish

if TYPE_CHECKING:
    from providerhub.wire._chat_beside import flat
    from providerhub.wire._framing import Frame, Framing
    from providerhub.wire._modern import Form, arguments_of, form_of, inline_data, left_out, modern, source_of
    from providerhub.wire.json_frames import ArrayDecoder, JsonFrame, LineDecoder
    from providerhub.wire.reading import JsonReading, Reading
    from providerhub.wire.sse import ServerSentEvent, SSEDecoder, SSELimitError

__all__ = [
    "ArrayDecoder", "Form", "Frame", "Framing", "JsonFrame", "JsonReading", "LineDecoder", "Reading", "SSEDecoder",
    "SSELimitError", "ServerSentEvent", "arguments_of", "flat", "form_of", "inline_data", "left_out", "modern", "source_of",
]  # fmt: skip

_NAMES = {
    "_chat_beside": "flat",
    "_framing": "Frame Framing",
    "_modern": "Form arguments_of form_of inline_data left_out modern source_of",
    "json_frames": "ArrayDecoder JsonFrame LineDecoder",
    "reading": "JsonReading Reading",
    "sse": "SSEDecoder SSELimitError ServerSentEvent",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f"{__name__}.{_MODULES[name]}"), name)
    publish({"__all__": [name], name: value}, __name__)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
