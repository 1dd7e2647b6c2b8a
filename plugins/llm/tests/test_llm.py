"""The bridge, with the models of `llm-echo`: requests, answers and errors."""

import asyncio
import json
import subprocess
import sys
import threading
import traceback

import llm
import pytest

from providerhub import (
    AuthenticationError,
    BadRequestError,
    CallContext,
    Hub,
    InvalidRequestError,
    ModelNotFoundError,
    PluginError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ReasoningDelta,
    Request,
    Secret,
    ServerError,
    Settings,
    StreamInterruptedError,
    Timeout,
    Usage,
)
from providerhub_llm._asking import response_of
from providerhub_llm._conversation import talk_of
from providerhub_llm._failures import mapped

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
    """Return the request as the model repeats it."""
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


def test_a_name_alone_is_found_by_listing_llm_s_models(ask):
    assert ask("echo", "Hello").provider == "llm"


def test_an_alias_that_llm_knows_works(ask, tmp_path):
    (tmp_path / "aliases.json").write_text('{"parrot": "echo"}')
    assert told(ask("llm/parrot", "Hello"))["prompt"] == "Hello"


def test_listed_models_state_their_capabilities():
    plan = Hub(Settings(allow={"llm"})).explain("llm/echo", "x", stream=True, tools=[TOOL])
    assert str(plan.candidates[0]) == "llm/echo"


def test_an_unsupported_request_is_refused_before_it_is_sent(ask):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    # A call with a pinned name needs no list of models, so the plugin itself refuses the model.
    with pytest.raises(InvalidRequestError, match="does not support schemas"):
        ask("llm/echo", "x", response_format=form)


def test_the_whole_conversation_is_passed(ask):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": [{"type": "text", "text": "Three"}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
    ]
    said = told(ask("llm/echo", messages))
    assert (said["system"], said["prompt"]) == ("Be brief.", "Three")
    assert [attachment["type"] for attachment in said["attachments"]] == ["image/png"]


def test_tools_and_tool_results_are_passed(ask):
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


def test_reasoning_is_separate_from_text():
    with Hub(Settings(allow={"llm"})) as hub:
        stream = hub.complete("llm/echo", "x", stream=True, options={"llm": {"thinking": True}})
        assert any(isinstance(event, ReasoningDelta) for event in stream.events())
        assert stream.completion.reasoning.startswith("First I consider")


def test_an_argument_that_the_model_lacks_is_noted(ask):
    completion = ask("llm/echo", "x", temperature=0.5, max_tokens=5)
    assert completion.route.attempts[0].notes == (
        "the model has no option temperature, so it was left out",
        "the model has no option max_tokens, so it was left out",
    )


def test_an_option_that_the_model_lacks_is_noted(ask):
    completion = ask("llm/echo", "x", options={"llm": {"no_such_option": 1}})
    assert completion.route.attempts[0].notes == ("the model has no option no_such_option, so it was left out",)


def test_an_option_that_the_model_refuses_is_an_invalid_request(ask):
    with pytest.raises(InvalidRequestError, match="example_bool"):
        ask("llm/echo", "x", options={"llm": {"example_bool": "perhaps"}})


def test_an_unknown_model(ask):
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        ask("llm/no-such-model", "x")


def test_the_error_for_a_missing_key_names_the_command(ask):
    with pytest.raises(AuthenticationError, match="llm keys set echo-needs-key"):
        ask("llm/echo-needs-key", "x")


def test_a_configured_key_replaces_the_keys_stored_by_llm(ask, caplog):
    config = ProviderConfig(api_key=Secret(CANARY))
    completion = ask("llm/echo-needs-key", "x", config=config)
    assert told(completion)["key"] == CANARY  # the model repeats its key
    assert CANARY not in caplog.text
    assert CANARY not in str(completion.route)
    assert CANARY not in repr(config)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": [{"type": "audio"}]}, "type 'audio'"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,zz"}}]}, "base64"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,z"}}]}, "base64"),
        ({"role": "function", "name": "f", "content": "x"}, "'function'"),
        ({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}, "not JSON"),
    ],
)
def test_the_error_names_the_part_that_llm_cannot_express(ask, message, expected):
    with pytest.raises(InvalidRequestError, match=expected):
        ask("llm/echo", [message])


