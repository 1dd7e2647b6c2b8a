"""The Responses API: its requests and its answers, over real sockets and in both transports."""

import json

import pytest

import providerhub
from providerhub import (
    CallContext,
    CapabilityError,
    Citation,
    EmptyAnswerError,
    InvalidRequestError,
    ProviderConfig,
    Request,
    Timeout,
    ToolCallDelta,
)
from providerhub.testing import FaultServer, chunked, http_response
from providerhub_openai._responses_reading import ResponsesReading
from providerhub_openai._responses_request import written
from providerhub_openai.models import openai_model
from providerhub_openai.provider import OpenAI

USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 16,
}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "e",
    "status": None,
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "look",
    "arguments": '{"a": 1}',
    "status": "completed",
}


def said(text, **more):
    part = {"type": "output_text", "text": text, "annotations": more.pop("annotations", [])}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part], **more}


def answer(*output, **more):
    fields = {"id": "resp_1", "created_at": 5, "model": "m-2", "status": "completed", "error": None, "incomplete_details": None}
    return {"object": "response", **fields, "usage": USAGE, "output": list(output), "store": False, **more}


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def ended(*output, **more):
    whole = answer(*output, **more)
    return event(f"response.{whole['status']}", response=whole)


def stream(*events):
    return chunked([event("response.created", response=answer(status="in_progress", usage=None)), *events])


@pytest.fixture
def asked(hub_at, ask):
    """`asked(script, messages, stream=True, **knobs)`: the completion, and the body that was sent."""

    def found(script, messages="Hello", *, stream=True, api="responses", **knobs):
        with FaultServer(script) as server, hub_at(server.url, options={"api": api}) as hub:
            done = ask(hub, messages, stream=stream, **knobs)
        assert server.requests[0].target == "/v1/responses"
        return done, server.requests[0].json()

    return found


def body_of(messages=(USER,), model="m", **knobs):
    return written(Request(model, list(messages), **knobs))[0]


# --- the request


def test_every_field_of_a_request_is_sent(asked):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "?"}, image, file, providerhub.file("https://a.example/b.pdf")]},
        {"role": "developer", "content": "Now in verse."},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    _, body = asked(
        http_response(200, answer(said("{}"))),
        messages,
        stream=False,
        temperature=0.5,
        top_p=0.9,
        max_tokens=64,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look"}},
        parallel_tool_calls=False,
        reasoning="low",
        response_format=form,
        options={"openai": {"text": {"verbosity": "low"}, "reasoning": {"summary": "auto"}, "tools": [{"type": "web_search"}]}},
    )
    assert body == {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
                    {"type": "input_file", "file_url": "https://a.example/b.pdf"},
                ],
            },
            {"role": "developer", "content": "Now in verse."},
        ],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 64,
        "tools": [
            {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "function", "name": "look"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {
            "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            "verbosity": "low",
        },
    }


def test_calls_and_results_become_items():
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": {"a": 1}}},
        {"id": "c2", "type": "custom", "custom": {"name": "run", "input": "ls"}},
        {"id": "x" * 70, "type": "function", "function": {"name": "look", "arguments": ""}},
    ]
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    messages = [
        USER,
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "out"}, image]},
        {"role": "tool", "tool_call_id": "x" * 70, "content": None},
    ]
    items = body_of(messages)["input"][1:]
    long = items[3]["call_id"]
    assert len(long) <= 64
    assert items == [
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a": 1}'},
        {"type": "custom_tool_call", "call_id": "c2", "name": "run", "input": "ls"},
        {"type": "function_call", "call_id": long, "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "7"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "out"}, {"type": "input_image", "image_url": "https://x/y.png"}],
        },
        {"type": "function_call_output", "call_id": long, "output": ""},
    ]


