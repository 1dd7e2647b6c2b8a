"""Writes a request as the JSON object of `/api/chat`.

Reference: "Generate a chat message" in Ollama's API documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from providerhub import CapabilityError, ContextLengthError, Message, ProviderConfig, Request
from providerhub.wire import arguments_of, form_of, inline_data, modern, source_of

_HINT = "; set num_ctx of the provider to more tokens, up to the model's own maximum"
_TOP = (
    "model", "messages", "tools", "format", "stream", "keep_alive", "think", "truncate", "shift", "logprobs", "top_logprobs",
)  # fmt: skip
"""Fields of the request. Every other option belongs to the model, and goes into `options`."""

_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "max_tokens": "num_predict", "seed": "seed", "stop": "stop"}
_LOW, _MEDIUM = 2048, 8192
"""The maximum tokens of low and of medium reasoning."""

_LEFT_OUT = frozenset({"text", "thinking", "redacted_thinking", "reasoning", "reasoning_content", "thought"})
"""Types of parts that hold no image: texts, and the thinking of other vendors, which is left out."""

_NAMES = {"file": "files", "input_audio": "audio", "video_url": "video"}
_MOST, _USUAL = 8, 6
"""Characters per token: an upper bound for any prompt, and one for nearly all texts."""

_TOKENS_PER_MESSAGE = 3


def body(request: Request, config: ProviderConfig) -> dict[str, Any]:
    """Write a request.

    Args:
        request: The request. Its `options` override other fields; an option that is `None` removes its field.
        config: The instance's configuration, for `num_ctx` and `keep_alive`.

    Raises:
        InvalidRequestError: A part of the request is not valid.
        CapabilityError: The service cannot express a part of the request. Another service may.
        ContextLengthError: The prompt is longer than the context.
    """
    own, form = dict(request.options), form_of(request.response_format)
    sampling = {name: getattr(request, field) for field, name in _SAMPLING.items()}
    sampling |= {"num_ctx": config.get("num_ctx"), **(own.pop("options", None) or {})}
    sampling |= {name: own.pop(name) for name in tuple(own) if name not in _TOP}
    found = {
        "model": request.model,
        "messages": list(_messages(request.messages)),
        "tools": _tools(request),
        "stream": request.stream,
        "format": {"text": None, "json_object": "json", "json_schema": form.schema}[form.kind],
        "think": None if request.reasoning is None else _think(request.reasoning),
        "keep_alive": config.get("keep_alive"),
        "truncate": False,  # refuse a prompt that is too long; by default, the server cuts its beginning without notice
        "options": {name: value for name, value in sampling.items() if value is not None} or None,
        **own,
    }
    window = (found["options"] or {}).get("num_ctx")
    least = tokens(request)
    if isinstance(window, int) and least > window and found["truncate"] is False:
        raise ContextLengthError(f"the prompt has at least {least:,} tokens, and num_ctx is {window:,}{_HINT}")
    if request.parallel_tool_calls is False and found["tools"]:
        msg = "Ollama cannot forbid parallel tool calls; leave parallel_tool_calls out"
        raise CapabilityError(msg, capability="parallel_tool_calls")
    return {name: value for name, value in found.items() if value is not None}


def tokens(request: Request, *, usual: bool = False) -> int:
    """Return a lower bound of the prompt's tokens. Runs of white space count as one character.

    Args:
        request: The request.
        usual: Whether the number may be too high for a rare text. If true, tools are left out, because models write them in
            different ways. Default false.
    """
    texts = [_text(message.get("content")) for message in request.messages]
    if request.tools and request.tool_choice != "none" and not usual:
        texts += [str(tool.get("function")) for tool in request.tools]
    characters = sum(len(" ".join(text.split())) for text in texts)
    return characters // (_USUAL if usual else _MOST) + _TOKENS_PER_MESSAGE * len(request.messages)


def _messages(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    names: dict[Any, Any] = {}  # the identifier of a call → the name of its tool
    for place, message in enumerate(modern(messages)):
        where, content = f"messages[{place}]", message.get("content")
        found: dict[str, Any] = {"role": message["role"], "content": _text(content)}
        if images := list(_images(content, where)):
            found["images"] = images
        if calls := message.get("tool_calls"):
            names |= {call.get("id"): (call.get("function") or {}).get("name") for call in calls}
            found["tool_calls"] = [_call(call) for call in calls]
        if found["role"] == "tool":
            identifier = message.get("tool_call_id")
            named = {"tool_name": message.get("name") or names.get(identifier), "tool_call_id": identifier}
            found |= {name: value for name, value in named.items() if value is not None}
        turn = message.get("turn")
        yield {**found, **turn} if isinstance(turn, Mapping) else found


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": (call.get("function") or {}).get("name"), "arguments": arguments_of(call)}
    return {"function": function} if call.get("id") is None else {"id": call["id"], "function": function}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in content or ())
    return "\n".join(text for text in texts if isinstance(text, str))


def _images(content: Any, where: str) -> Iterator[str]:
    for place, part in enumerate(() if isinstance(content, str) else content or ()):
        kind = part.get("type")
        if kind == "image_url":
            here, url = f"{where}['content'][{place}]", source_of(part)
            found = inline_data(url, here)
            if found is None:
                raise CapabilityError(f"{here}: Ollama takes images as bytes, not {url[:40]!r}; pass providerhub.image(path)")
            yield found[1]
        elif kind not in _LEFT_OUT:
            name = _NAMES.get(kind, "")
            msg = f"{where}['content'][{place}]: Ollama takes no {name or f'part of the type {kind!r}'}; leave the part out"
            raise CapabilityError(msg, capability=name)


def _tools(request: Request) -> list[Mapping[str, Any]] | None:
    choice = request.tool_choice
    if not request.tools or choice == "none":
        return None
    if choice not in {None, "auto"} if isinstance(choice, str | None) else choice.get("type") != "auto":
        msg = f"Ollama leaves the choice of a tool to the model: tool_choice {choice!r} cannot be sent; leave it out"
        raise CapabilityError(msg, capability="tool_choice")
    strange = next((tool for tool in request.tools if tool.get("type") != "function"), None)
    if strange is not None:
        raise CapabilityError(f"tools: Ollama takes functions only, not {strange.get('type')!r}; leave it out")
    return list(request.tools)


def _think(reasoning: str | int) -> bool | str:
    """Return the value of `think`. A model without levels treats every word as true."""
    if reasoning in {"none", 0}:
        return False
    if isinstance(reasoning, int):
        return "low" if reasoning <= _LOW else "medium" if reasoning <= _MEDIUM else "high"
    return "low" if reasoning == "minimal" else reasoning
