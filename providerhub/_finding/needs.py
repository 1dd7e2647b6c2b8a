"""What a request needs of a model, read off the request, and whether a model has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from providerhub._values.capabilities import ModelInfo

BYTES_PER_TOKEN = 2
"""A cheap upper bound on tokens: one for each two bytes of UTF-8. Vocabularies in use need one for three to four in ordinary
text of any script, so a conversation that passes by this measure fits; one that does not may still fit, but is not risked."""

TOKENS_PER_MESSAGE = 8
"""Room for the marks that a chat template puts around a message."""


class Needs(NamedTuple):
    """The capabilities that one request cannot do without. Hashable, so that plans can be remembered.

    Args:
        stream: An answer in pieces.
        tools: Tool calls.
        images: Reading images.
        json_schema: An answer held to a JSON schema.
        prefill: Carrying on from a partial answer.
    """

    stream: bool = False
    tools: bool = False
    images: bool = False
    json_schema: bool = False
    prefill: bool = False

    def lacking(self, model: ModelInfo) -> str:
        """The first needed capability that the model says it lacks, as a `Skip`'s reason; empty when there is none."""
        for needed, has, reason in self._pairs(model):
            # Prefill must be declared: where it is unknown, a service would answer anew and the text would be spliced.
            if needed and (has is False or (reason == "no prefill" and not has)):
                return reason
        return ""

    def unknown(self, model: ModelInfo) -> int:
        """How many needed capabilities the model says nothing about."""
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
    """An upper bound on the tokens of a conversation, images left out; see `BYTES_PER_TOKEN`."""
    return sum(TOKENS_PER_MESSAGE + _bytes(m.get("content")) // BYTES_PER_TOKEN for m in messages)


def _bytes(content: object) -> int:
    if isinstance(content, str):
        return len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
    if isinstance(content, list | tuple):
        return sum(_bytes(part.get("text")) for part in content)
    return 0
