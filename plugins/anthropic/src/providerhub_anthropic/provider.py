"""The provider object. It speaks the Messages API over the toolkit's HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from providerhub import (
    CallContext,
    ConfigurationError,
    Detail,
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
from providerhub_anthropic._body import asked
from providerhub_anthropic._models import MODELS, described
from providerhub_anthropic._reading import Reading, whole
from providerhub_anthropic._refusals import REFUSALS

VERSION = "2023-06-01"
"""The API's version. Every request must name it."""

LISTING_TIMEOUT = Timeout(connect=5.0, byte_idle=10.0, total=20.0)
"""The timeouts of the request for the list of models."""

_PAGE = 1000
"""Models to ask for in one request; the API's maximum."""

_PAGES = 20
"""The most pages of a list."""

_REQUEST_IDS = ("request-id", "x-request-id")
"""Headers that name the request, for a question to the service's support."""

_MAXIMA: dict[tuple[str | None, str], int] = {}
"""Address and model → the most tokens of an answer, as the service listed them in this process."""


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
        self._url = config.url
        self._max_tokens = _count(config, "max_tokens")
        self._beta = _beta(config)

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
        most = _MAXIMA.get((self._url, request.model))
        sent = asked(request, max_tokens=self._max_tokens, most=most, beta=self._beta)
        for note in sent.notes:
            call.note(note)
        path = f"{self._prefix}/messages" + (f"?{urlencode(sent.query)}" if sent.query else "")
        with self._http.post(path, sent.body, call, stream=request.stream, headers=sent.headers) as answer:
            try:
                if name := _request_id(answer.headers):
                    yield Detail("request_id", name)
                if not request.stream:
                    yield from whole(answer.read(), sent.form)
                    return
                reading = Reading(call, answer.headers.get("content-type", "").lower(), sent.tail, sent.form)
                for data in answer:
                    for piece in reading.pieces(data):
                        yield piece
                        answer.token(piece)
                    if reading.done:
                        answer.finished()
                        break
                yield from reading.end()
            except ProviderError as error:
                error.request_id = error.request_id or _request_id(answer.headers)
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
        The models, with the capabilities and the context window that the service states, and the prices that are known.

    Raises:
        ProviderError: The service refused, or its answer is not a list of models.
    """
    client = _client(config)
    context = call or CallContext(LISTING_TIMEOUT)
    found: list[ModelInfo] = []
    query = {"limit": str(_PAGE)}
    try:
        for _ in range(_PAGES):
            with client.get(f"{_prefix(config)}/models?{urlencode(query)}", context) as answer:
                page = answer.read()
            entries, last = _listed(page)
            found += [_model(config, entry) for entry in entries if _is_model(entry)]
            if not last:
                break
            query["after_id"] = last
    except ProviderError as error:
        client.redacted(error)
        raise
    finally:
        client.close()
    return found


def _listed(body: bytes) -> tuple[list[Any], str]:
    """Return the entries of a page, and the last identifier where another page follows."""
    found = openai_chat.parse(body)
    entries = found.get("data")
    if not isinstance(entries, list):
        msg = "the answer is not a list of models; check the configured url"
        raise ProtocolError(msg, excerpt=body[:500].decode("utf-8", "replace"))
    last = found.get("last_id") if found.get("has_more") is True and entries else None
    return entries, last if isinstance(last, str) else ""


def _is_model(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str) and bool(entry["id"].strip())


def _model(config: ProviderConfig, entry: Mapping[str, Any]) -> ModelInfo:
    name: str = entry["id"]
    known = next((model for model in MODELS if model.name == name), None)
    most = _number(entry.get("max_tokens"))
    if most:
        _MAXIMA[config.url, name] = most
    able = entry.get("capabilities")
    image = able.get("image_input") if isinstance(able, Mapping) else None
    return described(
        name,
        price_in=known.price_in if known else None,
        price_out=known.price_out if known else None,
        images=bool(image.get("supported")) if isinstance(image, Mapping) else None,
        window=_number(entry.get("max_input_tokens")),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _request_id(headers: Mapping[str, str]) -> str:
    return next((headers[name] for name in _REQUEST_IDS if headers.get(name)), "")


def _client(config: ProviderConfig) -> HttpClient:
    headers = {"anthropic-version": VERSION}
    beta = _beta(config)
    if beta:
        headers["anthropic-beta"] = beta
    return HttpClient(config, headers=headers, key_header="x-api-key", refusals=REFUSALS)


def _beta(config: ProviderConfig) -> str:
    beta = str(config.get("beta") or "").strip()
    if not (beta.isascii() and beta.isprintable()):
        msg = f"provider {config.name!r}: beta has a character that no header can carry; set it again"
        raise ConfigurationError(msg)
    return beta


def _prefix(config: ProviderConfig) -> str:
    """Return the path's version, or nothing if the configured url ends with it."""
    return "" if (config.url or "").partition("?")[0].rstrip("/").endswith("/v1") else "/v1"


def _count(config: ProviderConfig, name: str) -> int | None:
    value = config.get(name)
    if value is None:
        return None
    try:
        count = int(str(value))
    except ValueError:
        count = 0
    if count < 1:
        msg = f"provider {config.name!r}: {name} must be a whole number of at least 1, not {value!r}"
        raise ConfigurationError(msg)
    return count
