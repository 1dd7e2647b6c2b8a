"""The requests that the plugin sends and the answers that it reads, over real sockets."""

import json
import socket
import subprocess
import sys

import pytest

import providerhub
from providerhub import (
    AuthenticationError,
    CapabilityError,
    ConfigurationError,
    ContextLengthError,
    EmptyAnswerError,
    ModelInfo,
    ModelNotFoundError,
    ProviderConfig,
    ProviderConnectionError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    ToolCall,
)
from providerhub.testing import FaultServer, chunked, http_response
from providerhub_ollama import address, providerhub_provider
from providerhub_ollama.provider import Ollama

PICTURE = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
TIMES = {"total_duration": 9, "load_duration": 2, "eval_duration": 5}
COUNTS = {"prompt_eval_count": 5, "eval_count": 7}
NEVER = http_response(500, {"error": "must not be asked"})


def line(message=None, **fields):
    said = {"role": "assistant", "content": "", **(message or {})}
    return {"model": "m:latest", "created_at": "2026-10-01T10:00:00.5Z", "message": said, "done": False, **fields}


def end(message=None, **fields):
    return line(message, **{"done": True, "done_reason": "stop", **COUNTS, **TIMES, **fields})


def answered(message, **fields):
    return http_response(200, end(message, **fields))


def lines(*objects):
    return chunked([json.dumps(one).encode() + b"\n" for one in objects], headers={"Content-Type": "application/x-ndjson"})


HI = answered({"content": "Hi"})


@pytest.fixture
def sent(hub_at, ask):
    def send(messages="Hello", *, reply=HI, config=None, **knobs):
        with FaultServer(reply) as server, hub_at(server.url, **(config or {})) as hub:
            answer = ask(hub, messages, **knobs)
        return server.requests[0].json(), answer

    return send


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        (":5000", "http://127.0.0.1:5000"),
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:80/ollama/", "http://box:80/ollama"),
        ("[::]:7", "http://[::1]:7"),
        ("[::1]", "http://[::1]:11434"),
        ("http://0.0.0.0", "http://127.0.0.1"),
        ("http://box:1", "http://box:1"),
        ("https://ollama.com/api", "https://ollama.com"),
    ],
)
def test_the_forms_of_an_address(host, url):
    assert address(host) == url


def test_the_variable_that_the_server_reads_names_the_address(hub_at, ask, monkeypatch):
    with FaultServer(HI) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://").replace("127.0.0.1", "0.0.0.0"))
        with hub_at() as hub:
            assert ask(hub).text == "Hi"
    assert server.requests[0].target == "/api/chat"
    assert server.requests[0].header("authorization") == ""


def test_the_address_of_the_other_protocol_is_refused(hub_at):
    with hub_at("http://127.0.0.1:11434/v1") as hub, pytest.raises(ConfigurationError, match=r"url.*/v1.*remove"):
        hub.complete("ollama/m", "Hello")


def test_a_key_is_a_bearer_token_and_the_cloud_needs_one(hub_at, ask):
    with FaultServer(HI) as server, hub_at(server.url, api_key="canary-1") as hub:
        ask(hub)
    assert server.requests[0].header("authorization") == "Bearer canary-1"
    with pytest.raises(ConfigurationError, match="OLLAMA_API_KEY"):
        Ollama(ProviderConfig(name="ollama", url="https://ollama.com"))


@pytest.mark.parametrize("value", ["0", "-1", "many", "4.5"])
def test_a_wrong_num_ctx_names_the_setting(hub_at, value):
    with hub_at("http://127.0.0.1:9", options={"num_ctx": value}) as hub, pytest.raises(ConfigurationError, match="num_ctx"):
        hub.complete("ollama/m", "Hello")


