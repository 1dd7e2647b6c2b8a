"""The requests that the plugin sends and the answers that it reads, over real sockets."""

import asyncio
import json
import pickle
import re
import traceback
from pathlib import Path

import pytest

import providerhub
from providerhub import ProviderConfig, ToolCall, Usage
from providerhub.testing import FaultServer, Hold, chunked, close_delimited, http_response
from providerhub_anthropic import providerhub_provider
from providerhub_anthropic._reading import MessagesReading
from providerhub_anthropic.provider import AnthropicItself

CANARY = "canary-key-0123456789"
MODEL = "claude-haiku-4-5"
PICTURE = "data:image/png;base64,AAAA"
TOOL = {"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object"}, "strict": True}}
FIXED = {"model": MODEL, "max_tokens": 64000}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "PROVIDERHUB_ANTHROPIC_MAX_TOKENS", "PROVIDERHUB_ANTHROPIC_BETA"):
        monkeypatch.delenv(name, raising=False)


def hub_at(url, *, others=None, **config):
    settings = providerhub.Settings(
        providers={"anthropic": ProviderConfig(url=url, api_key=CANARY, **config), **(others or {})},
        allow=("anthropic",),
        retry=providerhub.RetryPolicy(attempts=2, attempts_per_provider=1),
    )
    return providerhub.Hub(settings)


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n".encode()


def text(piece, index=0):
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": piece})


START = event(
    "message_start", message={"id": "m", "role": "assistant", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}
)
STOP = (
    event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 7}),
    event("message_stop"),
)


def stream_of(*pieces):
    return chunked([START, *map(text, pieces), *STOP])


def whole(*content, stop_reason="end_turn", **usage):
    counts = {"input_tokens": 3, "output_tokens": 7, **usage}
    return http_response(200, {"type": "message", "content": list(content), "stop_reason": stop_reason, "usage": counts})


SAID = {"type": "text", "text": "Hi"}


def sent(messages, **knobs):
    with FaultServer(whole(SAID)) as server, hub_at(server.url) as hub:
        hub.complete(MODEL, messages, **knobs)
    return server.requests[0].json()


def test_without_a_key_the_variable_is_named():
    settings = providerhub.Settings(allow=("anthropic",))
    with providerhub.Hub(settings) as hub, pytest.raises(providerhub.ConfigurationError, match="ANTHROPIC_API_KEY"):
        hub.complete(MODEL, "Hello")


def test_the_key_is_sent_in_its_own_header_only():
    with FaultServer(whole(SAID)) as server, hub_at(server.url, options={"beta": "a,b"}) as hub:
        assert hub.complete(MODEL, "Hello").text == "Hi"
    request = server.requests[0]
    assert request.target == "/v1/messages"
    assert request.header("x-api-key") == CANARY
    assert request.header("authorization") == ""
    assert (request.header("anthropic-version"), request.header("anthropic-beta")) == ("2023-06-01", "a,b")
    assert request.raw.count(CANARY.encode()) == 1


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/anthropic"])
def test_a_url_that_ends_with_the_version_gets_it_once(end):
    with FaultServer(whole(SAID)) as server, hub_at(server.url + end) as hub:
        hub.complete(MODEL, "Hello")
    assert server.requests[0].target == ("/anthropic/v1/messages" if "anthropic" in end else "/v1/messages")


def test_a_text_is_one_message():
    assert sent("Hello") == {**FIXED, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}


def test_system_prompts_are_separated_and_messages_of_one_role_joined():
    body = sent(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "content": "one"},
            {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": ""}]},
            {"role": "assistant", "content": "three"},
            {"role": "assistant", "content": None, "refusal": "no"},
            {"role": "user", "content": "four"},
        ]
    )
    assert body["system"] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}},
    ]
    talk = [(m["role"], [block["text"] for block in m["content"]]) for m in body["messages"]]
    assert talk == [("user", ["one", "two"]), ("assistant", ["three", "no"]), ("user", ["four"])]


