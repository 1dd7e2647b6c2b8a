"""The Anthropic Messages protocol, on the side of the server.

Reference: Anthropic API reference, "Messages", "Streaming messages" and "Errors".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from providerhub import ToolCall, Usage
from providerhub_conformance._faults.connection import RecordedRequest
from providerhub_conformance._kit.wire import Asked, Frames, Reply, Wire

_CHOICES = {"auto": "auto", "none": "none", "any": "required"}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicWire(Wire):
    """`POST …/v1/messages`, answered by JSON or by named server-sent events from `message_start` to `message_stop`."""

    carries: ClassVar[frozenset[str]] = Wire.carries - {"seed", "json_schema"} | {
        "cached_tokens", "tool_choice", "files", "reasoning_asked", "top_p", "parallel_tool_calls",
    }  # fmt: skip

    def answer(self, reply: Reply) -> bytes:
        """See `Wire.answer`."""
        content: list[dict[str, Any]] = []
        if reply.reasoning:
            content.append({"type": "thinking", "thinking": "".join(reply.reasoning), "signature": "c2ln"})
        if reply.text:
            content.append({"type": "text", "text": "".join(reply.text)})
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
            for call in reply.tool_calls
        ]
        return _json(
            {**_message(reply), "content": content, "stop_reason": _REASONS[reply.finish_reason], "usage": _usage(reply.usage)}
        )

    def stream(self, reply: Reply) -> Frames:
        """See `Wire.stream`."""
        usage = reply.usage or Usage(1, 1)
        started = {**_message(reply), "content": [], "stop_reason": None, "usage": {**_usage(usage), "output_tokens": 1}}
        head = [_event("message_start", message=started), _event("ping")]
        pieces: list[bytes] = []
        index = 0
        for kind, texts in (("thinking", reply.reasoning), ("text", reply.text)):
            if texts:
                pieces += _block(index, {"type": kind, kind: ""}, [{"type": f"{kind}_delta", kind: text} for text in texts])
                index += 1
        for call in reply.tool_calls:
            pieces += _block(index, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, _arguments(call))
            index += 1
        delta = {"stop_reason": _REASONS[reply.finish_reason], "stop_sequence": None}
        tail = [
            _event("message_delta", delta=delta, usage=_usage(usage)),
            _event("message_stop"),
        ]
        return Frames(tuple(head), tuple(pieces), tuple(tail))

    def refusal(self, status: int, message: str) -> bytes:
        """See `Wire.refusal`."""
        return _json({"type": "error", "error": {"type": _KINDS.get(status, "api_error"), "message": message}})

    def error_event(self, message: str) -> bytes:
        """See `Wire.error_event`."""
        return _event("error", error={"type": "overloaded_error", "message": message})

    def keep_alive(self) -> bytes:
        """See `Wire.keep_alive`: a ping event."""
        return _event("ping")

    def garbage(self) -> bytes:
        """See `Wire.garbage`."""
        return b'event: content_block_delta\ndata: {"truncated": \n\n'

    def endless(self) -> tuple[bytes, bytes]:
        """See `Wire.endless`."""
        return b"event: content_block_delta\ndata: ", b"x"

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        body = request.json()
        choice = body.get("tool_choice") or {}
        blocks = [(m["role"], block) for m in body["messages"] for block in _blocks(m["content"])]
        system = _text(_blocks(body.get("system") or []))
        talk = [(m["role"], _text(_blocks(m["content"]))) for m in body["messages"]]
        return Asked(
            model=body["model"],
            messages=((("system", system),) if system else ()) + tuple((role, text) for role, text in talk if text),
            stream=bool(body.get("stream")),
            temperature=body.get("temperature"),
            top_p=body.get("top_p"),
            max_tokens=body["max_tokens"],
            stop=tuple(body.get("stop_sequences") or ()),
            tools=tuple(tool["name"] for tool in body.get("tools") or ()),
            tool_results=tuple((b["tool_use_id"], _text(_blocks(b["content"]))) for _, b in blocks if b["type"] == "tool_result"),
            tool_calls=tuple((b["id"], b["name"]) for _, b in blocks if b["type"] == "tool_use"),
            parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
            images=sum(b["type"] == "image" for _, b in blocks),
            tool_choice=_CHOICES.get(choice.get("type", ""), choice.get("name")),
            files=sum(b["type"] == "document" for _, b in blocks),
            reasoning=body.get("thinking", {}).get("type") in {"adaptive", "enabled"},
            key=request.header("x-api-key"),
        )

    def listing(self, models: Sequence[str]) -> bytes | None:
        """See `Wire.listing`."""
        data = [{"type": "model", "id": name, "display_name": name} for name in models]
        return _json({"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]})


def _message(reply: Reply) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": reply.model, "stop_sequence": None}


def _usage(usage: Usage | None) -> dict[str, Any]:
    found = usage or Usage(1, 1)
    return {
        "input_tokens": (found.input_tokens or 0) - (found.cached_tokens or 0),
        "output_tokens": found.output_tokens,
        "cache_read_input_tokens": found.cached_tokens or 0,
        "output_tokens_details": {"thinking_tokens": found.reasoning_tokens or 0},
    }


def _block(index: int, start: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """The frames of one content block. Each has one delta; the first has the start of the block, the last its stop."""
    frames = [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
    frames[0] = _event("content_block_start", index=index, content_block=start) + frames[0]
    frames[-1] += _event("content_block_stop", index=index)
    return frames


def _arguments(call: ToolCall) -> list[dict[str, Any]]:
    half = len(call.arguments) // 2
    parts = (call.arguments[:half], call.arguments[half:])
    return [{"type": "input_json_delta", "partial_json": part} for part in parts]


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **fields}))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _blocks(content: Any) -> list[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _text(blocks: Sequence[Mapping[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")
