"""Foreign exceptions → errors of the tree, in one table.

Third-party classes are named, not imported: the table must not make anyone pay for a library that is not in use.
The table is read along the exception's own class hierarchy, so that the nearest entry wins.
"""

from __future__ import annotations

from collections.abc import Mapping

from providerhub._values.errors import (
    AttemptError,
    PluginError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    TLSError,
)

TABLE: Mapping[str, type[ProviderError]] = {
    "builtins.TimeoutError": ProviderTimeoutError,
    "builtins.ConnectionError": ProviderConnectionError,
    "socket.gaierror": ProviderConnectionError,
    "socket.herror": ProviderConnectionError,
    "ssl.SSLError": TLSError,
    "http.client.HTTPException": ProtocolError,
    "requests.exceptions.ConnectTimeout": ProviderTimeoutError,
    "requests.exceptions.Timeout": ProviderTimeoutError,
    "requests.exceptions.SSLError": TLSError,
    "requests.exceptions.ConnectionError": ProviderConnectionError,
    "requests.exceptions.ChunkedEncodingError": ProtocolError,
    "requests.exceptions.ContentDecodingError": ProtocolError,
    "requests.exceptions.TooManyRedirects": ProtocolError,
    "requests.exceptions.InvalidJSONError": ProtocolError,
    "requests.exceptions.RequestException": ProviderConnectionError,
    "urllib3.exceptions.TimeoutError": ProviderTimeoutError,
    "urllib3.exceptions.SSLError": TLSError,
    "urllib3.exceptions.NewConnectionError": ProviderConnectionError,
    "urllib3.exceptions.ProtocolError": ProtocolError,
    "urllib3.exceptions.DecodeError": ProtocolError,
    "urllib3.exceptions.IncompleteRead": ProtocolError,
    "urllib3.exceptions.InvalidChunkLength": ProtocolError,
    "urllib3.exceptions.HTTPError": ProviderConnectionError,
    "builtins.OSError": ProviderConnectionError,
}
"""Dotted class name → the error that it becomes."""

_CONFIGURATION = frozenset(
    {"requests.exceptions.MissingSchema", "requests.exceptions.InvalidSchema", "requests.exceptions.InvalidURL"}
)
"""requests' errors that are about how it was called: the plugin's fault, not the remote's."""


def map_exception(error: Exception, *, provider: str, model: str) -> AttemptError:
    """Say what any exception out of a plugin means for the chain.

    Args:
        error: What the plugin raised.
        provider: The provider instance that was asked.
        model: The model's name as it was sent.

    Returns:
        The error itself when it already belongs to the tree (with provider and model filled in), else the mapped
        one with the original as `__cause__`; a `PluginError` for everything unknown.
    """
    if isinstance(error, ProviderError):
        error.provider = error.provider or provider
        error.model = error.model or model
        return error
    if isinstance(error, PluginError):
        error.plugin = error.plugin or provider
        error.model = error.model or model
        return error
    kind = _kind(type(error))
    mapped: AttemptError
    if kind is None:
        message = f"the plugin of {provider!r} raised {_shown(error)}"
        mapped = PluginError(message, plugin=provider, model=model)
    else:
        mapped = kind(_shown(error), provider=provider, model=model)
    mapped.__cause__ = error
    return mapped


def _shown(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 -- an exception that cannot even be printed must not end the chain
        return type(error).__name__


def _kind(cls: type[BaseException]) -> type[ProviderError] | None:
    for base in cls.__mro__:
        name = f"{base.__module__}.{base.__qualname__}"
        if name in _CONFIGURATION:
            return None
        if name in TABLE:
            return TABLE[name]
    return None