def test_the_shapes_of_2023_and_parts_of_other_wires_are_taken():
    messages = [
        USER,
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "so"}],
            "refusal": "no",
        },
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
        {"role": "function", "name": "look", "content": "7"},
    ]
    assert body_of(messages)["input"][1:] == [
        {"role": "assistant", "content": [{"type": "output_text", "text": "so"}, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "function_look", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "function_look", "output": "7"},
    ]


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ({"type": "web_search"}, {"type": "web_search"}),
        ({"type": "function", "name": "flat", "parameters": {}}, {"type": "function", "name": "flat", "parameters": {}}),
        (
            {"type": "function", "function": {"name": "f", "strict": True}},
            {"type": "function", "name": "f", "strict": True, "parameters": {"type": "object", "properties": {}}},
        ),
        (
            {
                "type": "custom",
                "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "d"}}},
            },
            {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "d"}},
        ),
    ],
)
def test_tools_are_written_flat(tool, expected):
    assert body_of(tools=[tool])["tools"] == [expected]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("any", "required"),
        ({"type": "any"}, "required"),
        ({"type": "custom", "custom": {"name": "c"}}, {"type": "custom", "name": "c"}),
        ({"type": "web_search"}, {"type": "web_search"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_the_choice_of_a_tool_is_written_flat(choice, expected):
    assert body_of(tools=[TOOL], tool_choice=choice)["tool_choice"] == expected


@pytest.mark.parametrize(
    ("model", "knobs", "include"),
    [
        ("gpt-5-mini", {}, True),
        ("o4-mini", {}, True),
        ("gpt-4o", {}, False),
        ("gpt-5-chat-latest", {}, False),
        ("my-deployment", {"reasoning": "high"}, True),
        ("my-deployment", {"reasoning": "none"}, False),
        ("gpt-5", {"options": {"store": True}}, False),
    ],
)
def test_encrypted_reasoning_is_asked_for_where_nothing_is_stored(model, knobs, include):
    body = body_of(model=model, **knobs)
    assert body.get("include") == (["reasoning.encrypted_content"] if include else None)
    assert body["store"] is knobs.get("options", {}).get("store", False)


def test_options_outrank_the_rest_and_none_removes_a_field():
    body = body_of(
        [{"role": "system", "content": "a"}, USER],
        options={"store": None, "previous_response_id": "resp_0", "instructions": "b", "temperature": 1},
        temperature=0,
    )
    assert "store" not in body
    assert (body["previous_response_id"], body["instructions"], body["temperature"]) == ("resp_0", "b", 1)
    assert body["input"][0] == {"role": "system", "content": "a"}


def test_items_that_only_this_api_has_come_after_the_conversation():
    item = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    assert body_of(options={"input": [item]})["input"] == [USER, item]


def test_system_prompts_alone_are_the_input():
    assert body_of([{"role": "system", "content": "a"}])["input"] == [{"role": "system", "content": "a"}]


@pytest.mark.parametrize(
    ("messages", "knobs", "error", "words"),
    [
        ([USER], {"stop": ["x"]}, CapabilityError, "api = 'chat'"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], {}, CapabilityError, "audio"),
        ([{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}], {}, CapabilityError, "video"),
        (
            [USER, {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}],
            {},
            CapabilityError,
            "image_url",
        ),
        ([USER, {"role": "tool", "content": "7"}], {}, InvalidRequestError, "tool_call_id"),
    ],
)
def test_what_the_api_cannot_express_is_refused_before_sending(messages, knobs, error, words):
    with pytest.raises(error, match=words):
        body_of(messages, **knobs)


def test_what_is_left_out_is_noted(asked):
    done, body = asked(stream(ended(said("Hi"))), [{**USER, "name": "Ann"}], seed=7)
    assert "seed" not in body
    assert [note.partition(";")[0] for note in done.route.attempts[0].notes] == [
        "the Responses API has no 'name' of a message",
        "the Responses API has no seed",
    ]


def test_a_stream_of_another_protocol_is_no_empty_answer(asked):
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
    with pytest.raises(EmptyAnswerError, match="neither content nor a finish reason"):
        asked(chunked([f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()]))


# --- which API


@pytest.mark.parametrize(
    ("api", "model", "path"),
    [
        ("auto", "gpt-5", "/v1/chat/completions"),
        ("auto", "o1-pro", "/v1/responses"),
        ("auto", "o3-pro-2025-06-10", "/v1/responses"),
        ("auto", "gpt-5-pro", "/v1/responses"),
        ("auto", "gpt-5.2-pro", "/v1/responses"),
        ("auto", "gpt-5.1-codex-mini", "/v1/responses"),
        ("auto", "codex-mini-latest", "/v1/responses"),
        ("auto", "computer-use-preview", "/v1/responses"),
        ("auto", "o4-mini-deep-research", "/v1/responses"),
        ("auto", "vendor/o1-pro", "/v1/chat/completions"),
        ("chat", "o1-pro", "/v1/chat/completions"),
        ("responses", "gpt-4o", "/v1/responses"),
    ],
)
def test_the_setting_or_the_model_decides_the_api(api, model, path):
    provider = OpenAI(ProviderConfig(name="openai", url="http://127.0.0.1:1", options={"api": api}))
    request = Request(model, [USER])
    assert provider.build(request, CallContext(Timeout())).path == path


def test_another_api_is_refused_by_name():
    with pytest.raises(providerhub.ConfigurationError, match="api must be 'auto' or 'chat' or 'responses', not 'assistants'"):
        OpenAI(ProviderConfig(name="openai", url="http://127.0.0.1:1", options={"api": "assistants"}))


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("This model is only supported in v1/responses and not in v1/chat/completions.", 'api = "responses"'),
        ("Invalid value: 'web_search'. Supported values are: 'function' and 'custom'.", 'api = "responses"'),
        ("Function tools with reasoning_effort are not supported. Please use /v1/responses instead.", 'api = "responses"'),
        ("The model 'x' is not supported with the Responses API.", 'api = "chat"'),
    ],
)
def test_a_refusal_of_the_api_names_the_setting(hub_at, ask, message, hint):
    refusal = http_response(404, {"error": {"message": message}})
    with FaultServer(refusal) as server, hub_at(server.url) as hub, pytest.raises(CapabilityError, match=hint):
        ask(hub)


