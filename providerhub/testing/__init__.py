"""For the tests of applications and plugins: providers with scripted answers, and a clock that tests control.

The other names, such as `FaultServer` and `ProviderConformance`, come from the distribution `providerhub-conformance` and are
imported when one of them is first used (PEP 562). Type checkers read `__init__.pyi`.
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec

from providerhub._values.value import publish as _publish
from providerhub.testing._clock import FakeClock
from providerhub.testing._fake_provider import FakeAsyncProvider, FakeCall, FakeProvider, fake_hub
from providerhub.testing._steps import Gate, Hold, Mark, Pause

_KIT = "providerhub_conformance"
_KIT_NAMES = (
    "CHECKS", "LAST_CHUNK", "AnthropicWire", "Asked", "AtConnect", "Check", "Close", "Connection", "Drip",
    "FaultServer", "Frames", "NoWire", "OpenAIChatWire", "Peer", "ProviderConformance", "RecordedRequest", "Repeat", "Reply",
    "Report", "Reset", "Result", "Script", "Scripted", "Send", "ServerProcess", "Stats", "Step", "Wire", "chunk",
    "chunked", "close_delimited", "eventstream", "flatten", "http_response", "ndjson", "openai_chunk", "openai_completion",
    "openai_error", "openai_stream", "refusing_url", "response_head", "serve_in_process", "sse", "tls_handshake_hang",
    "unanswering_url",
)  # fmt: skip

__all__ = [
    "FakeAsyncProvider", "FakeCall", "FakeClock", "FakeProvider", "Gate", "Hold", "Mark", "Pause", "fake_hub",
]  # fmt: skip
_publish(globals(), __name__)
if _find_spec(_KIT):  # a star import works without the kit, too
    __all__ += list(_KIT_NAMES)


def __getattr__(name: str) -> object:
    if name not in _KIT_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        kit = _import_module(_KIT)  # by name: the kit is a distribution that depends on the core
    except ModuleNotFoundError as error:
        if error.name != _KIT:
            raise
        msg = f"{__name__}.{name} is in the distribution providerhub-conformance: pip install providerhub-conformance"
        raise ImportError(msg, name=_KIT) from None
    value = globals()[name] = getattr(kit, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
