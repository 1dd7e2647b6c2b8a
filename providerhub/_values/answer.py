"""A whole answer: text, tool calls, media, citations, token counts and route."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from providerhub._values.cost import Cost, Usage
from providerhub._values.route import Route
from providerhub._values.value import Value, frozen


@frozen(eq=False, repr=False)
class ToolCall(Value):
    """A tool call that the model asks for.

    Args:
        id: The identifier that the tool's result must repeat.
        name: The name of the tool.
        arguments: The arguments from the model: JSON text, which may be invalid, or the free text for a custom tool.
        type: `"function"` (the default), or `"custom"` for a tool whose input is free text.
    """

    id: str
    name: str
    arguments: str
    type: str = "function"


@frozen(eq=False, repr=False)
class Citation(Value):
    """A source of the answer. A provider yields it as an event; `Completion.citations` holds all of them.

    Args:
        url: The address of the source.
        title: The title of the source.
        text: The quoted words of the source.
        start: The place of the supported text in the answer: its first character, counted from 0.
        end: The place after the last character of the supported text.
        source: All other data about the source, such as the number of a document and the place in it.
    """

    url: str | None = None
    title: str | None = None
    text: str | None = None
    start: int | None = None
    end: int | None = None
    source: Mapping[str, Any] = attrs.field(factory=dict)


@frozen(eq=False, repr=False)
class Media(Value):
    """An image, a sound or another file from the model. A provider yields it as an event; `Completion.media` holds all of them.

    Args:
        kind: `"image"`, `"audio"`, `"video"` or `"file"`.
        type: The media type, such as `"image/png"`; `None` when unknown.
        base64: The bytes as base64 text; empty when there is only a `url`.
        url: The address of the bytes; `None` when they are in `base64`.
        id: The service's identifier. Pieces of one medium have the same `id` and `kind`, and follow each other.
    """

    kind: str
    type: str | None = None
    base64: str = attrs.field(default="", repr=False)
    url: str | None = None
    id: str | None = None

    @property
    def data(self) -> bytes:
        """The bytes; empty when there is only a `url`.

        Raises:
            ValueError: The data from the service are not base64.
        """
        from binascii import Error, a2b_base64  # only an answer with media needs it

        try:
            return a2b_base64(self.base64)
        except Error as error:
            raise ValueError(f"the {self.kind} is not valid base64: {error}") from error

    def joined(self, later: Media) -> Media:
        """Append a later piece of the same medium.

        Args:
            later: The next piece.

        Returns:
            The medium with both pieces.
        """
        from binascii import b2a_base64

        whole = self.base64 + later.base64
        if self.base64.endswith("="):  # padding: each piece was encoded by itself
            whole = b2a_base64(self.data + later.data, newline=False).decode()
        return attrs.evolve(self, base64=whole, type=self.type or later.type, url=later.url or self.url)


@frozen(eq=False, repr=False)
class Turn(Value):
    """The assistant's turn in the vendor's own form, for the next request. Only the plugin that wrote it reads it.

    It keeps signatures, encrypted reasoning and results of the vendor's own tools in their order. A provider yields
    `Turn(content)` once, at the end; a later turn replaces an earlier turn. The hub fills in the other fields.

    Args:
        content: The vendor's form, as JSON: mappings, lists, texts, numbers.
        plugin: The distribution of the plugin.
        name: The name of its entry point.
        host: The host that answered; `""` for a provider without an address.
    """

    content: Any = attrs.field(repr=False)
    plugin: str = ""
    name: str = ""
    host: str = ""


@frozen(eq=False, repr=False)
class Completion(Value):
    """A whole answer. `str(completion)` is its text, with a mark at the end if `max_tokens` cut the answer.

    Args:
        text: The text of the answer; empty when the model only called tools or refused.
        reasoning: The model's reasoning; `None` when the service sent none.
        tool_calls: The tool calls that the model asks for, in its order.
        refusal: The text of the model's refusal; `None` when it did not refuse.
        finish_reason: `"stop"`, `"length"`, `"tool_calls"`, `"content_filter"`, `"pause_turn"` (the turn goes on: append
            `message` to the conversation and call again), another word of the vendor, or `None` when the provider gave no reason.
        usage: Token counts; `None` when the provider reported none.
        provider: The provider instance that answered.
        model: The model's name as the provider received it.
        route: All attempts of the call, and the skipped candidates.
        finish_said: The vendor's own word for `finish_reason`; `None` when both are the same.
        citations: The sources that the service names.
        media: The images, sounds and files from the model.
        turn: The assistant's turn in the vendor's own form; `None` when `message` can hold all of it.
        parsed: The object for `response_format=SomeClass`; `None` without such a class, and for a cut answer, a refusal or tool
            calls.
        details: All other data of the answer, by name. The same data have the same name at every vendor.
        cached: Whether the answer came from a cache, and no provider was asked. Default false.
    """

    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    provider: str = ""
    model: str = ""
    route: Route = Route()
    finish_said: str | None = None
    citations: tuple[Citation, ...] = ()
    media: tuple[Media, ...] = ()
    turn: Turn | None = None
    parsed: Any = None
    details: Mapping[str, Any] = attrs.field(factory=dict)
    cached: bool = False

    def __str__(self) -> str:
        return f"{self.text} […cut: finish_reason is 'length']" if self.finish_reason == "length" else self.text

    @property
    def id(self) -> str | None:
        """The service's identifier of the answer."""
        return self.details.get("id")

    @property
    def served_model(self) -> str | None:
        """The model that answered, as the service names it."""
        return self.details.get("model")

    @property
    def request_id(self) -> str | None:
        """The service's identifier of the HTTP request, for questions to its support."""
        return self.details.get("request_id")

    @property
    def cost(self) -> Cost | None:
        """The cost of this answer; `None` when unknown, and for a cached answer. `route.cost` is the cost of all attempts."""
        return None if self.cached else self.route.cost_of(self.usage, self.provider, self.model)

    @property
    def logprobs(self) -> Sequence[Mapping[str, Any]] | None:
        """The log probabilities of the tokens in the service's form; `None` when the request did not ask for them."""
        return self.details.get("logprobs")

    @property
    def stop_sequence(self) -> str | None:
        """The text of `stop` that ended the answer; `None` when unknown."""
        return self.details.get("stop_sequence")

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's turn as a message in the OpenAI chat shape, to append to the conversation. It is JSON.

        Its key `turn` holds the vendor's own form, if there is one. This key goes back only to the host that wrote it; every
        other provider gets the message without the key.
        """
        message = self.message_plain
        if self.turn is not None:
            message["turn"] = {**attrs.asdict(self.turn, recurse=False), "of": message_digest(message)}
        return message

    @property
    def message_plain(self) -> dict[str, Any]:
        """`message` without the vendor's own form."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.refusal:
            message["refusal"] = self.refusal
        if self.tool_calls:
            message["tool_calls"] = [_called(call) for call in self.tool_calls]
        elif not self.text and not self.refusal:
            message["content"] = ""
        return message

    def tool_result(self, call: ToolCall | str, content: Any, *, is_error: bool = False) -> dict[str, Any]:
        """Make the message with a tool's result for the model.

        Args:
            call: The tool call, or its `id`.
            content: The result: a text, a list of content parts (texts, images), or another value, sent as JSON.
            is_error: Whether the tool failed. Default false. Vendors without such a field get only the content.

        Returns:
            The message, in the OpenAI chat shape.

        Raises:
            ValueError: The completion has no such call.
            TypeError: The value is not JSON.
        """
        identifier = call if isinstance(call, str) else call.id
        known = [one.id for one in self.tool_calls]
        if identifier not in known:
            raise ValueError(f"the answer has no tool call {identifier!r}; its calls: {', '.join(map(repr, known)) or 'none'}")
        if _are_parts(content):
            content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
        elif not isinstance(content, str):
            content = json.dumps(content, ensure_ascii=False)
        message = {"role": "tool", "tool_call_id": identifier, "content": content}
        return {**message, "is_error": True} if is_error else message