# --- the answer


@pytest.mark.parametrize("streamed", [True, False])
def test_a_whole_and_a_streamed_answer_say_the_same(asked, streamed):
    cited = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 2}
    output = [THOUGHT, said("Hi, I look.", annotations=[cited]), CALL]
    events = [
        event("response.output_item.added", output_index=0, item={**THOUGHT, "summary": [], "encrypted_content": None}),
        event("response.reasoning_summary_text.delta", item_id="rs_1", output_index=0, summary_index=0, delta="h"),
        event("response.reasoning_summary_text.delta", item_id="rs_1", output_index=0, summary_index=0, delta="m"),
        event("response.output_item.done", output_index=0, item=THOUGHT),
        event("response.output_item.added", output_index=1, item={**said(""), "content": []}),
        event("response.output_text.delta", item_id="msg_1", output_index=1, content_index=0, delta="Hi, "),
        event("response.output_text.delta", item_id="msg_1", output_index=1, content_index=0, delta="I look."),
        event("response.output_text.annotation.added", item_id="msg_1", output_index=1, annotation=cited),
        event("response.output_item.done", output_index=1, item=output[1]),
        event("response.output_item.added", output_index=2, item={**CALL, "arguments": ""}),
        event("response.function_call_arguments.delta", item_id="fc_1", output_index=2, delta='{"a": '),
        event("response.function_call_arguments.delta", item_id="fc_1", output_index=2, delta="1}"),
        event("response.function_call_arguments.done", item_id="fc_1", output_index=2, arguments='{"a": 1}'),
        event("response.output_item.done", output_index=2, item=CALL),
    ]
    extra = {"service_tier": "default", "content_filters": [{"blocked": False}]}
    script = stream(*events, ended(*output, **extra)) if streamed else http_response(200, answer(*output, **extra))
    done, body = asked(script, stream=streamed)
    assert body.get("stream", False) is streamed
    assert (done.text, done.reasoning, done.finish_reason, done.finish_said) == ("Hi, I look.", "hm", "tool_calls", "completed")
    assert done.tool_calls == (providerhub.ToolCall("call_1", "look", '{"a": 1}'),)
    assert done.citations == (Citation("https://a", "A", None, 0, 2, {"type": "url_citation"}),)
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.stated_total) == (9, 7, 16)
    assert (done.usage.cached_tokens, done.usage.cache_write_tokens, done.usage.reasoning_tokens) == (4, 2, 5)
    assert (done.id, done.served_model, done.details["created"], done.details["tier"]) == ("resp_1", "m-2", 5, "default")
    assert done.details["safety"] == [{"blocked": False}]
    assert done.turn.content == output


