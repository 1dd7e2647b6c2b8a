"""The provider against a server on loopback, synchronously and under asyncio."""

import base64
import datetime as dt
import json
import logging
import re
from functools import partial
from types import SimpleNamespace
from urllib.parse import parse_qsl

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import providerhub
from providerhub_bedrock._body import asked
from providerhub_bedrock.conformance import event, frame
from providerhub_bedrock.provider import Bedrock
from providerhub_conformance import FaultServer, chunked, http_response
from providerhub_conformance.ways import WAYS, ask_sync

TOKEN = "session-token-0123456789"
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
VARIABLES = (
    "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
)  # fmt: skip
COUNTS = {"inputTokens": 5, "outputTokens": 7, "totalTokens": 32, "cacheReadInputTokens": 12, "cacheWriteInputTokens": 8}


@pytest.fixture(autouse=True)
def aws(monkeypatch, tmp_path):
    """Credentials in variables, and no files of the user's."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    values = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-0123456789", "AWS_SESSION_TOKEN": TOKEN,
        "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def hub_at(url, **config):
    settings = providerhub.Settings(
        providers={"bedrock": providerhub.ProviderConfig(url=url, **config)},
        allow=("bedrock",),
        retry=providerhub.RetryPolicy(attempts=1),
    )
    return providerhub.Hub(settings)


def ask_by(way, hub, messages="Hello", *, stream=True, model=MODEL, **knobs):
    return way(hub, messages, model=f"bedrock/{model}", stream=stream, **knobs)


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def ask(request):
    return partial(ask_by, request.param)


def whole(*content, reason="end_turn", **fields):
    body = {
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": reason,
        "usage": COUNTS,
        **fields,
    }
    return http_response(200, json.dumps(body), {"Content-Type": "application/json", "x-amzn-RequestId": "req-1"})


def streamed(*frames):
    return chunked(list(frames), headers={"Content-Type": "application/vnd.amazon.eventstream"}, end=True)


def delta(index, **fields):
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": fields})


def stop(reason="end_turn"):
    return event("messageStop", {"stopReason": reason}), event("metadata", {"usage": COUNTS, "metrics": {"latencyMs": 3}})


def sent(script, messages="Hello", **knobs):
    with FaultServer(script) as server:
        answer = ask_by(ask_sync, hub_at(server.url), messages, stream=False, **knobs)
        return server.requests[-1].json(), answer


def expected_signature(request, monkeypatch):
    """Sign a recorded request anew, by botocore's own function, with the time that the request names."""
    at = dt.datetime.strptime(request.header("x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    if hasattr(botocore.auth, "get_current_datetime"):
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: at)
    else:  # before 1.41
        clock = SimpleNamespace(utcnow=lambda: at)
        monkeypatch.setattr(botocore.auth, "datetime", SimpleNamespace(datetime=clock))
    again = AWSRequest(request.method, f"http://{request.header('host')}{request.target}", data=request.body)
    credentials = Credentials("AKIDEXAMPLE", "secret-0123456789", TOKEN)
    botocore.auth.SigV4Auth(credentials, "bedrock", "eu-west-1").add_auth(again)
    return again.headers["Authorization"]


def test_a_request_is_signed_as_it_is_sent(ask, monkeypatch, caplog):
    with FaultServer(streamed(delta(0, text="Hi"), *stop())) as server, caplog.at_level(logging.DEBUG):
        assert ask(hub_at(server.url)).text == "Hi"
        request = server.requests[0]
    assert request.target == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
    assert request.header("x-amz-security-token") == TOKEN
    assert TOKEN not in caplog.text
    assert request.header("authorization") == expected_signature(request, monkeypatch)


def test_an_arn_is_one_part_of_the_path(ask):
    arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
    with FaultServer(whole({"text": "Hi"})) as server:
        ask(hub_at(server.url), stream=False, model=arn)
        assert server.requests[0].target == (
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fabc123/converse"
        )


def test_a_key_needs_no_signature(ask):
    with FaultServer(whole({"text": "Hi"})) as server:
        ask(hub_at(server.url, api_key="bedrock-api-key-1"), stream=False)
        assert server.requests[0].header("authorization") == "Bearer bedrock-api-key-1"


def test_a_turn_with_reasoning_and_a_call_goes_back(ask):
    blocks = [
        {"reasoningContent": {"reasoningText": {"text": "Let me look.", "signature": "c2lnbmF0dXJl"}}},
        {"text": "One moment."},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Rome"}}},
    ]
    start = event(
        "contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "weather"}}}
    )
    script = streamed(
        event("messageStart", {"role": "assistant"}),
        delta(0, reasoningContent={"text": "Let me"}), delta(0, reasoningContent={"text": " look."}),
        delta(0, reasoningContent={"signature": "c2lnbmF0dXJl"}), event("contentBlockStop", {"contentBlockIndex": 0}),
        delta(1, text="One moment."), event("contentBlockStop", {"contentBlockIndex": 1}),
        start, delta(2, toolUse={"input": '{"city":'}), delta(2, toolUse={"input": ' "Rome"}'}),
        event("contentBlockStop", {"contentBlockIndex": 2}), *stop("tool_use"),
    )  # fmt: skip
    with FaultServer(script, whole({"text": "Sunny."})) as server:
        hub = hub_at(server.url)
        answer = ask(hub, "Weather in Rome?")
        assert (answer.reasoning, answer.text, answer.finish_reason) == ("Let me look.", "One moment.", "tool_calls")
        assert answer.turn.content == blocks
        usage = answer.usage
        assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens) == (25, 12, 8, 7)
        assert usage.others["totalTokens"] == 32
        talk = ["Weather in Rome?", answer, answer.tool_result(answer.tool_calls[0], "sunny")]
        ask(hub, [{"role": "user", "content": talk[0]}, answer.message, talk[2]], stream=False)
        body = server.requests[1].json()
    assert body["messages"][1]["content"] == blocks
    result = {"toolUseId": "tooluse_1", "content": [{"text": "sunny"}]}
    assert body["messages"][2]["content"] == [{"toolResult": result}]
    assert body["toolConfig"]["tools"][0]["toolSpec"]["name"] == "weather"  # the API requires tools beside calls


