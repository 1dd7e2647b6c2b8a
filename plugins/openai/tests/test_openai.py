"""The requests that the plugin sends and the answers that it reads, over real sockets, in both transports."""

import json
import subprocess
import sys
import traceback

import pytest

import providerhub
from providerhub import ProviderConfig, ReasoningDelta, ToolCall
from providerhub.testing import (
    FaultServer,
    Hold,
    chunked,
    http_response,
    openai_chunk,
    openai_completion,
    openai_error,
    openai_stream,
    sse,
)
from providerhub_openai.provider import OpenAI, prefix

CANARY = "canary-key-0123456789"
WHOLE = http_response(200, openai_completion("Hi"))
STREAM = openai_stream("H", "i")
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


def own_record(hub):
    return next(record for record in hub.plugins() if record.name == "openai")


def test_without_a_key_and_another_address_it_is_not_configured():
    with providerhub.Hub(providerhub.Settings(allow=("openai",))) as hub:
        record = own_record(hub)
        with pytest.raises(providerhub.ConfigurationError, match="OPENAI_API_KEY"):
            hub.complete("openai/gpt-4o", "Hello")
    assert record.state == "not configured"
    assert "OPENAI_API_KEY" in record.reason


def test_a_key_or_another_address_is_enough(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with providerhub.Hub(providerhub.Settings(allow=("openai",))) as hub:
        assert own_record(hub).state == "ready"
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with providerhub.Hub(providerhub.Settings(allow=("openai",))) as hub:
        assert own_record(hub).state == "ready"


def test_the_environment_sets_the_url_and_the_billing(hub_at, monkeypatch, ask):
    with FaultServer(STREAM) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
        with hub_at(None, api_key=None) as hub:
            assert ask(hub).text == "Hi"
    request = server.requests[0]
    assert request.target == "/v1/chat/completions"
    assert request.header("authorization") == f"Bearer {CANARY}"
    assert (request.header("openai-organization"), request.header("openai-project")) == ("org-1", "proj-1")
    assert request.header("accept-encoding") == "identity"


def test_a_local_server_gets_no_key(hub_at, ask):
    with FaultServer(STREAM) as server, hub_at(server.url, api_key=None) as hub:
        assert ask(hub).text == "Hi"
    assert server.requests[0].header("authorization") == ""


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://localhost:11434", "/v1"),
        ("http://localhost:11434/", "/v1"),
        ("http://localhost:8000/v1", ""),
        ("https://api.groq.com/openai/v1/", ""),
        ("https://generativelanguage.googleapis.com/v1beta/openai", ""),
    ],
)
def test_a_bare_host_stands_for_its_v1(url, path):
    assert prefix(ProviderConfig(url=url)) == path


@pytest.mark.parametrize("stream", [True, False])
def test_every_field_of_a_request_is_sent(hub_at, ask, stream):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "?"}, image]}]
    knobs = {"temperature": 0.5, "max_tokens": 9, "stop": ["x"], "seed": 7, "tools": [TOOL], "tool_choice": "auto"}
    with FaultServer(STREAM if stream else WHOLE) as server, hub_at(server.url) as hub:
        ask(hub, messages, stream=stream, response_format=SCHEMA, options={"openai": {"top_p": 0.5}}, **knobs)
    body = server.requests[0].json()
    expected = {"model": "m", "messages": messages, "response_format": SCHEMA, "top_p": 0.5, **knobs}
    if stream:
        expected |= {"stream": True, "stream_options": {"include_usage": True}}
    assert body == expected


def test_stream_usage_can_be_switched_off(hub_at, ask):
    with FaultServer(STREAM, repeat=True) as server:
        with hub_at(server.url, options={"stream_usage": "no"}) as hub:
            ask(hub)
        with hub_at(server.url) as hub:
            ask(hub, options={"openai": {"stream_options": None}})
    assert all("stream_options" not in request.json() for request in server.requests)


def test_openai_itself_gets_no_address_of_a_file():
    request = providerhub.Request("gpt-4o", [{"role": "user", "content": [providerhub.file("https://a.example/b.pdf")]}])
    elsewhere = OpenAI(ProviderConfig(name="openai", url="https://a.example/v1")).body(request)
    assert "https://a.example/b.pdf" in str(elsewhere)
    with pytest.raises(providerhub.CapabilityError, match=r"messages\[0\].*api = 'responses'"):
        OpenAI(ProviderConfig(name="openai", url="https://api.openai.com/v1")).body(request)


