"""The capabilities and tokens that a request needs, and whether a model has them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from providerhub._values.capabilities import ModelInfo
from providerhub._values.request import Request

# Characters for each token in the lower bound. The usual vocabularies need a token for one to six characters of ordinary text in
# any script, on the average. A request above the bound does not fit. A request below it may not fit either, and is tried.
CHARACTERS_PER_TOKEN = 8
TOKENS_PER_MESSAGE = 3  # tokens that a chat template puts around a message, at least
TOKENS_PER_IMAGE = 64  # tokens of a small image
MOST_PER_MESSAGE = 16  # tokens that a chat template puts around a message, at most
MOST_PER_PART = 5000  # tokens of an image, a sound or a file that is short, or is named by its address
BYTES_PER_TOKEN = 20  # bytes of base64 for each token of a sound or a file, at least
_RUN = "    "  # a long run of spaces is a single token, so indentation and tables hardly count


class Needs(NamedTuple):
    """The capabilities that one request needs. Hashable, as a key of remembered plans."""

    stream: bool = False
    tools: bool = False
    images: bool = False
    json_schema: bool = False
    prefill: bool = False
    audio: bool = False
    files: bool = False
    embeddings: bool = False

    def lacking(self, model: ModelInfo, guessed: Collection[str] = ()) -> str:
        """The first needed capability that a model lacks, as a `Skip`'s reason; else empty. `guessed` fields exclude none."""
        for name, has in self._needed(model):
            # Prefill must be declared, since another service would begin a new answer after the partial answer.
            if (has is False and f"supports_{name}" not in guessed) or (name == "prefill" and not has):
                return f"no {name.replace('_', ' ')}"
        return ""

    def unknown(self, model: ModelInfo) -> int:
        """The number of needed capabilities that the model does not declare. A capability denied by a catalogue counts twice."""
        return sum({None: 1, False: 2, True: 0}[has] for _, has in self._needed(model))

    def _needed(self, model: ModelInfo) -> list[tuple[str, bool | None]]:
        return [(name, getattr(model, f"supports_{name}")) for name, needed in zip(self._fields, self, strict=True) if needed]


def uses(request: Request, options: Mapping[str, Any], capability: str) -> bool:
    """Whether a request with these options of the provider uses a capability. The names are as in `CapabilityError`."""
    form = request.response_format.get("type") if request.response_format else None
    if capability in {"json_schema", "json_object"}:
        return form == capability
    if capability in _PARTS:
        return _PARTS[capability] in part_kinds(request.messages)
    if capability == "system":
        return any(message.get("role") in {"system", "developer"} for message in request.messages)
    if capability == "prefill":
        return bool(request.messages) and request.messages[-1].get("role") == "assistant"
    value = getattr(request, capability, None)
    if capability == "reasoning":
        return value not in {None, "none"}
    is_flag = capability == "stream" or isinstance(value, list | tuple)
    return bool(value) if is_flag else value is not None or capability in options


# Capability → the type of the content parts that need it.
_PARTS: Mapping[str, str] = {"images": "image_url", "audio": "input_audio", "files": "file", "video": "video_url"}


def part_kinds(messages: Sequence[Mapping[str, Any]]) -> set[Any]:
    """The types of all content parts, such as `"image_url"`."""
    found = set()
    for message in messages:
        content = message.get("content")
        if not isinstance(content, str):
            found.update([part.get("type") for part in content or ()])
    return found


def token_bound(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> int:
    """A lower bound on the tokens of a conversation, with its images and tool calls; see `CHARACTERS_PER_TOKEN`."""
    characters = _characters(tools)
    images = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            characters += _length(content)
        elif isinstance(content, list | tuple):
            characters += sum(_length(part["text"]) for part in content if isinstance(part.get("text"), str))
            images += sum(part.get("type") == "image_url" for part in content)
        characters += _characters(message.get("tool_calls"))
    return TOKENS_PER_MESSAGE * len(messages) + TOKENS_PER_IMAGE * images + characters // CHARACTERS_PER_TOKEN


def token_ceiling(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> int:
    """An upper estimate of the tokens of a conversation: a token for each byte of text, and a flat number for each other part."""
    total = _bytes(tools)
    for message in messages:
        content = message.get("content")
        total += MOST_PER_MESSAGE + _bytes({key: value for key, value in message.items() if key not in {"content", "turn"}})
        for part in [content] if isinstance(content, str) else content or ():
            is_text = isinstance(part, str) or part.get("type") == "text"
            total += _bytes(part) if is_text else max(MOST_PER_PART, _bytes(part) // BYTES_PER_TOKEN)
    return total


def _bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")) if value else 0


def _length(text: str) -> int:
    return len(text) - len(_RUN) * text.count(_RUN)


def _characters(value: object) -> int:
    """The characters of all texts and keys in nested lists and mappings."""
    if isinstance(value, str):
        return _length(value)
    if isinstance(value, Mapping):
        return sum(len(key) + _characters(one) for key, one in value.items() if isinstance(key, str))
    if isinstance(value, list | tuple):
        return sum(map(_characters, value))
    return 0
