"""The conformance suite that `providerhub conformance cohere` runs. It needs the package `providerhub-conformance`.

Reference: "Chat", "Streaming" and "Errors" in Cohere's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from providerhub import ModelInfo, Usage
from providerhub_conformance import Asked, Frames, ProviderConformance, RecordedRequest, Reply, Wire

_REASONS = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}


class CohereWire(Wire):
    """`POST /v2/chat`, answered by JSON or by named server-sent events from `message-start` to `message-end`."""

    carries: ClassVar[frozenset[str]] = Wire.carries | {
        "cached_tokens", "tool_choice", "json_object", "audio", "files", "reasoning_asked", "top_p",
    }  # fmt: skip
    finish_reasons: ClassVar[tuple[str, ...]] = ("stop", "length", "tool_calls")

    def answer(self, reply: Reply) -> bytes:
        """See `Wire.answer`."""
        content = [{"type": "thinking", "thinking": "".join(reply.reasoning)}] if reply.reasoning else []
        content += [{"type": "text", "text": "".join(reply.text)}] if reply.text else []
        message = {"role": "assistant", "content": content, "tool_calls": _calls(reply)}
        return _json({"id": "c1", "message": message, **_end(reply)})

    def stream(self, reply: Reply) -> Frames:
        """See `Wire.stream`."""
        head = _event("message-start", id="c1", delta={"message": {"role": "assistant", "content": [], "tool_calls": []}})
        pieces: list[bytes] = []
        for index, (kind, texts) in enumerate((("thinking", reply.reasoning), ("text", reply.text))):
            deltas = [_event("content-delta", index=index, delta=_message(content={kind: text})) for text in texts]
            if deltas:
                deltas[0] = _event("content-start", index=index, delta=_message(content={"type": kind, kind: ""})) + deltas[0]
                deltas[-1] += _event("content-end", index=index)
            pieces += deltas
        for index, call in enumerate(_calls(reply)):
            half = len(call["function"]["arguments"]) // 2
            parts = (call["function"]["arguments"][:half], call["function"]["arguments"][half:])
            begun = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
            pieces.append(_event("tool-call-start", index=index, delta=_message(tool_calls=begun)))
            pieces += [
                _event("tool-call-delta", index=index, delta=_message(tool_calls={"function": {"arguments": part}}))
                for part in parts
            ]
            pieces[-1] += _event("tool-call-end", index=index)
        return Frames((head,), tuple(pieces), (_event("message-end", delta=_end(reply)), b"data: [DONE]\n\n"))

    def refusal(self, status: int, message: str) -> bytes:
        """See `Wire.refusal`."""
        return _json({"id": "c1", "message": f"model 'conformance' not found: {message}" if status == 404 else message})

    def error_event(self, message: str) -> bytes:
        """See `Wire.error_event`: an answer that ends with an error."""
        return _event("message-end", delta={"finish_reason": "ERROR", "error": message})

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        body = request.json()
        messages = body["messages"]
        parts = [part for message in messages for part in _parts(message.get("content"))]
        form, tools = body.get("response_format") or {}, tuple(tool["function"]["name"] for tool in body.get("tools") or ())
        choice = (body.get("tool_choice") or "").lower() or None
        return Asked(
            model=body["model"],
            messages=tuple((message["role"], _text(message.get("content"))) for message in messages),
            stream=body["stream"],
            temperature=body.get("temperature"),
            top_p=body.get("p"),
            max_tokens=body.get("max_tokens"),
            stop=tuple(body.get("stop_sequences") or ()),
            seed=body.get("seed"),
            tools=tools,
            tool_results=tuple((m["tool_call_id"], _text(m["content"])) for m in messages if m["role"] == "tool"),
            tool_calls=tuple((call["id"], call["function"]["name"]) for m in messages for call in m.get("tool_calls") or ()),
            images=sum(part.get("type") == "image_url" for part in parts),
            json_schema="json_schema" in form,
            json_object=form.get("type") == "json_object" and "json_schema" not in form,
            tool_choice=choice,
            files=len(body.get("documents") or ()),
            reasoning=(body.get("thinking") or {}).get("type") == "enabled",
            key=request.header("authorization").removeprefix("Bearer "),
        )

    def listing(self, models: Sequence[str]) -> bytes:
        """See `Wire.listing`."""
        return _json({"models": [{"name": name, "endpoints": ["chat"], "context_length": 128000.0} for name in models]})


def _message(**fields: Any) -> dict[str, Any]:
    return {"message": fields}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **fields}))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _calls(reply: Reply) -> list[dict[str, Any]]:
    functions = ({"name": call.name, "arguments": call.arguments} for call in reply.tool_calls)
    return [{"id": call.id, "type": "function", "function": said} for call, said in zip(reply.tool_calls, functions, strict=True)]


def _end(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = {"finish_reason": _REASONS.get(reply.finish_reason, reply.finish_reason)}
    return {**found, "usage": _usage(reply.usage)} if reply.usage else found


def _usage(usage: Usage) -> dict[str, Any]:
    thought = {} if usage.reasoning_tokens is None else {"reasoning_tokens": usage.reasoning_tokens}
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    if usage.cached_tokens is not None:  # a gateway: the service's own charged tokens do not include cached tokens
        return {"tokens": {**counts, **thought}, "cached_tokens": usage.cached_tokens}
    return {"billed_units": counts, "tokens": {"input_tokens": 500, "output_tokens": 500, **thought}, "cached_tokens": 448}


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in _parts(content))


class CohereConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "cohere"
    wire = CohereWire()
    model = ModelInfo("conformance", supports_stream=True, supports_tools=True, supports_images=True, supports_json_schema=True)
