"""The conformance suite that `providerhub conformance bedrock` runs. It needs the package `providerhub-conformance`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

from providerhub import ModelInfo, ToolCall, Usage
from providerhub_conformance import Asked, Frames, ProviderConformance, RecordedRequest, Reply, Wire, eventstream

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}


class ConverseWire(Wire):
    """`POST …/model/{name}/converse`, answered by JSON, or `…/converse-stream`, answered by an event stream."""

    stream_type: ClassVar[str] = "application/vnd.amazon.eventstream"
    newlines: ClassVar[tuple[bytes, ...]] = ()
    carries: ClassVar[frozenset[str]] = Wire.carries - {"seed"} | {
        "tool_choice", "audio", "files", "reasoning_asked", "top_p", "parallel_tool_calls",
    }  # fmt: skip

    def answer(self, reply: Reply) -> bytes:
        """See `Wire.answer`."""
        content: list[dict[str, Any]] = []
        if reply.reasoning:
            content.append({"reasoningContent": {"reasoningText": {"text": "".join(reply.reasoning), "signature": "c2ln"}}})
        if reply.text:
            content.append({"text": "".join(reply.text)})
        content += [{"toolUse": {**_use(call), "input": json.loads(call.arguments)}} for call in reply.tool_calls]
        message = {"role": "assistant", "content": content}
        return _json({"output": {"message": message}, "stopReason": _REASONS[reply.finish_reason], **_metadata(reply.usage)})

    def stream(self, reply: Reply) -> Frames:
        """See `Wire.stream`."""
        pieces: list[bytes] = []
        index = 0
        for texts, delta in ((reply.reasoning, _thought), (reply.text, _said)):
            frames = [event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta(text)}) for text in texts]
            if frames:
                frames[-1] += event("contentBlockStop", {"contentBlockIndex": index})
                pieces += frames
                index += 1
        for call in reply.tool_calls:
            pieces += _call(index, call)
            index += 1
        stop = {"stopReason": _REASONS[reply.finish_reason]}
        tail = event("messageStop", stop), event("metadata", _metadata(reply.usage))
        return Frames((event("messageStart", {"role": "assistant"}),), tuple(pieces), tail)

    def refusal(self, status: int, message: str) -> bytes:
        """See `Wire.refusal`."""
        about = "The requested model does not exist: " if status == 404 else ""
        return _json({"message": about + message})

    def error_event(self, message: str) -> bytes:
        """See `Wire.error_event`."""
        return frame(
            {":message-type": "exception", ":exception-type": "serviceUnavailableException"}, _json({"message": message})
        )

    def keep_alive(self) -> bytes:
        """See `Wire.keep_alive`: an event without meaning."""
        return event("initial-response", {})

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        body = request.json()
        _, _, name, way = request.path.rsplit("/", 3)
        limits = body.get("inferenceConfig") or {}
        blocks = [block for message in body["messages"] for block in message["content"]]
        system = _text(body.get("system") or [])
        tools, extra = body.get("toolConfig") or {}, body.get("additionalModelRequestFields") or {}
        choice = tools.get("toolChoice") or {}
        uses = [block["toolUse"] for block in blocks if "toolUse" in block]
        results = [block["toolResult"] for block in blocks if "toolResult" in block]
        talk = tuple((m["role"], text) for m in body["messages"] if (text := _text(m["content"])))
        return Asked(
            model=unquote(name),
            messages=((("system", system),) if system else ()) + talk,
            stream=way == "converse-stream",
            temperature=limits.get("temperature"),
            top_p=limits.get("topP"),
            max_tokens=limits.get("maxTokens"),
            stop=tuple(limits.get("stopSequences") or ()),
            tools=tuple(tool["toolSpec"]["name"] for tool in tools.get("tools", ())),
            tool_results=tuple((result["toolUseId"], _text(result["content"])) for result in results),
            tool_calls=tuple((use["toolUseId"], use["name"]) for use in uses),
            parallel_tool_calls=False if extra.get("tool_choice", {}).get("disable_parallel_tool_use") else None,
            images=sum("image" in block for block in blocks),
            json_schema="outputConfig" in body,
            tool_choice="required" if "any" in choice else choice.get("tool", {}).get("name"),
            audio=sum("audio" in block for block in blocks),
            files=sum("document" in block for block in blocks),
            reasoning=extra.get("thinking", {}).get("type") in {"adaptive", "enabled"},
            key=request.header("authorization").removeprefix("Bearer "),
        )

    def listing(self, models: Sequence[str]) -> bytes | None:
        """See `Wire.listing`."""
        summaries = [{"modelId": name, "inferenceTypesSupported": ["ON_DEMAND"]} for name in models]
        return _json({"modelSummaries": summaries, "inferenceProfileSummaries": []})


class BedrockConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "bedrock"
    wire = ConverseWire()
    model = ModelInfo(
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        supports_stream=True,
        supports_tools=True,
        supports_json_schema=True,
        supports_images=True,
        supports_audio=True,
        supports_files=True,
    )
    settings: ClassVar[Mapping[str, Any]] = {"region": "us-east-1"}


def event(kind: str, data: Mapping[str, Any]) -> bytes:
    """Write an event of the stream.

    Args:
        kind: Its type.
        data: Its data.
    """
    return eventstream(data, event=kind)[0]


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Write a frame of `application/vnd.amazon.eventstream`.

    Args:
        headers: The headers, all of them texts.
        payload: The payload.
    """
    return eventstream(payload, headers=headers)[0]


def _said(text: str) -> dict[str, Any]:
    return {"text": text}


def _thought(text: str) -> dict[str, Any]:
    return {"reasoningContent": {"text": text}}


def _use(call: ToolCall) -> dict[str, Any]:
    return {"toolUseId": call.id, "name": call.name}


def _call(index: int, call: ToolCall) -> list[bytes]:
    half = len(call.arguments) // 2
    begun = event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": _use(call)}})
    deltas = [{"toolUse": {"input": part}} for part in (call.arguments[:half], call.arguments[half:])]
    first, last = (event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}) for delta in deltas)
    return [begun + first, last + event("contentBlockStop", {"contentBlockIndex": index})]


def _metadata(usage: Usage | None) -> dict[str, Any]:
    found = usage or Usage(1, 1)
    counts = {"inputTokens": found.input_tokens or 0, "outputTokens": found.output_tokens or 0}
    return {"usage": {**counts, "totalTokens": sum(counts.values())}, "metrics": {"latencyMs": 1}}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _text(blocks: Sequence[Mapping[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if "text" in block)
