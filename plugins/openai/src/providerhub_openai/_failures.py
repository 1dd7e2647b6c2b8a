"""aiohttp's exceptions → errors of the tree, in one table, with sentences of our own: aiohttp's show what was sent.

Classes are named, not imported, as in the core's own table: who never awaits does not pay for aiohttp.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from providerhub import ProtocolError, ProviderConnectionError, ProviderError, ProviderTimeoutError, TLSError


def mapped(error: Exception, *, begun: bool) -> Exception:
    """Say what a failure of the transport means.

    Args:
        error: What aiohttp or the event loop raised.
        begun: Whether the answer's headers had come.

    Returns:
        The error of the tree; the error itself where it is none of the transport's.
    """
    for base in type(error).__mro__:
        make = TABLE.get(f"{base.__module__}.{base.__qualname__}")
        if make is not None:
            found = make(error, begun=begun)
            found.__cause__ = getattr(error, "os_error", None)
            return found
    return error


def _insecure(error: Any, **_: bool) -> ProviderError:
    return TLSError(f"the connection to {_host(error)} cannot be secured: {getattr(error, 'os_error', None) or error}")


def _late(_error: Any, **_: bool) -> ProviderError:
    return ProviderTimeoutError("connecting took longer than the connect timeout")


def _nameless(error: Any, **_: bool) -> ProviderError:
    return ProviderConnectionError(f"the name {error.host!r} cannot be resolved: {error.os_error.strerror}")


def _unreachable(error: Any, **_: bool) -> ProviderError:
    reason = error.os_error
    # The event loop puts words of its own, with the address in them again, in place of the system's.
    return ProviderConnectionError(f"cannot connect to {_host(error)}: {os.strerror(reason.errno) if reason.errno else reason}")


def _cut(error: Any, *, begun: bool) -> ProviderError:
    if isinstance(error.__cause__, OSError) or "ConnectionResetError" in str(error):  # aiohttp tells of a reset in words only
        return _broken(error, begun=begun)
    return ProtocolError("the connection ended before the answer did")


def _garbage(error: Any, **_: bool) -> ProviderError:
    return ProtocolError(f"the answer is not HTTP: {' '.join(str(error.message).split())[:200]}")


def _broken(_error: Any, *, begun: bool) -> ProviderError:
    if begun:
        return ProviderConnectionError("the connection broke before the answer ended", retryable=False)
    return ProviderConnectionError("the connection ended before an answer came")


def _host(error: Any) -> str:
    return f"{error.host}:{error.port}" if hasattr(error, "host") else "the service"


_AIOHTTP = "aiohttp.client_exceptions."
TABLE: Mapping[str, Callable[..., ProviderError]] = {
    "ssl.SSLError": _insecure,
    f"{_AIOHTTP}ClientSSLError": _insecure,
    "builtins.TimeoutError": _late,
    f"{_AIOHTTP}ServerTimeoutError": _late,
    f"{_AIOHTTP}ClientConnectorDNSError": _nameless,
    f"{_AIOHTTP}ClientConnectorError": _unreachable,
    f"{_AIOHTTP}ClientPayloadError": _cut,
    f"{_AIOHTTP}ClientResponseError": _garbage,
    f"{_AIOHTTP}ClientConnectionError": _broken,
    "builtins.OSError": _broken,
}
"""Dotted class name → what makes the error; the nearest along the exception's own hierarchy wins."""