def test_tool_calls_and_their_results():
    calls = [
        {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "look", "arguments": ""}},
    ]
    body = sent(
        [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "a", "content": "one"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "two"}]},
            {"role": "user", "content": "And?"},
        ],
        tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        tool_choice="required",
    )
    assert body["messages"][1]["content"][1:] == [
        {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "look", "input": {}},
    ]
    assert body["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "one"}]},
            {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "two"}]},
            {"type": "text", "text": "And?"},
        ],
    }
    assert body["tools"] == [
        {
            "name": "look",
            "description": "d",
            "input_schema": {"type": "object", "additionalProperties": False},
            "strict": True,
        },
        {"type": "web_search_20250305", "name": "web_search"},
    ]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "look"}}, {"type": "tool", "name": "look"}),
        ({"type": "any", "disable_parallel_tool_use": True}, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_the_choice_of_a_tool(choice, expected):
    assert sent("?", tools=[TOOL], tool_choice=choice)["tool_choice"] == expected


def test_images_and_documents():
    parts = [
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,BBBB", "filename": "a.pdf"}},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
    ]
    assert sent([{"role": "user", "content": parts}])["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}, "title": "a.pdf"},
        parts[3],
    ]


def test_the_knobs():
    body = sent("?", temperature=0.5, max_tokens=9, stop=["x"], options={"anthropic": {"top_k": 5, "temperature": None}})
    assert (body["max_tokens"], body["stop_sequences"], body["top_k"]) == (9, ["x"], 5)
    assert "temperature" not in body


def test_a_candidate_has_the_most_output_tokens_that_are_sent():
    entry = {"type": "model", "id": "claude-haiku-9", "max_tokens": 5000}
    listed = http_response(200, {"data": [entry], "has_more": False})
    with FaultServer(listed, whole(SAID), whole(SAID)) as server, hub_at(server.url) as hub:
        hub.refresh()
        found = [hub.explain(model, "?").candidates[0].max_output for model in (MODEL, "claude-haiku-9")]
        for model in (MODEL, "claude-haiku-9"):
            hub.complete(model, "?")
    assert [request.json()["max_tokens"] for request in server.requests[1:]] == found == [64000, 5000]


def test_a_budget_for_thinking_is_added_to_max_tokens():
    thinking = {"type": "enabled", "budget_tokens": 2000}
    options = {"anthropic": {"thinking": thinking}}
    assert sent("?", options=options)["max_tokens"] == 64000  # the model's maximum, which holds the budget
    assert sent("?", max_tokens=3000, options=options)["max_tokens"] == 3000
    with FaultServer(whole(SAID)) as server, hub_at(server.url, options={"max_tokens": 4096}) as hub:
        hub.complete(MODEL, "?", options=options)
    assert server.requests[0].json()["max_tokens"] == 6096


def test_a_seed_is_left_out_and_noted():
    with FaultServer(whole(SAID)) as server, hub_at(server.url) as hub:
        answer = hub.complete(MODEL, "?", seed=1)
    assert "seed" not in server.requests[0].json()
    assert "seed" in answer.route.attempts[0].notes[0]


USER = {"role": "user", "content": "?"}


@pytest.mark.parametrize(
    ("messages", "knobs", "named"),
    [
        ([{"role": "system", "content": "alone"}], {}, "system prompt"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}], {}, r"messages\[0\]"),
        ([USER, {"role": "tool", "content": "x"}], {}, "tool_call_id"),
        ([USER, {"role": "function", "content": "x"}], {}, "name"),
        ([USER], {"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ([USER], {"response_format": {"type": "grammar"}}, "grammar"),
    ],
)
def test_a_request_that_the_api_cannot_express_is_refused_before_it_is_sent(messages, knobs, named):
    with FaultServer() as server, hub_at(server.url) as hub:
        with pytest.raises(providerhub.InvalidRequestError, match=named):
            hub.complete(MODEL, messages, **knobs)
        assert server.connected == 0


def test_a_whole_answer_with_every_kind_of_content():
    blocks = (
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "привет "},
        {"type": "tool_use", "id": "a", "name": "look", "input": {"x": "ж"}},
        {"type": "tool_use", "id": "b", "name": "look", "input": {}},
    )
    script = whole(*blocks, stop_reason="tool_use", cache_read_input_tokens=10, cache_creation_input_tokens=5)
    with FaultServer(script) as server, hub_at(server.url) as hub:
        answer = hub.complete(MODEL, "?", tools=[TOOL])
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("привет ", "hm", "tool_calls")
    assert answer.tool_calls == (ToolCall("a", "look", '{"x": "ж"}'), ToolCall("b", "look", "{}"))
    counts = {"input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 5}
    assert answer.usage == Usage(18, 7, 10, cache_write_tokens=5, others=counts)
    assert answer.turn.content == list(blocks)


def test_a_stream_with_every_kind_of_content():
    tool = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
    events = [
        START,
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        event("ping"),
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
        event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "s"}),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "text", "text": "a"}),
        text("b", 1),
        event("content_block_delta", index=1, delta={"type": "citations_delta", "citation": {}}),
        event("something_new", anything=1),
        event("content_block_start", index=2, content_block={"type": "server_tool_use", "id": "s", "name": "web", "input": {}}),
        event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"q"'}),
        event("content_block_start", index=3, content_block=tool),
        event("content_block_delta", index=3, delta={"type": "input_json_delta", "partial_json": '{"x":'}),
        event("content_block_delta", index=3, delta={"type": "input_json_delta", "partial_json": "1}"}),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
        event("message_stop"),
    ]
    with FaultServer(chunked(events)) as server, hub_at(server.url) as hub:
        with hub.complete(MODEL, "?", stream=True, tools=[TOOL]) as stream:
            list(stream.events())
        answer = stream.completion
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("ab", "hm", "tool_calls")
    assert answer.tool_calls == (ToolCall("a", "look", '{"x":1}'),)
    assert answer.usage == Usage(3, 9, others={"input_tokens": 3, "output_tokens": 9})
    assert [block["type"] for block in answer.turn.content] == ["thinking", "text", "tool_use"]  # one block was cut