@pytest.mark.parametrize("names", [("c1", "c2"), ("c1", "c1"), ("c1", "")])
def test_calls_without_arguments_go_back_with_the_identifiers_of_the_message(ask, names):
    uses = [
        event("contentBlockStart", {"contentBlockIndex": place, "start": {"toolUse": {"toolUseId": name, "name": "now"}}})
        for place, name in enumerate(names, 1)
    ]
    script = streamed(delta(0, reasoningContent={"text": "Hm.", "signature": "c2ln"}), *uses, *stop("tool_use"))
    with FaultServer(script, whole({"text": "Noon."})) as server:
        hub = hub_at(server.url)
        answer = ask(hub, "The time?")
        results = [answer.tool_result(call, "noon") for call in answer.tool_calls]
        ask(hub, ["The time?", answer, *results], stream=False)
        _, said, given = server.requests[1].json()["messages"]
    sent = [block["toolUse"] for block in said["content"][1:]]
    assert [use["input"] for use in sent] == [{}, {}]
    assert [use["toolUseId"] for use in sent] == [block["toolResult"]["toolUseId"] for block in given["content"]]
    assert len({use["toolUseId"] for use in sent}) == 2


def test_a_call_that_was_cut_goes_back_with_its_reasoning(ask):
    starts = [
        event(
            "contentBlockStart",
            {"contentBlockIndex": place, "start": {"toolUse": {"toolUseId": f"c{place}", "name": "f", **own}}},
        )
        for place, own in ((1, {"type": "server_tool_use"}), (2, {}))
    ]
    cut = [delta(place, toolUse={"input": '{"city": "Os'}) for place in (1, 2)]
    script = streamed(delta(0, reasoningContent={"text": "Hm.", "signature": "c2ln"}), *starts, *cut, *stop("max_tokens"))
    with FaultServer(script) as server:
        answer = ask(hub_at(server.url))
    assert [call.arguments for call in answer.tool_calls] == ['{"city": "Os']
    assert answer.turn.content[1:] == [{"toolUse": {"toolUseId": "c2", "name": "f", "input": {"input": '{"city": "Os'}}}]


