"""The provider object. It speaks the OpenAI chat shape, with the differences of Mistral's API."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import attrs

from providerhub import CallContext, EmbeddingRequest, Embeddings, ModelInfo, Request
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.wire import left_out
from providerhub.wire_provider import Built, Order, Reading
from providerhub_mistral._body import fitted, prefix_of, prefixed, tools
from providerhub_mistral._reading import PrefixReading


class Mistral(OpenAIChatProvider):
    """A provider for a service with Mistral's chat completions.

    Args:
        config: The instance's configuration.

    Raises:
        ConfigurationError: The url, the key or another setting cannot be used.
    """

    unwanted = OpenAIChatProvider.unwanted | {"cache_control"}
    call_ids = ("[a-zA-Z0-9]{9}", 9)

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send. An option that is `None` removes its field.

        Args:
            request: The request.
        """
        plain = attrs.evolve(request, messages=fitted(request.messages), seed=None, options={})
        body = super().body(plain)
        body["messages"] = prefixed(body["messages"])
        if request.seed is not None:
            body["random_seed"] = request.seed
        if body.get("tool_choice") == "required":
            body["tool_choice"] = "any"  # all versions of the API know this older word
        if "tools" in body:
            body["tools"] = tools(body["tools"])
        return {name: value for name, value in {**body, **request.options}.items() if value is not None}

    def build(self, request: Request, call: CallContext) -> Built:
        """Write a request; see `WireProvider.build`.

        Args:
            request: The request.
            call: The call, for notes.
        """
        call.notes += left_out(request.messages, "Mistral's API")
        return super().build(request, call)

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> Reading:
        """Make the reader of one answer; see `WireProvider.reading`.

        Args:
            request: The request.
            call: The call, for notes.
            headers: The headers of the answer, by name.
        """
        prefix = prefix_of(request.messages)
        return PrefixReading(self, call, headers, prefix) if prefix else super().reading(request, call, headers)

    embedding_characters = 16_384
    """The service takes 16,384 tokens in one request, and in nearly all texts a character is at most one token."""

    def embedding(self, request: EmbeddingRequest, call: CallContext) -> Generator[Order, Any, Embeddings]:
        """Ask for embeddings; see `OpenAIChatProvider.embedding`. The service has another name for the dimensions.

        Args:
            request: The request to write.
            call: The call, for notes.
        """
        sizes = {} if request.dimensions is None else {"output_dimension": request.dimensions}
        return super().embedding(attrs.evolve(request, dimensions=None, options={**sizes, **request.options}), call)

    def models(self) -> Generator[Order, Any, list[ModelInfo]]:
        """List the models of the service, each name once; see `OpenAIChatProvider.models`.

        Yields:
            The request.
        """
        found = yield from super().models()
        return list({model.name: model for model in found}.values())

    def model(self, entry: Mapping[str, Any]) -> ModelInfo | None:
        """Read one entry of the service's list.

        Args:
            entry: The entry.

        Returns:
            The model; `None` if it neither answers a chat nor makes embeddings.
        """
        stated = entry.get("capabilities")
        able = stated if isinstance(stated, Mapping) else {}
        window = entry.get("max_context_length")
        window = window if isinstance(window, int) and window > 0 else None
        if able.get("completion_chat") is False:
            name = str(entry["id"])
            return ModelInfo(name, supports_embeddings=True, context_window=window) if "embed" in name else None
        return ModelInfo(
            str(entry["id"]),
            supports_stream=True,
            supports_tools=_flag(able, "function_calling"),
            supports_images=_flag(able, "vision"),
            supports_audio=_flag(able, "audio"),
            supports_reasoning=_flag(able, "reasoning"),
            supports_prefill=True,
            context_window=window,
        )


def _flag(able: Mapping[str, Any], name: str) -> bool | None:
    value = able.get(name)
    return value if isinstance(value, bool) else None
