"""Checks of the declared capabilities of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from providerhub import ProviderHubError, ReasoningDelta, TextDelta, ToolCall
from providerhub_conformance._kit.bench import Bench
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.outcome import NotApplicable, expect
from providerhub_conformance._kit.wire import Asked, Reply

GROUP = "capabilities"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"
IMAGE = [
    {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
]
AUDIO = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]}]
FILE = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Sum it up."},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        ],
    },
]
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CALLS = (ToolCall("call_1", "get_weather", '{"city": "Öbüdü"}'), ToolCall("call_2", "get_weather", '{"city": "Rome"}'))

_EXTRAS: dict[str, dict[str, Any]] = {
    "tools": {"tools": [TOOL]},
    "images": {"messages": IMAGE},
    "json_schema": {"response_format": SCHEMA},
    "audio": {"messages": AUDIO},
    "files": {"messages": FILE},
}


def _carried(asked: Asked, capability: str) -> bool:
    """Whether a request contains the capability."""
    return "get_weather" in asked.tools if capability == "tools" else bool(getattr(asked, capability))


@check(
    GROUP,
    fix="Declare False for a feature that the service lacks. Leave it unknown where it depends on the model; then send the "
    "feature, or raise BadRequestError before sending.",
    promise="A provider never ignores a part of a request.",
)
def unsupported_refused(bench: Bench) -> None:
    """A feature declared as False is refused before any I/O. An undeclared feature is refused or sent, and never left out."""
    for capability, knobs in _EXTRAS.items():
        declared = getattr(bench.subject.model, f"supports_{capability}")
        if declared:
            continue
        server = bench.serve(bench.answering())
        try:
            bench.client(server).complete(**knobs)
        except ProviderHubError:
            expect(not server.served, f"{capability}: the request was refused after it was sent")
            continue
        expect(declared is None, f"{capability}: declared as not supported, and answered")
        if capability in bench.wire.carries:
            expect(_carried(bench.asked(server), capability), f"{capability}: not declared, silently left out, and answered")


def _meant(bench: Bench, calls: Sequence[ToolCall]) -> list[tuple[Any, ...]]:
    """Tool calls with their arguments as values, since JSON may be written in several ways."""
    return [(call.id if bench.wire.call_ids else "", call.name, json.loads(call.arguments)) for call in calls]


def _claimed(bench: Bench, capability: str) -> None:
    bench.needs_place(capability)
    if not getattr(bench.subject.model, f"supports_{capability}"):
        raise NotApplicable(f"{bench.subject.asked_name} does not declare it")


@check(
    GROUP,
    fix="Send tools and tool_choice in the service's shape, and yield ToolCallDelta(index, id, name, arguments) for the tool "
    "calls of the answer. A wire of your own reads the names of the sent tools into Asked.tools.",
    promise="supports_tools=True means that tools work as with other providers.",
)
def claimed_tools(bench: Bench) -> None:
    """When tools are declared, they reach the service, and two tool calls arrive whole, plain and streaming."""
    _claimed(bench, "tools")
    server = bench.serve(bench.answering(Reply(tool_calls=CALLS, finish_reason="tool_calls")))
    client = bench.client(server)
    answers: list[Any] = [client.complete(tools=[TOOL])]
    if bench.may_stream:
        reading = client.read(tools=[TOOL])
        reading.rest()
        answers.append(reading.completion)
    expect("get_weather" in bench.asked(server, 0).tools, "the tool did not reach the service")
    for answer in answers:
        found, wanted = _meant(bench, answer.tool_calls), _meant(bench, CALLS)
        expect(found == wanted, f"the service called {CALLS}; the completion has {answer.tool_calls}")
        expect(answer.finish_reason == "tool_calls", f"the finish reason of a tool call is {answer.finish_reason!r}")


@check(
    GROUP,
    requires=("claimed-tools",),
    fix="Translate assistant messages with tool_calls, and messages with role 'tool', into the service's shape. "
    "A wire of your own reads them back into Asked.tool_calls and Asked.tool_results.",
    promise="A conversation with tools can go on after the first tool call.",
)
def tool_results_carried(bench: Bench) -> None:
    """Earlier tool calls and their results reach the service with their identifiers."""
    _claimed(bench, "tools")
    server = bench.serve(bench.answering())
    called = [{"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in CALLS]
    told = [{"role": "tool", "tool_call_id": c.id, "content": f"sunny {c.id}"} for c in CALLS]
    messages = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": called}, *told]
    bench.client(server).complete(messages, tools=[TOOL])
    asked = bench.asked(server)
    named, results = map(list, (asked.tool_calls, asked.tool_results))
    if not bench.wire.call_ids:  # the order connects calls and results
        named, results = ([(c.id, said) for c, (_, said) in zip(CALLS, one, strict=False)] for one in (named, results))
    elif bench.wire.renames_calls:
        ours = dict(zip([identifier for identifier, _ in named], [c.id for c in CALLS], strict=False))
        named, results = ([(ours.get(identifier, ""), said) for identifier, said in one] for one in (named, results))
    expect(named == [(c.id, c.name) for c in CALLS], f"the earlier calls reached the service as {asked.tool_calls}")
    sunny = [(c.id, f"sunny {c.id}") for c in CALLS]
    expect(results == sunny, f"the results reached the service as {asked.tool_results}")


@check(
    GROUP,
    fix="Translate content parts of type image_url, also data: URLs, into the service's shape.",
    promise="supports_images=True means that the model gets the image.",
)
def claimed_images(bench: Bench) -> None:
    """When images are declared, an image in the conversation reaches the service with its bytes."""
    _claimed(bench, "images")
    server = bench.serve(bench.answering())
    bench.client(server).complete(IMAGE)
    expect(bench.asked(server).images == 1, "the image did not reach the service")
    expect(PIXEL.rpartition(",")[2].encode() in server.requests[-1].body, "the image's bytes did not reach the service")


@check(
    GROUP,
    fix="Send response_format with its schema in the service's shape.",
    promise="supports_json_schema=True means that the answer follows the schema.",
)
def claimed_json_schema(bench: Bench) -> None:
    """When JSON schemas are declared, the schema reaches the service."""
    _claimed(bench, "json_schema")
    server = bench.serve(bench.answering())
    bench.client(server).complete(response_format=SCHEMA)
    expect(bench.asked(server).json_schema, "the schema did not reach the service")


@check(
    GROUP,
    fix="Translate content parts of type input_audio into the service's shape.",
    promise="supports_audio=True means that the model gets the sound.",
)
def claimed_audio(bench: Bench) -> None:
    """When audio is declared, a sound in the conversation reaches the service with its bytes."""
    _claimed(bench, "audio")
    server = bench.serve(bench.answering())
    bench.client(server).complete(AUDIO)
    expect(bench.asked(server).audio == 1, "the sound did not reach the service")
    expect(b"UklGRg==" in server.requests[-1].body, "the bytes of the sound did not reach the service")


@check(
    GROUP,
    fix="Translate content parts of type file into the service's shape.",
    promise="supports_files=True means that the model gets the file.",
)
def claimed_files(bench: Bench) -> None:
    """When files are declared, a file in the conversation reaches the service with its bytes."""
    _claimed(bench, "files")
    server = bench.serve(bench.answering())
    bench.client(server).complete(FILE)
    expect(bench.asked(server).files == 1, "the file did not reach the service")
    expect(b"JVBERi0=" in server.requests[-1].body, "the bytes of the file did not reach the service")


def _sent_or_refused(bench: Bench, what: str, is_sent: Callable[[Asked], bool], **knobs: Any) -> None:
    """Make a call with a knob. It must reach the service, or be refused before any I/O."""
    server = bench.serve(bench.answering())
    try:
        bench.client(server).complete(**knobs)
    except ProviderHubError:
        expect(not server.served, f"{what}: the request was refused after it was sent")
        return
    expect(is_sent(bench.asked(server)), f"{what}: silently left out, and answered")


@check(
    GROUP,
    requires=("claimed-tools",),
    fix="Send tool_choice in the service's shape, or raise CapabilityError before sending.",
    promise="A tool that the caller demands is called, and a tool that the caller forbids is not.",
)
def tool_choice_sent(bench: Bench) -> None:
    """When tools are declared, each choice of a tool reaches the service, or is refused before any I/O."""
    _claimed(bench, "tools")
    bench.needs_place("tool_choice")
    named = {"type": "function", "function": {"name": "get_weather"}}
    # Some services accept no name. Their providers require a call of the only tool, or offer no tool.
    ways: Sequence[tuple[Any, Callable[[Asked], bool]]] = (
        ("none", lambda asked: asked.tool_choice == "none" or not asked.tools),
        ("required", lambda asked: asked.tool_choice == "required"),
        (named, lambda asked: asked.tool_choice in {"get_weather", "required"} and asked.tools == ("get_weather",)),
    )
    for choice, is_sent in ways:
        _sent_or_refused(bench, f"tool_choice={choice!r}", is_sent, tools=[TOOL], tool_choice=choice)


@check(
    GROUP,
    fix="Send response_format={'type': 'json_object'} in the service's shape, or raise CapabilityError before sending.",
    promise="A caller that asks for JSON gets JSON or an error.",
)
def json_object_sent(bench: Bench) -> None:
    """A request for JSON without a schema reaches the service, or is refused before any I/O."""
    bench.needs_place("json_object")
    form = {"type": "json_object"}
    _sent_or_refused(bench, "json_object", lambda asked: asked.json_object, messages="JSON, please", response_format=form)


@check(
    GROUP,
    fix="Send request.reasoning in the service's shape, or raise CapabilityError before sending.",
    promise="A caller that asks a model to reason gets its reasoning or an error.",
)
def reasoning_sent(bench: Bench) -> None:
    """A request for reasoning reaches the service, or is refused before any I/O."""
    bench.needs_place("reasoning_asked")
    _sent_or_refused(bench, "reasoning='high'", lambda asked: asked.reasoning, messages="Think!", reasoning="high")


@check(
    GROUP,
    fix="Yield ReasoningDelta for reasoning, and text only for the answer.",
    promise="The text of an answer does not contain the reasoning.",
)
def reasoning_apart(bench: Bench) -> None:
    """The reasoning of the service is in `reasoning`, not in the text, plain and streaming."""
    bench.needs_place("reasoning")
    reply = Reply(reasoning=("Let me", " think."), text=("It is", " 4."))
    client = bench.client(bench.serve(bench.answering(reply)))
    answers: list[Any] = [way() for way in bench.ways(client)]
    for answer in answers:
        expect(answer.text == "It is 4.", f"the text is {answer.text!r} where the service said 'It is 4.' after its reasoning")
        expect(answer.reasoning == "Let me think.", f"the reasoning is {answer.reasoning!r}")
    if bench.may_stream:
        reading = client.read()
        kinds = [type(event) for event in reading.rest() if isinstance(event, TextDelta | ReasoningDelta)]
        expect(kinds[0] is ReasoningDelta, "in the stream, the reasoning does not come first")