def test_a_plain_request(sent):
    body, answer = sent(system="Be brief.")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert body == {"model": "m", "messages": messages, "stream": False, "truncate": False}
    assert (answer.text, answer.finish_reason, answer.finish_said) == ("Hi", "stop", None)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, dict(answer.usage.others)) == (5, 7, COUNTS)
    assert answer.served_model == "m:latest"
    assert answer.details["timings"] == TIMES
    assert answer.details["created"].startswith("2026")
    assert answer.turn is None


def test_the_keywords_become_options(sent):
    body, _ = sent(
        temperature=0.5, top_p=0.9, max_tokens=0, seed=3, stop="END", reasoning="low",
        options={"ollama": {"top_k": 4, "keep_alive": "5m", "options": {"min_p": 0.1}, "logprobs": True, "truncate": None}},
        config={"options": {"num_ctx": "8192", "keep_alive": "1h"}},
    )  # fmt: skip
    assert body["options"] == {
        "temperature": 0.5, "top_p": 0.9, "num_predict": 0, "seed": 3, "stop": ["END"], "num_ctx": 8192, "min_p": 0.1, "top_k": 4,
    }  # fmt: skip
    assert (body["think"], body["keep_alive"], body["logprobs"]) == ("low", "5m", True)
    assert "truncate" not in body


@pytest.mark.parametrize(
    ("reasoning", "think"),
    [("none", False), ("minimal", "low"), ("high", "high"), (2048, "low"), (8192, "medium"), (9000, "high")],
)
def test_reasoning(sent, reasoning, think):
    assert sent(reasoning=reasoning)[0]["think"] is think or sent(reasoning=reasoning)[0]["think"] == think


def test_structured_output(sent):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert sent(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})[0]["format"] == schema
    assert sent(response_format={"type": "json_object"})[0]["format"] == "json"
    assert "format" not in sent(response_format={"type": "text"})[0]


def test_images_stand_beside_the_text(sent):
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PICTURE}}, {"type": "text", "text": "b"}]
    body, _ = sent([{"role": "user", "content": parts}])
    assert body["messages"] == [{"role": "user", "content": "a\nb", "images": ["iVBORw0KGgo="]}]


@pytest.mark.parametrize(
    ("part", "capability"),
    [
        ({"type": "image_url", "image_url": {"url": "https://acme.example/cat.png"}}, ""),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}, "files"),
        ({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}, "audio"),
        ({"type": "video_url", "video_url": {"url": "https://acme.example/a.mp4"}}, "video"),
        ({"type": "tool_result", "tool_use_id": "a", "content": "x"}, ""),
    ],
)
def test_what_the_protocol_cannot_carry_is_named_before_sending(hub_at, ask, part, capability):
    with (
        FaultServer(NEVER) as server,
        hub_at(server.url) as hub,
        pytest.raises(CapabilityError, match=r"messages\[0\]") as caught,
    ):
        ask(hub, [{"role": "user", "content": [part]}])
    assert caught.value.capability == capability
    assert not server.requests


def test_one_call_at_a_time_cannot_be_asked_for(hub_at, ask):
    with (
        FaultServer(NEVER) as server,
        hub_at(server.url) as hub,
        pytest.raises(CapabilityError, match="leave parallel_tool_calls"),
    ):
        ask(hub, tools=[TOOL], parallel_tool_calls=False)
    assert not server.requests


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
def test_a_forced_tool_is_refused(hub_at, ask, choice):
    with FaultServer(NEVER) as server, hub_at(server.url) as hub, pytest.raises(CapabilityError, match="tool_choice"):
        ask(hub, tools=[TOOL], tool_choice=choice)
    assert not server.requests


