"""The requests that the plugin sends and the answers that it reads, over real sockets."""

import base64
import json
import subprocess
import sys

import pytest

import providerhub
from providerhub import (
    AuthenticationError,
    CapabilityError,
    ConfigurationError,
    ContentPolicyError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConfig,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    ToolCall,
)
from providerhub.testing import FaultServer, chunked, http_response
from providerhub_cohere import address
from providerhub_cohere.provider import Cohere

PICTURE = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "run", "strict": True}}
USAGE = {
    "billed_units": {"input_tokens": 8, "output_tokens": 12},
    "tokens": {"input_tokens": 300, "output_tokens": 20, "reasoning_tokens": 6},
    "cached_tokens": 144,
}
DOCUMENT = {"type": "document", "document": {"id": "d", "data": "x"}}
EMBED, RERANK = {"name": "embed-v4.0", "endpoints": ["embed"]}, {"name": "rerank-v4.0", "endpoints": ["rerank"]}
NEVER = http_response(500, {"message": "must not be asked"})


def whole(*content, finish_reason="COMPLETE", **message):
    said = {"role": "assistant", "content": list(content), **message}
    return http_response(200, {"id": "c-1", "message": said, "finish_reason": finish_reason, "usage": USAGE})


def text(said):
    return {"type": "text", "text": said}


def thinking(said):
    return {"type": "thinking", "thinking": said}


HI = whole(text("Hi"))


