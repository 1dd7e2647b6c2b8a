"""Translates the exceptions of llm's plugins into provider errors.

Each plugin uses an SDK of its own. The SDKs have some things in common, by which their exceptions are recognised: a status, a
response with headers, and class names that contain "timeout" or "connection".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from providerhub import (
    AuthenticationError,
    BadRequestError,
    CallerError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    error_from_status,
)

_REFUSED = range(300, 600)


def _without_key(text: str) -> ProviderError:
    # Status 403 blocks only this model: other models of llm may have other keys.
    return AuthenticationError(text, status=403)


def _failed(text: str) -> ProviderError:
    found = error_from_status(200, {}, {"error": {"message": text}})
    found.args = (text,)  # the default message mentions an answer, but there is no answer
    return found


_TABLE: Mapping[str, Callable[[str], Exception]] = {
    "NeedsKeyException": _without_key,
    "TimeoutException": ProviderTimeoutError,
    "APITimeoutError": ProviderTimeoutError,
    "TimeoutError": ProviderTimeoutError,
    "TransportError": ProviderConnectionError,
    "NetworkError": ProviderConnectionError,
    "APIConnectionError": ProviderConnectionError,
    "ConnectionError": ProviderConnectionError,
    "ModelError": _failed,
    # A model raises these for a request that it cannot serve: a kind of attachment, a conversation, an option's value.
    "ValueError": BadRequestError,
    "NotImplementedError": BadRequestError,
}
"""Class name → function that makes the error. The nearest base class of the exception counts."""


def mapped(error: Exception, redact: Callable[[str], str]) -> Exception:
    """Translate an exception.

    Args:
        error: The exception of llm, of one of its plugins or of an SDK.
        redact: Removes keys from a text.

    Returns:
        The error to raise. For an unknown exception it is `error` itself, so that the final error names the plugin.
    """
    if isinstance(error, ProviderError | CallerError):
        return error
    text = redact(" ".join(str(error).split()))
    status = _status(error)
    if status is not None:
        return error_from_status(status, _headers(error), _body(error, text, redact))
    for base in type(error).__mro__:
        if base.__name__ in _TABLE:
            return _TABLE[base.__name__](f"{type(error).__name__}: {text}")
    return error if redact(str(error)) == str(error) else RuntimeError(f"{type(error).__name__}: {text}")


def _status(error: Any) -> int | None:
    for source in (error, getattr(error, "response", None)):
        status = getattr(source, "status_code", None)
        if isinstance(status, int) and status in _REFUSED:
            return status
    return None


def _headers(error: Any) -> Mapping[str, str]:
    headers = getattr(getattr(error, "response", None), "headers", None)
    return {str(name): str(value) for name, value in headers.items()} if headers is not None else {}


def _body(error: Any, text: str, redact: Callable[[str], str]) -> str | dict[str, Any]:
    """Return the body of the service's refusal, from the SDK or from the text of the exception."""
    body = getattr(error, "body", None)
    details = body.get("error", body) if isinstance(body, Mapping) else {}
    if not isinstance(details, Mapping):
        return text
    found = {name: redact(str(details[name])) for name in ("code", "type", "message") if details.get(name)}
    return {"error": {"message": text, **found}}