def test_asynchronously():
    async def ask(hub):
        async with await hub.acomplete(MODEL, "?", stream=True) as stream:
            return [token async for token in stream]

    with FaultServer(stream_of("a", "b")) as server, hub_at(server.url) as hub:
        assert asyncio.run(ask(hub)) == ["a", "b"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("compaction", "pause_turn"),
        ("something_new", "something_new"),
        (None, None),
    ],
)
def test_finish_reasons(reason, expected):
    with FaultServer(whole(SAID, stop_reason=reason)) as server, hub_at(server.url) as hub:
        answer = hub.complete(MODEL, "?")
    assert (answer.finish_reason, answer.finish_said) == (expected, None if reason == expected else reason)


def failure(kind, message="no"):
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "max_tokens: required", providerhub.BadRequestError),
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", providerhub.ContextLengthError),
        (400, "invalid_request_error", "Your credit balance is too low", providerhub.QuotaExceededError),
        (401, "authentication_error", "invalid x-api-key", providerhub.AuthenticationError),
        (402, "billing_error", "pay", providerhub.QuotaExceededError),
        (403, "permission_error", "not yours", providerhub.AuthenticationError),
        (404, "not_found_error", "model: claude-0", providerhub.ModelNotFoundError),
        (413, "request_too_large", "too large", providerhub.BadRequestError),
        (429, "rate_limit_error", "slow down", providerhub.RateLimitError),
        (500, "api_error", "oops", providerhub.ServerError),
        (504, "timeout_error", "late", providerhub.ServerError),
        (529, "overloaded_error", "Overloaded", providerhub.ServerError),
    ],
)
def test_refusals_are_classed(status, kind, message, expected):
    refusal = http_response(status, failure(kind, message))
    with FaultServer(refusal) as server, hub_at(server.url) as hub, pytest.raises(expected) as caught:
        hub.complete(MODEL, "?")
    assert type(caught.value) is expected
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("status", "message", "expected", "capability"),
    [
        (400, "role 'system' is not supported on this model", providerhub.CapabilityError, ""),
        (400, "tools.0: 'x' does not support tool types: computer_1", providerhub.CapabilityError, ""),
        (400, '"thinking.type.disabled" is not supported for this model.', providerhub.CapabilityError, ""),
        (400, "This model does not support the effort parameter.", providerhub.CapabilityError, ""),
        (400, "Forced tool use is not supported with this model.", providerhub.CapabilityError, "tool_choice"),
        (400, "`temperature` is deprecated for this model.", providerhub.CapabilityError, "temperature"),
        (400, "`top_p` is not supported for this model.", providerhub.CapabilityError, "top_p"),
        (400, "'x' does not support output format.", providerhub.CapabilityError, "json_schema"),
        (400, "This model does not support assistant message prefill.", providerhub.CapabilityError, "prefill"),
        (400, "The long context beta is not yet available for this subscription.", providerhub.ContextLengthError, None),
        (429, "Extra usage is required for long context requests.", providerhub.ContextLengthError, None),
        (400, "This organization has been disabled.", providerhub.AuthenticationError, None),
        (400, "You have reached your specified API usage limits.", providerhub.QuotaExceededError, None),
        (400, "Output blocked by content filtering policy", providerhub.ContentPolicyError, None),
        (400, "max_tokens: 9 > 8, which is the maximum allowed number of output tokens", providerhub.BadRequestError, None),
        (400, "Thinking may not be enabled when tool_choice forces tool use.", providerhub.BadRequestError, None),
    ],
)
def test_refusals_in_the_api_s_own_words(status, message, expected, capability):
    body = failure("invalid_request_error", message)
    for script, stream in ((http_response(status, body), False), (http_response(200, body), True)):
        if status == 429 and stream:
            continue
        with FaultServer(script) as server, hub_at(server.url) as hub, pytest.raises(providerhub.ProviderHubError) as caught:
            hub.complete(MODEL, "?", stream=stream)
        error = caught.value
        assert type(error) is expected
        assert getattr(error, "capability", None) == capability
    if "max_tokens: 9" in message:
        assert str(error).endswith("; pass a smaller max_tokens, or set `max_tokens` of the provider")