def event(kind, index=None, **message):
    data = {"type": kind, **({} if index is None else {"index": index}), **({"delta": {"message": message}} if message else {})}
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def started():
    begin = {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": ""}}}
    return f"event: message-start\ndata: {json.dumps(begin)}\n\n".encode()


def ended(finish_reason="COMPLETE", *, done=True, **delta):
    data = {"type": "message-end", "delta": {"finish_reason": finish_reason, "usage": USAGE, **delta}}
    return f"event: message-end\ndata: {json.dumps(data)}\n\n".encode() + (b"data: [DONE]\n\n" if done else b"")


def call(name="look", arguments="{}", identifier="look_1"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.fixture
def sent(hub_at, ask):
    def send(messages="Hello", *, reply=HI, **knobs):
        with FaultServer(reply) as server, hub_at(server.url) as hub:
            answer = ask(hub, messages, **knobs)
        return server.requests[0].json(), answer

    return send


def test_without_a_key_the_variable_is_named():
    with providerhub.Hub(providerhub.Settings(allow=("cohere",))) as hub, pytest.raises(ConfigurationError, match="CO_API_KEY"):
        hub.complete("cohere/m", "Hello")


@pytest.mark.parametrize("url", ["https://api.acme.example", "https://api.acme.example/v2/", "https://api.acme.example/v1"])
def test_the_version_is_not_part_of_the_address(url):
    assert address(url) == "https://api.acme.example"


def test_a_plain_request_and_its_answer(sent):
    body, answer = sent(system="Be brief.", temperature=0, max_tokens=9, top_p=0.5, stop="END", seed=1)
    assert body == {
        "model": "m", "stream": False, "temperature": 0, "max_tokens": 9, "p": 0.5, "stop_sequences": ["END"], "seed": 1,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    }  # fmt: skip
    assert (answer.text, answer.finish_reason, answer.finish_said, answer.id) == ("Hi", "stop", "COMPLETE", "c-1")
    assert answer.turn is None


def test_the_counts_are_the_charged_ones_and_those_of_the_model_are_beside(sent):
    usage = sent()[1].usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (8, 12, None, 6)
    assert [usage.others[name] for name in ("tokens.input_tokens", "tokens.output_tokens", "cached_tokens")] == [300, 20, 144]


def test_a_gateway_without_charged_counts_gives_those_of_the_model():
    from providerhub_cohere._reading import usage_of

    tokens = {"input_tokens": 34.0, "output_tokens": 5.0, "image_tokens": 259.0}
    usage = usage_of({"tokens": tokens, "cached_tokens": 30})
    assert (usage.input_tokens, usage.input_image_tokens, usage.output_tokens, usage.cached_tokens) == (293, 259, 5, 30)
    assert usage_of({"billed_units": {"input_tokens": 267.0}, "tokens": tokens}).input_tokens == 267
    assert usage_of({"billed_units": {"search_units": 1}}).input_tokens is None


@pytest.mark.parametrize(
    ("reasoning", "value"),
    [
        ("none", {"type": "disabled"}),
        ("low", {"type": "enabled", "token_budget": 2048}),
        ("high", {"type": "enabled"}),
        (500, {"type": "enabled", "token_budget": 500}),
    ],
)
def test_reasoning(sent, reasoning, value):
    assert sent(reasoning=reasoning)[0]["thinking"] == value


def test_structured_output(sent):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    assert sent(response_format=form)[0]["response_format"] == {"type": "json_object", "json_schema": schema}
    assert sent(response_format={"type": "json_object"})[0]["response_format"] == {"type": "json_object"}


def test_tools_and_their_choice(sent):
    empty = {"type": "object", "properties": {}}
    body, _ = sent(tools=[TOOL, OTHER], tool_choice="required")
    assert body["tools"] == [TOOL, {"type": "function", "function": {"name": "run", "parameters": empty}}]
    assert (body["tool_choice"], body["strict_tools"]) == ("REQUIRED", True)
    assert sent(tools=[TOOL], tool_choice="none")[0]["tool_choice"] == "NONE"
    assert "tool_choice" not in sent(tools=[TOOL], tool_choice="auto")[0]
    body, _ = sent(tools=[TOOL, OTHER], tool_choice={"type": "function", "function": {"name": "look"}})
    assert (body["tools"], body["tool_choice"]) == ([TOOL], "REQUIRED")


def test_one_call_at_a_time_cannot_be_asked_for(hub_at, ask):
    with (
        FaultServer(NEVER) as server,
        hub_at(server.url) as hub,
        pytest.raises(CapabilityError, match="leave parallel_tool_calls"),
    ):
        ask(hub, tools=[TOOL], parallel_tool_calls=False)
    assert not server.requests


def test_a_choice_that_is_not_among_the_tools_is_refused(hub_at, ask):
    choice = {"type": "function", "function": {"name": "other"}}
    with FaultServer(NEVER) as server, hub_at(server.url) as hub, pytest.raises(InvalidRequestError, match="other"):
        ask(hub, tools=[TOOL], tool_choice=choice)
    assert not server.requests


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_with_a_plan_and_thinking(hub_at, ask, stream):
    calls = [call(arguments='{"at": "é"}'), call("run", "", "r")]
    first = whole(thinking("Hm."), text("Wait."), tool_plan="I will look.", tool_calls=calls, finish_reason="TOOL_CALL")
    streamed = chunked(
        [
            started(),
            event("tool-plan-delta", tool_plan="I will "), event("tool-plan-delta", tool_plan="look."),
            event("content-start", 0, content=thinking("")), event("content-delta", 0, content={"thinking": "Hm."}),
            event("content-end", 0),
            event("content-start", 1, content=text("")), event("content-delta", 1, content={"text": "Wait."}),
            event("content-end", 1),
            event("tool-call-start", 0, tool_calls=call(arguments="")),
            event("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"at": '}}),
            event("tool-call-delta", 0, tool_calls={"function": {"arguments": '"é"}'}}), event("tool-call-end", 0),
            event("tool-call-start", 1, tool_calls=call("run", "", "r")), event("tool-call-end", 1),
            event("debug"), ended("TOOL_CALL"),
        ]
    )  # fmt: skip
    second = (
        chunked([started(), event("content-delta", 0, content={"text": "So."}), ended(done=False)])
        if stream
        else whole(text("So."))
    )
    with FaultServer(streamed if stream else first, second) as server, hub_at(server.url) as hub:
        answer = ask(hub, stream=stream, tools=[TOOL, OTHER])
        talk = [{"role": "user", "content": "?"}, answer.message, *(answer.tool_result(one, "seen") for one in answer.tool_calls)]
        assert ask(hub, talk, stream=stream, tools=[TOOL, OTHER]).text == "So."
    assert answer.tool_calls == (ToolCall("look_1", "look", '{"at": "é"}'), ToolCall("r", "run", "{}"))
    assert (answer.reasoning, answer.text, answer.finish_reason) == ("I will look.Hm.", "Wait.", "tool_calls")
    _, turn, *results = server.requests[1].json()["messages"]
    assert turn == {
        "role": "assistant", "tool_plan": "I will look.", "content": [thinking("Hm."), text("Wait.")],
        "tool_calls": [call(arguments='{"at": "é"}'), call("run", "{}", "r")],
    }  # fmt: skip
    assert results == [{"role": "tool", "tool_call_id": name, "content": "seen"} for name in ("look_1", "r")]


def test_other_vendors_turns_and_older_shapes(sent):
    body, _ = sent(
        [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [text("a"), {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]},
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": ""}},
            {"role": "function", "name": "look", "content": "seen"},
            {"role": "assistant", "content": "", "reasoning_content": "x", "tool_calls": [
                {"id": "c", "index": 0, "type": "function", "function": {"name": "run", "arguments": {"a": 1}}}]},
            {"role": "tool", "tool_call_id": "c", "content": [text("b"), DOCUMENT]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": [{**text("c"), "cache_control": {"type": "ephemeral"}}], "name": "ann"},
        ]
    )  # fmt: skip
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [text("a"), {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]},
        {"role": "assistant", "tool_calls": [call(identifier="function_look")]},
        {"role": "tool", "tool_call_id": "function_look", "content": "seen"},
        {"role": "assistant", "tool_calls": [call("run", '{"a": 1}', "c")]},
        {"role": "tool", "tool_call_id": "c", "content": [text("b"), DOCUMENT]},
        {"role": "assistant", "content": [text("No.")]},
        {"role": "user", "content": [text("c")]},
    ]


def data_url(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_a_text_file_is_a_document(sent):
    file = {"type": "file", "file": {"filename": "a.txt", "file_data": data_url("text/plain", "né".encode())}}
    body, _ = sent([{"role": "user", "content": [text("Sum up."), file]}], options={"cohere": {"documents": ["x"]}})
    assert body["documents"] == [{"data": {"title": "a.txt", "text": "né"}}, "x"]
    assert body["messages"] == [{"role": "user", "content": [text("Sum up.")]}]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "file", "file": {"file_data": data_url("application/pdf", b"%PDF-")}}, CapabilityError),
        ({"type": "file", "file": {"file_data": data_url("text/plain", b"\xff")}}, InvalidRequestError),
        ({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}, CapabilityError),
        ({"type": "video_url", "video_url": {"url": "https://acme.example/a.mp4"}}, CapabilityError),
    ],
)
def test_what_the_api_cannot_carry_is_named_before_sending(hub_at, ask, part, kind):
    with FaultServer(NEVER) as server, hub_at(server.url) as hub, pytest.raises(kind, match=r"messages\[0\]\['content'\]\[0\]"):
        ask(hub, [{"role": "user", "content": [part]}])
    assert not server.requests