def test_tools(sent):
    body, _ = sent(tools=[TOOL], tool_choice="auto")
    assert body["tools"] == [TOOL]
    assert "tools" not in sent(tools=[TOOL], tool_choice="none")[0]


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_with_thinking_and_tools(hub_at, ask, stream):
    calls = [
        {"id": "call_1", "function": {"index": 0, "name": "look", "arguments": {"at": "é"}}},
        {"function": {"name": "look", "arguments": {}}},
    ]
    said = {"thinking": "Hm, let me look.", "content": "Wait.", "tool_calls": calls}
    streamed = lines(line({"thinking": "Hm, "}), line({"thinking": "let me look."}), line({"content": "Wait."}),
                     line({"tool_calls": calls[:1]}), line({"tool_calls": calls[1:]}), end())  # fmt: skip
    with FaultServer(streamed if stream else answered(said), lines(end()) if stream else HI) as server:
        with hub_at(server.url) as hub:
            answer = ask(hub, stream=stream, tools=[TOOL])
        first, second = answer.tool_calls
        assert first == ToolCall("call_1", "look", '{"at": "é"}')
        assert (second.name, second.arguments) == ("look", "{}")
        assert second.id not in {"", first.id}
        assert (answer.reasoning, answer.text) == ("Hm, let me look.", "Wait.")
        assert (answer.finish_reason, answer.finish_said) == ("tool_calls", "stop")
        talk = [
            {"role": "user", "content": "Hello"},
            answer.message,
            *(answer.tool_result(call, "seen") for call in answer.tool_calls),
        ]
        with hub_at(server.url) as hub:
            ask(hub, talk, stream=stream, tools=[TOOL])
    _, turn, *results = server.requests[1].json()["messages"]
    assert (turn["thinking"], turn["content"]) == ("Hm, let me look.", "Wait.")
    assert turn["tool_calls"] == [
        {"id": "call_1", "function": {"name": "look", "arguments": {"at": "é"}}},
        {"id": second.id, "function": {"name": "look", "arguments": {}}},
    ]
    assert results == [
        {"role": "tool", "content": "seen", "tool_name": "look", "tool_call_id": name} for name in (first.id, second.id)
    ]


def test_other_vendors_turns_and_older_shapes(sent):
    body, _ = sent(
        [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": ""}},
            {"role": "function", "name": "look", "content": "seen"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "So."}],
             "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "run", "input": "ls"}}]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}]},
        ]
    )  # fmt: skip
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "function_look", "function": {"name": "look", "arguments": {}}}],
        },
        {"role": "tool", "content": "seen", "tool_name": "look", "tool_call_id": "function_look"},
        {
            "role": "assistant",
            "content": "So.",
            "tool_calls": [{"id": "c", "function": {"name": "run", "arguments": {"input": "ls"}}}],
        },
        {"role": "tool", "content": "a", "tool_name": "run", "tool_call_id": "c"},
    ]


@pytest.mark.parametrize("arguments", ['{"city": "Os', "[1]", '"x"'])
def test_a_conversation_goes_on_after_arguments_that_are_no_object(sent, arguments):
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": arguments}}
    talk = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": ""}]
    body, _ = sent([{"role": "user", "content": "?"}, *talk])
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"input": arguments}


def test_a_server_that_only_loads_the_model_gave_no_answer(hub_at, ask):
    for stream in (False, True):
        reply = lines(end(done_reason="load"))
        with FaultServer(reply) as server, hub_at(server.url) as hub, pytest.raises(EmptyAnswerError, match="'load'"):
            ask(hub, stream=stream)


def test_the_last_line_may_hold_text_and_the_length_is_told(hub_at, ask):
    reply = lines(line({"content": "One "}), end({"content": "two"}, done_reason="length", eval_count=None))
    with FaultServer(reply) as server, hub_at(server.url) as hub:
        answer = ask(hub, stream=True)
    assert (answer.text, answer.finish_reason, answer.usage.output_tokens) == ("One two", "length", None)


def test_details_and_images_of_an_answer(sent):
    odds = [{"token": "Hi", "logprob": -0.1}]
    _, answer = sent(
        reply=answered({"content": "Hi", "images": ["AAAA"]}, logprobs=odds, remote_host="https://ollama.com", new=1)
    )
    assert (answer.logprobs, answer.details["served_by"], answer.details["new"]) == (odds, "https://ollama.com", 1)
    assert answer.media[0].base64 == "AAAA"