def test_the_turn_goes_back_as_it_came(asked):
    done, _ = asked(http_response(200, answer(THOUGHT, CALL)), stream=False)
    json.dumps(done.message)
    turn = {"role": "assistant", "content": None, "turn": done.turn.content}
    items = body_of([USER, turn, {"role": "tool", "tool_call_id": "call_1", "content": "7"}])["input"]
    assert items[1:] == [
        {name: value for name, value in THOUGHT.items() if value is not None},
        CALL,
        {"type": "function_call_output", "call_id": "call_1", "output": "7"},
    ]


def test_a_conversation_goes_on_with_its_reasoning(hub_at, ask):
    first, second = (http_response(200, one) for one in (answer(THOUGHT, CALL), answer(said("7 degrees"))))
    with FaultServer(first, second) as server, hub_at(server.url, options={"api": "responses"}) as hub:
        messages = [USER]
        done = ask(hub, messages, stream=False, tools=[TOOL])
        messages += [done.message, done.tool_result(done.tool_calls[0], "7")]
        assert ask(hub, messages, stream=False, tools=[TOOL]).text == "7 degrees"
    kinds = [item.get("type") or item["role"] for item in server.requests[1].json()["input"]]
    assert kinds == ["user", "reasoning", "function_call", "function_call_output"]


def test_reasoning_that_nobody_kept_does_not_go_back():
    bare = {name: value for name, value in THOUGHT.items() if name != "encrypted_content"}
    turn = {"role": "assistant", "content": None, "turn": [bare, CALL]}
    unnamed = {name: value for name, value in CALL.items() if name != "id"}
    assert body_of([USER, turn])["input"][1:] == [unnamed]
    kept = body_of([USER, turn], options={"store": True})["input"][1:]
    assert [item["id"] for item in kept] == ["rs_1", "fc_1"]


@pytest.mark.parametrize("names", [("call_1", "call_1"), ("call_1", None)])
def test_calls_of_a_turn_have_the_identifiers_of_the_message(names):
    turn = [{**CALL, "call_id": name} for name in names]
    calls = [{"id": name, "type": "function", "function": {"name": "look", "arguments": "{}"}} for name in ("call_1", "call_9")]
    items = body_of([USER, {"role": "assistant", "content": None, "tool_calls": calls, "turn": turn}])["input"]
    assert [item["call_id"] for item in items[1:]] == ["call_1", "call_9"]


def test_a_turn_of_chat_completions_is_written_from_its_message():
    turn = {"role": "assistant", "content": "Hi", "turn": {"role": "assistant", "reasoning_details": []}}
    assert body_of([USER, turn])["input"][1:] == [{"role": "assistant", "content": "Hi"}]


def test_a_plain_answer_has_no_turn(asked):
    done, _ = asked(stream(ended(said("Hi"))))
    assert (done.text, done.turn, done.finish_reason) == ("Hi", None, "stop")


@pytest.mark.parametrize(
    ("reason", "expected"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("other", "other")]
)
@pytest.mark.parametrize("streamed", [True, False])
def test_an_incomplete_answer_says_why(asked, streamed, reason, expected):
    more = {"status": "incomplete", "incomplete_details": {"reason": reason}}
    script = stream(ended(said("Hi"), **more)) if streamed else http_response(200, answer(said("Hi"), **more))
    done, _ = asked(script, stream=streamed)
    assert (done.text, done.finish_reason) == ("Hi", expected)
    assert done.finish_said == (reason if reason != expected else None)


FAILURES = [
    ({"code": "server_error", "message": "broken"}, providerhub.ServerError),
    ({"code": "rate_limit_exceeded", "message": "slow down"}, providerhub.RateLimitError),
    ({"code": "insufficient_quota", "message": "pay"}, providerhub.QuotaExceededError),
    ({"code": "invalid_prompt", "message": "no good"}, providerhub.BadRequestError),
    ({"code": "invalid_prompt", "message": "Invalid prompt: flagged as potentially violating"}, providerhub.ContentPolicyError),
    ({"code": "image_content_policy_violation", "message": "no"}, providerhub.ContentPolicyError),
    ({"code": "failed_to_download_image", "message": "no"}, providerhub.BadRequestError),
    ({"code": "vector_store_timeout", "message": "late"}, providerhub.ServerError),
    ({"code": "context_length_exceeded", "message": "long"}, providerhub.ContextLengthError),
]


