"""The requests that the plugin sends and the answers that it reads, over real sockets."""

import json
import subprocess
import sys

import pytest

import providerhub
from providerhub import (
    AuthenticationError,
    BadRequestError,
    CapabilityError,
    ConfigurationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConfig,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from providerhub.testing import Close, FaultServer, chunked, http_response, openai_chunk, openai_completion, sse
from providerhub_mistral.provider import Mistral

PICTURE = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
HI = http_response(200, openai_completion("Hi"))
NEVER = http_response(500, {"message": "must not be asked"})


def thinking(*texts):
    return {"type": "thinking", "thinking": [{"type": "text", "text": text} for text in texts]}


def text(said):
    return {"type": "text", "text": said}


def whole(content, finish_reason="stop", **message):
    return http_response(200, openai_completion(content, finish_reason=finish_reason, **message))


def streamed(*deltas, finish_reason="stop"):
    return chunked(sse(*(openai_chunk(**delta) for delta in deltas), openai_chunk(finish_reason=finish_reason)))


@pytest.fixture
def sent(hub_at, ask):
    def send(messages="Hello", *, reply=HI, **knobs):
        with FaultServer(reply) as server, hub_at(server.url) as hub:
            answer = ask(hub, messages, **knobs)
        return server.requests[0].json(), answer

    return send


def test_without_a_key_the_variable_is_named():
    settings = providerhub.Settings(allow=("mistral",))
    with providerhub.Hub(settings) as hub, pytest.raises(ConfigurationError, match="MISTRAL_API_KEY"):
        hub.complete("mistral/m", "Hello")


@pytest.mark.parametrize("end", ["", "/v1", "/v1/"])
def test_the_version_of_the_address_is_sent_once(hub_at, ask, end):
    with FaultServer(HI) as server, hub_at(server.url + end) as hub:
        ask(hub)
    assert server.requests[0].target == "/v1/chat/completions"
    assert server.requests[0].header("authorization") == "Bearer canary-key-0123456789"


def test_a_plain_request(sent):
    body, answer = sent(
        system="Be brief.", temperature=0.1, top_p=0.5, max_tokens=9, stop="END", seed=3, reasoning="low",
        parallel_tool_calls=False, tools=[TOOL, {"type": "function", "function": {"name": "run", "strict": True}}],
        tool_choice="required", options={"mistral": {"safe_prompt": True, "top_p": None}},
    )  # fmt: skip
    empty = {"type": "object", "properties": {}}
    assert body == {
        "model": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "temperature": 0.1, "max_tokens": 9, "stop": ["END"], "random_seed": 3, "reasoning_effort": "low",
        "parallel_tool_calls": False, "tool_choice": "any", "safe_prompt": True,
        "tools": [TOOL, {"type": "function", "function": {"name": "run", "strict": True, "parameters": empty}}],
    }  # fmt: skip
    assert (answer.text, answer.finish_reason) == ("Hi", "stop")


def test_a_stream_asks_for_no_options_of_other_vendors(sent):
    body, answer = sent(reply=streamed({"content": "H"}, {"content": "i"}), stream=True)
    assert (body["stream"], "stream_options" in body, answer.text) == (True, False, "Hi")


def test_structured_output(sent):
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    assert sent(response_format=form)[0]["response_format"] == form


def test_messages_hold_only_what_the_api_knows(sent):
    body, _ = sent(
        [
            {"role": "developer", "content": [{**text("Be kind."), "cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "name": "ann", "content": [text("a"), {"type": "image_url", "image_url": {"url": PICTURE}}]},
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": ""}},
            {"role": "function", "name": "look", "content": "seen"},
            {"role": "assistant", "content": None, "refusal": "No.", "annotations": []},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
                                         {"type": "file", "file": {"file_id": "f-1"}}]},
        ]
    )  # fmt: skip
    first, user, call, result, refused, files = body["messages"]
    assert first == {"role": "system", "content": [text("Be kind.")]}
    assert user == {"role": "user", "content": [text("a"), {"type": "image_url", "image_url": {"url": PICTURE}}]}
    assert call["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
    assert result == {"role": "tool", "name": "look", "content": "seen", "tool_call_id": call["tool_calls"][0]["id"]}
    assert refused == {"role": "assistant", "content": "No."}
    assert files["content"] == [
        {"type": "document_url", "document_url": PDF, "document_name": "a.pdf"}, {"type": "file", "file_id": "f-1"},
    ]  # fmt: skip


def test_a_file_without_data_and_a_tool_of_free_text_are_refused(hub_at, ask):
    file = {"role": "user", "content": [{"type": "file", "file": {"file_data": "JVBERi0="}}]}
    with FaultServer(NEVER) as server, hub_at(server.url) as hub:
        with pytest.raises(InvalidRequestError, match=r"messages\[0\]\['content'\]\[0\]"):
            ask(hub, [file])
        with pytest.raises(CapabilityError, match="free text"):
            ask(hub, tools=[{"type": "custom", "custom": {"name": "run"}}])
    assert not server.requests


def test_identifiers_of_other_vendors_are_rewritten_alike(sent):
    names = ("call_abcdefghijk", "toolu_01", "aB3dE5gH9")
    calls = [{"id": name, "type": "function", "index": 0, "function": {"name": "look", "arguments": {"a": 1}}} for name in names]
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in names]
    body, _ = sent([{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": calls}, *results])
    ids = [call["id"] for call in body["messages"][1]["tool_calls"]]
    assert all(len(name) == 9 and name.isalnum() and name.isascii() for name in ids)
    assert len(set(ids)) == 3
    assert ids[2] == "aB3dE5gH9"
    assert [message["tool_call_id"] for message in body["messages"][2:]] == ids
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_goes_back_and_arguments_are_objects(hub_at, ask, stream):
    call = {"id": "aB3dE5gH9", "function": {"name": "look", "arguments": {"at": "é"}}}
    reply = whole([thinking("Hm, ", "so."), text("Wait.")], "tool_calls", tool_calls=[call])
    if stream:
        reply = streamed(
            {"content": [thinking("Hm, ")]}, {"content": [thinking("so.")]}, {"content": [text("Wait.")]}, {"tool_calls": [call]},
            finish_reason="tool_calls",
        )  # fmt: skip
    with FaultServer(reply, streamed({"content": "So."}) if stream else HI) as server, hub_at(server.url) as hub:
        answer = ask(hub, stream=stream, tools=[TOOL])
        talk = [{"role": "user", "content": "?"}, answer.message, answer.tool_result(answer.tool_calls[0], "seen")]
        ask(hub, talk, stream=stream, tools=[TOOL])
    assert (answer.reasoning, answer.text, answer.finish_reason) == ("Hm, so.", "Wait.", "tool_calls")
    assert json.loads(answer.tool_calls[0].arguments) == {"at": "é"}
    _, turn, result = server.requests[1].json()["messages"]
    *thoughts, said = turn["content"]
    assert "".join(part["text"] for thought in thoughts for part in thought["thinking"]) == "Hm, so."
    assert said == text("Wait.")
    assert (turn["tool_calls"][0]["id"], result["tool_call_id"]) == ("aB3dE5gH9", "aB3dE5gH9")
    assert json.loads(turn["tool_calls"][0]["function"]["arguments"]) == {"at": "é"}


def test_identifiers_that_are_null_are_made_up(sent):
    calls = [{"id": "null", "function": {"name": "look", "arguments": "{}"}} for _ in range(2)]
    answer = sent(reply=whole(None, "tool_calls", tool_calls=calls))[1]
    first, second = (call.id for call in answer.tool_calls)
    assert first != second
    assert "null" not in {first, second}


def test_counts_of_the_cache(sent):
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "num_cached_tokens": 4}
    answer = sent(reply=http_response(200, openai_completion("Hi", usage=usage)))[1]
    assert (answer.usage.input_tokens, answer.usage.cached_tokens) == (9, 4)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        (("Once upon", " a time"), " a time"),
        (("On", "ce up", "on a", " time"), " a time"),
        ((" a ", "time"), " a time"),
        (("Once", " again"), "Once again"),
        (("Once",), "Once"),
        (("Once upon",), ""),
    ],
)
def test_a_text_that_is_carried_on_is_not_repeated(sent, pieces, found, stream):
    talk = [{"role": "user", "content": "Tell."}, {"role": "assistant", "content": "Once upon"}]
    reply = streamed(*({"content": piece} for piece in pieces)) if stream else whole("".join(pieces))
    body, answer = sent(talk, reply=reply, stream=stream)
    assert body["messages"][-1] == {"role": "assistant", "content": "Once upon", "prefix": True}
    assert (answer.text, answer.finish_reason) == (found, "stop")


def test_a_broken_stream_is_carried_on(hub_at):
    model = providerhub.ModelInfo("m", supports_stream=True, supports_prefill=True)
    half = chunked(sse(openai_chunk("Once"), openai_chunk(" upon"), Close(), done=False))
    with FaultServer(half) as one, FaultServer(streamed({"content": "Once upon"}, {"content": " a time."})) as two:
        settings = providerhub.Settings(
            providers={
                "first": ProviderConfig(plugin="mistral", url=one.url, api_key="k", models=[model], priority=1),
                "second": ProviderConfig(plugin="mistral", url=two.url, api_key="k", models=[model]),
            },
            allow=("mistral",),
        )
        with providerhub.Hub(settings) as hub, hub.complete("m", "Tell.", stream=True, on_interrupt="continue") as answer:
            list(answer.events())
            assert answer.completion.text == "Once upon a time."


def test_a_finish_by_error_is_a_failure(hub_at, ask):
    with FaultServer(whole("Hal", "error")) as server, hub_at(server.url) as hub, pytest.raises(ServerError):
        ask(hub)
    with (
        FaultServer(streamed({"content": "Hal"}, finish_reason="error")) as server,
        hub_at(server.url) as hub,
        pytest.raises(StreamInterruptedError) as caught,
    ):
        ask(hub, stream=True)
    assert isinstance(caught.value.cause, ServerError)


MISSING = {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required", "input": {}}]}


def refused(message, kind, code=None):
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code, "raw_status_code": 400}


LONG = "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"
ORDER = "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9."
FULL = "Service tier capacity exceeded for this model."
ERRORS = [
    (401, {"detail": "Invalid API Key"}, AuthenticationError, "Invalid API Key"),
    (422, MISSING, BadRequestError, "Field required"),
    (422, refused(MISSING, "invalid_request_error"), BadRequestError, "Field required"),
    (400, refused("Invalid model: m", "invalid_model", "1500"), ModelNotFoundError, "Invalid model"),
    (400, refused(ORDER, "invalid_request_message_order", "3280"), BadRequestError, "length of 9"),
    (400, refused(LONG, "invalid_request_prompt", "3051"), ContextLengthError, "40000"),
    (429, refused("Requests rate limit exceeded", "rate_limited", "1300"), RateLimitError, "rate"),
    (429, refused(FULL, "service_tier_capacity_exceeded", "3505"), RateLimitError, "capacity"),
    (500, refused("Service unavailable.", "internal_server_error", "3000"), ServerError, "Service"),
]


@pytest.mark.parametrize(("status", "body", "kind", "part"), ERRORS)
def test_errors_are_classed_by_what_they_say(hub_at, ask, status, body, kind, part):
    with (
        FaultServer(http_response(status, body)) as server,
        hub_at(server.url) as hub,
        pytest.raises(providerhub.ProviderHubError, match=part) as caught,
    ):
        ask(hub)
    assert type(caught.value) is kind


def entry(name, **capabilities):
    return {"id": name, "object": "model", "capabilities": capabilities, "max_context_length": 131072, "aliases": []}


def test_the_list_holds_what_the_service_says_of_each_model():
    found = [
        entry("small", completion_chat=True, function_calling=True, vision=True, audio=False, reasoning=True),
        entry("small", completion_chat=True, function_calling=True),
        entry("embed", completion_chat=False),
        {"id": "plain"},
    ]
    with FaultServer(http_response(200, {"object": "list", "data": found})) as server:
        small, plain, vectors = Mistral.discover(ProviderConfig(name="mistral", url=f"{server.url}/v1", api_key="k"))
    assert server.requests[0].target == "/v1/models"
    assert (vectors.name, vectors.supports_embeddings) == ("embed", True)
    assert (small.name, small.supports_tools, small.supports_prefill, small.context_window) == ("small", True, True, 131072)
    assert (plain.name, plain.supports_tools, plain.supports_images, plain.context_window) == ("plain", None, None, None)


def test_the_light_module_loads_nothing_heavy():
    code = (
        "import sys; from providerhub import ProviderInfo; before = set(sys.modules); import providerhub_mistral; "
        "print(sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['providerhub_mistral']"
