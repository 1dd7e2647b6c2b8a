"""The provider object. It uses the Messages API; the toolkit sends the requests, synchronously and under asyncio."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any

import attrs

from providerhub import (
    CallContext,
    ConfigurationError,
    ModelInfo,
    ProviderConfig,
    Refusal,
    RefusalTable,
    Request,
)  # fmt: skip
from providerhub.wire_provider import HttpAnswer, HttpRequest, Order, WireProvider
from providerhub_anthropic._batches import Batches
from providerhub_anthropic._body import Asked, asked
from providerhub_anthropic._models import MODELS, described
from providerhub_anthropic._reading import MessagesReading

VERSION = "2023-06-01"
"""The API's version. Every request must name it."""

_PAGE = 1000
"""Models to ask for in one request; the API's maximum."""

_COUNTED = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "context_management",
    "mcp_servers",
)
"""The fields that the service counts. It refuses others, such as `max_tokens`."""

_ABILITIES = {"supports_images": "image_input", "supports_files": "pdf_input", "supports_reasoning": "thinking"}
"""The capabilities to read from a listed model. The plugin supports a schema even without `structured_outputs`.
A model that can think does not think without a request for it, so its attempts are not expected to be silent for minutes."""

_MAXIMA: dict[tuple[str | None, str], int] = {}
"""Address and model → the maximum tokens of an answer, listed by the service in this process."""


class Anthropic(WireProvider):
    """A provider for a service with the Messages API.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.

    Attributes:
        prefix: The version in the paths; empty if the url ends with it.
        reader: Makes the reader of an answer.
    """

    key_header = "x-api-key"
    refusals: Iterable[Refusal] = RefusalTable("providerhub_anthropic")
    reader = MessagesReading

    def __init__(self, config: ProviderConfig) -> None:
        self._beta = _beta(config)
        self._max_tokens = _count(config, "max_tokens")
        self.headers = {"anthropic-version": VERSION, **({"anthropic-beta": self._beta} if self._beta else {})}
        self.prefix = _prefix(config)
        super().__init__(config)

    def build(self, request: Request, call: CallContext) -> Any:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        sent = self.written(request, call)
        return HttpRequest(f"{self.prefix}/messages", sent.body, stream=request.stream, headers=sent.headers)

    def written(self, request: Request, call: CallContext) -> Asked:
        """Write the JSON object of a request, and note the parts that it leaves out.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
        """
        most = _MAXIMA.get((self.config.url, request.model))
        sent = asked(request, max_tokens=self._max_tokens, most=most, beta=self._beta)
        call.notes += sent.notes
        return sent

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> MessagesReading:
        """Make the reader of one answer; see `WireProvider.reading`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.
            headers: The headers of the answer, by name.
        """
        if request.response_format is None and request.messages[-1]["role"] != "assistant":
            return self.reader(call, headers)
        sent = asked(request)  # a partial answer, or a tool in place of a form: so rare that it may be written twice
        return self.reader(call, headers, sent.tail, sent.form)

    def counting(self, request: Request, call: CallContext) -> Generator[Order, Any, int]:
        """Ask for the number of input tokens of a request; see `WireProvider.counting`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The request.

        Returns:
            The number of tokens, as the service estimates it.
        """
        sent = self.written(request, call)
        body = counted_part(sent.body)
        answer: HttpAnswer = yield HttpRequest(f"{self.prefix}/messages/count_tokens", body, headers=sent.headers)
        return answer.number("input_tokens")

    def models(self) -> Generator[Any, Any, list[ModelInfo]]:
        """List the models of the service, for `listed`.

        Yields:
            The request of each page.

        Returns:
            The models, with the capabilities and the context window that the service states, and the prices that are known.
        """
        request = HttpRequest(f"{self.prefix}/models", method="GET", query={"limit": str(_PAGE)})
        entries = yield from request.pages("data", "last_id", "after_id")
        return [_model(self.config, entry) for entry in entries if _is_model(entry)]


class AnthropicItself(Batches, Anthropic):
    """A provider at Anthropic itself, which also takes batches."""


def counted_part(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that the service counts.

    Args:
        body: The JSON object of the request.
    """
    return {name: body[name] for name in _COUNTED if name in body}


def _is_model(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("id"), str) and bool(entry["id"].strip())


def _model(config: ProviderConfig, entry: Mapping[str, Any]) -> ModelInfo:
    name: str = entry["id"]
    known = next((model for model in MODELS if model.name == name), None)
    most = _number(entry.get("max_tokens"))
    if most:
        _MAXIMA[config.url, name] = most
    found = described(
        name,
        price_in=known.price_in if known else None,
        price_out=known.price_out if known else None,
        window=_number(entry.get("max_input_tokens")),
        most=most,
    )
    able = entry.get("capabilities")
    stated = {field: able.get(name) for field, name in _ABILITIES.items()} if isinstance(able, Mapping) else {}
    said = {field: one.get("supported") for field, one in stated.items() if isinstance(one, Mapping)}
    flags: dict[str, Any] = {field: value for field, value in said.items() if isinstance(value, bool)}
    flags |= {"supports_reasoning": found.supports_reasoning} if flags.get("supports_reasoning") else {}
    return attrs.evolve(found, **flags)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


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
