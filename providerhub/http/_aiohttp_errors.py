"""A table that translates aiohttp's exceptions into provider errors. aiohttp's own messages show parts of the request.

The table names classes and does not import them, so that a program without asynchronous calls does not import aiohttp.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from providerhub._rules.mapping import is_shortage
from providerhub._values.errors import (
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ShortageError,
    TLSError,
)
from providerhub.http._answer import CUT, UNPACKED


def mapped(error: Exception, *, begun: bool) -> Exception:
    """Translate an exception of aiohttp or the loop, if the table has its class. `begun`: the answer's headers had come."""
    if is_shortage(error):
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        return ShortageError(f"cannot connect to {_host(error)}: {reason}")
    for base in type(error).__mro__:
        make = TABLE.get(f"{base.__module__}.{base.__qualname__}")
        if make is not None:
            found = make(error, begun=begun)
            found.__cause__ = getattr(error, "os_error", None)
            return found
    return error


def _proxy_refused(error: Any, **_: bool) -> ProviderError:
    said = f"HTTP {error.status}: the proxy refuses the request"
    if error.status == 407:
        said += ": check the user name and the password in `proxies`"
    return ProviderConnectionError(said, status=error.status, retryable=False)


def _insecure(error: Any, **_: bool) -> ProviderError:
    return TLSError(f"the connection to {_host(error)} cannot be secured: {getattr(error, 'os_error', None) or error}")


def _late(_error: Any, **_: bool) -> ProviderError:
    return ProviderTimeoutError("connecting took longer than the connect timeout")


def _nameless(error: Any, **_: bool) -> ProviderError:
    return ProviderConnectionError(f"the name {error.host!r} cannot be resolved: {error.os_error.strerror}")


def _unreachable(error: Any, **_: bool) -> ProviderError:
    reason = error.os_error
    # The event loop replaces the system's text by its own, which contains the address once more.
    return ProviderConnectionError(f"cannot connect to {_host(error)}: {os.strerror(reason.errno) if reason.errno else reason}")


def _cut(error: Any, *, begun: bool) -> ProviderError:
    if isinstance(error.__cause__, OSError) or "ConnectionResetError" in str(error):  # aiohttp names a reset in its text only
        return _broken(error, begun=begun)
    return ProtocolError(UNPACKED if type(error.__cause__).__name__ == "ContentEncodingError" else CUT)


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
    f"{_AIOHTTP}ClientHttpProxyError": _proxy_refused,
    f"{_AIOHTTP}ClientResponseError": _garbage,
    "aiohttp.http_exceptions.HttpProcessingError": _garbage,
    f"{_AIOHTTP}ClientConnectionError": _broken,
    "builtins.OSError": _broken,
}
"""Dotted class name → function that makes the error. The nearest base class of the exception counts."""
