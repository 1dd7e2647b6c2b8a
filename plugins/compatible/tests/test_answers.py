"""The answers of vendors that differ from OpenAI's, and the token of watsonx. The payloads are invented."""

import json

import pytest

import providerhub
from providerhub.testing import FaultServer, http_response, openai_chunk, openai_completion, sse

CHOICE = {"index": 0, "finish_reason": "stop"}


def whole(message, finish="stop", **beside):
    body = {"object": "chat.completion", "choices": [{"index": 0, "finish_reason": finish, "message": message}], **beside}
    return http_response(200, body)


def asked(hub_at, ask, vendor, *answers, **knobs):
    with FaultServer(*answers) as server, hub_at(vendor, server.url + "/v1") as hub:
        return ask(hub, f"{vendor}/sonar-m", **knobs)


def test_perplexitys_message_beside_an_empty_delta_and_its_sources(hub_at, ask):
    choice = {**CHOICE, "message": {"role": "assistant", "content": "Paris."}, "delta": {"role": "assistant", "content": ""}}
    sources = {
        "citations": ["https://a.example/"],
        "search_results": [{"title": "A", "url": "https://a.example/", "snippet": "Paris is"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cost": {"total_cost": 0.006}},
    }
    answer = asked(hub_at, ask, "perplexity", http_response(200, {"choices": [choice], **sources}))
    assert (answer.text, answer.usage.cost) == ("Paris.", 0.006)
    assert [(one.url, one.title) for one in answer.citations] == [("https://a.example/", "A")]


@pytest.mark.parametrize(
    ("vendor", "stated", "cost"),
    [("litellm", "0.0000125", 0.0000125), ("litellm", "2.5e-06", 2.5e-06), ("litellm", "None", None), ("groq", "1", None)],
)
def test_the_cost_in_litellms_header(hub_at, ask, vendor, stated, cost):
    body = {"choices": [{**CHOICE, "message": {"content": "4"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    answer = asked(hub_at, ask, vendor, http_response(200, body, headers={"x-litellm-response-cost": stated}))
    assert (answer.usage.cost, answer.usage.input_tokens) == (cost, 3)


def test_snowflakes_calls_without_a_name_are_none(hub_at, ask):
    empty = {"function_call": {"arguments": "", "name": ""}, "audio": {"data": "", "id": "", "transcript": ""}, "refusal": ""}
    phantom = {"id": "", "type": "", "custom": {"input": "", "name": ""}, "function": {"arguments": "", "name": ""}}
    answer = asked(hub_at, ask, "snowflake", whole({"content": "4", "tool_calls": [phantom], **empty}, finish=""))
    assert (answer.text, answer.tool_calls, answer.media) == ("4", (), ())


def test_reasoning_that_stands_in_details_only(hub_at, ask):
    details = [{"type": "reasoning.text", "text": "So", "signature": "s"}]
    answer = asked(hub_at, ask, "snowflake", whole({"content": "4", "reasoning_details": details}))
    assert answer.reasoning == "So"
    assert answer.turn.content["reasoning_details"] == details
    both = whole({"content": "4", "reasoning": "So", "reasoning_details": details})
    assert asked(hub_at, ask, "openrouter", both).reasoning == "So"


def test_databricks_parts_of_reasoning(hub_at, ask):
    part = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "So", "signature": "s"}]}
    answer = asked(hub_at, ask, "databricks", whole({"content": [part, {"type": "text", "text": "4"}]}))
    assert (answer.text, answer.reasoning) == ("4", "So")
    assert answer.turn.content["content"][0] == part


def test_databricks_parts_of_reasoning_in_pieces(hub_at, ask):
    pieces = [
        openai_chunk(content=[{"type": "reasoning", "summary": [{"type": "summary_text", "text": text, "signature": signature}]}])
        for text, signature in (("S", ""), ("o", ""), ("", "s"))
    ]
    stream = http_response(200, b"".join(sse(*pieces, openai_chunk("4"), openai_chunk(finish_reason="stop"))))
    answer = asked(hub_at, ask, "databricks", stream, stream=True)
    assert (answer.text, answer.reasoning) == ("4", "So")
    (part, _) = answer.turn.content["content"]
    assert part["summary"] == [{"type": "summary_text", "text": "So", "signature": "s"}]


def test_the_reasoning_goes_back_within_a_loop_of_tools(hub_at, ask):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    first = whole({"content": "", "reasoning_content": "Ask f", "tool_calls": [call]}, finish="tool_calls")
    with FaultServer(first, http_response(200, openai_completion("7"))) as server, hub_at("deepseek", server.url) as hub:
        talk = [{"role": "user", "content": "?"}]
        answer = ask(hub, "deepseek/m", talk)
        talk += [answer.message, answer.tool_result(answer.tool_calls[0], "7")]
        assert ask(hub, "deepseek/m", talk).text == "7"
    assert server.requests[1].json()["messages"][1]["reasoning_content"] == "Ask f"


def test_moonshots_counts_stand_in_the_choice(hub_at, ask):
    last = {
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}]
    }
    answer = asked(hub_at, ask, "moonshot", http_response(200, b"".join(sse(openai_chunk("Hi"), last))), stream=True)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 1)


