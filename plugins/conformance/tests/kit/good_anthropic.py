"""A provider that speaks the Anthropic Messages protocol over the HTTP toolkit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from providerhub import (
    CallContext,
    Finish,
    ProtocolError,
    ProviderConfig,
    ProviderError,
    ReasoningDelta,
    Request,
    ToolCallDelta,
    Usage,
    UsageDelta,
    error_from_status,
)
from providerhub.http import HttpClient
from providerhub.wire.sse import SSEDecoder, SSELimitError

REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Messages:
    def __init__(self, config: ProviderConfig) -> None:
        key = config.api_key.reveal() if config.api_key else ""
        self.http = HttpClient(config, headers={"x-api-key": key, "anthropic-version": "2023-06-01"})

    def close(self) -> None:
        self.http.close()

    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        with self.http.post("/v1/messages", body_of(request), call, stream=request.stream) as answer:
            try:
                if request.stream:
                    yield from self.events(answer)
                else:
                    yield from whole(parsed(answer.read()))
            except ProviderError as error:
                raise self.http.redacted(error) from None

    def events(self, answer: Any) -> Iterator[Any]:
        decoder, finished = SSEDecoder(), False
        for data in answer:
            try:
                found = decoder.feed(data)
            except SSELimitError as error:
                raise ProtocolError(str(error)) from error
            if decoder.stray:
                raise ProtocolError("the answer is not a stream of events")
            for event in map(parsed, found):
                for piece in pieces(event):
                    yield piece
                    answer.token()
                finished = finished or event.get("type") == "message_stop"
            if finished:
                answer.finished()
                return
        raise ProtocolError("the stream ended without message_stop")


def parsed(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ProtocolError("expected JSON") from error
    if found.get("type") == "error":
        raise error_from_status(200, {}, found)
    return found


def whole(answer: dict[str, Any]) -> Iterator[Any]:
    for index, block in enumerate(answer["content"]):
        if block["type"] == "text":
            yield block["text"]
        elif block["type"] == "thinking":
            yield ReasoningDelta(block["thinking"])
        else:
            yield ToolCallDelta(index, block["id"], block["name"], json.dumps(block["input"], ensure_ascii=False))
    yield usage_of(answer["usage"])
    yield Finish(REASONS[answer["stop_reason"]])


def pieces(event: dict[str, Any]) -> Iterator[Any]:
    kind, delta = event["type"], event.get("delta", {})
    if kind == "message_start":
        yield usage_of(event["message"]["usage"])
    elif kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
        yield ToolCallDelta(event["index"], event["content_block"]["id"], event["content_block"]["name"])
    elif kind == "content_block_delta":
        if delta["type"] == "text_delta":
            yield delta["text"]
        elif delta["type"] == "thinking_delta":
            yield ReasoningDelta(delta["thinking"])
        elif delta["type"] == "input_json_delta":
            yield ToolCallDelta(event["index"], arguments=delta["partial_json"])
    elif kind == "message_delta":
        yield usage_of(event["usage"])
        yield Finish(REASONS[delta["stop_reason"]])


def usage_of(usage: dict[str, Any]) -> UsageDelta:
    cached = usage.get("cache_read_input_tokens")
    fresh = usage.get("input_tokens")
    thought = usage.get("output_tokens_details", {}).get("thinking_tokens")
    return UsageDelta(Usage(None if fresh is None else fresh + (cached or 0), usage.get("output_tokens"), cached, thought))


def body_of(request: Request) -> dict[str, Any]:
    talk = [message for message in request.messages if message["role"] != "system"]
    system = [part for message in request.messages if message["role"] == "system" for part in parts(message["content"])]
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens or 1024,
        "messages": [message_of(message) for message in talk],
        "stream": request.stream,
    }
    optional = {
        "system": system or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop_sequences": list(request.stop) if request.stop else None,
        "tool_choice": _choice(request.tool_choice, request.parallel_tool_calls),
        "thinking": {"type": "adaptive"} if request.reasoning not in {None, "none"} else None,
        "tools": [
            {"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]} for tool in request.tools or ()
        ],
    }
    return {**body, **{name: value for name, value in optional.items() if value not in (None, [])}, **request.options}


def _choice(choice: Any, parallel: Any) -> dict[str, Any] | None:
    single = {"disable_parallel_tool_use": True} if parallel is False else {}
    if isinstance(choice, dict):
        return {"type": "tool", "name": choice["function"]["name"], **single}
    return {"type": {"required": "any"}.get(choice, choice or "auto"), **single} if choice or single else None


def message_of(message: Any) -> dict[str, Any]:
    if message["role"] == "tool":
        result = {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": parts(message["content"])}
        return {"role": "user", "content": [result]}
    calls = [
        {"type": "tool_use", "id": c["id"], "name": c["function"]["name"], "input": json.loads(c["function"]["arguments"])}
        for c in message.get("tool_calls") or ()
    ]
    return {"role": message["role"], "content": [*parts(message.get("content")), *calls]}


def parts(content: Any) -> list[dict[str, Any]]:
    if not content:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        {"type": "text", "text": part["text"]} if part["type"] == "text" else image(part["image_url"]["url"]) for part in content
    ]


def image(url: str) -> dict[str, Any]:
    head, _, data = url.partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}}
