"""Scripts for what HTTP servers and OpenAI-shaped services say, right and wrong.

The pieces compose: `chunked(sse(openai_chunk("Hel"), Gate("half"), openai_chunk("lo")))` is a whole answer with a gate in the
middle of its stream.
"""

from __future__ import annotations

import http
import json
from collections.abc import Iterable, Mapping
from typing import Any

from providerhub_conformance._faults.steps import Close, Send, Step

EVENT_STREAM = "text/event-stream"
LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body."""


def response_head(status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Write a status line and headers.

    Args:
        status: The HTTP status.
        headers: The headers, as they are to be.

    Returns:
        The bytes, the blank line included.
    """
    try:
        reason = http.HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def http_response(
    status: int = 200, body: bytes | str | Mapping[str, Any] = b"", headers: Mapping[str, str] | None = None
) -> tuple[Step, ...]:
    """A whole answer with its length; the connection stays open.

    Args:
        status: The HTTP status.
        body: Bytes, text (as UTF-8), or an object to be written as JSON.
        headers: Headers beside, or instead of, `Content-Type: application/json` and `Content-Length`.

    Returns:
        The script.
    """
    raw = _raw(body)
    head = response_head(status, {"Content-Type": "application/json", "Content-Length": str(len(raw)), **(headers or {})})
    return (Send(head + raw),)


def chunk(data: bytes) -> bytes:
    """Frame bytes as one chunk of a chunked body.

    Args:
        data: The chunk's content; not empty, since an empty chunk ends the body.

    Returns:
        The framed bytes.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(
    pieces: Iterable[bytes | Step], *, status: int = 200, headers: Mapping[str, str] | None = None, end: bool = True
) -> tuple[Step, ...]:
    """A chunked answer: each piece of bytes in a chunk and a send of its own, steps in between as they are.

    Args:
        pieces: The body.
        status: The HTTP status.
        headers: Headers beside, or instead of, `Content-Type: text/event-stream` and `Transfer-Encoding: chunked`.
        end: Whether the closing zero chunk follows.

    Returns:
        The script.
    """
    head = response_head(status, {"Content-Type": EVENT_STREAM, "Transfer-Encoding": "chunked", **(headers or {})})
    body = [Send(chunk(piece)) if isinstance(piece, bytes) else piece for piece in pieces]
    return (Send(head), *body, *([Send(LAST_CHUNK)] if end else []))


def close_delimited(
    pieces: Iterable[bytes | Step], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> tuple[Step, ...]:
    """An answer without a length, which ends when the connection does.

    Args:
        pieces: The body; bytes are sent piece by piece.
        status: The HTTP status.
        headers: Headers beside, or instead of, `Content-Type: text/event-stream` and `Connection: close`.

    Returns:
        The script, `Close` included.
    """
    head = response_head(status, {"Content-Type": EVENT_STREAM, "Connection": "close", **(headers or {})})
    return (Send(head), *(Send(piece) if isinstance(piece, bytes) else piece for piece in pieces), Close())


def sse(*data: bytes | str | Mapping[str, Any] | Step, event: str = "", done: bool = True) -> list[bytes | Step]:
    r"""Write server-sent events.

    Args:
        data: The events' data: bytes, text, or objects to be written as JSON; steps stay as they are.
        event: The type of all of these events; `""` for none.
        done: Whether `data: [DONE]` follows.

    Returns:
        One piece for each event, for `chunked` or `close_delimited`; `b"".join()` of it is a body, if there are no steps in it.
    """
    name = f"event: {event}\n".encode() if event else b""
    pieces: list[bytes | Step] = [
        name + b"data: %b\n\n" % _raw(item).replace(b"\n", b"\ndata: ") if isinstance(item, (bytes, str, Mapping)) else item
        for item in data
    ]
    return [*pieces, b"data: [DONE]\n\n"] if done else pieces


def openai_chunk(
    text: str | None = None, *, finish_reason: str | None = None, usage: Mapping[str, Any] | None = None, **delta: Any
) -> dict[str, Any]:
    """A chunk of an OpenAI-shaped stream.

    Args:
        text: The delta's content; left out when `None`.
        finish_reason: Why the answer ended, in the last chunk with a choice.
        usage: Token counts. With nothing else given, the chunk has no choices, as the last one of the real service.
        delta: Further fields of the delta: `role`, `reasoning_content`, `tool_calls`, `refusal`.

    Returns:
        The chunk, for `sse`.
    """
    if text is not None:
        delta["content"] = text
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}] if delta or finish_reason or not usage else []
    told = {"usage": dict(usage)} if usage else {}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **told}


def openai_completion(
    text: str | None = "", *, finish_reason: str = "stop", usage: Mapping[str, Any] | None = None, **message: Any
) -> dict[str, Any]:
    """A whole OpenAI-shaped answer.

    Args:
        text: The message's content.
        finish_reason: Why the answer ended.
        usage: Token counts.
        message: Further fields of the message: `tool_calls`, `refusal`, `reasoning_content`.

    Returns:
        The answer, for `http_response`.
    """
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    told = {"usage": dict(usage)} if usage else {}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **told}


def openai_error(
    message: str, *, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """An OpenAI-shaped error object.

    Args:
        message: What the service says.
        kind: Its `type`.
        code: Its `code`, such as `model_not_found`.
        param: The request's field at fault.

    Returns:
        The object, for `http_response` or, inside a stream, for `sse`.
    """
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def openai_stream(*texts: str, finish_reason: str | None = "stop", done: bool = True) -> tuple[Step, ...]:
    """A whole OpenAI-shaped stream, chunked.

    Args:
        texts: The content deltas.
        finish_reason: What the last chunk says; `None` for no such chunk.
        done: Whether `data: [DONE]` ends it.

    Returns:
        The script.
    """
    chunks = [openai_chunk(text) for text in texts]
    if finish_reason:
        chunks.append(openai_chunk(finish_reason=finish_reason))
    return chunked(sse(*chunks, done=done))


def _raw(data: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(data, bytes):
        return data
    # As the real services do: UTF-8 as it is, and no spaces.
    return (data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))).encode()