def test_a_file_that_the_api_cannot_carry_is_no_lack_of_all_files(hub_at, ask):
    files = [data_url("application/pdf", b"%PDF-"), data_url("text/plain", b"Hi")]
    with FaultServer(whole(text("Hi"))) as server, hub_at(server.url) as hub:
        with pytest.raises(CapabilityError) as caught:
            ask(hub, [{"role": "user", "content": [{"type": "file", "file": {"file_data": files[0]}}]}])
        assert not caught.value.capability
        assert ask(hub, ["?", {"type": "file", "file": {"file_data": files[1]}}]).text == "Hi"


SOURCE = {
    "type": "document",
    "id": "d1",
    "document": {"id": "d1", "title": "Facts", "url": "https://acme.example/f", "text": "..."},
}
CITED = {
    "start": 3,
    "end": 6,
    "text": "abc",
    "type": "TEXT_CONTENT",
    "sources": [SOURCE, {"type": "tool", "id": "t", "tool_output": {}}],
}


@pytest.mark.parametrize("stream", [False, True])
def test_citations_count_from_the_beginning_of_the_text(hub_at, ask, stream):
    second = {**CITED, "content_index": 2, "start": 0, "end": 2, "text": "gh", "sources": [SOURCE]}
    planned = {**CITED, "type": "PLAN", "sources": [SOURCE]}
    reply = whole(text("xx abc"), thinking("Hm."), text("gh"), citations=[CITED, second, planned])
    if stream:
        reply = chunked(
            [
                started(), event("content-start", 0, content=text("")), event("content-delta", 0, content={"text": "xx abc"}),
                event("citation-start", 0, citations=CITED), event("citation-end", 0),
                event("content-start", 1, content=thinking("Hm.")),
                event("content-start", 2, content=text("")), event("content-delta", 2, content={"text": "gh"}),
                event("citation-start", 1, citations=second), event("citation-start", 2, citations=planned), ended(),
            ]
        )  # fmt: skip
    with FaultServer(reply) as server, hub_at(server.url) as hub:
        answer = ask(hub, stream=stream)
    first, tool, last, plan = answer.citations
    assert (first.url, first.title, first.source) == ("https://acme.example/f", "Facts", SOURCE)
    assert (tool.url, tool.source["id"]) == (None, "t")
    assert [answer.text[one.start : one.end] for one in (first, tool, last)] == ["abc", "abc", "gh"]
    assert (plan.start, plan.end, plan.source["of"]["type"]) == (None, None, "PLAN")


def test_options_are_merged_in_last(sent):
    body, _ = sent(top_p=0.5, options={"cohere": {"p": 0.9, "k": 3, "safety_mode": "NONE", "stream": None}})
    assert (body["p"], body["k"], body["safety_mode"], "stream" in body) == (0.9, 3, "NONE", False)


@pytest.mark.parametrize(("said", "reason"), [("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length"), ("NEW", "NEW")])
def test_finish_words(sent, said, reason):
    answer = sent(reply=whole(text("Hi"), finish_reason=said))[1]
    assert (answer.finish_reason, answer.finish_said) == (reason, None if said == reason else said)