def test_a_part_that_claude_does_not_take_goes_to_another_provider():
    parts = [{"type": "file", "file": {"file_data": "data:application/msword;base64,AAAA"}}]
    with FaultServer() as server, FaultServer(http_response(200, OPENAI)) as second:
        others = {"other": ProviderConfig(plugin="openai", url=second.url, api_key=CANARY, models=(MODEL,), priority=-1)}
        settings = providerhub.Settings(
            providers={"anthropic": ProviderConfig(url=server.url, api_key=CANARY), **others}, allow=("anthropic", "openai")
        )
        with providerhub.Hub(settings) as hub:
            answer = hub.complete(MODEL, [{"role": "user", "content": parts}])
    assert (answer.text, answer.provider, server.connected) == ("read", "other", 0)


OPENAI = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "read"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_inside_an_answer_names_the_request(stream):
    script = http_response(200, failure("overloaded_error"), {"request-id": "req_7"})
    with FaultServer(script) as server, hub_at(server.url) as hub, pytest.raises(providerhub.ServerError) as caught:
        hub.complete(MODEL, "?", stream=stream)
    assert caught.value.request_id == "req_7"


def test_overloaded_in_a_stream_makes_another_provider_answer():
    with (
        FaultServer(chunked([START, event("error", error=failure("overloaded_error")["error"])])) as bad,
        FaultServer(stream_of("ok")) as good,
    ):
        others = {"second": ProviderConfig(plugin="anthropic", url=good.url, api_key=CANARY, priority=-1)}
        with hub_at(bad.url, others=others) as hub, hub.complete(MODEL, "?", stream=True) as stream:
            assert list(stream) == ["ok"]
    first, second = stream.completion.route.attempts
    assert (type(first.error), first.error.retryable, second.provider) == (providerhub.ServerError, True, "second")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", providerhub.ServerError),
        ("rate_limit_error", providerhub.RateLimitError),
        ("authentication_error", providerhub.AuthenticationError),
        ("invalid_request_error", providerhub.BadRequestError),
    ],
)
@pytest.mark.parametrize(
    "framed",
    [
        lambda error: chunked([START, event("error", error=error["error"])]),
        lambda error: chunked([json.dumps(error).encode(), Hold()], end=False),
        lambda error: http_response(200, error),
    ],
    ids=["event", "bare", "json"],
)
def test_an_error_inside_a_successful_answer_is_classed_by_its_type(kind, expected, framed):
    with FaultServer(framed(failure(kind))) as server, hub_at(server.url) as hub, pytest.raises(expected):
        hub.complete(MODEL, "?", stream=True)


