"""The conformance suites that `providerhub conformance openai` and `azure` run. They need `providerhub-conformance`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from providerhub import ModelInfo, Usage
from providerhub_conformance import Asked, Frames, OpenAIChatWire, ProviderConformance, RecordedRequest, Reply, Wire

_MODEL = ModelInfo("conformance", supports_stream=True, supports_tools=True, supports_images=True, supports_json_schema=True)


class OpenAIConformance(ProviderConformance):
    """All checks of the conformance kit, for the provider `openai` at chat completions."""

    provider = "openai"
    wire = OpenAIChatWire()
    model = _MODEL


class AzureConformance(ProviderConformance):
    """All checks of the conformance kit, for the provider `azure` at chat completions."""

    provider = "azure"
    wire = OpenAIChatWire()
    model = _MODEL


class ResponsesWire(Wire):
    """`POST …/responses` with JSON, answered by JSON or named events, of which `response.completed` is the last."""

    carries: ClassVar[frozenset[str]] = OpenAIChatWire.carries - {"stop", "seed", "other_reasons", "audio"}

    def answer(self, reply: Reply) -> bytes:
        """See `Wire.answer`."""
        return json.dumps(_response(reply, _output(reply)), ensure_ascii=False).encode()

    def stream(self, reply: Reply) -> Frames:
        """See `Wire.stream`."""
        frames: list[bytes] = []
        output = _output(reply)
        for index, item in enumerate(output):
            bare = {**item, "content": []} if item["type"] == "message" else {**item, "summary": []}
            begin = _event("response.output_item.added", output_index=index, item={**bare, "arguments": ""})
            where = {"item_id": item["id"], "output_index": index}
            for place, (kind, piece) in enumerate(_pieces(item, reply)):
                frames.append((b"" if place else begin) + _event(f"response.{kind}.delta", **where, delta=piece))
            frames[-1] += _event("response.output_item.done", output_index=index, item=item)
        begun = {**_response(reply, []), "status": "in_progress", "usage": None}
        head = (_event("response.created", response=begun), _event("response.in_progress", response=begun))
        kind = "response.incomplete" if reply.finish_reason in {"length", "content_filter"} else "response.completed"
        return Frames(head, tuple(frames), (_event(kind, response=_response(reply, output)),))

    def refusal(self, status: int, message: str) -> bytes:
        """See `Wire.refusal`."""
        return OpenAIChatWire().refusal(status, message)

    def error_event(self, message: str) -> bytes:
        """See `Wire.error_event`."""
        return _event("error", code="server_error", message=message, param=None)

    def asked(self, request: RecordedRequest) -> Asked:
        """See `Wire.asked`."""
        body = request.json()
        items = body["input"]
        said = [(item["role"], _text(item["content"])) for item in items if "role" in item]
        system = [("system", body["instructions"])] if body.get("instructions") else []
        form, choice = ((body.get("text") or {}).get("format") or {}).get("type"), body.get("tool_choice")
        kinds = [part.get("type") for item in items for part in _parts(item.get("content"))]
        return Asked(
            model=body["model"],
            messages=(*system, *said),
            stream=bool(body.get("stream")),
            temperature=body.get("temperature"),
            top_p=body.get("top_p"),
            max_tokens=body.get("max_output_tokens"),
            tools=tuple(tool["name"] for tool in body.get("tools") or ()),
            tool_results=tuple((i["call_id"], _text(i["output"])) for i in items if i.get("type") == "function_call_output"),
            tool_calls=tuple((i["call_id"], i["name"]) for i in items if i.get("type") == "function_call"),
            parallel_tool_calls=body.get("parallel_tool_calls"),
            images=kinds.count("input_image"),
            json_schema=form == "json_schema",
            json_object=form == "json_object",
            tool_choice=choice["name"] if isinstance(choice, Mapping) else choice,
            files=kinds.count("input_file"),
            reasoning=(body.get("reasoning") or {}).get("effort") not in {None, "none"},
            key=request.header("authorization").removeprefix("Bearer ") or request.header("api-key"),
        )

    def listing(self, models: Sequence[str]) -> bytes | None:
        """See `Wire.listing`."""
        return OpenAIChatWire().listing(models)


class ResponsesConformance(ProviderConformance):
    """All checks of the conformance kit, for the provider `openai` at the Responses API."""

    provider = "openai"
    wire = ResponsesWire()
    model = _MODEL
    settings: ClassVar[Mapping[str, Any]] = {"api": "responses"}


def _event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, "sequence_number": 1, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _response(reply: Reply, output: list[dict[str, Any]]) -> dict[str, Any]:
    reason = {"length": "max_output_tokens"}.get(reply.finish_reason, reply.finish_reason)
    is_cut = reply.finish_reason in {"length", "content_filter"}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": reason} if is_cut else None,
        "error": None,
        "model": reply.model,
        "output": output,
        "usage": _usage(reply.usage),
    }


def _output(reply: Reply) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": "".join(reply.reasoning)}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "sealed"})
    if reply.text:
        part = {"type": "output_text", "text": "".join(reply.text), "annotations": []}
        items.append({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]})
    for place, call in enumerate(reply.tool_calls):
        fields = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        items.append({"type": "function_call", "id": f"fc_{place}", "status": "completed", **fields})
    return items


def _pieces(item: Mapping[str, Any], reply: Reply) -> list[tuple[str, str]]:
    if item["type"] == "reasoning":
        return [("reasoning_summary_text", piece) for piece in reply.reasoning]
    if item["type"] == "message":
        return [("output_text", piece) for piece in reply.text]
    half = len(item["arguments"]) // 2
    return [("function_call_arguments", piece) for piece in (item["arguments"][:half], item["arguments"][half:])]


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in _parts(content))
