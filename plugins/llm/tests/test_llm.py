"""The bridge, with the models that `llm-echo` brings: what goes in, what comes out, and what becomes of errors."""

import asyncio
import json

import llm
import pytest

from providerhub import (
    AuthenticationError,
    BadRequestError,
    Hub,
    ModelNotFoundError,
    NoCapableProviderError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderTimeoutError,
    RateLimitError,
    ReasoningDelta,
    Secret,
    ServerError,
    Settings,
)
from providerhub_llm.failures import mapped

CANARY = "sk-canary-5d1f"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds", "parameters": {"type": "object"}}}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.delenv("PROVIDERHUB_LLM_API_KEY", raising=False)


@pytest.fixture(params=["complete", "acomplete"])
def ask(request):
    """`ask(model, messages, **knobs)`, both ways; a stream is read to its end."""
    config = ProviderConfig()

    def run(model, messages, *, config=config, **knobs):
        hub = Hub(Settings(allow={"llm"}, providers={"llm": config}))
        if request.param == "complete":
            reply = hub.complete(model, messages, **knobs)
            if knobs.get("stream"):
                list(reply)
                return reply.completion
            return reply

        async def main():
            reply = await hub.acomplete(model, messages, **knobs)
            if knobs.get("stream"):
                async for _ in reply:
                    pass
                return reply.completion
            return reply

        return asyncio.run(main())

    return run


def told(completion):
    """What the model says that it was given."""
    return json.loads(completion.text)


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_of_llm_answers(ask, stream):
    completion = ask("llm/echo", "Grüße 你好", stream=stream)
    assert told(completion)["prompt"] == "Grüße 你好"
    assert told(completion)["stream"] is stream
    assert completion.finish_reason == "stop"
    assert completion.usage.input_tokens == 2
    assert completion.usage.output_tokens > 0
    assert completion.provider == "llm"


def test_a_bare_name_is_found_by_asking_llm(ask):
    assert ask("echo", "Hello").provider == "llm"


def test_an_alias_that_llm_knows_works(ask, tmp_path):
    (tmp_path / "aliases.json").write_text('{"parrot": "echo"}')
    assert told(ask("llm/parrot", "Hello"))["prompt"] == "Hello"


def test_what_is_offered_says_what_it_can():
    plan = Hub(Settings(allow={"llm"})).explain("llm/echo", "x", stream=True, tools=[TOOL])
    assert str(plan.candidates[0]) == "llm/echo"


def test_what_a_model_cannot_is_refused_before_it_is_asked(ask):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    with pytest.raises(NoCapableProviderError, match="llm/echo"):
        ask("llm/echo", "x", response_format=form)


def test_a_conversation_goes_in_whole(ask):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": [{"type": "text", "text": "Three"}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
    ]
    said = told(ask("llm/echo", messages))
    assert (said["system"], said["prompt"]) == ("Be brief.", "Three")
    assert [attachment["type"] for attachment in said["attachments"]] == ["image/png"]


def test_tools_come_and_go(ask):
    wanted = json.dumps({"prompt": "x", "tool_calls": [{"name": "add", "arguments": {"a": 1}}]})
    completion = ask("llm/echo", wanted, tools=[TOOL], stream=True)
    (call,) = completion.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("add", {"a": 1})
    assert call.id
    assert completion.finish_reason == "tool_calls"
    history = [
        {"role": "user", "content": "Add"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ]
    said = told(ask("llm/echo", history, tools=[TOOL]))
    assert said["tool_results"] == [{"name": "add", "output": "2", "tool_call_id": "c1"}]


def test_reasoning_is_told_apart():
    with Hub(Settings(allow={"llm"})) as hub:
        stream = hub.complete("llm/echo", "x", stream=True, options={"llm": {"thinking": True}})
        assert any(isinstance(event, ReasoningDelta) for event in stream.events())
        assert stream.completion.reasoning.startswith("First I consider")


def test_a_knob_that_the_model_lacks_is_noted(ask):
    completion = ask("llm/echo", "x", temperature=0.5, max_tokens=5)
    assert completion.route.attempts[0].notes == (
        "the model has no option temperature, so it was left out",
        "the model has no option max_tokens, so it was left out",
    )


def test_an_option_that_the_model_lacks_is_noted(ask):
    completion = ask("llm/echo", "x", options={"llm": {"no_such_option": 1}})
    assert completion.route.attempts[0].notes == ("the model has no option no_such_option, so it was left out",)


def test_an_option_that_the_model_refuses_is_the_callers(ask):
    with pytest.raises(BadRequestError, match="example_bool"):
        ask("llm/echo", "x", options={"llm": {"example_bool": "perhaps"}})


def test_a_model_that_nobody_has(ask):
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        ask("llm/no-such-model", "x")


def test_a_missing_key_is_told_with_its_remedy(ask):
    with pytest.raises(AuthenticationError, match="llm keys set echo-needs-key"):
        ask("llm/echo-needs-key", "x")


def test_a_key_of_ours_takes_the_place_of_those_that_llm_keeps(ask, caplog):
    config = ProviderConfig(api_key=Secret(CANARY))
    completion = ask("llm/echo-needs-key", "x", config=config)
    assert told(completion)["key"] == CANARY  # this model repeats it: that is how we know that it was given
    assert CANARY not in caplog.text
    assert CANARY not in str(completion.route)
    assert CANARY not in repr(config)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": [{"type": "audio"}]}, "type 'audio'"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,zz"}}]}, "base64"),
    ],
)
def test_what_cannot_be_expressed_is_named(ask, message, expected):
    with pytest.raises(BadRequestError, match=expected):
        ask("llm/echo", [message])


class TimeoutException(Exception):  # noqa: N818 -- the name that HTTP clients give it
    pass


class APIConnectionError(Exception):
    pass


class Refused(Exception):  # noqa: N818 -- any class with a status
    status_code = 429


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (TimeoutException("slow"), ProviderTimeoutError),
        (APIConnectionError("gone"), ProviderConnectionError),
        (Refused("too many"), RateLimitError),
        (llm.ModelError("broken"), ServerError),
        (llm.NeedsKeyException("none"), AuthenticationError),
        (ValueError("wrong"), BadRequestError),
    ],
)
def test_what_models_raise_is_classed(raised, expected):
    assert type(mapped(raised)) is expected


@pytest.mark.parametrize("raised", [RuntimeError("odd"), ConnectionResetError("gone"), ServerError("down")])
def test_what_is_understood_already_stays(raised):
    assert mapped(raised) is raised


def test_nothing_is_written_to_the_log_of_llm(ask, tmp_path):
    ask("llm/echo", "x")
    assert not list(tmp_path.glob("*.db"))