@pytest.mark.parametrize(("error", "expected"), FAILURES)
@pytest.mark.parametrize("form", ["failed", "flat", "nested", "whole"])
def test_every_form_of_a_failure_is_raised_with_its_class(asked, form, error, expected):
    failed = {"status": "failed", "error": error}
    script = {
        "failed": lambda: stream(ended(**failed)),
        "flat": lambda: stream(event("error", **error, param=None)),
        "nested": lambda: stream(event("error", error={**error, "type": "x"})),
        "whole": lambda: http_response(200, answer(**failed)),
    }[form]()
    with pytest.raises(expected, match=error["message"]):
        asked(script, stream=form != "whole")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failure_without_a_reason_is_a_failure(asked, status):
    with pytest.raises(providerhub.ServerError, match=status):
        asked(stream(ended(status=status)))


def test_a_failure_after_text_interrupts_the_stream(asked):
    delta = event("response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta="Hi")
    with pytest.raises(providerhub.StreamInterruptedError) as caught:
        asked(stream(delta, ended(status="failed", error={"code": "server_error", "message": "broken"})))
    assert caught.value.completion.text == "Hi"


def test_a_stream_without_its_terminal_event_was_cut(asked):
    delta = event("response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta="Hi")
    with pytest.raises(providerhub.StreamInterruptedError):
        asked(stream(delta, event("response.output_item.done", output_index=0, item=said("Hi"))))


def test_an_end_mark_of_chat_completions_does_no_harm(asked):
    done, _ = asked(stream(ended(said("Hi")), b"data: [DONE]\n\n"))
    assert done.text == "Hi"


def test_a_refusal_is_kept(asked):
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "refusal", "refusal": "I won't."}]}
    delta = event("response.refusal.delta", item_id="msg_1", output_index=0, content_index=0, delta="I ")
    done, _ = asked(stream(delta, ended(item)))
    assert (done.refusal, done.text) == ("I won't.", "")


def test_the_output_of_the_services_own_tools_is_kept(asked):
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
    drawn = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "output_format": "webp", "result": "AAAA"}
    again = {**search, "id": "ws_2"}
    done, _ = asked(
        stream(event("response.output_item.done", output_index=0, item=search), ended(search, drawn, again, said("Hi")))
    )
    assert done.details["web_search_call"] == [search, again]
    (image,) = done.media
    assert (image.kind, image.type, image.base64, image.id) == ("image", "image/webp", "AAAA", "ig_1")
    assert "result" not in done.details["image_generation_call"][0]
    assert done.turn.content == [search, drawn, again, said("Hi")]


def test_a_place_in_a_second_part_counts_from_the_beginning_of_the_text(asked):
    cited = {"type": "url_citation", "url": "https://b", "title": "B", "start_index": 1, "end_index": 3}
    file = {"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 2}
    done, _ = asked(http_response(200, answer(said("Hello"), said(" you", id="msg_2", annotations=[cited, file]))), stream=False)
    assert done.text == "Hello you"
    assert [(one.url, one.title, one.start, one.end) for one in done.citations] == [
        ("https://b", "B", 6, 8),
        (None, "a.pdf", 7, 7),
    ]
    assert done.citations[1].source == {"type": "file_citation", "file_id": "f", "index": 2}


def test_custom_calls_and_logprobs_are_kept(asked):
    item = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_1", "name": "run", "input": "ls -l"}
    probs = [{"token": "Hi", "logprob": -0.1}]
    events = [
        event("response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta="Hi", logprobs=probs),
        event("response.output_item.added", output_index=1, item={**item, "input": ""}),
        event("response.custom_tool_call_input.delta", item_id="ct_1", output_index=1, delta="ls"),
    ]
    done, _ = asked(stream(*events, ended(said("Hi"), item)))
    assert done.tool_calls == (providerhub.ToolCall("call_1", "run", "ls -l", "custom"),)
    assert done.logprobs == probs


def test_parts_of_reasoning_are_paragraphs(asked):
    summary = [{"type": "summary_text", "text": text} for text in ("One.", "Two.")]
    raw = {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "Three."}]}
    done, _ = asked(stream(ended({**THOUGHT, "summary": summary}, raw, said("Hi"))))
    assert done.reasoning == "One.\n\nTwo.\n\nThree."