@pytest.mark.parametrize("knobs", [{"tools": [TOOL], "tool_choice": "required"}, {"response_format": {"type": "json_object"}}])
def test_an_argument_that_llm_lacks_is_refused(ask, knobs):
    with pytest.raises(InvalidRequestError, match="llm"):
        ask("llm/echo", "x", **knobs)


def test_tool_choice_none_passes_no_tools():
    request = Request("echo", [{"role": "user", "content": "x"}], tools=[TOOL], tool_choice="none")
    assert response_of(llm.get_model("echo"), request, CallContext(Timeout()), None).prompt.tools == []


def test_old_and_new_plugins_of_llm_read_the_conversation(ask):
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": "Two", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "assistant", "content": "Three"},
        {"role": "user", "content": "Four"},
    ]
    assert [one["prompt"] for one in told(ask("llm/echo", messages))["previous"]] == ["One\n\nmore", ""]
    request = Request("echo", messages)
    response = response_of(llm.get_model("echo"), request, CallContext(Timeout()), None)
    chain = [(message.role, [part.to_dict()["type"] for part in message.parts]) for message in response.prompt.messages]
    assert chain == [
        ("system", ["text"]),
        ("user", ["text"]),
        ("assistant", ["text", "tool_call"]),
        ("tool", ["tool_result"]),
        ("assistant", ["text"]),
        ("user", ["text"]),
    ]
    first, second = response.conversation.responses
    assert (first.text(), second.prompt.tool_results[0].name, second.text()) == ("Two", "add", "Three")
    assert [message.role for message in second.prompt.messages] == ["system", "user", "assistant", "tool"]


def test_files_and_sound_are_attachments():
    parts = [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png?x=1"}},
    ]
    talk = talk_of([{"role": "user", "content": parts}])
    assert [one.type for one in talk.now.attachments] == ["application/pdf", "audio/mpeg", "image/png"]


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
        (llm.ModelError("You exceeded your current quota"), QuotaExceededError),
        (llm.ConversationNotSupported("no"), BadRequestError),
        (ConnectionResetError("gone"), ProviderConnectionError),
        (TimeoutError(), ProviderTimeoutError),
        (ValueError("wrong"), BadRequestError),
    ],
)
def test_exceptions_of_models_are_translated(raised, expected):
    assert type(mapped(raised, str)) is expected


@pytest.mark.parametrize("raised", [RuntimeError("odd"), ServerError("down"), OSError("odd")])
def test_provider_errors_stay_as_they_are(raised):
    assert mapped(raised, str) is raised


def test_nothing_is_written_to_the_log_of_llm(ask, tmp_path):
    ask("llm/echo", "x")
    assert not list(tmp_path.glob("*.db"))


class Failing(llm.Model):
    model_id = "failing"
    can_stream = True

    def execute(self, prompt, stream, response, conversation):
        yield "One "
        raise llm.ModelError(f"the key {CANARY} was refused")


class Slow(llm.AsyncModel):
    """Answers with one word, and then with nothing."""

    model_id = "slow"
    can_stream = True

    def __init__(self):
        self.closed = asyncio.Event()
        self.silent = asyncio.Event()

    async def execute(self, prompt, stream, response, conversation):
        try:
            yield "One "
            self.silent.set()
            await asyncio.Event().wait()
        finally:
            self.closed.set()


class Sync(Failing):
    model_id = "slow"


