"""Scripts for the answers of HTTP servers and OpenAI-shaped services.

The functions can be combined: `chunked(sse(openai_chunk("Hel"), Gate("half"), openai_chunk("lo")))` is a whole answer with a
gate in the middle of its stream.
"""

from __future__ import annotations

import http
import json
import struct
from binascii import crc32
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
        headers: The headers, written unchanged.

    Returns:
        The bytes, with the blank line.
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
    """Script a whole answer with its length. The connection stays open.

    Args:
        status: The HTTP status.
        body: Bytes, text (as UTF-8), or an object to be written as JSON.
        headers: Headers that add to or replace `Content-Type: application/json` and `Content-Length`.

    Returns:
        The script.
    """
    raw = _raw(body)
    head = response_head(status, {"Content-Type": "application/json", "Content-Length": str(len(raw)), **(headers or {})})
    return (Send(head + raw),)


def chunk(data: bytes) -> bytes:
    """Frame bytes as one chunk of a chunked body.

    Args:
        data: The content of the chunk. It must not be empty, since an empty chunk ends the body.

    Returns:
        The framed bytes.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(
    pieces: Iterable[bytes | Step], *, status: int = 200, headers: Mapping[str, str] | None = None, end: bool = True
) -> tuple[Step, ...]:
    """Script a chunked answer. Each piece of bytes is sent as one chunk. Steps between the pieces are played unchanged.

    Args:
        pieces: The body, as bytes and steps.
        status: The HTTP status.
        headers: Headers that add to or replace `Content-Type: text/event-stream` and `Transfer-Encoding: chunked`.
        end: Whether the closing chunk of size 0 follows.

    Returns:
        The script.
    """
    head = response_head(status, {"Content-Type": EVENT_STREAM, "Transfer-Encoding": "chunked", **(headers or {})})
    body = [Send(chunk(piece)) if isinstance(piece, bytes) else piece for piece in pieces]
    return (Send(head), *body, *([Send(LAST_CHUNK)] if end else []))


def close_delimited(
    pieces: Iterable[bytes | Step], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> tuple[Step, ...]:
    """Script an answer without a length. It ends with the connection.

    Args:
        pieces: The body, as bytes and steps. Each piece of bytes is sent separately.
        status: The HTTP status.
        headers: Headers that add to or replace `Content-Type: text/event-stream` and `Connection: close`.

    Returns:
        The script, with `Close`.
    """
    head = response_head(status, {"Content-Type": EVENT_STREAM, "Connection": "close", **(headers or {})})
    return (Send(head), *(Send(piece) if isinstance(piece, bytes) else piece for piece in pieces), Close())


def sse(*data: bytes | str | Mapping[str, Any] | Step, event: str = "", done: bool = True) -> list[bytes | Step]:
    r"""Write server-sent events.

    Args:
        data: The data of the events, as bytes, text, or objects that are written as JSON. Steps are kept.
        event: The type of all these events; `""` for none.
        done: Whether `data: [DONE]` follows.

    Returns:
        One piece for each event, for `chunked` or `close_delimited`. Without steps, `b"".join()` of the pieces is a body.
    """
    name = f"event: {event}\n".encode() if event else b""
    pieces: list[bytes | Step] = [
        name + b"data: %b\n\n" % _raw(item).replace(b"\n", b"\ndata: ") if isinstance(item, (bytes, str, Mapping)) else item
        for item in data
    ]
    return [*pieces, b"data: [DONE]\n\n"] if done else pieces


def ndjson(*data: bytes | str | Mapping[str, Any]) -> list[bytes]:
    """Write newline-delimited JSON.

    Args:
        data: The lines, as bytes, text, or objects that are written as JSON.

    Returns:
        One piece for each line, for `chunked` or `close_delimited`.
    """
    return [_raw(item) + b"\n" for item in data]


def eventstream(
    *data: bytes | str | Mapping[str, Any], event: str = "chunk", headers: Mapping[str, str] | None = None
) -> list[bytes]:
    """Write frames of AWS' event stream, `application/vnd.amazon.eventstream`.

    Args:
        data: The payloads, as bytes, text, or objects that are written as JSON.
        event: The type of these events.
        headers: The headers of the frames, as texts. Default `None`: the headers of an event with JSON.

    Returns:
        One piece for each frame, for `chunked` or `close_delimited`.
    """
    if headers is None:
        headers = {":message-type": "event", ":event-type": event, ":content-type": "application/json"}
    named = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    return [_event_frame(named, _raw(item)) for item in data]


def _event_frame(headers: bytes, payload: bytes) -> bytes:
    begun = event_prelude(16 + len(headers) + len(payload), len(headers)) + headers + payload
    return begun + struct.pack(">I", crc32(begun))


def event_prelude(size: int, headers: int) -> bytes:
    """The beginning of a frame of an event stream.

    Args:
        size: The bytes of the whole frame.
        headers: The bytes of its headers.
    """
    prelude = struct.pack(">II", size, headers)
    return prelude + struct.pack(">I", crc32(prelude))


def openai_chunk(
    text: str | None = None, *, finish_reason: str | None = None, usage: Mapping[str, Any] | None = None, **delta: Any
) -> dict[str, Any]:
    """Make a chunk of an OpenAI-shaped stream.

    Args:
        text: The content of the delta; left out when `None`.
        finish_reason: The reason for the end of the answer, in the last chunk with a choice.
        usage: Token counts. A chunk with only usage has no choices, like the last chunk of the real service.
        delta: Further fields of the delta: `role`, `reasoning_content`, `tool_calls`, `refusal`.

    Returns:
        The chunk, for `sse`.
    """
    if text is not None:
        delta["content"] = text
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}] if delta or finish_reason or not usage else []
    counts = {"usage": dict(usage)} if usage else {}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **counts}


def openai_completion(
    text: str | None = "", *, finish_reason: str = "stop", usage: Mapping[str, Any] | None = None, **message: Any
) -> dict[str, Any]:
    """Make a whole OpenAI-shaped answer.

    Args:
        text: The content of the message.
        finish_reason: The reason for the end of the answer.
        usage: Token counts; left out when `None`.
        message: Further fields of the message: `tool_calls`, `refusal`, `reasoning_content`.

    Returns:
        The answer, for `http_response`.
    """
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    counts = {"usage": dict(usage)} if usage else {}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **counts}


def openai_error(
    message: str, *, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Make an OpenAI-shaped error object.

    Args:
        message: The text of the error.
        kind: The `type` of the error.
        code: The `code` of the error, such as `model_not_found`.
        param: The wrong field of the request.

    Returns:
        The object, for `http_response`, or for `sse` inside a stream.
    """
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def openai_stream(*texts: str, finish_reason: str | None = "stop", done: bool = True) -> tuple[Step, ...]:
    """Script a whole OpenAI-shaped stream, chunked.

    Args:
        texts: The contents of the deltas, in order.
        finish_reason: The finish reason of the last chunk; `None` for no such chunk.
        done: Whether `data: [DONE]` ends the stream.

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
    # The form of the real services: UTF-8 without escapes, and no spaces.
    return (data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))).encode()
