"""Foreign exceptions → errors of the tree, in one table.

The table names third-party classes and does not import them, since the import of an unused library would take time.
The nearest class in the exception's hierarchy counts.
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
"""Dotted class name → the class of error that it is mapped to."""

_CONFIGURATION = frozenset(
    {"requests.exceptions.MissingSchema", "requests.exceptions.InvalidSchema", "requests.exceptions.InvalidURL"}
)
"""Errors of requests about its arguments, which are the plugin's fault and not the service's."""


def map_exception(error: Exception, *, provider: str, model: str) -> AttemptError:
    """Map an exception of a plugin to an error of the tree.

    Args:
        error: The exception that the plugin raised.
        provider: The name of the provider instance.
        model: The model's name as it was sent.

    Returns:
        An error of the tree as it is, with provider and model filled in. Else the mapped error with the exception as its
        `__cause__`; a `PluginError` for a class that the table does not have.
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
    except Exception:  # the exception's own `__str__` may raise anything
        return type(error).__name__


def _kind(cls: type[BaseException]) -> type[ProviderError] | None:
    for base in cls.__mro__:
        name = f"{base.__module__}.{base.__qualname__}"
        if name in _CONFIGURATION:
            return None
        if name in TABLE:
            return TABLE[name]
    return None
