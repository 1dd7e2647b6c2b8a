"""Translates a request into a response of llm that has not run yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import llm
from pydantic import ValidationError

from providerhub import CallContext, InvalidRequestError, Request
from providerhub_llm._conversation import Talk, talk_of

_NAMES: Mapping[str, tuple[str, ...]] = {
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict"),
    "stop": ("stop", "stop_sequences"),
    "seed": ("seed",),
}
"""Field of a request → the names that llm's plugins use for it. Each model declares its own options."""


def response_of(model: Any, request: Request, call: CallContext, key: str | None) -> Any:
    """Prepare a response. It runs when it is iterated. Unlike llm's command line, this does not write to llm's log.

    Args:
        model: A model of llm, synchronous or asynchronous.
        request: The request.
        call: The call. Options that the model does not have become notes on it.
        key: The key to use in place of llm's stored key; `None` for the stored key.

    Returns:
        A `Response` or an `AsyncResponse`.

    Raises:
        InvalidRequestError: llm or the model cannot express a part of the request.
    """
    talk = talk_of(request.messages, model.model_id)
    native = isinstance(model, llm.AsyncModel | llm.AsyncKeyModel)
    conversation = (llm.AsyncConversation if native else llm.Conversation)(model=model)
    try:
        conversation.responses = list(_past(model, talk, native=native))
        return conversation.prompt(
            talk.now.prompt,
            attachments=talk.now.attachments,
            system=talk.system,
            messages=talk.history(len(talk.past)),
            tool_results=talk.now.results,
            tools=_tools(request),
            schema=_schema(request),
            stream=request.stream and model.can_stream,
            key=key,
            options=dict(_options(model, request, call)),
        )
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        msg = f"{model.model_id} refuses these options: {wrong}"
        raise InvalidRequestError(msg) from None
    except ValueError as error:
        raise InvalidRequestError(str(error)) from error


def _past(model: Any, talk: Talk, *, native: bool) -> Iterator[Any]:
    """Yield the earlier turns as responses, for plugins that read them there."""
    kind = llm.AsyncResponse if native else llm.Response
    for count, turn in enumerate(talk.past):
        answered = {"model": model.model_id, "prompt": {"messages": []}, "messages": [turn.answer.to_dict()]}
        response = kind.from_dict(cast("Any", answered), model=model)
        chain = [*talk.history(count), *turn.messages()][:-1]
        response.prompt = _prompt(
            turn.prompt,
            model,
            attachments=turn.attachments,
            system=talk.system,
            tool_results=turn.results,
            messages=chain,
        )
        yield response


_prompt: Any = llm.Prompt  # llm does not annotate its arguments


def _tools(request: Request) -> list[Any] | None:
    if not request.tools or request.tool_choice == "none":
        return None
    if request.tool_choice not in {None, "auto"}:
        msg = f"llm cannot force a tool call; tool_choice must be 'auto' or 'none', not {request.tool_choice!r}"
        raise InvalidRequestError(msg)
    return [_tool(tool.get("function") or {}) for tool in request.tools]


def _tool(function: Mapping[str, Any]) -> Any:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    # The tool has no implementation, so llm does not run it, and the tool call goes back to the caller.
    return llm.Tool(name=str(function.get("name")), description=function.get("description"), input_schema=dict(schema))


def _schema(request: Request) -> dict[str, Any] | None:
    form = request.response_format or {}
    kind = form.get("type", "text")
    if kind == "text":
        return None
    schema = (form.get("json_schema") or {}).get("schema")
    if kind != "json_schema" or not isinstance(schema, Mapping):
        msg = f"llm has no response_format {kind!r}; use json_schema with a schema, or an option of the model"
        raise InvalidRequestError(msg)
    return dict(schema)


def _options(model: Any, request: Request, call: CallContext) -> Iterator[tuple[str, Any]]:
    known = model.Options.model_fields
    for knob, names in _NAMES.items():
        value = getattr(request, knob)
        name = next((name for name in names if name in known), None)
        if value is None:
            continue
        if name is None:
            call.note(f"the model has no option {knob}, so it was left out")
        else:
            yield name, _fitting(value, known[name].annotation) if knob == "stop" else value
    for name, value in request.options.items():
        if name in known or model.Options.model_config.get("extra") == "allow":
            yield name, value
        else:
            call.note(f"the model has no option {name}, so it was left out")


def _fitting(stop: Any, annotation: Any) -> Any:
    """Return a single text instead of a list of one, for a model whose option is not a list."""
    texts = list(stop)
    return texts[0] if len(texts) == 1 and "list" not in str(annotation).lower() else texts
