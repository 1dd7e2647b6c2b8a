"""The provider object. It uses chat completions and the Responses API."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

from providerhub import (
    BadRequestError,
    CallContext,
    CapabilityError,
    ConfigurationError,
    ModelInfo,
    ProviderConfig,
    Refusal,
    Request,
)
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.wire import source_of
from providerhub.wire_provider import Built, HttpAnswer, HttpRequest, Order, Reading
from providerhub_openai._batches import Batches
from providerhub_openai._responses_reading import ResponsesReading
from providerhub_openai._responses_refusals import REFUSALS
from providerhub_openai._responses_request import written
from providerhub_openai.models import openai_model, speaks_responses, stated_model

HOST = "api.openai.com"
"""The host of OpenAI itself. Some fields are sent to this host only."""
_YES = frozenset({"yes", "true", "on", "1"})
_NO = frozenset({"no", "false", "off", "0"})
_COUNTED = (
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation",
    "previous_response_id", "conversation",
)  # fmt: skip
"""The fields of a request that the count of tokens accepts."""

_APIS = ("auto", "chat", "responses")


class OpenAI(Batches, OpenAIChatProvider):
    """A provider for a service with OpenAI's chat completions or Responses API.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.

    Attributes:
        at_openai: Whether the service is OpenAI's own, which refuses fields that it does not know.
        responses: The path of the Responses API.
        resources: The path before files and batches.
    """

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.headers = headers(config)
        self.refusals = (*refusals(config.name), *REFUSALS)
        self.path = f"{prefix(config)}/chat/completions"
        self.responses = f"{prefix(config)}/responses"
        self.resources = prefix(config)
        self.at_openai = urlsplit(config.url or "").hostname == HOST
        self._api = choice(config, "api", _APIS)
        self._stream_usage = _truth(config, "stream_usage")
        if self.at_openai:
            self.be_strict()

    def be_strict(self) -> None:
        """Leave out unknown fields, and replace identifiers of tool calls with more than 40 characters. OpenAI refuses them."""
        self.unwanted = self.unwanted | {"cache_control"}
        self.call_ids = (".{1,40}", 40)

    def takes_responses(self, model: str) -> bool:
        """Return whether requests for a model go to the Responses API.

        Args:
            model: The name of the model.
        """
        return self._api == "responses" or (self._api == "auto" and speaks_responses(model))

    def build(self, request: Request, call: CallContext) -> Built:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request to write.
            call: The call, for notes.
        """
        if not self.takes_responses(request.model):
            return super().build(request, call)
        body, notes = written(request)
        call.notes += notes
        return HttpRequest(self.responses, body, stream=request.stream)

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        """Make the reader of one answer; see `WireProvider.reading`.

        Args:
            request: The request that is answered.
            call: The call, for notes.
            headers: The headers of the answer.
        """
        if self.takes_responses(request.model):
            return ResponsesReading(call, headers)
        return super().reading(request, call, headers)

    def counting(self, request: Request, call: CallContext) -> Generator[Order, Any, int]:
        """Ask for the number of input tokens of a request; see `WireProvider.counting`.

        Args:
            request: The request, in the OpenAI chat shape.
            call: The call, for notes.

        Yields:
            The request.

        Returns:
            The number of tokens.

        Raises:
            CapabilityError: The service is not known to have the Responses API.
        """
        if not (urlsplit(self.config.url or "").hostname == HOST or self._api == "responses"):
            msg = "tokens are counted by the Responses API only: set api = 'responses' if the service has it"
            raise CapabilityError(msg)
        body, notes = written(attrs.evolve(request, stop=None, seed=None))  # the API has neither, and they use no tokens
        call.notes += notes
        sent = HttpRequest(f"{self.responses}/input_tokens", {name: body[name] for name in _COUNTED if name in body})
        answer: HttpAnswer = yield sent
        return answer.number("input_tokens")

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send. An option that is `None` removes its field.

        Args:
            request: The request.
        """
        if self.at_openai:
            _refuse_addresses(request)
        body = super().body(request)
        if request.stream and self._stream_usage:
            body.setdefault("stream_options", {"include_usage": True})
        if self.at_openai and "max_tokens" in body and "max_tokens" not in request.options:
            # OpenAI's reasoning models refuse the old name. All its models know the new name, but other servers may not.
            body.setdefault("max_completion_tokens", body.pop("max_tokens"))
        return {name: value for name, value in body.items() if value is not None}

    def model(self, entry: Mapping[str, Any]) -> ModelInfo | None:
        """Read one entry of the service's list.

        Args:
            entry: The entry.

        Returns:
            The model; `None` for a model of OpenAI that does not answer a chat.
        """
        return openai_model(str(entry["id"]), self._api) if self.at_openai else stated_model(entry)


def _refuse_addresses(request: Request) -> None:
    """Refuse the address of a file, because OpenAI's chat completions do not fetch it."""
    for place, message in enumerate(request.messages):
        content = message.get("content")
        for part in content if isinstance(content, list | tuple) else ():
            if part.get("type") == "file" and source_of(part).startswith(("https:", "http:")):
                msg = (
                    f"messages[{place}]: OpenAI's chat completions fetch no file from an address; "
                    "pass providerhub.file(path), or set api = 'responses'"
                )
                raise CapabilityError(msg)  # without a capability: the API accepts the bytes