def test_a_stream_that_is_asked_whole_and_a_whole_answer_that_is_asked_as_a_stream(hub_at, ask):
    for reply, stream in ((lines(line({"content": "H"}), end({"content": "i"})), False), (HI, True)):
        with FaultServer(reply) as server, hub_at(server.url) as hub:
            assert ask(hub, stream=stream).text == "Hi"


@pytest.mark.parametrize("cut", [1, 7, 50])
def test_cut_anywhere_is_whole(hub_at, ask, cut):
    data = b"".join(
        json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in (line({"content": "Grüße "}), end({"content": "日本"}))
    )
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    with FaultServer(chunked(pieces, headers={"Content-Type": "application/x-ndjson"})) as server, hub_at(server.url) as hub:
        answer = ask(hub, stream=True)
    assert (answer.text, answer.usage.output_tokens) == ("Grüße 日本", 7)


def test_a_stream_without_its_last_line_was_cut(hub_at, ask):
    with (
        FaultServer(lines(line({"content": "One "}))) as server,
        hub_at(server.url) as hub,
        pytest.raises(StreamInterruptedError),
    ):
        ask(hub, stream=True)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_as_a_line(hub_at, ask, stream):
    reply = (
        lines({"error": "llama runner process has terminated"})
        if stream
        else http_response(200, {"error": "an error was encountered"})
    )
    with (
        FaultServer(reply) as server,
        hub_at(server.url) as hub,
        pytest.raises(providerhub.ProviderError, match=r"terminated|encountered"),
    ):
        ask(hub, stream=stream)


NESTED = json.dumps({"error": {"code": 400, "message": "request (8889 tokens) exceeds the available context size (4096 tokens)"}})
ERRORS = [
    (400, "registry.ollama.ai/library/m:latest does not support tools", CapabilityError, "tools"),
    (400, '"m" does not support thinking', CapabilityError, "reasoning"),
    (400, 'think value "max" is not supported for this model', CapabilityError, ""),
    (400, NESTED, ContextLengthError, "set num_ctx"),
    (
        400,
        "the prompt is longer than the context length currently available to the model; raise it",
        ContextLengthError,
        "num_ctx",
    ),
    (500, "no user query found in messages.", ContextLengthError, "num_ctx"),
    (400, '"embedder" does not support chat', ModelNotFoundError, "a chat model"),
    (404, "model 'm' not found", ModelNotFoundError, "ollama pull"),
    (500, "model requires more system memory (9.0 GiB) than is available (3.0 GiB)", ModelNotFoundError, "smaller"),
    (403, "this model requires a subscription, upgrade for access", ModelNotFoundError, ""),
    (429, "you have reached your weekly usage limit, please upgrade", QuotaExceededError, ""),
    (503, "server busy, please try again.  maximum pending requests exceeded", RateLimitError, ""),
    (500, "llama runner process has terminated: exit status 2", ServerError, ""),
    (401, "unauthorized", AuthenticationError, ""),
]


@pytest.mark.parametrize(("status", "text", "kind", "part"), ERRORS, ids=[text[:30] for _, text, _, _ in ERRORS])
def test_errors_are_classed_by_what_they_say(hub_at, ask, status, text, kind, part):
    with FaultServer(http_response(status, {"error": text})) as server, hub_at(server.url) as hub, pytest.raises(kind) as caught:
        ask(hub)
    assert type(caught.value) is kind
    assert part in str(caught.value) or part == getattr(caught.value, "capability", None)


def test_a_prompt_above_num_ctx_is_refused_before_sending(hub_at, ask):
    long = "word " * 40_000
    with FaultServer(HI, HI) as server, hub_at(server.url, options={"num_ctx": 4096}) as hub:
        with pytest.raises(ContextLengthError, match=r"num_ctx is 4,096"):
            ask(hub, long)
        assert not server.requests
        assert ask(hub, "word " * 4000).text == "Hi"  # the prompt may fit, so the server decides
        assert ask(hub, long, options={"ollama": {"truncate": True}}).text == "Hi"