def test_the_text_that_stopped_the_answer_has_the_name_that_it_has_everywhere(ask):
    own = {"stop_sequence": "END"}
    for script, stream in (
        (whole({"text": "Hi"}, reason="stop_sequence", additionalModelResponseFields=own), False),
        (streamed(delta(0, text="Hi"),
                  event("messageStop", {"stopReason": "stop_sequence", "additionalModelResponseFields": own})), True),
    ):  # fmt: skip
        with FaultServer(script) as server:
            answer = ask(hub_at(server.url), stream=stream)
        assert (answer.stop_sequence, answer.details["additionalModelResponseFields"]) == ("END", own)


def test_whole_answer_with_all_kinds_of_blocks(ask):
    cited = {"title": "Guide", "location": {"web": {"url": "https://example.com/a"}}, "sourceContent": [{"text": "quoted"}]}
    content = [
        {"reasoningContent": {"redactedContent": "cmVkYWN0ZWQ="}},
        {"toolUse": {"toolUseId": "s1", "name": "nova_grounding", "type": "server_tool_use", "input": {"q": "x"}}},
        {"toolResult": {"toolUseId": "s1", "content": [{"json": {"a": 1}}], "status": "success"}},
        {"text": "So: "},
        {"citationsContent": {"content": [{"text": "it is."}], "citations": [cited]}},
        {"image": {"format": "png", "source": {"bytes": "iVBORw0="}}},
    ]
    trace = {"guardrail": {"actionReason": "No action."}, "promptRouter": {"invokedModelId": "amazon.nova-lite-v1:0"}}
    script = whole(*content, trace=trace, serviceTier={"type": "flex"}, metrics={"latencyMs": 9})
    with FaultServer(script) as server:
        answer = ask(hub_at(server.url), stream=False)
    assert (answer.text, answer.tool_calls, answer.turn.content) == ("So: it is.", (), content)
    (citation,) = answer.citations
    assert (citation.url, citation.text, citation.start, citation.end) == ("https://example.com/a", "quoted", 4, 10)
    assert answer.media[0].type == "image/png"
    assert answer.details["safety"] == trace["guardrail"]
    assert answer.details["tier"] == "flex"
    assert (answer.served_model, answer.request_id) == ("amazon.nova-lite-v1:0", "req-1")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", providerhub.RateLimitError),
        ("serviceUnavailableException", providerhub.ServerError),
        ("internalServerException", providerhub.ServerError),
        ("modelStreamErrorException", providerhub.ServerError),
        ("modelTimeoutException", providerhub.ServerError),
        ("validationException", providerhub.BadRequestError),
        ("resourceNotFoundException", providerhub.ModelNotFoundError),
    ],
)
def test_an_exception_in_a_stream_is_classed_by_its_name(ask, name, kind):
    said = b'{"message": "it went wrong", "originalStatusCode": 403}'
    failure = frame({":message-type": "exception", ":exception-type": name}, said)
    with (
        FaultServer(streamed(event("messageStart", {"role": "assistant"}), failure)) as server,
        pytest.raises((providerhub.ProviderError, providerhub.ModelNotFoundError)) as caught,
    ):
        ask(hub_at(server.url))
    assert type(caught.value) is kind
    assert "it went wrong" in str(caught.value)


def test_a_frame_of_the_kind_error_is_an_error(ask):
    failure = frame({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "broken inside"}, b"")
    with FaultServer(streamed(failure)) as server, pytest.raises(providerhub.ProviderError, match="broken inside"):
        ask(hub_at(server.url))


@pytest.mark.parametrize("damage", [-1, 20], ids=["checksum", "header"])
def test_a_damaged_frame_is_an_error(ask, damage):
    broken = bytearray(delta(0, text="two"))
    broken[damage] ^= 0x40
    with (
        FaultServer(streamed(delta(0, text="one"), bytes(broken), *stop())) as server,
        pytest.raises(providerhub.StreamInterruptedError),
    ):
        ask(hub_at(server.url))


