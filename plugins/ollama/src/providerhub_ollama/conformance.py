"""The conformance suite that `providerhub conformance ollama` runs. It needs the package `providerhub-conformance`.

Reference: "Generate a chat message", "Streaming" and "Errors" in Ollama's API documentation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from providerhub import ModelInfo
from providerhub_conformance import Asked, Frames, ProviderConformance, RecordedRequest, Reply, Wire


class OllamaWire(Wire):
    """`POST /api/chat`, answered by one JSON object, or by a JSON object in each line."""

    stream_type: ClassVar[str] = "application/x-ndjson"
    newlines: ClassVar[tuple[bytes, ...]] = (b"\n", b"\r\n")
    carries: ClassVar[frozenset[str]] = Wire.carries | {
        "tool_choice", "json_object", "audio", "files", "reasoning_asked", "top_p",
    }  # fmt: skip
    finish_reasons: ClassVar[tuple[str, ...]] = ("stop", "length", "tool_calls")

    def answer(self, reply: Reply) -> bytes:
        """See `Wire.answer`."""
        message = {"content": "".join(reply.text), "thinking": "".join(reply.reasoning), "tool_calls": _calls(reply)}
        return _line(reply, message, **_end(reply))

    def stream(self, reply: Reply) -> Frames:
        """See `Wire.stream`."""
        pieces: list[dict[str, Any]] = [{"content": "", "thinking": piece} for piece in reply.reasoning]
        pieces += [{"content": piece} for piece in reply.text]
        pieces += [{"content": "", "tool_calls": [call]} for call in _calls(reply)]
        end = _line(reply, {"content": ""}, **_end(reply))
        return Frames((), tuple(_line(reply, piece, done=False) + b"\n" for piece in pieces), (end + b"\n",))

    def refusal(self, status: int, message: str) -> bytes:
        """See `Wire.refusal`."""
        return _json({"error": f"model 'conformance' not found: {message}" if status == 404 else message})

    def error_event(self, message: str) -> bytes:
        """See `Wire.error_event`."""
        return _json({"error": message}) + b"\n"

    def listing(self, models: Sequence[str]) -> bytes:
        """See `Wire.listing`."""
        return _json({"models": [{"name": name, "model": name} for name in models]})

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        body = request.json()
        messages, options = body["messages"], body.get("options") or {}
        return Asked(
            model=body["model"],
            messages=tuple((message["role"], message["content"]) for message in messages),
            stream=body["stream"],
            temperature=options.get("temperature"),
            top_p=options.get("top_p"),
            max_tokens=options.get("num_predict"),
            stop=tuple(options.get("stop") or ()),
            seed=options.get("seed"),
            tools=tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
            tool_results=tuple((m["tool_call_id"], m["content"]) for m in messages if m["role"] == "tool"),
            tool_calls=tuple((call["id"], call["function"]["name"]) for m in messages for call in m.get("tool_calls") or ()),
            images=sum(len(m.get("images") or ()) for m in messages),
            json_schema=isinstance(body.get("format"), dict),
            json_object=body.get("format") == "json",
            reasoning=bool(body.get("think")),
            key=request.header("authorization").removeprefix("Bearer "),
        )


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _line(reply: Reply, message: dict[str, Any], **fields: Any) -> bytes:
    said = {name: value for name, value in message.items() if value or name == "content"}
    created = "2026-01-01T00:00:00Z"
    return _json({"model": reply.model, "created_at": created, "message": {"role": "assistant", **said}, **fields})


def _end(reply: Reply) -> dict[str, Any]:
    usage = reply.usage
    counts = {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens} if usage else {}
    reason = "stop" if reply.finish_reason == "tool_calls" else reply.finish_reason
    return {"done": True, "done_reason": reason, "total_duration": 1_000_000, **counts}


def _calls(reply: Reply) -> list[dict[str, Any]]:
    functions = ({"name": call.name, "arguments": json.loads(call.arguments)} for call in reply.tool_calls)
    return [{"id": call.id, "function": said} for call, said in zip(reply.tool_calls, functions, strict=True)]


class OllamaConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "ollama"
    wire = OllamaWire()
    model = ModelInfo("conformance", supports_stream=True, supports_tools=True, supports_images=True, supports_json_schema=True)
