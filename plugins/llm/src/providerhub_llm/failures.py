"""What models of `llm` raise → providerhub's errors. Each plugin of `llm` brings its own client, so classes are told by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from providerhub import (
    AuthenticationError,
    BadRequestError,
    ModelUnavailableError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ServerError,
    error_from_status,
)


def mapped(error: Exception) -> Exception:
    """The error that the retry chain understands; the same one where it understands it already.

    Args:
        error: What the model raised.
    """
    if isinstance(error, ProviderError | OSError | TimeoutError):
        return error
    response: Any = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if isinstance(status, int):
        return error_from_status(status, getattr(response, "headers", None) or {}, str(error))
    names = {base.__name__ for base in type(error).__mro__}
    return next((make(error) for kinds, make in _TABLE if names & kinds), error)


def _without_key(error: Exception) -> ProviderError:
    # As a 403: only this model is left alone, since every model of llm may have a key of its own.
    return AuthenticationError(str(error), status=403)


_TABLE: tuple[tuple[frozenset[str], Callable[[Exception], ProviderError]], ...] = (
    (frozenset({"NeedsKeyException"}), _without_key),
    (
        frozenset({"UnknownModelError"}),
        lambda error: ModelUnavailableError(f"{error.args[0]}; `llm models` lists those that are installed"),
    ),
    (
        frozenset({"TimeoutException", "APITimeoutError"}),
        lambda error: ProviderTimeoutError(f"{type(error).__name__}: {error}"),
    ),
    (
        frozenset({"TransportError", "NetworkError", "APIConnectionError"}),
        lambda error: ProviderConnectionError(f"{type(error).__name__}: {error}"),
    ),
    (frozenset({"ModelError"}), lambda error: ServerError(f"the model failed: {error}")),
    # pydantic's refusal of an option's value is a ValueError as well
    (frozenset({"ValueError"}), lambda error: BadRequestError(f"the model refused the request: {error}")),
)
"""Names of classes → what they mean; the first that fits counts."""