class Told(llm.Model):
    """Adds fields to the answer as some services do."""

    model_id = "told"

    def execute(self, prompt, stream, response, conversation):
        response.response_json = {"finish_reason": "length"}
        details = {"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2}}
        response.set_usage(input=5, output=4, details=details)
        yield "x"


@pytest.fixture
def extra():
    """Registers models with llm, as a plugin of it would."""
    registered = []

    class Plugin:
        @llm.hookimpl
        def register_models(self, register):
            for model, async_model in registered:
                register(model, async_model)

    def register(model, async_model=None):
        registered.append((model, async_model))

    plugin = Plugin()
    llm.pm.register(plugin)
    yield register
    llm.pm.unregister(plugin)


def test_errors_do_not_contain_the_configured_key(ask, extra, caplog):
    extra(Failing())
    with pytest.raises(StreamInterruptedError) as caught:
        ask("llm/failing", "x", config=ProviderConfig(api_key=CANARY), stream=True)
    assert caught.value.partial == "One "
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "***" in str(caught.value)


def test_errors_do_not_contain_a_key_of_llm(ask, extra, monkeypatch):
    class Keyed(llm.KeyModel):
        model_id, needs_key, key_env_var = "keyed", "keyed", "SOME_KEY"

        def execute(self, prompt, stream, response, conversation, key):
            raise RuntimeError(f"refused {key}")
            yield

    extra(Keyed())
    monkeypatch.setenv("SOME_KEY", CANARY)
    with pytest.raises(PluginError) as caught:
        ask("llm/keyed", "x")
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert "refused ***" in str(caught.value)


def test_the_finish_reason_of_the_service_is_passed_on(ask, extra):
    extra(Told())
    answer = ask("llm/told", "x")
    assert (answer.finish_reason, answer.usage) == ("length", Usage(5, 4, 3, 2))


class Signed(llm.Model):
    """Signs its thinking, and answers with a picture. It repeats the signature that comes back with the conversation."""

    can_stream = True

    def __init__(self, model_id):
        self.model_id = model_id

    def execute(self, prompt, stream, response, conversation):
        response.response_json = {"id": "c-1", "model": "signed-2026"}
        past = [part.provider_metadata for message in prompt.messages for part in message.parts if message.role == "assistant"]
        yield llm.parts.StreamEvent(type="reasoning", chunk="Hm.", provider_metadata={"signed": {"signature": "c2ln"}})
        yield llm.parts.StreamEvent(type="text", chunk=json.dumps([one for one in past if one]))


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_model_has_signed_goes_back_to_it_alone(ask, extra, stream):
    extra(Signed("signed"))
    extra(Signed("other"))
    first = ask("llm/signed", "x", stream=stream)
    assert (first.text, first.reasoning, first.id, first.served_model) == ("[]", "Hm.", "c-1", "signed-2026")
    talk = [json.loads(json.dumps(first.message)), {"role": "user", "content": "And?"}]
    assert told(ask("llm/signed", talk, stream=stream)) == [{"signed": {"signature": "c2ln"}}]
    assert told(ask("llm/other", talk, stream=stream)) == []


def slow_hub(**phases):
    return Hub(Settings(allow={"llm"}, timeout=Timeout(**phases)))


def test_a_silent_asynchronous_model_times_out(extra):
    async def ask():
        model = Slow()
        extra(Sync(), model)
        with pytest.raises(StreamInterruptedError) as caught:
            async with await slow_hub(token_idle=0.05).acomplete("llm/slow", "x", stream=True) as stream:
                [_ async for _ in stream]
        await model.closed.wait()
        return caught.value

    error = asyncio.run(ask())
    assert (error.partial, type(error.cause)) == ("One ", ProviderTimeoutError)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_an_abandoned_asynchronous_model_is_closed(extra, how):
    async def ask():
        model = Slow()
        extra(Sync(), model)
        stream = await slow_hub().acomplete("llm/slow", "x", stream=True)

        async def read():
            async for _ in stream:
                pass

        task = asyncio.create_task(read())
        await model.silent.wait()
        if how == "cancel":
            task.cancel()
        else:
            await stream.aclose()
        await asyncio.wait([task])
        await model.closed.wait()
        assert task.cancelled() is (how == "cancel")

    asyncio.run(ask())


def test_a_model_without_an_asynchronous_side_runs_in_a_thread(extra):
    class Plain(llm.Model):
        model_id, can_stream = "plain", True

        def execute(self, prompt, stream, response, conversation):
            yield from ("One ", "two")

    async def ask():
        async with await slow_hub().acomplete("llm/plain", "x", stream=True) as stream:
            return [token async for token in stream]

    extra(Plain())
    assert asyncio.run(ask()) == ["One ", "two"]


def test_a_silent_model_without_an_asynchronous_side_times_out(extra):
    go_on = threading.Event()

    class Plain(llm.Model):
        model_id, can_stream = "plain", True

        def execute(self, prompt, stream, response, conversation):
            yield "One "
            go_on.wait()

    async def ask():
        try:
            with pytest.raises(StreamInterruptedError) as caught:
                async with await slow_hub(token_idle=0.05).acomplete("llm/plain", "x", stream=True) as stream:
                    [_ async for _ in stream]
        finally:
            go_on.set()
        return caught.value

    extra(Plain())
    error = asyncio.run(ask())
    assert (error.partial, type(error.cause)) == ("One ", ProviderTimeoutError)


def test_the_declaration_does_not_import_llm():
    script = "import sys, providerhub_llm; print(sorted({'llm', 'pydantic', 'providerhub_llm.provider'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