@pytest.mark.parametrize("last", [(), STOP[:1], (event("error", error=failure("overloaded_error")["error"]),)])
def test_a_stream_without_message_stop_was_cut(last):
    with FaultServer(chunked([START, text("par"), *last])) as server, hub_at(server.url) as hub:
        stream = hub.complete(MODEL, "?", stream=True)
        with pytest.raises(providerhub.StreamInterruptedError) as caught:
            list(stream)
    assert caught.value.partial == "par"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>no</html>",
        b"",
        b"data: [1]\n\n",
        b"data: {\n\n",
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": 5}),
        event("content_block_delta", index=None, delta={"type": "input_json_delta", "partial_json": ""}),
        event("content_block_delta", index=0, delta=None),
    ],
)
def test_a_body_that_is_not_a_stream_is_an_error(body):
    script = http_response(200, body, {"Content-Type": "text/event-stream"})
    expected = (providerhub.ProtocolError, providerhub.EmptyAnswerError)
    with FaultServer(script) as server, hub_at(server.url) as hub, pytest.raises(expected):
        hub.complete(MODEL, "?", stream=True)


@pytest.mark.parametrize("answer", [{}, {"content": "x"}, {"content": [5]}])
def test_an_invalid_answer_is_a_protocol_error(answer):
    with FaultServer(http_response(200, answer)) as server, hub_at(server.url) as hub, pytest.raises(providerhub.ProtocolError):
        hub.complete(MODEL, "?")


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_whole_answer_where_a_stream_was_asked_for(kind):
    body = {"type": "message", "content": [SAID], "stop_reason": "end_turn"}
    with FaultServer(http_response(200, body, {"Content-Type": kind})) as server, hub_at(server.url) as hub:
        assert list(hub.complete(MODEL, "?", stream=True)) == ["Hi"]


def test_a_stream_with_the_content_type_of_json_is_read_as_a_stream():
    script = close_delimited([START, text("Hi"), *STOP], headers={"Content-Type": "application/json"})
    with FaultServer(script) as server, hub_at(server.url) as hub, hub.complete(MODEL, "?", stream=True) as stream:
        assert list(stream) == ["Hi"]
        assert "application/json" in stream.route.attempts[0].notes[0]


def test_a_stream_does_not_depend_on_where_reads_begin():
    """Also at the first event's brace. Which reads a socket gives is the kernel's affair, so the reader is fed directly."""
    body = b"".join([START, text("a"), text("é"), *STOP])
    for size in (1, 2, 3, 7):
        for start in range(len(START) + 1):
            reading = MessagesReading(providerhub.CallContext(providerhub.Timeout()), {"content-type": "text/event-stream"})
            reads = [body[:start], *(body[at : at + size] for at in range(start, len(body), size))]
            texts = [piece for read in reads if not reading.done for piece in reading.feed(read) if isinstance(piece, str)]
            assert texts == ["a", "é"], (start, size)