def test_openai_itself_gets_max_completion_tokens():
    request = providerhub.Request("o3", [{"role": "user", "content": "Hello"}], max_tokens=5)
    ours = OpenAI(ProviderConfig(name="openai", url="https://api.openai.com/v1")).body(request)
    assert (ours["max_completion_tokens"], "max_tokens" in ours) == (5, False)
    assert OpenAI(ProviderConfig(name="openai", url="http://127.0.0.1:1")).body(request)["max_tokens"] == 5
    insisted = providerhub.Request("gpt-4", request.messages, options={"max_tokens": 5})
    assert OpenAI(ProviderConfig(name="openai", url="https://api.openai.com/v1")).body(insisted)["max_tokens"] == 5


@pytest.mark.parametrize("setting", ["organization", "project"])
def test_a_setting_that_no_header_can_carry_is_refused(setting):
    with pytest.raises(providerhub.ConfigurationError, match=setting):
        OpenAI(ProviderConfig(name="openai", url="http://127.0.0.1:1", options={setting: "a\r\nX-Other: 1"}))


def test_stream_usage_is_yes_or_no():
    with pytest.raises(providerhub.ConfigurationError, match="stream_usage"):
        OpenAI(ProviderConfig(name="openai", url="http://127.0.0.1:1", options={"stream_usage": "perhaps"}))


def test_a_stream_with_every_kind_of_content(hub_at, ask):
    call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a":'}}
    rest = {"index": 0, "function": {"arguments": "1}"}}
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    chunks = [
        openai_chunk(reasoning_content="hm"),
        openai_chunk("привет"),
        openai_chunk(tool_calls=[call]),
        openai_chunk(tool_calls=[rest]),
        openai_chunk(finish_reason="tool_calls"),
        openai_chunk(usage=usage),
    ]
    with FaultServer(chunked(sse(*chunks))) as server, hub_at(server.url) as hub:
        answer = ask(hub, tools=[TOOL])
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("привет", "hm", "tool_calls")
    assert answer.tool_calls == (ToolCall("c1", "look", '{"a":1}'),)
    counts = answer.usage
    assert (counts.input_tokens, counts.output_tokens, counts.cached_tokens, counts.reasoning_tokens) == (3, 5, 2, 4)
    assert answer.id == "chatcmpl-1"


def test_a_whole_answer_where_a_stream_was_asked_for(hub_at, ask):
    with FaultServer(WHOLE) as server, hub_at(server.url) as hub:
        assert ask(hub).text == "Hi"


def test_a_whole_answer_without_a_content_type(hub_at, ask):
    script = http_response(200, openai_completion("Hi"), {"Content-Type": "text/event-stream"})
    with FaultServer(script) as server, hub_at(server.url) as hub:
        assert ask(hub).text == "Hi"


def test_an_error_without_a_content_type_is_raised_at_once(hub_at, ask):
    script = chunked([json.dumps(openai_error("slow down", kind="rate_limit_error")).encode(), Hold()], end=False)
    with FaultServer(script) as server, hub_at(server.url) as hub, pytest.raises(providerhub.RateLimitError):
        ask(hub)


def test_a_request_of_more_than_a_mebibyte_arrives_whole(hub_at, ask):
    with FaultServer(STREAM) as server, hub_at(server.url) as hub:
        ask(hub, "x" * 1_500_000)
    assert len(server.requests[0].json()["messages"][0]["content"]) == 1_500_000


@pytest.mark.parametrize("value", [object(), float("nan")])
def test_a_payload_that_is_not_json_is_an_invalid_request(hub_at, ask, value):
    with FaultServer(STREAM) as server, hub_at(server.url) as hub:
        with pytest.raises(providerhub.InvalidRequestError, match="JSON"):
            ask(hub, options={"openai": {"x": value}})
        assert not server.requests


def test_several_instances_are_separate():
    with (
        FaultServer(http_response(200, openai_completion("one"))) as one,
        FaultServer(http_response(200, openai_completion("two"))) as two,
    ):
        settings = providerhub.Settings(
            providers={
                "first": ProviderConfig(plugin="openai", url=one.url, api_key=CANARY, models=["a"]),
                "second": ProviderConfig(plugin="openai", url=two.url, models=["b"]),
            }
        )
        with providerhub.Hub(settings) as hub:
            assert (hub.complete("a", "?").text, hub.complete("b", "?").text) == ("one", "two")
    assert two.requests[0].header("authorization") == ""


@pytest.mark.parametrize("stream", [True, False])
def test_a_refused_key_is_shown_nowhere(hub_at, ask, stream, caplog):
    body = openai_error(f"Incorrect API key provided: {CANARY}", code="invalid_api_key")
    refusal = http_response(401, body)
    with FaultServer(refusal) as server, hub_at(server.url) as hub, pytest.raises(providerhub.AuthenticationError) as caught:
        ask(hub, stream=stream)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.excerpt
    assert CANARY not in shown + caplog.text
    assert "***" in str(caught.value)


