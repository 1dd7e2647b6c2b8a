"""The provider object. It speaks the Messages API over the toolkit's HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from providerhub import (
    CallContext,
    ConfigurationError,
    Event,
    ModelInfo,
    ProtocolError,
    ProviderConfig,
    ProviderError,
    Request,
    Timeout,
)
from providerhub.http import HttpClient
from providerhub.wire import openai_chat
from providerhub_anthropic._body import body_of
from providerhub_anthropic._reading import Reading, whole

VERSION = "2023-06-01"
"""The API's version. Every request must name it."""

LISTING_TIMEOUT = Timeout(connect=5.0, byte_idle=10.0, total=20.0)
"""The timeouts of the request for the list of models."""

_PAGE = 1000
"""Models to ask for in one request; the API's maximum."""


class Anthropic:
    """A provider for a service that speaks the Messages API.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self._http = _client(config)
        self._prefix = _prefix(config)
        self._max_tokens = _count(config, "max_tokens", 4096)

    def stream(self, request: Request, call: CallContext) -> Iterator[str | Event]:
        """Answer a request; see `providerhub.Provider.stream`.

        Args:
            request: The request.
            call: The call: its timeouts and whether it is cancelled.

        Yields:
            The pieces of the answer, as they come.

        Raises:
            ProviderError: The service refused, or the exchange failed.
            InvalidRequestError: The API cannot express a part of the request.
        """
        body, tail = body_of(request, self._max_tokens)
        if request.seed is not None:
            call.note("the Messages API has no seed; it was left out")
        with self._http.post(f"{self._prefix}/messages", body, call, stream=request.stream) as answer:
            try:
                if not request.stream:
                    yield from whole(answer.read())
                    return
                reading = Reading(call, answer.headers.get("content-type", "").lower(), tail)
                for data in answer:
                    for piece in reading.pieces(data):
                        yield piece
                        answer.token(piece)
                    if reading.done:
                        answer.finished()
                        break
                yield from reading.end()
            except ProviderError as error:
                # A service may repeat the refused key, or other parts of the request, in the error.
                self._http.redacted(error)
                raise

    def close(self) -> None:
        """Close the idle connections."""
        self._http.close()


def create(config: ProviderConfig) -> Anthropic:
    """Make the provider object of an instance.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """
    return Anthropic(config)


def discover(config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo]:
    """Ask the service for its models.

    Args:
        config: The instance's configuration.
        call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT`.

    Returns:
        The models, with the capabilities that all of them have, and the context window if the service states it.

    Raises:
        ProviderError: The service refused, or its answer is not a list of models.
    """
    client = _client(config)
    try:
        with client.get(f"{_prefix(config)}/models?limit={_PAGE}", call or CallContext(LISTING_TIMEOUT)) as answer:
            entries = _listed(answer.read())
    except ProviderError as error:
        client.redacted(error)
        raise
    finally:
        client.close()
    named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry["id"].strip()]
    return [_model(entry["id"], entry.get("max_input_tokens")) for entry in named]


def _listed(body: bytes) -> list[Any]:
    entries = openai_chat.parse(body).get("data")
    if not isinstance(entries, list):
        msg = "the answer is not a list of models; check the configured url"
        raise ProtocolError(msg, excerpt=body[:500].decode("utf-8", "replace"))
    return entries


def _model(name: str, window: object) -> ModelInfo:
    return ModelInfo(
        name,
        supports_stream=True,
        supports_tools=True,
        supports_json_schema=False,
        context_window=window if isinstance(window, int) and window > 0 else None,
    )


def _client(config: ProviderConfig) -> HttpClient:
    headers = {"anthropic-version": VERSION}
    beta = str(config.get("beta") or "").strip()
    if not (beta.isascii() and beta.isprintable()):
        msg = f"provider {config.name!r}: beta has a character that no header can carry; set it again"
        raise ConfigurationError(msg)
    if beta:
        headers["anthropic-beta"] = beta
    return HttpClient(config, headers=headers, key_header="x-api-key")


def _prefix(config: ProviderConfig) -> str:
    """Return the path's version, or nothing if the configured url ends with it."""
    return "" if (config.url or "").partition("?")[0].rstrip("/").endswith("/v1") else "/v1"


def _count(config: ProviderConfig, name: str, otherwise: int) -> int:
    value = config.get(name)
    try:
        count = otherwise if value is None else int(str(value))
    except ValueError:
        count = 0
    if count < 1:
        msg = f"provider {config.name!r}: {name} must be a whole number of at least 1, not {value!r}"
        raise ConfigurationError(msg)
    return count
