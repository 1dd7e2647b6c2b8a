"""The conformance suites that `providerhub conformance gemini` and `... vertex` run. They need `providerhub-conformance`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from providerhub import ToolCall, Usage
from providerhub_conformance import Asked, Frames, ProviderConformance, RecordedRequest, Reply, Wire

_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
_CHOICES = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class GeminiWire(Wire):
    """`POST …:generateContent`, and `…:streamGenerateContent?alt=sse`, which ends without an end mark."""

    carries: ClassVar[frozenset[str]] = Wire.carries | {
        "cached_tokens", "tool_choice", "json_object", "audio", "files", "reasoning_asked", "top_p",
    }  # fmt: skip
    call_ids: ClassVar[bool] = False  # calls are compared by name and place: the service refuses other identifiers than its own

    def answer(self, reply: Reply) -> bytes:
        """See `Wire.answer`."""
        parts = [{"text": "".join(reply.reasoning), "thought": True}] if reply.reasoning else []
        parts += [{"text": "".join(reply.text)}] if reply.text else []
        return _json(_object(reply, [*parts, *map(_call, reply.tool_calls)], end=True))

    def stream(self, reply: Reply) -> Frames:
        """See `Wire.stream`."""
        parts: list[dict[str, Any]] = [{"text": text, "thought": True} for text in reply.reasoning]
        parts += [{"text": text} for text in reply.text]
        frames = [_event(_object(reply, [part])) for part in (*parts, *map(_call, reply.tool_calls))]
        return Frames((_event(_object(reply, [])),), tuple(frames), (_event(_object(reply, [{"text": ""}], end=True)),))

    def refusal(self, status: int, message: str) -> bytes:
        """See `Wire.refusal`."""
        return _json({"error": {"code": status, "message": message, "status": _STATUSES.get(status, "INTERNAL")}})

    def error_event(self, message: str) -> bytes:
        """See `Wire.error_event`: lines of JSON without `data:`."""
        return json.dumps(json.loads(self.refusal(503, message)), indent=2).encode() + b"\n"

    def keep_alive(self) -> bytes:
        """See `Wire.keep_alive`: a comment."""
        return b": keep-alive\n\n"

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        body = request.json()
        name, _, method = request.target.partition("?")[0].rpartition("/")[2].partition(":")
        parts = [(content["role"], part) for content in body["contents"] for part in content["parts"]]
        system = _text(body.get("systemInstruction", {}).get("parts", ()))
        talk = [("assistant" if one["role"] == "model" else one["role"], _text(one["parts"])) for one in body["contents"]]
        knobs, calling = body.get("generationConfig", {}), body.get("toolConfig", {}).get("functionCallingConfig", {})
        media = [part["inlineData"]["mimeType"].partition("/")[0] for _, part in parts if "inlineData" in part]
        with_schema = bool({"responseJsonSchema", "responseSchema"} & knobs.keys())
        calls = [part["functionCall"] for _, part in parts if "functionCall" in part]
        results = [part["functionResponse"] for _, part in parts if "functionResponse" in part]
        return Asked(
            model=name,
            messages=((("system", system),) if system else ()) + tuple((role, text) for role, text in talk if text),
            stream=method == "streamGenerateContent",
            temperature=knobs.get("temperature"),
            top_p=knobs.get("topP"),
            max_tokens=knobs.get("maxOutputTokens"),
            stop=tuple(knobs.get("stopSequences") or ()),
            seed=knobs.get("seed"),
            tools=tuple(one["name"] for tool in body.get("tools") or () for one in tool.get("functionDeclarations") or ()),
            tool_results=tuple((result.get("id", ""), result["response"].get("output", "")) for result in results),
            tool_calls=tuple((call.get("id", ""), call["name"]) for call in calls),
            images=media.count("image"),
            json_schema=with_schema,
            json_object=knobs.get("responseMimeType") == "application/json" and not with_schema,
            tool_choice=next(iter(calling.get("allowedFunctionNames") or ()), _CHOICES.get(calling.get("mode"))),
            audio=media.count("audio"),
            files=media.count("application"),
            reasoning=bool(knobs.get("thinkingConfig", {}).get("includeThoughts")),
            key=request.header("x-goog-api-key") or request.header("authorization").removeprefix("Bearer "),
        )

    def listing(self, models: Sequence[str]) -> bytes | None:
        """See `Wire.listing`. The list has the form of Google AI Studio or of Vertex AI."""
        methods = ["generateContent", "countTokens"]
        listed = [{"name": f"models/{name}", "inputTokenLimit": 1000, "supportedGenerationMethods": methods} for name in models]
        garden = [{"name": f"publishers/google/models/{name}"} for name in models]
        return _json({"models": listed, "publisherModels": garden})


def _object(reply: Reply, parts: Sequence[Mapping[str, Any]], *, end: bool = False) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    found: dict[str, Any] = {"candidates": [candidate], "modelVersion": reply.model, "responseId": "r1"}
    if end:
        candidate["finishReason"] = _REASONS[reply.finish_reason]
        if reply.usage:
            found["usageMetadata"] = _usage(reply.usage)
    return found


def _usage(usage: Usage) -> dict[str, Any]:
    """The counts. The thoughts are counted separately from the answer."""
    counts = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": (usage.output_tokens or 0) - (usage.reasoning_tokens or 0),
        "thoughtsTokenCount": usage.reasoning_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "totalTokenCount": usage.total_tokens,
    }
    return {name: count for name, count in counts.items() if count is not None}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"functionCall": {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}}


def _text(parts: Sequence[Mapping[str, Any]]) -> str:
    return "".join(part["text"] for part in parts if "text" in part)


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % _json(value)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class GeminiConformance(ProviderConformance):
    """All checks of the conformance kit, for Google AI Studio."""

    provider = "gemini"
    wire = GeminiWire()


class VertexConformance(ProviderConformance):
    """All checks of the conformance kit, for Vertex AI with a key of the express mode."""

    provider = "vertex"
    wire = GeminiWire()
