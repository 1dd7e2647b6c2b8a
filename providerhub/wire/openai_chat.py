"""The OpenAI chat-completions shape: writes a request as a JSON object, and reads answers and chunks as pieces.

It accepts the deviations of servers that imitate the shape: `null` deltas, missing `index`, empty `choices`, extra fields,
numeric identifiers, errors in a successful answer. Reference: OpenAI API reference, "Chat" and "Chat streaming".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub._rules.status import error_from_status
from providerhub._values import Finish, ReasoningDelta, RefusalDelta, Request, TextDelta, ToolCallDelta, Usage, UsageDelta
from providerhub._values.errors import ProtocolError
from providerhub._values.provider import Piece

_FIRST = (None, 0, "0", "")
_BESIDE_TEXT = ("reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")


def request_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request.

    Args:
        request: The request. Fields that are `None` are left out.

    Returns:
        The object. The request's `options` are merged in last and override other fields.
    """
    body: dict[str, Any] = {"model": request.model, "messages": list(request.messages)}
    for name in ("temperature", "max_tokens", "tools", "tool_choice", "response_format", "seed"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.stop is not None:
        body["stop"] = list(request.stop)
    if request.stream:
        body["stream"] = True
    body.update(request.options)
    return body


def parse(data: bytes) -> dict[str, Any]:
    """Parse one JSON object.

    Args:
        data: The object as bytes. Invalid UTF-8 is replaced by U+FFFD.

    Raises:
        ProtocolError: The bytes are not a JSON object.
    """
    try:
        found = json.loads(data.decode(errors="replace"))
    except (ValueError, RecursionError):
        found = _with_long_numbers(data)
    if not isinstance(found, dict):
        msg = "expected a JSON object in the answer"
        raise ProtocolError(msg, excerpt=data[:2000].decode("utf-8", "replace"))
    return found


def _with_long_numbers(data: bytes) -> Any:
    """Parse again, with floats for whole numbers that are too long for `int`. Such numbers are valid JSON, and never read."""
    try:
        return json.loads(data.decode(errors="replace"), parse_int=_number)
    except (ValueError, RecursionError):
        return None


def _number(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def only_text(chunk: Mapping[str, Any]) -> str | None:
    """Return the text of a chunk that holds text only. For such a chunk this is faster than `chunk_pieces`.

    Args:
        chunk: The parsed chunk.

    Returns:
        The text; `None` if the chunk has no text or something beside it.
    """
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        text = delta["content"]
    except (KeyError, TypeError, ValueError):
        return None
    if type(text) is not str or choice.get("finish_reason") or choice.get("index") or chunk.get("usage") is not None:
        return None
    if chunk.get("error") or chunk.get("object") == "error" or (len(delta) > 1 and any(map(delta.get, _BESIDE_TEXT))):
        return None
    return text or None


class ToolCalls:
    """Finds the tool call that each piece of a stream belongs to, for servers that number their calls wrongly too.

    A piece with a name begins a new call if it has no index, or an identifier that differs from the one of its index. A piece
    without a name continues the call of its index, or the last call.
    """

    __slots__ = ("_ids", "_places")

    def __init__(self) -> None:
        self._ids: list[str | None] = []  # identifier of each call, in the order of our numbers
        self._places: dict[object, int] = {}  # the server's index → our number

    def number(self, index: object, identifier: str | None, name: str | None) -> int:
        """Return the number of the call that a piece belongs to, counted from 0.

        Args:
            index: The piece's `index` as the server wrote it; `None` if it has none.
            identifier: The piece's `id`; `None` if it has none.
            name: The name of the function; `None` if the piece has none.
        """
        known = self._ids.index(identifier) if identifier and identifier in self._ids else self._places.get(index)
        if known is None and not name and self._ids:
            known = len(self._ids) - 1
        elif known is not None and name and self._is_other(known, index, identifier):
            known = None
        if known is None:
            known = len(self._ids)
            self._ids.append(identifier)
        self._places[index] = known
        self._ids[known] = self._ids[known] or identifier
        return known

    def _is_other(self, known: int, index: object, identifier: str | None) -> bool:
        """Return whether a piece with a name begins a call other than the one of its index."""
        if identifier:
            return self._ids[known] not in {None, identifier}
        return index is None


def chunk_pieces(chunk: Mapping[str, Any], calls: ToolCalls | None = None) -> Iterator[Piece]:
    """Read one streamed chunk.

    Args:
        chunk: The parsed chunk.
        calls: The tool calls of the stream so far; `None` for a chunk that belongs to no stream.

    Yields:
        The pieces of the chunk: text as `str`, everything else as events. `Finish` is among them if the chunk gives a reason.

    Raises:
        ProviderError: The chunk is an error. Its class follows from its content.
        ProtocolError: The chunk does not have the shape of a chunk.
    """
    refuse_error(chunk)
    choices = chunk.get("choices") or ()
    if not isinstance(choices, list | tuple):
        raise _shape("choices", choices)
    for choice in choices:
        if not isinstance(choice, Mapping):
            raise _shape("choices[0]", choice)
        if choice.get("index") not in _FIRST:
            # A further answer to the same request, which an option such as `n` asked for. It must not mix with this one.
            continue
        yield from _delta_pieces(choice.get("delta") or choice.get("message") or {}, calls or ToolCalls())
        reason = choice.get("finish_reason")
        if reason == "error":
            raise error_from_status(500, {}, chunk)
        if reason:
            yield Finish(str(reason))
        break
    usage = chunk.get("usage")
    if isinstance(usage, Mapping):
        yield UsageDelta(_usage(usage))


def answer_pieces(answer: Mapping[str, Any]) -> Iterator[Piece]:
    """Read an answer that is not streamed.

    Args:
        answer: The parsed answer.

    Yields:
        The pieces of the answer, as `chunk_pieces` yields them.

    Raises:
        ProviderError: The answer is an error, or has no choices.
    """
    refuse_error(answer)
    if not answer.get("choices"):
        raise _shape("choices", answer.get("choices"))
    yield from chunk_pieces(answer)


def refuse_error(chunk: Mapping[str, Any]) -> None:
    """Raise if a chunk or answer is an error.

    Args:
        chunk: The parsed chunk or answer.

    Raises:
        ProviderError: It is an error. The error's class follows from its content.
    """
    error = chunk.get("error")
    # Web frameworks write an error as one field, without `error` and `choices`.
    bare = "choices" not in chunk and any(isinstance(chunk.get(name), str) for name in ("message", "detail"))
    if error or bare or chunk.get("object") == "error":
        raise error_from_status(200, {}, chunk)


def _delta_pieces(delta: Any, calls: ToolCalls) -> Iterator[Piece]:
    if not isinstance(delta, Mapping):
        raise _shape("delta", delta)
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(reasoning, str):
        yield ReasoningDelta(reasoning)
    yield from _content(delta.get("content"))
    if delta.get("refusal"):
        yield RefusalDelta(str(delta["refusal"]))
    called = delta.get("tool_calls") or ()
    if not isinstance(called, list | tuple):
        raise _shape("tool_calls", called)
    for call in called:
        yield _tool_call(call, calls)
    if delta.get("function_call"):  # the older form, of one call only
        yield _tool_call({"index": 0, "function": delta["function_call"]}, calls)


def _content(content: Any) -> Iterator[Piece]:
    if isinstance(content, str):
        if content:
            yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, Mapping) and isinstance(part.get("text"), str):
                yield TextDelta(part["text"])
    elif content is not None:
        raise _shape("content", content)


def _tool_call(call: Any, calls: ToolCalls) -> ToolCallDelta:
    if not isinstance(call, Mapping):
        raise _shape("tool_calls", call)
    function = call.get("function") or {}
    if not isinstance(function, Mapping):
        raise _shape("tool_calls[].function", function)
    index, identifier, name, arguments = call.get("index"), call.get("id"), function.get("name"), function.get("arguments")
    identifier = None if identifier in (None, "") else str(identifier)
    name = None if name is None else str(name)
    return ToolCallDelta(
        index=calls.number(index if isinstance(index, int | str) else None, identifier, name),
        id=identifier,
        name=name,
        arguments=arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments),
    )


def _usage(usage: Mapping[str, Any]) -> Usage:
    def count(source: Any, name: str) -> int | None:
        value = source.get(name) if isinstance(source, Mapping) else None
        return value if isinstance(value, int) else None

    return Usage(
        input_tokens=count(usage, "prompt_tokens"),
        output_tokens=count(usage, "completion_tokens"),
        cached_tokens=count(usage.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _shape(where: str, value: object) -> ProtocolError:
    return ProtocolError(f"{where} has an unexpected shape ({type(value).__name__}) in the answer", excerpt=repr(value)[:2000])
