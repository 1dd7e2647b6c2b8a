"""The OpenAI chat-completions protocol, as a server speaks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from providerhub import ToolCall, Usage
from providerhub_conformance._faults.connection import RecordedRequest
from providerhub_conformance._faults.scripts import openai_chunk, openai_completion, openai_error, sse
from providerhub_conformance._kit.wire import Asked, Frames, Reply, Wire

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class OpenAIChatWire(Wire):
    """`POST …/chat/completions` with JSON, answered by JSON or server-sent events that end with `[DONE]`."""

    carries: ClassVar[frozenset[str]] = Wire.carries | {
        "cached_tokens", "other_reasons", "tool_choice", "json_object", "audio", "files", "reasoning_asked", "top_p",
        "parallel_tool_calls",
    }  # fmt: skip

    def answer(self, reply: Reply) -> bytes:
        """See `Wire.answer`."""
        message: dict[str, Any] = {}
        if reply.reasoning:
            message["reasoning_content"] = "".join(reply.reasoning)
        if reply.tool_calls:
            message["tool_calls"] = [_call(place, call) for place, call in enumerate(reply.tool_calls)]
        text = "".join(reply.text) or (None if reply.tool_calls else "")
        whole = openai_completion(text, finish_reason=reply.finish_reason, usage=_usage(reply.usage), **message)
        return _json({**whole, "model": reply.model})

    def stream(self, reply: Reply) -> Frames:
        """See `Wire.stream`."""
        chunks = [openai_chunk(reasoning_content=piece) for piece in reply.reasoning]
        chunks += [openai_chunk(piece) for piece in reply.text]
        for place, call in enumerate(reply.tool_calls):
            # Like the real service: the name first, then the arguments in pieces.
            half = len(call.arguments) // 2
            chunks.append(openai_chunk(tool_calls=[_call(place, ToolCall(call.id, call.name, ""))]))
            chunks += [
                openai_chunk(tool_calls=[{"index": place, "function": {"arguments": part}}])
                for part in (call.arguments[:half], call.arguments[half:])
                if part
            ]
        tail = [openai_chunk(finish_reason=reply.finish_reason)]
        if reply.usage:
            tail.append(openai_chunk(usage=_usage(reply.usage)))
        head = [openai_chunk("", role="assistant")]
        return Frames(_events(head), _events(chunks), (*_events(tail), b"data: [DONE]\n\n"))

    def refusal(self, status: int, message: str) -> bytes:
        """See `Wire.refusal`."""
        kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return _json(openai_error(message, kind=kind, code=_CODES.get(status)))

    def error_event(self, message: str) -> bytes:
        """See `Wire.error_event`."""
        return _events([openai_error(message, kind="server_error", code="server_error")])[0]

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        body = request.json()
        messages = body["messages"]
        form = body.get("response_format") or {}
        choice = body.get("tool_choice")
        kinds = [part.get("type") for message in messages for part in _parts(message.get("content"))]
        return Asked(
            model=body["model"],
            messages=tuple((message["role"], _text(message.get("content"))) for message in messages),
            stream=bool(body.get("stream")),
            temperature=body.get("temperature"),
            max_tokens=body.get("max_tokens", body.get("max_completion_tokens")),
            stop=_texts(body.get("stop")),
            seed=body.get("seed"),
            top_p=body.get("top_p"),
            parallel_tool_calls=body.get("parallel_tool_calls"),
            tools=tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
            tool_results=tuple((m["tool_call_id"], _text(m["content"])) for m in messages if m["role"] == "tool"),
            tool_calls=tuple((call["id"], call["function"]["name"]) for m in messages for call in m.get("tool_calls") or ()),
            images=kinds.count("image_url"),
            json_schema=form.get("type") == "json_schema",
            json_object=form.get("type") == "json_object",
            tool_choice=choice["function"]["name"] if isinstance(choice, Mapping) else choice,
            audio=kinds.count("input_audio"),
            files=kinds.count("file"),
            reasoning=body.get("reasoning_effort") not in {None, "none"},
            key=request.header("authorization").removeprefix("Bearer ") or request.header("api-key"),
        )

    def listing(self, models: Sequence[str]) -> bytes | None:
        """See `Wire.listing`."""
        return _json({"object": "list", "data": [{"id": name, "object": "model"} for name in models]})


def _events(chunks: Sequence[Mapping[str, Any]]) -> tuple[bytes, ...]:
    return tuple(frame for frame in sse(*chunks, done=False) if isinstance(frame, bytes))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _call(place: int, call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": place, "id": call.id, "type": "function", "function": function}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    found: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        found["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return found


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in _parts(content))


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())