def test_the_counts_may_be_missing_at_the_end(ask):
    with FaultServer(streamed(delta(0, text="Hi"), stop()[0])) as server:
        answer = ask(hub_at(server.url))
    assert (answer.text, answer.finish_reason) == ("Hi", "stop")


@pytest.mark.parametrize(
    ("status", "kind", "message", "error", "hint"),
    [
        (403, "ExpiredToken", "The security token included in the request is expired", "AuthenticationError", "`profile`"),
        (403, "UnrecognizedClient", "The security token in the request is invalid.", "AuthenticationError", "`profile`"),
        (403, "AccessDenied", "Please make sure your API Key is valid.", "AuthenticationError", "`api_key`"),
        (403, "AccessDenied", "User: arn:aws:iam::1:user/a is not authorized to perform: bedrock:Invoke", "ForbiddenError", ""),
        (403, "AccessDenied", "You don't have access to the model with the specified ID.", "ModelUnavailableError", "`region`"),
        (400, "Validation", "The provided model identifier is invalid.", "ModelUnavailableError", "`region`"),
        (400, "Validation", "a with on-demand throughput isn\u2019t supported.", "ModelUnavailableError", "profile"),
        (404, "ResourceNotFound", "This model version has reached the end of its life.", "ModelUnavailableError", "`region`"),
        (400, "Validation", "Input Tokens Exceeded: Number of input tokens exceeds maximum.", "ContextLengthError", ""),
        (400, "Validation", "Input is too long for requested model.", "ContextLengthError", ""),
        (400, "Validation", "This model doesn't support tool use in streaming mode.", "CapabilityError", ""),
        (400, "Validation", "This model doesn't support the s3Uri field.", "CapabilityError", "bytes"),
        (400, "Validation", "#/messages/2: extraneous key [toolResult] is not permitted", "CapabilityError", ""),
        (400, "Validation", "The output was blocked by the content filter.", "ContentPolicyError", ""),
        (400, "Validation", "The guardrail identifier or version does not exist.", "BadRequestError", "guardrailConfig"),
        (429, "Throttling", "Too many tokens, please wait before trying again.", "RateLimitError", ""),
        (429, "Throttling", "Too many tokens per day, please wait before trying again.", "QuotaExceededError", ""),
        (429, "ModelNotReady", "Model is not ready for inference.", "RateLimitError", ""),
        (424, "ModelError", "The model failed.", "ServerError", ""),
        (503, "ServiceUnavailable", "Bedrock is unable to process your request.", "ServerError", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["message", "Message"])
def test_refusals(status, kind, message, error, hint, field):

    provider = Bedrock(providerhub.ProviderConfig(name="bedrock", url="https://bedrock.example"))
    found = provider.refusal(
        status, {"x-amzn-ErrorType": f"{kind}Exception:http://internal"}, f'{{"{field}": "{message}"}}'.encode()
    )
    assert type(found).__name__ == error
    assert message[:20] in str(found)
    assert hint in str(found)


def test_without_credentials_the_error_names_the_settings(ask, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with FaultServer() as server, pytest.raises(providerhub.ProviderError) as caught:
        ask(hub_at(server.url))
    assert isinstance(caught.value, providerhub.AuthenticationError)
    assert "set `profile`, or a key in `api_key`" in str(caught.value)
    assert not server.requests


def test_an_unknown_profile_is_named(ask):
    with FaultServer() as server, pytest.raises(providerhub.ProviderError, match="missing"):
        ask(hub_at(server.url, options={"profile": "missing"}))


def test_without_a_region_the_error_names_the_setting(monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(providerhub.ConfigurationError, match=r"region.*AWS_REGION"):
        hub_at(None).complete(f"bedrock/{MODEL}", "Hello")


@pytest.mark.parametrize("region", ["us east 1", "eu-west-1.evil.example/"])
def test_a_wrong_region_is_refused(monkeypatch, region):
    monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(providerhub.ConfigurationError, match=r"AWS_REGION cannot be used: .* is not the name of a region"):
        hub_at(None).complete(f"bedrock/{MODEL}", "Hello")


@pytest.mark.parametrize(("profile", "host"), [(None, "us-west-2"), ("work", "ap-south-1")])
def test_the_region_may_be_that_of_the_profile(monkeypatch, tmp_path, profile, host):
    monkeypatch.delenv("AWS_REGION")
    (tmp_path / "config").write_text("[default]\nregion = us-west-2\n[profile work]\nregion = ap-south-1\n")
    hub = hub_at(None, options={"profile": profile} if profile else {})
    plan = hub.explain(f"bedrock/{MODEL}", "Hello")
    assert plan.candidates
    view = next(view for view in hub.instances() if view.name == "bedrock")
    assert view.config.url == f"https://bedrock-runtime.{host}.amazonaws.com"


REFUSED = http_response(403, '{"message": "expired"}', {"x-amzn-ErrorType": "ExpiredTokenException"})


def test_credentials_that_were_refused_are_looked_for_again_at_once(ask, monkeypatch):
    def renewed(request):
        monkeypatch.setenv("AWS_SESSION_TOKEN", "another-token")
        return REFUSED

    with FaultServer(whole({"text": "Hi"}), renewed, whole({"text": "Hi"})) as server:
        hub = hub_at(server.url)
        ask(hub, stream=False)
        assert ask(hub, stream=False).text == "Hi"
        assert [one.header("x-amz-security-token") for one in server.requests] == [TOKEN, TOKEN, "another-token"]


def test_credentials_that_are_refused_twice_are_looked_for_again_by_the_next_call(ask, monkeypatch):
    with FaultServer(REFUSED, REFUSED, whole({"text": "Hi"})) as server:
        hub = hub_at(server.url)
        with pytest.raises(providerhub.AuthenticationError, match="log in again"):
            ask(hub, stream=False)
        hub.forgive("bedrock")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "another-token")
        assert ask(hub, stream=False).text == "Hi"
        assert [one.header("x-amz-security-token") for one in server.requests] == [TOKEN, TOKEN, "another-token"]


@pytest.mark.parametrize(("seconds", "searches"), [(59, 2), (3600, 1)])
def test_credentials_are_looked_for_again_in_their_last_minute(ask, monkeypatch, seconds, searches):
    found = []

    class Ending(Credentials):
        def refresh_needed(self, refresh_in):
            return seconds < refresh_in

    def search(_session):
        found.append(Ending("AKIDEXAMPLE", "secret-0123456789", TOKEN))
        return found[-1]

    monkeypatch.setattr(botocore.session.Session, "get_credentials", search)
    with FaultServer(whole({"text": "Hi"})) as server:
        ask(hub_at(server.url), stream=False)
    assert len(found) == searches


PNG = "data:image/jpeg;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
PDF = "data:application/pdf;base64,JVBERi0xLjQ="


def test_a_conversation_is_written_in_the_services_shape():
    call = {"id": "call.1", "type": "function", "function": {"name": "look", "arguments": ""}}
    messages = [
        {"role": "system", "content": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"role": "user", "content": [
            {"type": "text", "text": "  "},
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "file", "file": {"file_data": PDF, "filename": "a_report.v2.pdf"}},
            {"type": "file", "file": {"file_data": PDF, "filename": "a_report.v2.pdf"}},
            {"type": "text", "text": "What?", "cache_control": {"type": "ephemeral"}},
            {"type": "guardContent", "guardContent": {"text": {"text": "checked"}}},
        ]},
        {"role": "assistant", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "call.1", "content": "one"},
        {"role": "tool", "tool_call_id": "call.1", "content": "two", "is_error": True},
        {"role": "assistant", "content": "So far: "},
    ]  # fmt: skip
    body, _ = sent(whole({"text": "x"}), messages, temperature=0.5, max_tokens=9, stop=["."], top_p=0.9)
    assert body["system"] == [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert body["inferenceConfig"] == {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["."]}
    user, uses, results, last = (message["content"] for message in body["messages"])
    assert user[0]["image"]["format"] == "png"
    assert [block["document"]["name"] for block in user[1:3]] == ["a report v2", "a report v2 2"]
    assert user[3:] == [{"text": "What?"}, {"cachePoint": {"type": "default"}}, {"guardContent": {"text": {"text": "checked"}}}]
    names = [block["toolUse"]["toolUseId"] for block in uses]
    assert names == ["call_1", "call_1_2"]
    assert uses[0]["toolUse"]["input"] == {}
    assert [block["toolResult"]["toolUseId"] for block in results] == names
    assert results[1]["toolResult"]["status"] == "error"
    assert last == [{"text": "So far:"}]
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["look"]


@pytest.mark.parametrize(
    ("model", "reasoning", "fields"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", 9000, {"thinking": {"type": "enabled", "budget_tokens": 9000}}),
        ("global.anthropic.claude-opus-4-7", "high",
         {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}}),
        ("us.anthropic.claude-sonnet-5", "none", {"thinking": {"type": "disabled"}}),
        ("us.amazon.nova-2-lite-v1:0", "minimal", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        ("us.amazon.nova-2-lite-v1:0", "none", {"reasoningConfig": {"type": "disabled"}}),
        ("openai.gpt-oss-120b-1:0", "medium", {"reasoning_effort": "medium"}),
        ("qwen.qwen3-32b-v1:0", 20000, {"reasoning_config": "high"}),
        ("us.meta.llama3-3-70b-instruct-v1:0", "none", None),
    ],
)  # fmt: skip
def test_reasoning_becomes_the_models_own_fields(model, reasoning, fields):
    body, _ = sent(whole({"text": "x"}), model=model, reasoning=reasoning)
    assert body.get("additionalModelRequestFields") == fields


SONNET_45, SONNET_46 = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "eu.anthropic.claude-sonnet-4-6"


def _written(model=SONNET_45, messages=({"role": "user", "content": "?"},), **knobs):
    return asked(providerhub.Request(model, messages, **knobs))


@pytest.mark.parametrize("model", [SONNET_45, SONNET_46])
def test_what_claude_refuses_beside_thinking_is_left_out_with_a_note(model):
    found = _written(model, reasoning="high", tools=[TOOL], tool_choice="required")
    assert "thinking" not in found.body.get("additionalModelRequestFields", {})
    assert found.body["toolConfig"]["toolChoice"] == {"any": {}}
    assert "the thinking was left out" in found.notes[0]
    found = _written(model, reasoning="high", temperature=0.2, top_p=0.96, tools=[TOOL])
    assert (found.body["inferenceConfig"], len(found.notes)) == ({"topP": 0.96}, 1)
    assert "thinking" in found.body["additionalModelRequestFields"]
    assert _written(model, temperature=0.2).body["inferenceConfig"] == {"temperature": 0.2}


def test_an_answer_in_a_form_comes_before_thinking_where_a_tool_stands_in_for_it():
    found = _written("us.anthropic.claude-3-7-sonnet-20250219-v1:0", reasoning="low", response_format=FORM)
    assert (found.form, found.body.get("additionalModelRequestFields")) == ("one", None)


@pytest.mark.parametrize(
    ("knobs", "budget"),
    [({"reasoning": 8000, "max_tokens": 4000}, 3999), ({"reasoning": "high", "max_tokens": 4000}, 2000),
     ({"reasoning": "low", "max_tokens": 500}, None)],
)  # fmt: skip
def test_a_budget_for_thinking_is_less_than_max_tokens(knobs, budget):
    found = _written(**knobs).body.get("additionalModelRequestFields", {})
    assert found.get("thinking", {}).get("budget_tokens") == budget


def test_a_model_that_continues_no_partial_answer_or_always_thinks_says_so():
    begun = {"role": "user", "content": "?"}, {"role": "assistant", "content": "Once "}
    assert _written(messages=begun).body["messages"][1]["content"] == [{"text": "Once"}]
    with pytest.raises(providerhub.CapabilityError, match="continues no partial answer"):
        _written(SONNET_46, begun)
    with pytest.raises(providerhub.CapabilityError, match="always thinks"):
        _written("global.anthropic.claude-opus-5-5", reasoning="none")


NOVA = "us.amazon.nova-lite-v1:0"
TOOL = {"type": "function", "function": {"name": "look", "description": "", "parameters": {"properties": {}}, "strict": True}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("auto", None), ("required", {"any": {}}), ({"type": "function", "function": {"name": "look"}}, {"tool": {"name": "look"}})],
)
def test_tools_and_their_choice(choice, expected):
    body, _ = sent(whole({"text": "x"}), tools=[TOOL, {"systemTool": {"name": "nova_grounding"}}], tool_choice=choice)
    first, second = body["toolConfig"]["tools"]
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    assert first == {"toolSpec": {"name": "look", "strict": True, "inputSchema": {"json": schema}}}
    assert second == {"systemTool": {"name": "nova_grounding"}}
    assert body["toolConfig"].get("toolChoice") == expected


def test_no_tools_are_sent_where_none_may_be_called():
    body, _ = sent(whole({"text": "x"}), tools=[TOOL], tool_choice="none")
    assert "toolConfig" not in body


def test_parallel_tool_calls_are_switched_off_for_claude_only():
    body, _ = sent(whole({"text": "x"}), tools=[TOOL], parallel_tool_calls=False)
    assert body["additionalModelRequestFields"] == {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    with FaultServer() as server, pytest.raises(providerhub.ProviderError, match="parallel_tool_calls"):
        ask_by(ask_sync, hub_at(server.url), model="us.amazon.nova-lite-v1:0", tools=[TOOL], parallel_tool_calls=False)


CALLED = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "seen"},
]


def test_the_tools_of_a_conversation_are_sent_where_none_may_be_called_any_more():
    written = _written(messages=CALLED, tool_choice="none")
    assert written.body["toolConfig"]["tools"] == [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]
    assert written.notes == ["the Converse API has no tool_choice 'none': the tools of the conversation are sent with it"]


LATER = [{"role": "user", "content": "?"}, {"role": "system", "content": "Be brief."}]
UNKNOWN = {"role": "tool", "content": "seen"}


@pytest.mark.parametrize(
    ("model", "knobs", "kind", "said"),
    [
        (SONNET_45, {"tools": [TOOL], "tool_choice": "perhaps"}, providerhub.InvalidRequestError, "tool_choice must be"),
        (SONNET_45, {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, providerhub.CapabilityError, "free text"),
        (NOVA, {"tools": [TOOL], "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}},
         providerhub.CapabilityError, "cannot call tools and keep to a JSON schema"),
        ("mistral.mistral-large", {"reasoning": "low"}, providerhub.CapabilityError, "no reasoning='low' is known"),
        (NOVA, {"messages": LATER}, providerhub.CapabilityError, r"messages\[1\]: the model takes system messages"),
        (NOVA, {"messages": [*CALLED[:2], UNKNOWN]}, providerhub.InvalidRequestError, r"messages\[2\]: .* needs the key"),
        (NOVA, {"messages": [{"role": "user", "content": " "}]}, providerhub.InvalidRequestError, "blank texts"),
    ],
)  # fmt: skip
def test_what_the_api_or_the_model_does_not_take_is_said_before_anything_is_sent(model, knobs, kind, said):
    with pytest.raises(kind, match=said):
        _written(model, **knobs)


SCHEMA = {"type": "object", "properties": {"type": {"type": "integer", "minimum": 1}}, "required": ["type"]}
FORM = {"type": "json_schema", "json_schema": {"name": "one", "schema": SCHEMA}}


def test_a_schema_is_sent_to_a_model_that_takes_it():
    body, _ = sent(whole({"text": "{}"}), response_format=FORM)
    own = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert own["name"] == "one"
    assert json.loads(own["schema"]) == {
        "type": "object",
        "properties": {"type": {"type": "integer", "description": "minimum: 1"}},
        "required": ["type"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("stream", [False, True])
def test_another_model_must_call_a_tool_whose_input_is_the_answer(ask, stream):
    use = {"toolUseId": "t", "name": "one"}
    script = whole({"toolUse": {**use, "input": {"type": 3}}}, reason="tool_use")
    if stream:
        start = event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": use}})
        script = streamed(start, delta(0, toolUse={"input": '{"type": 3}'}), *stop("tool_use"))
    with FaultServer(script) as server:
        answer = ask(hub_at(server.url), model="us.amazon.nova-lite-v1:0", response_format=FORM, stream=stream)
        body = server.requests[0].json()
    assert (answer.text, answer.tool_calls, answer.finish_reason, answer.turn) == ('{"type": 3}', (), "stop", None)
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "one"}}


def test_options_are_merged_in():
    options = {"bedrock": {"guardrailConfig": {"guardrailIdentifier": "g"}, "inferenceConfig": {"topP": 0.3}, "system": None}}
    body, _ = sent(whole({"text": "x"}), system="Be brief.", max_tokens=4, options=options)
    assert body["guardrailConfig"] == {"guardrailIdentifier": "g"}
    assert body["inferenceConfig"] == {"maxTokens": 4, "topP": 0.3}
    assert "system" not in body


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "send the bytes"),
        ({"type": "file", "file": {"file_data": "data:application/zip;base64,UEs="}}, "application/zip"),
        ({"type": "hologram"}, "hologram"),
    ],
)
def test_a_part_that_the_api_cannot_take_is_refused_before_sending(part, said):
    with FaultServer() as server:
        with pytest.raises(providerhub.ProviderHubError, match=said):
            ask_by(ask_sync, hub_at(server.url), [{"role": "user", "content": [part]}])
        assert not server.requests