@pytest.mark.parametrize(("said", "kind"), [("ERROR", ServerError), ("TIMEOUT", ServerError)])
def test_an_answer_that_ends_with_a_failure_fails(hub_at, ask, said, kind):
    with (
        FaultServer(whole(text("Hal"), finish_reason=said)) as server,
        hub_at(server.url) as hub,
        pytest.raises(kind, match=said),
    ):
        ask(hub)
    begun = [started(), event("content-delta", 0, content={"text": "Hal"})]
    with (
        FaultServer(chunked([*begun, ended(said, error="the model broke")])) as server,
        hub_at(server.url) as hub,
        pytest.raises(StreamInterruptedError, match="the model broke") as caught,
    ):
        ask(hub, stream=True)
    assert isinstance(caught.value.cause, kind)
    assert caught.value.completion.text == "Hal"


def test_a_stream_without_its_last_event_was_cut(hub_at, ask):
    reply = chunked([started(), event("content-delta", 0, content={"text": "Hal"})])
    with FaultServer(reply) as server, hub_at(server.url) as hub, pytest.raises(StreamInterruptedError):
        ask(hub, stream=True)


@pytest.mark.parametrize("cut", [1, 7, 50])
def test_cut_anywhere_is_whole(hub_at, ask, cut):
    data = started() + event("content-delta", 0, content={"text": "Grüße 日本"}) + ended()
    with FaultServer(chunked([data[at : at + cut] for at in range(0, len(data), cut)])) as server, hub_at(server.url) as hub:
        answer = ask(hub, stream=True)
    assert (answer.text, answer.usage.output_tokens) == ("Grüße 日本", 12)


def test_logprobs(sent):
    body = {"id": "c", "message": {"content": [text("Hi")]}, "finish_reason": "COMPLETE", "logprobs": [{"token_ids": [1]}]}
    assert sent(reply=http_response(200, body))[1].logprobs == [{"token_ids": [1]}]


def test_the_older_version_of_the_api_is_not_an_answer(hub_at, ask):
    with (
        FaultServer(http_response(200, {"text": "Hi", "finish_reason": "COMPLETE"})) as server,
        hub_at(server.url) as hub,
        pytest.raises(providerhub.ProtocolError, match="message"),
    ):
        ask(hub)


ERRORS = [
    (401, {"message": "invalid api token"}, AuthenticationError),
    (498, {"message": "the request contains a deny-listed token"}, ContentPolicyError),
    (498, {"message": "invalid token"}, AuthenticationError),
    (400, {"error_type": "TOO_MANY_TOKENS", "message": "too many tokens: size limit exceeded by 2 tokens."}, ContextLengthError),
    (404, {"message": "model 'm' was removed on September 15, 2025."}, ModelNotFoundError),
    (429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."}, QuotaExceededError),
    (429, {"message": "You are using a Trial key, which is limited to 20 API calls / minute."}, RateLimitError),
    (500, {"message": "internal server error"}, ServerError),
    (504, {"message": "timeout"}, ServerError),
]


@pytest.mark.parametrize(
    ("status", "body", "kind"), ERRORS, ids=[f"{status}-{body['message'][:20]}" for status, body, _ in ERRORS]
)
def test_errors_are_classed_by_what_they_say(hub_at, ask, status, body, kind):
    with (
        FaultServer(http_response(status, {"id": "e", **body})) as server,
        hub_at(server.url) as hub,
        pytest.raises(providerhub.ProviderHubError) as caught,
    ):
        ask(hub)
    assert type(caught.value) is kind
    assert "canary" not in str(caught.value)


def pages(request):
    if "page_token=two" in request.target:
        return http_response(200, {"models": [{"name": "command-r", "endpoints": ["chat"]}]})
    vision = {"name": "command-v", "context_length": 128000.0, "features": ["vision", "json_schema"]}
    thinker = {"name": "command-t", "context_length": 256000, "features": ["tools", "reasoning"]}
    return http_response(200, {"models": [vision, thinker, {"name": None}, EMBED, RERANK], "next_page_token": "two"})


def test_the_list_holds_what_the_service_says_of_each_model():
    with FaultServer(pages) as server:
        vision, thinker, plain, vectors = Cohere.discover(ProviderConfig(name="cohere", url=server.url, api_key="k"))
    assert (vectors.name, vectors.supports_embeddings, vectors.supports_stream) == ("embed-v4.0", True, None)
    assert (vision.name, vision.supports_images, vision.supports_tools, vision.context_window) == (
        "command-v",
        True,
        False,
        128000,
    )
    assert (thinker.supports_reasoning, thinker.supports_tools, thinker.supports_json_schema) == (True, True, False)
    assert (plain.name, plain.supports_tools, plain.context_window) == ("command-r", None, None)


def test_the_light_module_loads_nothing_heavy():
    code = (
        "import sys; from providerhub import ProviderInfo; before = set(sys.modules); import providerhub_cohere; "
        "print(sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['providerhub_cohere']"