def test_a_wrong_content_type_is_noted():
    with (
        FaultServer(chunked([START, text("a"), *STOP], headers={"Content-Type": "text/plain"})) as server,
        hub_at(server.url) as hub,
        hub.complete(MODEL, "?", stream=True) as stream,
    ):
        list(stream)
    assert "text/plain" in stream.completion.route.attempts[0].notes[0]


def test_a_broken_answer_is_continued_without_repeated_space():
    broken = chunked([START, text("Once upon a ")])
    rest = chunked([START, text(" time"), text(" there was"), *STOP])
    with FaultServer(broken, rest) as server:
        others = {"second": ProviderConfig(plugin="anthropic", url=server.url, api_key=CANARY, priority=-1)}
        with hub_at(server.url, others=others) as hub, hub.complete(MODEL, "?", stream=True, on_interrupt="continue") as stream:
            told = "".join(stream)
    # The service refuses white space at the end of a partial answer. So the plugin held it back, and does not write it twice.
    assert server.requests[1].json()["messages"][-1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Once upon a"}],
    }
    assert told == "Once upon a time there was"


def test_models_without_prefill_do_not_continue_an_answer():
    broken = chunked([START, text("Once upon a ")])
    with FaultServer(broken) as server, hub_at(server.url) as hub:
        stream = hub.complete("claude-opus-9", "?", stream=True, on_interrupt="continue")
        with pytest.raises(providerhub.StreamInterruptedError):
            "".join(stream)
        assert server.served == 1


def test_a_refused_key_is_shown_nowhere(caplog):
    refusal = http_response(401, failure("authentication_error", f"invalid x-api-key {CANARY}"))
    with FaultServer(refusal) as server, hub_at(server.url) as hub, pytest.raises(providerhub.AuthenticationError) as caught:
        hub.complete(MODEL, "?")
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caught.value.excerpt + caplog.text
    inside = http_response(200, failure("authentication_error", f"invalid x-api-key {CANARY}"))
    with FaultServer(inside) as server, hub_at(server.url) as hub, pytest.raises(providerhub.AuthenticationError) as caught:
        hub.complete(MODEL, "?", stream=True)
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caught.value.excerpt + caplog.text


def test_a_call_has_headers_betas_and_a_query_of_its_own():
    options = {"anthropic": {"betas": ["c"]}}  # `extra_headers` and `extra_query` are the toolkit's
    with FaultServer(whole(SAID), whole(SAID)) as server, hub_at(server.url, options={"beta": "a,b"}) as hub:
        hub.complete(MODEL, "?", options=options)
        hub.complete(MODEL, "?")
    assert [request.header("anthropic-beta") for request in server.requests] == ["a,b,c", "a,b"]
    assert "betas" not in server.requests[0].json()