def test_openrouter_says_who_served_and_what_it_cost(hub_at, ask):
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "cost": 0.25}
    answer = asked(hub_at, ask, "openrouter", whole({"content": "Hi"}, provider="Acme", usage=usage))
    assert (answer.details["served_by"], answer.usage.cost) == ("Acme", 0.25)


def test_xais_reasoning_stands_beside_the_output(hub_at, ask):
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "total_tokens": 42,
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    assert asked(hub_at, ask, "xai", whole({"content": "Hi"}, usage=usage)).usage.output_tokens == 32


@pytest.mark.parametrize(
    ("vendor", "said", "finish"),
    [("together", "eos", "stop"), ("zai", "sensitive", "content_filter"), ("groq", "length", "length")],
)
def test_words_for_the_end(hub_at, ask, vendor, said, finish):
    assert asked(hub_at, ask, vendor, whole({"content": "Hi"}, finish=said)).finish_reason == finish


@pytest.mark.parametrize(("vendor", "said"), [("zai", "network_error"), ("deepseek", "insufficient_system_resource")])
def test_words_for_a_failure_at_the_end(hub_at, ask, vendor, said):
    with pytest.raises(providerhub.ServerError):
        asked(hub_at, ask, vendor, whole({"content": "Hi"}, finish=said))


GROQ = {"error": {"message": "Tool call validation failed", "code": "tool_use_failed", "failed_generation": "{}"}}


@pytest.mark.parametrize(
    ("vendor", "status", "body", "error"),
    [
        ("groq", 400, GROQ, providerhub.ServerError),
        ("groq", 400, {"error": {"message": "x", "code": "json_validate_failed"}}, providerhub.ServerError),
        *(
            ("minimax", 200, {"base_resp": {"status_code": code, "status_msg": "no"}, "choices": None}, error)
            for code, error in (
                (1004, providerhub.AuthenticationError), (2049, providerhub.AuthenticationError),
                (1002, providerhub.RateLimitError), (1041, providerhub.RateLimitError), (2045, providerhub.RateLimitError),
                (1008, providerhub.QuotaExceededError), (2056, providerhub.QuotaExceededError),
                (1026, providerhub.ContentPolicyError), (1027, providerhub.ContentPolicyError),
                (1039, providerhub.ContextLengthError), (2013, providerhub.BadRequestError), (20132, providerhub.BadRequestError),
                *((code, providerhub.ServerError) for code in (1000, 1001, 1013, 1024, 1033)),
            )
        ),
        *(
            (vendor, status, {"error": {"code": str(code), "message": "no"}}, error)
            for vendor in ("zai", "zhipu")
            for codes, status, error in (
                ((1000, 1001, 1002, 1003, 1004), 401, providerhub.AuthenticationError),
                ((1113, 1304, 1308, 1309), 429, providerhub.QuotaExceededError),
                ((1302, 1303, 1305), 429, providerhub.RateLimitError),
                ((1211, 1220, 1221, 1222), 400, providerhub.ModelNotFoundError),
                ((1261,), 400, providerhub.ContextLengthError),
                ((1301,), 400, providerhub.ContentPolicyError),
            )
            for code in codes
        ),
    ],
)  # fmt: skip
def test_refusals_of_vendors(hub_at, ask, vendor, status, body, error):
    with pytest.raises(error):
        asked(hub_at, ask, vendor, http_response(status, body))


def test_a_refusal_inside_a_stream_is_classed_alike(hub_at, ask):
    stream = http_response(200, b"".join(sse(openai_chunk("He"), GROQ)))
    with pytest.raises(providerhub.StreamInterruptedError) as caught:
        asked(hub_at, ask, "groq", stream, stream=True)
    assert isinstance(caught.value.cause, providerhub.ServerError)


def test_a_refused_stream_option_names_the_setting(hub_at, ask):
    refusal = http_response(400, {"error": {"message": "Unrecognized request argument: stream_options"}})
    with pytest.raises(providerhub.BadRequestError, match=r'stream_usage = "no" in \[providers.vllm.options\]'):
        asked(hub_at, ask, "vllm", refusal, stream=True)


