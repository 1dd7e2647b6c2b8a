"""The capabilities and tokens that a request needs, and whether a model has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from providerhub._values.capabilities import ModelInfo

BYTES_PER_TOKEN = 2
"""Bytes of UTF-8 for each token in the upper bound. The usual vocabularies need a token for three to four bytes of ordinary text
in any script. A conversation within the bound fits; a longer one may fit, but is not tried."""

TOKENS_PER_MESSAGE = 8
"""Tokens that a chat template puts around a message."""


class Needs(NamedTuple):
    """The capabilities that one request needs. Hashable, since plans are remembered by it.

    Args:
        stream: The answer comes in pieces.
        tools: The request offers tools.
        images: A message has an image.
        json_schema: The answer must follow a JSON schema.
        prefill: The model continues a partial answer.
    """

    stream: bool = False
    tools: bool = False
    images: bool = False
    json_schema: bool = False
    prefill: bool = False

    def lacking(self, model: ModelInfo) -> str:
        """The first needed capability that the model does not have, as the reason of a `Skip`; empty when it has all."""
        for needed, has, reason in self._pairs(model):
            # Prefill must be declared: a service without it begins a new answer, which would be spliced to the partial one.
            if needed and (has is False or (reason == "no prefill" and not has)):
                return reason
        return ""

    def unknown(self, model: ModelInfo) -> int:
        """The number of needed capabilities that the model does not declare."""
        return sum(needed and has is None for needed, has, _ in self._pairs(model))

    def _pairs(self, model: ModelInfo) -> Iterator[tuple[bool, bool | None, str]]:
        yield self.stream, model.supports_stream, "no stream"
        yield self.tools, model.supports_tools, "no tools"
        yield self.images, model.supports_images, "no images"
        yield self.json_schema, model.supports_json_schema, "no json schema"
        yield self.prefill, model.supports_prefill, "no prefill"


def has_images(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any message has an image part."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, list | tuple) and any(part.get("type") == "image_url" for part in content):
            return True
    return False


def token_bound(messages: Sequence[Mapping[str, Any]]) -> int:
    """An upper bound on the tokens of a conversation without its images; see `BYTES_PER_TOKEN`."""
    return sum(TOKENS_PER_MESSAGE + _bytes(m.get("content")) // BYTES_PER_TOKEN for m in messages)


def _bytes(content: object) -> int:
    if isinstance(content, str):
        return len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
    if isinstance(content, list | tuple):
        return sum(_bytes(part.get("text")) for part in content)
    return 0