@pytest.mark.parametrize(("words", "read", "noted"), [(40_000, 2051, True), (6000, 4096, True), (6000, 6010, False)])
def test_a_prompt_that_an_older_server_has_cut_is_noted(sent, words, read, noted):
    _, answer = sent("word " * words, reply=answered({"content": "Hi"}, prompt_eval_count=read))
    assert any("it may have cut the prompt" in note for note in answer.route.attempts[0].notes) == noted


TAGS = {
    "models": [{"name": name, "model": name} for name in ("qwen3:latest", "old:7b", "embed:1b", "gone:1b")] + [{"name": " "}, 3]
}
SHOWN = {
    "qwen3:latest": {
        "capabilities": ["completion", "tools", "thinking"],
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960, "qwen3.block_count": 36},
    },
    "old:7b": {"parameters": 'stop "</s>"\nnum_ctx   8192', "model_info": {"llama.context_length": 32768}},
    "embed:1b": {"capabilities": ["embedding"]},
}


def tags(request):
    if request.target == "/api/tags":
        return http_response(200, TAGS)
    shown = SHOWN.get(request.json()["model"])
    return http_response(200, shown) if shown else http_response(404, {"error": "model 'gone:1b' not found"})


def test_the_list_holds_what_the_server_says_of_each_model():
    with FaultServer(tags) as server:
        first, old, gone, vectors = Ollama.discover(ProviderConfig(name="ollama", url=server.url))
        small = Ollama.discover(ProviderConfig(name="ollama", url=server.url, options={"num_ctx": 4096}))[0]
    assert first == ModelInfo(
        "qwen3:latest",
        aliases=("qwen3",), supports_stream=True, supports_tools=True, supports_images=False, supports_reasoning=True,
        supports_json_schema=True, supports_files=False, supports_audio=False, context_window=40960,
    )  # fmt: skip
    assert (old.name, old.aliases, old.supports_tools, old.context_window) == ("old:7b", (), None, 8192)
    assert (gone.name, gone.context_window) == ("gone:1b", None)
    assert small.context_window == 4096
    assert vectors == ModelInfo("embed:1b", supports_embeddings=True)


def test_nothing_needs_to_be_configured(monkeypatch):
    """A name without a provider finds the server, and the model by its name without the tag."""

    def reply(request):
        return HI if request.target == "/api/chat" else tags(request)

    with FaultServer(reply) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        with providerhub.Hub(providerhub.Settings(allow=("ollama",))) as hub:
            assert hub.complete("qwen3", "Hello").text == "Hi"
    assert server.requests[-1].json()["model"] in {"qwen3", "qwen3:latest"}


def test_without_a_server_at_the_usual_address_the_provider_has_no_models(hub_at, ask, monkeypatch):
    """The plugin may just be installed: a misspelt name must not wait for it, nor be blamed on it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        usual = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setattr("providerhub_ollama.URL", usual)
    assert Ollama.discover(ProviderConfig(name="ollama", url=usual)) == []
    with hub_at(usual) as hub, pytest.raises(ProviderConnectionError, match=r"ollama serve.*url.*OLLAMA_HOST"):
        ask(hub)
    monkeypatch.undo()
    with pytest.raises(ProviderConnectionError):
        Ollama.discover(ProviderConfig(name="ollama", url=usual))


def test_the_declaration():
    info = providerhub_provider()
    assert (info.slow_start, info.models, info.needs_auth) == (True, (), False)


def test_the_light_module_loads_nothing_heavy():
    code = (
        "import sys; from providerhub import ProviderInfo; before = set(sys.modules); import providerhub_ollama; "
        "print(sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['providerhub_ollama']"


def test_a_call_without_an_identifier_gets_none(sent):
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    body, _ = sent([{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}])
    assert body["messages"][1]["tool_calls"] == [{"function": {"name": "look", "arguments": {}}}]
