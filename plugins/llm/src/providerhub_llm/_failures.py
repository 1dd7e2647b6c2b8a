"""What llm's plugins raise → errors of the tree.

Each plugin brings an SDK of its own, so exceptions are recognised by what the SDKs have in common: a status, a response with
headers, and names that say timeout or connection.
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
    # As a 403: only this model is left alone, since every model of llm may have a key of its own.
    return AuthenticationError(text, status=403)


def _failed(text: str) -> ProviderError:
    found = error_from_status(200, {}, {"error": {"message": text}})
    found.args = (text,)  # it says nothing of an answer, as there was none
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
    # What a model says of a request that it cannot serve: a kind of attachment, a conversation, an option's value.
    "ValueError": BadRequestError,
    "NotImplementedError": BadRequestError,
}
"""Name of a class → what makes the error; the nearest along the exception's own hierarchy wins."""


def mapped(error: Exception, redact: Callable[[str], str]) -> Exception:
    """Say what a failure means.

    Args:
        error: What llm, a plugin of its or an SDK raised.
        redact: Takes keys out of a text.

    Returns:
        The error to raise; the same one where nothing is known of it, so that the plugin is named as the culprit.
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
    """What the service said: SDKs keep the parsed body, or at least a code, and otherwise the text has it."""
    body = getattr(error, "body", None)
    told = body.get("error", body) if isinstance(body, Mapping) else {}
    if not isinstance(told, Mapping):
        return text
    found = {name: redact(str(told[name])) for name in ("code", "type", "message") if told.get(name)}
    return {"error": {"message": text, **found}}
