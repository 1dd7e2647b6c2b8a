"""The provider object. It speaks the OpenAI chat shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from providerhub import BadRequestError, CallContext, ConfigurationError, ModelInfo, ProviderConfig, Refusal, Request
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.wire_provider import listed
from providerhub_openai.models import openai_model, stated_model

HOST = "api.openai.com"
"""The host of OpenAI itself. Some fields are sent to this host only."""
_YES = frozenset({"yes", "true", "on", "1"})
_NO = frozenset({"no", "false", "off", "0"})


class OpenAI(OpenAIChatProvider):
    """A provider for a service that speaks OpenAI's chat completions.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.headers = headers(config)
        self.refusals = refusals(config.name)
        self.path = f"{prefix(config)}/chat/completions"
        self._at_openai = urlsplit(config.url or "").hostname == HOST
        self._stream_usage = _truth(config, "stream_usage")
        if self._at_openai:
            # OpenAI refuses a field that it does not know, and an identifier of a tool call with more than 40 characters.
            self.unwanted = self.unwanted | {"cache_control"}
            self.call_ids = (".{1,40}", 40)

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send. An option that is `None` removes its field.

        Args:
            request: The request.
        """
        body = super().body(request)
        if request.stream and self._stream_usage:
            body.setdefault("stream_options", {"include_usage": True})
        if self._at_openai and "max_tokens" in body and "max_tokens" not in request.options:
            # OpenAI's reasoning models refuse the old name. All its models know the new one; other servers may not.
            body.setdefault("max_completion_tokens", body.pop("max_tokens"))
        return {name: value for name, value in body.items() if value is not None}

    def model(self, entry: Mapping[str, Any]) -> ModelInfo | None:
        """Read one entry of the service's list.

        Args:
            entry: The entry.

        Returns:
            The model; `None` for one of OpenAI's that does not answer a chat.
        """
        return openai_model(str(entry["id"])) if self._at_openai else stated_model(entry)


def create(config: ProviderConfig) -> OpenAI:
    """Make the provider object of an instance.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """
    return OpenAI(config)


def discover(config: ProviderConfig, call: CallContext | None = None) -> list[ModelInfo | str]:
    """Ask a service for its models.

    Args:
        config: The instance's configuration.
        call: The timeouts and the cancellation; `None`, the default, for `LISTING_TIMEOUT` of the toolkit.

    Returns:
        The models that can answer a chat, with the capabilities that the service states.

    Raises:
        ProviderError: The service refused, or its answer is not a list of models.
    """
    provider = create(config)
    return listed(provider, provider.models(), call)


def refusals(name: str) -> tuple[Refusal, ...]:
    """Return the refusals of a field of the request, each with the setting or the option that changes the field.

    Args:
        name: The name of the instance.
    """
    renamed = f"""; pass options={{"{name}": {{"max_completion_tokens": 100}}}} in place of max_tokens"""
    return (
        _refused("stream_options", f'; set stream_usage = "no" in [providers.{name}]'),
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
    """Return the headers that name the organization and the project to bill.

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
    return found


def _truth(config: ProviderConfig, name: str) -> bool:
    value = config.get(name)
    text = "yes" if value is None else str(value).lower()
    if text not in _YES | _NO:
        msg = f"provider {config.name!r}: {name} must be 'yes' or 'no', not {text!r}"
        raise ConfigurationError(msg)
    return text in _YES