def test_a_choice_in_a_form_that_the_api_has_not_is_refused():
    tools = [{"type": "function", "function": {"name": "one"}}]
    with FaultServer() as server, pytest.raises(providerhub.CapabilityError, match=r"no tool_choice .*allowed_tools"):
        ask_by(ask_sync, hub_at(server.url), tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": {}})
    assert not server.requests


@pytest.mark.parametrize("reason", ["malformed_tool_use", "malformed_model_output"])
def test_malformed_output_is_a_failure(ask, reason):
    with FaultServer(streamed(*stop(reason))) as server, pytest.raises(providerhub.ProviderError) as caught:
        ask(hub_at(server.url))
    assert isinstance(caught.value, providerhub.InvalidOutputError)


def test_models_and_profiles_are_listed():
    claude = "anthropic.claude-haiku-4-5-20251001-v1:0"
    models = [
        {"modelId": claude, "inputModalities": ["TEXT", "IMAGE"], "responseStreamingSupported": True,
         "inferenceTypesSupported": ["INFERENCE_PROFILE"]},
        {"modelId": "amazon.titan-text-lite-v1", "inputModalities": ["TEXT"], "responseStreamingSupported": True,
         "inferenceTypesSupported": ["ON_DEMAND"]},
    ]  # fmt: skip
    served = [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{claude}"}]
    first = {"inferenceProfileId": f"us.{claude}", "type": "SYSTEM_DEFINED", "models": served}
    own = {"inferenceProfileId": "x1", "inferenceProfileArn": "arn:aws:x/x1", "type": "APPLICATION", "models": served}
    pages = [
        {"modelSummaries": models},
        {"inferenceProfileSummaries": [first], "nextToken": "a+b"},
        {"inferenceProfileSummaries": [own]},
    ]
    with FaultServer(*(http_response(200, json.dumps(page)) for page in pages)) as server:
        config = providerhub.ProviderConfig(name="bedrock", url=server.url, options={"region": "eu-west-1"})
        found = {model.name: model for model in Bedrock.discover(config)}
        asked = [(request.path, dict(parse_qsl(request.target.partition("?")[2]))) for request in server.requests]
        assert all(re.match("AWS4-HMAC-SHA256 ", request.header("authorization")) for request in server.requests)
    assert set(found) == {"amazon.titan-text-lite-v1", f"us.{claude}", "arn:aws:x/x1"}
    assert (found["arn:aws:x/x1"].supports_images, found["arn:aws:x/x1"].supports_tools) == (True, True)
    assert found["amazon.titan-text-lite-v1"].supports_tools is False
    assert asked[2] == ("/inference-profiles", {"maxResults": "1000", "nextToken": "a+b"})