# --- servers that imitate the API


def reader():
    return ResponsesReading(providerhub.CallContext(providerhub.Timeout()), {})


def pieces_of(*events):
    found = reader()
    return [piece for one in events for piece in found.event(one, "")]


def texts(pieces):
    return "".join(piece for piece in pieces if isinstance(piece, str))


@pytest.mark.parametrize(
    "where",
    [
        {"item_id": "msg_1", "output_index": 0, "content_index": 0},
        {"item_id": "other", "output_index": 0},  # another identifier in each event
        {"item_id": "msg_1", "output_index": 9},  # wrong places
        {"content_index": 1, "item_id": "msg_1"},  # parts counted from 1
        {},
    ],
)
def test_pieces_find_their_item(where):
    end = {"type": "response.completed", "response": answer(said("Hello"))}
    begin = {"type": "response.output_item.added", "output_index": 0, "item": {**said(""), "content": []}}
    deltas = [{"type": "response.output_text.delta", "delta": text, **where} for text in ("Hel", "lo")]
    assert texts(pieces_of(begin, *deltas, end)) == "Hello"
    assert texts(pieces_of(*deltas, end)) == "Hello"


def test_two_calls_at_one_place_are_two_calls():
    one, two = CALL, {**CALL, "id": "fc_2", "call_id": "call_2", "name": "see"}
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**one, "arguments": ""}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**two, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0, "delta": one["arguments"]},
        {"type": "response.function_call_arguments.delta", "item_id": "call_2", "output_index": 0, "delta": two["arguments"]},
        {"type": "response.completed", "response": answer(one, two)},
    ]
    calls = [(piece.index, piece.id, piece.arguments) for piece in pieces_of(*events) if type(piece).__name__ == "ToolCallDelta"]
    assert calls == [(0, "call_1", ""), (1, "call_2", ""), (0, None, one["arguments"]), (1, None, two["arguments"])]


def test_items_count_although_the_last_event_does_not_repeat_them():
    done = {"type": "response.output_item.done", "output_index": 0, "item": {**THOUGHT}}
    pieces = pieces_of(done, {"type": "response.completed", "response": {"status": "completed"}})
    assert next(piece for piece in pieces if type(piece).__name__ == "Turn").content == [THOUGHT]


@pytest.mark.parametrize("broken", [{"output": "x"}, {"output": [5]}, {"output": None}])
def test_another_shape_is_an_error(asked, broken):
    with pytest.raises(providerhub.ProtocolError, match="output"):
        asked(http_response(200, answer(**broken)), stream=False)


def test_the_models_of_the_responses_api_are_listed():
    assert openai_model("o1-pro") is None
    assert openai_model("o1-pro", "auto").supports_reasoning
    assert openai_model("gpt-4o-search-preview", "responses") is None


@pytest.mark.parametrize("ends", [[], [said("Hello")]])
def test_parts_that_come_whole_only_are_read_once(asked, ends):
    call = {**CALL, "arguments": ""}
    whole = [
        event("response.output_text.done", item_id="msg_1", output_index=0, content_index=0, text="Hello"),
        event("response.output_item.added", output_index=1, item=call),
        event("response.function_call_arguments.done", item_id="fc_1", output_index=1, arguments='{"a": 1}'),
    ]
    done, _ = asked(stream(*whole, ended(*ends)))
    assert (done.text, done.tool_calls[0].arguments) == ("Hello", '{"a": 1}')


@pytest.mark.parametrize(
    ("output", "more"),
    [([{"type": "message", "role": "assistant", "content": "Hello"}], {}), ([], {"output_text": "Hello"})],
)
def test_a_text_in_place_of_parts_is_read(output, more):
    assert texts(pieces_whole(answer(*output, **more))) == "Hello"


def test_arguments_that_are_an_object_are_written_as_text():
    pieces = pieces_whole(answer({**CALL, "arguments": {"a": 1}}))
    assert [one.arguments for one in pieces if isinstance(one, ToolCallDelta)] == ["", '{"a": 1}']


def pieces_whole(found):
    return list(reader().whole(found))