def refusals(name: str) -> tuple[Refusal, ...]:
    """Return the refusals of a field of the request, each with the setting or the option that changes the field.

    Args:
        name: The name of the instance.
    """
    renamed = f"""; pass options={{"{name}": {{"max_completion_tokens": 100}}}} in place of max_tokens"""
    place = f"in [providers.{name}.options]"
    return (
        Refusal(
            error=CapabilityError,
            phrases=[
                r"only (?:be )?(?:supported|available|used) (?:in|with|at|by|via) (?:the )?(?:/?v1/)?responses\b",
                r"use /?v1/responses",
                r"invalid value: '\w+'\. supported values are: 'function'",  # a tool of the service itself
            ],
            hint=f'; set api = "responses" {place}',
        ),
        Refusal(
            error=CapabilityError,
            phrases=[r"not supported (?:in|with|by) (?:the )?(?:/?v1/)?responses\b"],
            hint=f'; set api = "chat" {place}',
        ),
        _refused("stream_options", f'; set stream_usage = "no" {place}'),
        _refused(r"use [`'\"]?max_completion_tokens|\bmax_tokens\b.{0,60}not (?:supported|permitted)", renamed),
    )


def _refused(phrase: str, hint: str) -> Refusal:
    return Refusal(error=BadRequestError, phrases=[phrase], hint=hint, only=[200, 400, 422])


def prefix(config: ProviderConfig) -> str:
    """Return the part between the configured url and a resource: `/v1` if the url has no path, otherwise nothing.

    Args:
        config: The instance's configuration.
    """
    return "" if urlsplit(config.url or "").path.strip("/") else "/v1"


def headers(config: ProviderConfig) -> dict[str, str]:
    """Return the headers that name the organization and the project to bill, and the key as Azure wants it.

    An address with `api-version` belongs to Azure, or to a gateway before Azure.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: A value has a character that no header can carry.
    """
    found = {}
    for name, setting in (("OpenAI-Organization", "organization"), ("OpenAI-Project", "project")):
        value = str(config.get(setting) or "").strip()
        if not (value.isascii() and value.isprintable()):
            msg = f"provider {config.name!r}: {setting} has a character that no header can carry; set it again"
            raise ConfigurationError(msg)
        if value:
            found[name] = value
    if config.api_key and "api-version" in parse_qs(urlsplit(config.url or "").query):
        found["api-key"] = config.api_key.reveal()
    return found


def choice(config: ProviderConfig, name: str, words: Sequence[str]) -> str:
    """Return the value of a setting that is one of a few words.

    Args:
        config: The instance's configuration.
        name: The setting.
        words: The words; the first is the default.

    Raises:
        ConfigurationError: The value is not one of these words.
    """
    value = str(config.get(name) or words[0]).lower()
    if value not in words:
        msg = f"provider {config.name!r}: {name} must be {' or '.join(map(repr, words))}, not {value!r}"
        raise ConfigurationError(msg)
    return value


def _truth(config: ProviderConfig, name: str) -> bool:
    value = config.get(name)
    text = "yes" if value is None else str(value).lower()
    if text not in _YES | _NO:
        msg = f"provider {config.name!r}: {name} must be 'yes' or 'no', not {text!r}"
        raise ConfigurationError(msg)
    return text in _YES