TOKEN = http_response(200, {"access_token": "t-0123456789", "expires_in": 3600})


def watsonx(hub_at, server, auth, **options):
    options = {"project_id": "p", "auth_url": f"{auth.url}/identity/token", **options}
    return hub_at("watsonx", server.url, options=options)


def test_watsonx_gets_a_token_for_the_key(hub_at, ask):
    with (
        FaultServer(TOKEN, repeat=True) as auth,
        FaultServer(http_response(200, openai_completion("Hi")), repeat=True) as server,
        watsonx(hub_at, server, auth) as hub,
    ):
        assert ask(hub, "watsonx/m").text == "Hi"
        assert hub.complete("watsonx/m", "Hello").text == "Hi"
    form = "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=canary-key-0123456789"
    assert {request.body.decode() for request in auth.requests} == {form}
    assert len(server.requests) == 2
    request = server.requests[0]
    assert request.header("authorization") == "Bearer t-0123456789"
    assert request.target == "/ml/v1/text/chat?version=2025-02-11"
    body = request.json()
    assert (body["model_id"], body["project_id"], "model" in body) == ("m", "p", False)


def test_watsonx_keeps_a_token(hub_at):
    with (
        FaultServer(TOKEN) as auth,
        FaultServer(http_response(200, openai_completion("Hi")), repeat=True) as server,
        watsonx(hub_at, server, auth) as hub,
    ):
        hub.complete("watsonx/m", "Hello")
        hub.complete("watsonx/m", "Hello")
    assert (len(auth.requests), len(server.requests)) == (1, 2)


def test_watsonx_fetches_a_token_again_that_ends(hub_at, ask):
    short = http_response(200, {"access_token": "t-0123456789", "expires_in": 30})
    with (
        FaultServer(short, repeat=True) as auth,
        FaultServer(http_response(200, openai_completion("Hi")), repeat=True) as server,
        watsonx(hub_at, server, auth) as hub,
    ):
        ask(hub, "watsonx/m")
        ask(hub, "watsonx/m")
    assert len(auth.requests) == 2


def test_watsonx_fetches_a_token_again_that_is_refused(hub_at, ask):
    tokens = [http_response(200, {"access_token": f"t-{n}-0123456789", "expires_in": 3600}) for n in range(2)]
    refusal = http_response(401, {"errors": [{"code": "authentication_token_not_valid", "message": "Failed to authenticate"}]})
    with (
        FaultServer(*tokens) as auth,
        FaultServer(refusal, http_response(200, openai_completion("Hi"))) as server,
        watsonx(hub_at, server, auth) as hub,
    ):
        assert ask(hub, "watsonx/m").text == "Hi"
    assert [request.header("authorization") for request in server.requests] == [f"Bearer t-{n}-0123456789" for n in range(2)]


def test_watsonx_streams_at_another_path_and_takes_a_token_as_it_is(hub_at, ask):
    stream = http_response(200, b"".join(sse(openai_chunk("Hi"), openai_chunk(finish_reason="stop"))))
    with (
        FaultServer(TOKEN, repeat=True) as auth,
        FaultServer(stream) as server,
        watsonx(hub_at, server, auth, token=providerhub.Secret("own-0123456789")) as hub,
    ):
        assert ask(hub, "watsonx/m", stream=True).text == "Hi"
    assert server.requests[0].target == "/ml/v1/text/chat_stream?version=2025-02-11"
    assert server.requests[0].header("authorization") == "Bearer own-0123456789"
    assert {"stream", "stream_options"}.isdisjoint(server.requests[0].json())
    assert not auth.requests


def test_watsonx_names_the_settings_of_a_service_that_gives_no_token(hub_at, ask):
    with (
        FaultServer(http_response(200, "{}")) as auth,
        FaultServer(http_response(200, openai_completion("Hi")), repeat=True) as server,
        watsonx(hub_at, server, auth) as hub,
        pytest.raises(providerhub.ConfigurationError, match="auth_url or api_key"),
    ):
        ask(hub, "watsonx/m")


def test_watsonx_shows_no_token_in_an_error(hub_at, ask):
    refusal = http_response(403, json.dumps({"errors": [{"code": "forbidden", "message": "t-0123456789 has no access"}]}))
    with (
        FaultServer(TOKEN, repeat=True) as auth,
        FaultServer(refusal) as server,
        watsonx(hub_at, server, auth) as hub,
        pytest.raises(providerhub.ProviderError) as caught,
    ):
        ask(hub, "watsonx/m")
    assert "t-0123456789" not in str(caught.value)
