"""The OpenAI chat-completions shape: request → JSON object, answer and chunks → pieces.

Tolerant of what servers that imitate it do: `null` deltas, missing `index`, empty `choices`, extra fields, numeric
identifiers, errors in a successful answer. Reference: OpenAI API reference, "Chat" and "Chat streaming".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from providerhub._errors import ProtocolError
from providerhub._provider import Piece
from providerhub._status import error_from_status
from providerhub._types import Finish, ReasoningDelta, RefusalDelta, Request, TextDelta, ToolCallDelta, Usage, UsageDelta

_BESIDE_TEXT = ("reasoning_content", "reasoning", "refusal", "tool_calls")


def request_body(request: Request) -> dict[str, Any]:
    """The JSON object that asks for an answer.

    Args:
        request: What is asked. What the caller did not say is left out.

    Returns:
        The object; vendor-specific options are merged in last.
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
    """One JSON object.

    Args:
        data: Its bytes; invalid UTF-8 is replaced.

    Raises:
        ProtocolError: It is not a JSON object.
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
    """Once more, for whole numbers of more digits than `int` takes: they are valid, and nobody reads them."""
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
    """The text of a chunk that holds nothing else: a short way past `chunk_pieces` for most of a stream.

    Args:
        chunk: The parsed chunk.

    Returns:
        The text; `None` when there is none, or anything beside it.
    """
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        text = delta["content"]
    except (KeyError, TypeError, ValueError):
        return None
    if type(text) is not str or choice.get("finish_reason") or chunk.get("usage") is not None or chunk.get("error"):
        return None
    if chunk.get("object") == "error" or (len(delta) > 1 and any(map(delta.get, _BESIDE_TEXT))):
        return None
    return text or None


def chunk_pieces(chunk: Mapping[str, Any]) -> Iterator[Piece]:
    """The pieces of one streamed chunk.

    Args:
        chunk: The parsed chunk.

    Yields:
        Text as `str`, everything else as events, `Finish` among them when the chunk gives a reason.

    Raises:
        ProviderError: The chunk is an error, classed by its content.
        ProtocolError: Its shape is not that of a chunk.
    """
    refuse_error(chunk)
    choices = chunk.get("choices") or ()
    if not isinstance(choices, list | tuple):
        raise _shape("choices", choices)
    for choice in choices[:1]:
        if not isinstance(choice, Mapping):
            raise _shape("choices[0]", choice)
        yield from _delta_pieces(choice.get("delta") or choice.get("message") or {})
        reason = choice.get("finish_reason")
        if reason:
            yield Finish(str(reason))
    usage = chunk.get("usage")
    if isinstance(usage, Mapping):
        yield UsageDelta(_usage(usage))


def answer_pieces(answer: Mapping[str, Any]) -> Iterator[Piece]:
    """The pieces of a whole answer, as `chunk_pieces`.

    Raises:
        ProviderError: The answer is an error, or has no choices.
    """
    refuse_error(answer)
    if not answer.get("choices"):
        raise _shape("choices", answer.get("choices"))
    yield from chunk_pieces(answer)


def refuse_error(chunk: Mapping[str, Any]) -> None:
    """Raise the error that a chunk or answer holds, if it holds one.

    Raises:
        ProviderError: It does.
    """
    error = chunk.get("error")
    if error or (chunk.get("object") == "error"):
        status = chunk.get("code") if isinstance(chunk.get("code"), int) else None
        if isinstance(error, Mapping) and isinstance(error.get("code"), int):
            status = error["code"]
        raise error_from_status(status if status and 400 <= status < 600 else 200, {}, chunk)


def _delta_pieces(delta: Any) -> Iterator[Piece]:
    if not isinstance(delta, Mapping):
        raise _shape("delta", delta)
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(reasoning, str):
        yield ReasoningDelta(reasoning)
    content = delta.get("content")
    if isinstance(content, str):
        if content:
            yield content
    elif isinstance(content, list):
        yield from (
            TextDelta(part["text"]) for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)
        )
    elif content is not None:
        raise _shape("content", content)
    if delta.get("refusal"):
        yield RefusalDelta(str(delta["refusal"]))
    calls = delta.get("tool_calls") or ()
    for place, call in enumerate(calls):
        yield _tool_call(place, call)


def _tool_call(place: int, call: Any) -> ToolCallDelta:
    if not isinstance(call, Mapping):
        raise _shape("tool_calls", call)
    function = call.get("function") or {}
    index = call.get("index")
    arguments = function.get("arguments")
    return ToolCallDelta(
        index=index if isinstance(index, int) else place,
        id=None if call.get("id") is None else str(call["id"]),
        name=function.get("name"),
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