def test_the_service_lists_its_models():
    able = {"image_input": {"supported": False}, "pdf_input": {"supported": True}, "thinking": {"supported": False}, "batch": 1}
    data = [
        {"type": "model", "id": "claude-opus-9", "max_input_tokens": 2_000_000, "max_tokens": 300_000, "capabilities": able},
        {"id": "claude-opus-5-5", "capabilities": {"thinking": {"supported": True}}},
        {"id": "claude-3-haiku-20240307", "capabilities": {"thinking": {"supported": True}}},
        {"id": "glm-9"},
        {"id": " "},
        "x",
    ]
    with FaultServer(http_response(200, {"data": data, "has_more": False}), whole(SAID)) as server:
        found = AnthropicItself.discover(ProviderConfig(name="anthropic", url=server.url, api_key=CANARY))
        with hub_at(server.url) as hub:
            hub.complete("claude-opus-9", "?")
    assert [(model.name, model.context_window, model.supports_images, model.price_in) for model in found] == [
        ("claude-opus-9", 2_000_000, False, None),
        ("claude-opus-5-5", 1_000_000, True, 4.0),
        ("claude-3-haiku-20240307", 200_000, True, None),
        ("glm-9", None, None, None),
    ]
    assert [model.supports_files for model in found] == [True, None, None, None]
    assert [model.supports_reasoning for model in found] == [False, True, None, None]
    assert [model.supports_json_schema for model in found] == [True, True, True, None]
    assert [model.supports_prefill for model in found] == [None, None, True, None]
    assert (server.requests[0].method, server.requests[0].target) == ("GET", "/v1/models?limit=1000")
    assert server.requests[0].header("x-api-key") == CANARY
    assert server.requests[1].json()["max_tokens"] == 300_000  # from the service's list


def test_a_list_of_models_in_pages():
    first = {"data": [{"id": "claude-a"}, {"id": "claude-b"}], "has_more": True, "last_id": "claude-b"}
    second = {"data": [{"id": "claude-c"}], "has_more": False, "last_id": "claude-c"}
    with FaultServer(http_response(200, first), http_response(200, second)) as server:
        found = AnthropicItself.discover(ProviderConfig(name="anthropic", url=server.url, api_key=CANARY))
    assert [model.name for model in found] == ["claude-a", "claude-b", "claude-c"]
    assert server.requests[1].target == "/v1/models?limit=1000&after_id=claude-b"


def test_a_list_that_never_ends_is_left():
    pages = [{"data": [{"id": "claude-a"}], "has_more": True, "last_id": f"claude-{place}"} for place in range(30)]
    with FaultServer(*(http_response(200, page) for page in pages)) as server:
        assert len(AnthropicItself.discover(ProviderConfig(name="anthropic", url=server.url, api_key=CANARY))) == 20


def test_every_name_of_a_model_is_sent_as_it_was_given():
    for name in ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-opus-5-5"):
        with FaultServer(whole(SAID)) as server, hub_at(server.url) as hub:
            hub.complete(name, "?")
        assert server.requests[0].json()["model"] == name


def test_the_declared_models():
    known = {model.name: model for model in providerhub_provider().models}
    assert known["claude-haiku-5-5"].context_window == 1_000_000
    assert known["claude-haiku-4-5"].context_window == 200_000
    assert known["claude-*"].context_window is None
    assert [name for name, model in known.items() if model.supports_prefill] == [name for name in known if "4-5" in name]
    assert [name for name, model in known.items() if model.supports_reasoning][:3] == [
        "claude-fable-5-2", "claude-fable-5-1", "claude-opus-5-5",
    ]  # fmt: skip
    assert all(model.supports_json_schema and model.supports_tools and model.supports_images for model in known.values())


def test_an_invalid_list_of_models_is_an_error():
    with (
        FaultServer(http_response(200, {"models": CANARY})) as server,
        pytest.raises(providerhub.ProtocolError, match="list") as caught,
    ):
        AnthropicItself.discover(ProviderConfig(name="anthropic", url=server.url, api_key=CANARY))
    assert CANARY not in caught.value.excerpt


@pytest.mark.parametrize(("name", "value"), [("max_tokens", "many"), ("max_tokens", 0), ("beta", "a\r\nX-Other: 1")])
def test_the_error_for_an_invalid_setting_names_it(name, value):
    with pytest.raises(providerhub.ConfigurationError, match=name):
        AnthropicItself(ProviderConfig(name="anthropic", url="http://127.0.0.1:1", options={name: value}))


def test_the_package_s_readme_names_every_setting():
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
    for setting in providerhub_provider().settings:
        assert re.search(rf"\| `{setting.name}` \| `{setting.env or 'PROVIDERHUB_ANTHROPIC_' + setting.name.upper()}` \|", readme)