def _called(call: ToolCall) -> dict[str, Any]:
    said = {"name": call.name, "input" if call.type == "custom" else "arguments": call.arguments}
    return {"id": call.id, "type": call.type, call.type: said}


def _are_parts(content: Any) -> bool:
    return (
        isinstance(content, list | tuple)
        and any(isinstance(part, Mapping) for part in content)
        and all(isinstance(part, str) or (isinstance(part, Mapping) and isinstance(part.get("type"), str)) for part in content)
    )


def message_digest(message: Mapping[str, Any]) -> str:
    """Return a digest of an assistant's message: its text, and names, identifiers and parsed arguments of its calls.

    The vendor's form is ignored if the caller has edited one of these.
    """
    import hashlib  # only a conversation with turns needs it

    content = message.get("content")
    if isinstance(content, list | tuple):
        content = "".join(part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str))
    calls = [[call.get("id"), *_said(call)] for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
    said = json.dumps([content or "", message.get("refusal") or "", calls], sort_keys=True)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _said(call: Mapping[str, Any]) -> tuple[Any, Any]:
    function = call.get(call.get("type") or "function") or {}
    arguments = function.get("arguments", function.get("input"))
    try:
        return function.get("name"), json.loads(arguments or "{}")
    except (TypeError, ValueError):
        return function.get("name"), arguments