def test_a_reasoning_piece_comes_before_the_text(hub_at):
    script = chunked(sse(openai_chunk(reasoning="a"), openai_chunk("b"), openai_chunk(finish_reason="stop")))
    with FaultServer(script) as server, hub_at(server.url) as hub, hub.complete("openai/m", "?", stream=True) as stream:
        assert next(iter(stream.events())) == ReasoningDelta("a")


LIGHT = """
import sys
import providerhub_openai
from providerhub import Hub, ProviderConfig, Settings
declared = {"asyncio", "requests", "providerhub_openai.provider"} & set(sys.modules)
sys.modules["providerhub_otel"] = None  # the lowest version of OpenTelemetry's API imports asyncio
with Hub(Settings(providers={"openai": ProviderConfig(url=sys.argv[1], models=["m"])})) as hub:
    hub.complete("openai/m", "Hello")
print(sorted(declared), "asyncio" in sys.modules)
"""


def test_synchronous_calls_do_not_import_asyncio():
    with FaultServer(WHOLE) as server:
        done = subprocess.run([sys.executable, "-c", LIGHT, server.url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"


def test_the_package_s_readme_names_every_setting():
    from pathlib import Path

    from providerhub_openai import providerhub_provider

    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
    for setting in providerhub_provider().settings:
        assert f"| `{setting.name}` | `{setting.env or 'PROVIDERHUB_OPENAI_' + setting.name.upper()}` |" in readme


def test_errors_pickle(hub_at, ask):
    import pickle

    refusal = http_response(503, json.dumps({"error": "busy"}))
    with FaultServer(refusal) as server, hub_at(server.url) as hub, pytest.raises(providerhub.ServerError) as caught:
        ask(hub)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("Unrecognized request argument supplied: stream_options", r'set stream_usage = "no" in \[providers.openai.options\]'),
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            r'pass options=\{"openai": \{"max_completion_tokens": 100\}\}',
        ),
        ("max_tokens is too large: 9000. This model supports at most 4096 completion tokens.", "pass a smaller `max_tokens`"),
    ],
)
def test_a_refused_field_names_the_setting_that_changes_it(hub_at, ask, message, remedy):
    with FaultServer(http_response(400, openai_error(message))) as server, hub_at(server.url) as hub:
        with pytest.raises(providerhub.BadRequestError, match=remedy) as caught:
            ask(hub, max_tokens=9000)
        assert not isinstance(caught.value, providerhub.CapabilityError)


def test_a_refusal_of_an_ability_is_not_taken_for_one_of_the_field(hub_at, ask):
    said = openai_error("'max_tokens' is too large: 9000. This model's maximum context length is 4096 tokens.")
    with (
        FaultServer(http_response(400, said)) as server,
        hub_at(server.url) as hub,
        pytest.raises(providerhub.ContextLengthError),
    ):
        ask(hub, max_tokens=9000)


def test_a_refusal_has_the_services_request_id(hub_at, ask):
    refused = http_response(400, openai_error("no"), {"x-request-id": "req-7", "cf-ray": "ray"})
    with FaultServer(refused) as server, hub_at(server.url) as hub, pytest.raises(providerhub.BadRequestError) as caught:
        ask(hub)
    assert caught.value.request_id == "req-7"


def test_a_key_of_one_letter_does_not_hide_the_words_of_a_refusal(hub_at, ask):
    refused = http_response(400, {"code": "invalid-argument", "error": "Incorrect API key provided."})
    with FaultServer(refused) as server, hub_at(server.url, api_key="k") as hub, pytest.raises(providerhub.AuthenticationError):
        ask(hub)


@pytest.mark.parametrize(
    ("tier", "cost"), [("default", "0.000020 USD"), ("", "0.000020 USD"), ("flex", "0.000010 USD"), ("priority", "None")]
)
def test_another_tariff_costs_what_the_vendor_says_or_is_not_known(tier, cost):
    said = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    body = {"choices": [said], "usage": {"prompt_tokens": 10, "completion_tokens": 5}, "service_tier": tier}
    model = providerhub.ModelInfo("m", price_in=1.0, price_out=2.0)
    with FaultServer(http_response(200, body)) as server:
        config = ProviderConfig(url=server.url, api_key="k", models=(model,))
        with providerhub.Hub(providerhub.Settings(providers={"openai": config})) as hub:
            assert str(hub.complete("openai/m", "?").cost) == cost
