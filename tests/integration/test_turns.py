"""The assistant's turn in a vendor's own form: the provider that gets it back, and a service that refuses it."""

import asyncio
import json

import attrs
import pytest

import providerhub
from providerhub import (
    BadRequestError,
    Citation,
    Completion,
    Detail,
    Finish,
    Media,
    ModelInfo,
    ModelUnavailableError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderInfo,
    RateLimitError,
    RetryPolicy,
    ServerError,
    Settings,
    StreamInterruptedError,
    ToolCallDelta,
    Turn,
)
from providerhub.testing import FakeAsyncProvider, FakeClock, FakeProvider, FaultServer, chunked, http_response

CONTENT = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]
WRITTEN = ("Look.", ToolCallDelta(0, "x", "f", '{"a": 1}'), Turn(CONTENT), Finish("tool_calls"))


def hub_of(*providers, infos=(), **settings):
    """A hub of some providers in that order; `infos` replace their declarations."""
    hub = providerhub.Hub(Settings(autoload=False, **settings), clock=FakeClock(), rng=lambda: 0.5)
    for place, provider in enumerate(providers):
        info = infos[place] if place < len(infos) and infos[place] else provider.info
        hub.register(info, provider, config=attrs.evolve(provider.config, priority=-place))
    return hub


@pytest.fixture(params=["sync whole", "sync streamed", "async whole", "async streamed"])
def ask(request):
    """Ask in each of the four ways: the `Completion`."""
    is_async, stream = "async" in request.param, "streamed" in request.param

    async def asked(hub, *args, **keywords):
        answer = await hub.acomplete(*args, stream=stream, **keywords)
        if stream:
            async for _ in answer.events():
                pass
        return answer.completion if stream else answer

    def call(hub, *args, **keywords):
        if is_async:
            return asyncio.run(asked(hub, *args, **keywords))
        answer = hub.complete(*args, stream=stream, **keywords)
        if stream:
            list(answer.events())
        return answer.completion if stream else answer

    return call


def talk_of(answer):
    return ["Hello?", answer.message, answer.tool_result("x", "7"), {"role": "user", "content": "And?"}][1:]


def first_answer(provider=None):
    with hub_of(provider or FakeProvider(WRITTEN)) as hub:
        return hub.complete("m", "Hello?")


@pytest.mark.parametrize("kind", [FakeProvider, FakeAsyncProvider])
def test_the_turn_goes_back_to_its_provider(ask, kind):
    provider = kind(WRITTEN, "Done.")
    with hub_of(provider) as hub:
        answer = ask(hub, "m", "Hello?")
        assert answer.turn == Turn(CONTENT, "", "fake", "")
        talk = talk_of(Completion(**{name: getattr(answer, name) for name in ("text", "tool_calls", "turn")}))
        talk = json.loads(json.dumps(talk))  # as from a database
        assert ask(hub, "m", talk).text == "Done."
    sent = provider.requests[1].messages[0]
    assert sent == {**answer.message_plain, "turn": CONTENT}
    assert talk[0]["turn"]["content"] == CONTENT, "the caller's own messages are not changed"


@pytest.mark.parametrize("change", [{"host": "gateway.example"}, {"name": "other"}, {"plugin": "providerhub-other"}])
def test_no_other_provider_gets_the_turn(ask, change):
    answer = first_answer()
    message = {**answer.message, "turn": {**answer.message["turn"], **change}}
    provider = FakeProvider("Done.")
    with hub_of(provider) as hub:
        found = ask(hub, "m", [message, *talk_of(answer)[1:]])
    assert "turn" not in provider.requests[0].messages[0]
    assert found.route.attempts[0].notes == ()


def test_the_host_and_port_of_the_address_count():
    hosts = []
    for url in ("https://Key@API.acme.example:8443/v1", "http://127.0.0.1:1/", None):
        with hub_of(FakeProvider(WRITTEN, config=ProviderConfig(url=url))) as hub:
            hosts.append(hub.complete("m", "Hello?").turn.host)
    assert hosts == ["api.acme.example:8443", "127.0.0.1:1", ""]


def test_a_plugin_may_take_the_turns_of_others(ask):
    answer = first_answer()
    message = {**answer.message, "turn": {**answer.message["turn"], "name": "claude", "host": "api.claude.example"}}
    cloud = FakeProvider("Done.")
    with hub_of(cloud, infos=[ProviderInfo(name="cloud", models=(ModelInfo("*"),), accepts_turns=["claude"])]) as hub:
        ask(hub, "m", [message, *talk_of(answer)[1:]])
    assert cloud.requests[0].messages[0]["turn"] == CONTENT


def test_the_names_of_accepted_turns_are_texts():
    with pytest.raises(ValueError, match="accepts_turns"):
        ProviderInfo(name="cloud", accepts_turns="claude")


def test_the_next_provider_of_a_call_gets_no_turn_of_the_first(ask):
    first, second = FakeProvider(WRITTEN, ServerError("down", status=500), name="first"), FakeProvider("Done.", name="second")
    with hub_of(first, second) as hub:
        talk = talk_of(ask(hub, "m", "Hello?"))
        assert ask(hub, "m", talk).provider == "second"
    assert first.requests[1].messages[0]["turn"] == CONTENT
    assert "turn" not in second.requests[0].messages[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"content": "Look!"}, "edited"),
        ({"turn": {"content": []}}, "plugin, name, host, of"),
        ({"turn": "signature"}, "plugin, name, host, of"),
        ({"role": "user"}, "only a message of the assistant"),
    ],
)
def test_a_turn_that_no_longer_fits_is_dropped_with_a_note(ask, change, said):
    answer = first_answer()
    provider = FakeProvider("Done.")
    with hub_of(provider) as hub:
        found = ask(hub, "m", [{**answer.message, **change}, *talk_of(answer)[1:]])
    assert "turn" not in provider.requests[0].messages[0]
    (note,) = found.route.attempts[0].notes
    assert note.startswith("messages[0]['turn'] is left out: ")
    assert said in note


def test_an_empty_turn_is_as_none(ask):
    provider = FakeProvider("Done.")
    with hub_of(provider) as hub:
        found = ask(hub, "m", [{"role": "assistant", "content": "Hi", "turn": None}, {"role": "user", "content": "And?"}])
    assert provider.requests[0].messages[0] == {"role": "assistant", "content": "Hi"}
    assert found.route.attempts[0].notes == ()


REFUSALS = [
    BadRequestError("messages.1.content.0: Invalid `signature` in `thinking` block", status=400),
    BadRequestError("HTTP 400", status=400, excerpt="Function call is missing a thought_signature in functionCall parts"),
    BadRequestError("The encrypted content gAAA could not be verified", status=400),
    BadRequestError("unexpected `tool_use_id` found in `web_search_tool_result` blocks: srvtoolu_1", status=400),
    BadRequestError("Unknown parameter: 'input[1].status'.", status=400),
    ModelUnavailableError("Item with id 'rs_1' not found. Items are not persisted when `store` is false.", status=404),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_refused_turn_is_left_out_and_the_same_provider_asked_at_once(ask, refusal):
    provider, other = FakeProvider(WRITTEN, refusal, "Done."), FakeProvider("Other.", name="other")
    with hub_of(provider, other, retry=RetryPolicy(attempts=1, attempts_per_provider=1)) as hub:
        talk = talk_of(ask(hub, "m", "Hello?"))
        found = ask(hub, "m", talk)
        records = [one for one in hub.health() if one.provider == "fake"]
    assert (found.text, found.provider) == ("Done.", "fake")
    assert ["turn" in request.messages[0] for request in provider.requests[1:]] == [True, False]
    refused, answered = found.route.attempts
    assert (refused.outcome, answered.outcome, answered.waited) == ("error", "ok", 0.0)
    assert "refused its own form" in answered.notes[0]
    assert {one.state for one in records} <= {"closed"}


def test_a_turn_that_its_plugin_cannot_read_is_left_out(ask):
    provider = FakeProvider(WRITTEN, TypeError("'NoneType' object is not a mapping"), "Done.")
    with hub_of(provider, retry=RetryPolicy(attempts=1)) as hub:
        found = ask(hub, "m", talk_of(ask(hub, "m", "Hello?")))
    assert found.text == "Done."
    assert ["turn" in request.messages[0] for request in provider.requests[1:]] == [True, False]


def test_the_second_request_waits_for_its_turn_at_a_provider_with_limits(ask):
    provider = FakeProvider(WRITTEN, REFUSALS[0], "Done.", config=ProviderConfig(rpm=2))
    with hub_of(provider) as hub:
        found = ask(hub, "m", talk_of(ask(hub, "m", "Hello?")))
    assert found.text == "Done."
    assert found.route.attempts[1].waited > 0


def test_a_provider_that_refuses_without_turns_too_is_asked_twice(ask):
    provider = FakeProvider(WRITTEN, REFUSALS[0])
    with hub_of(provider) as hub:
        talk = talk_of(ask(hub, "m", "Hello?"))
        with pytest.raises(BadRequestError, match="signature"):
            ask(hub, "m", talk)
    assert len(provider.requests) == 3


@pytest.mark.parametrize(
    "error", [BadRequestError("bad temperature", status=400), RateLimitError("thinking too often", status=429)]
)
def test_another_refusal_keeps_the_turns(ask, error):
    provider = FakeProvider(WRITTEN, error)
    with hub_of(provider, retry=RetryPolicy(attempts=1)) as hub:
        talk = talk_of(ask(hub, "m", "Hello?"))
        with pytest.raises(type(error)):
            ask(hub, "m", talk)
    assert all(request.messages[0].get("turn") for request in provider.requests[1:])


def test_words_about_thinking_mean_nothing_without_turns(ask):
    provider = FakeProvider(REFUSALS[0])
    with hub_of(provider) as hub, pytest.raises(BadRequestError):
        ask(hub, "m", "Hello?")
    assert len(provider.requests) == 1


# Streams


def test_the_message_of_a_running_stream_is_what_has_come():
    with hub_of(FakeProvider(["One ", "two", Turn(CONTENT), Finish()])) as hub, hub.complete("m", "Hi", stream=True) as stream:
        pieces = iter(stream)
        assert next(pieces) == "One "
        assert stream.completion.message == {"role": "assistant", "content": "One "}
        list(pieces)
        assert stream.completion.message["turn"]["content"] == CONTENT


BROKEN = (
    "One ",
    Citation("https://a.example", start=0, end=3),
    Detail("id", "first"),
    Turn(CONTENT),
    Media("image", url="https://a/1"),
)
REST = ("two", Citation("https://b.example", start=0, end=3), Detail("tier", "flex"), Turn(["rest"]), Finish())


def interrupted(on_interrupt, is_async):
    models = (ModelInfo("*", supports_prefill=True),)
    first = FakeProvider((*BROKEN, ProviderConnectionError("cut")), name="first", models=models)
    with hub_of(first, FakeProvider(REST, name="second", models=models)) as hub:

        async def read():
            stream = await hub.acomplete("m", "Hi", stream=True, on_interrupt=on_interrupt)
            return [event async for event in stream.events()], stream.completion

        if is_async:
            return asyncio.run(read())
        stream = hub.complete("m", "Hi", stream=True, on_interrupt=on_interrupt)
        return list(stream.events()), stream.completion


@pytest.mark.parametrize("is_async", [False, True])
def test_a_restarted_answer_forgets_what_came_beside_the_text(is_async):
    events, answer = interrupted("restart", is_async)
    assert (answer.text, answer.turn, answer.details, answer.media) == (
        "two",
        Turn(["rest"], "", "second", ""),
        {"tier": "flex"},
        (),
    )
    assert [(one.url, one.start) for one in answer.citations] == [("https://b.example", 0)]
    assert [one for one in events if isinstance(one, Citation)][1] == answer.citations[0]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_continued_answer_keeps_it_and_counts_places_in_the_whole_text(is_async):
    events, answer = interrupted("continue", is_async)
    assert (answer.text, answer.details) == ("One two", {"id": "first", "tier": "flex"})
    assert [(one.start, one.end) for one in answer.citations] == [(0, 3), (4, 7)]
    assert [one for one in events if isinstance(one, Citation)] == list(answer.citations)
    assert len(answer.media) == 1
    assert answer.turn is None, "neither provider has written the whole turn"


# Identifiers of requests


def test_each_attempt_has_the_identifier_of_its_request(ask):
    first = FakeProvider(ServerError("down", status=500, request_id="r-1"), name="first")
    second = FakeProvider((Detail("request_id", "r-2"), "Hi", Finish()), name="second")
    with hub_of(first, second) as hub:
        answer = ask(hub, "m", "Hello?")
    assert answer.request_id == "r-2"
    assert [attempt.request_id for attempt in answer.route.attempts] == ["r-1", "r-2"]


def test_the_error_of_a_broken_answer_has_the_identifier_of_its_request(ask):
    provider = FakeProvider((Detail("request_id", "r-1"), "Hi", ProviderConnectionError("cut")))
    with hub_of(provider) as hub, pytest.raises((ProviderConnectionError, StreamInterruptedError)) as caught:
        ask(hub, "m", "Hello?", retry=RetryPolicy(attempts=1))
    error = getattr(caught.value, "cause", caught.value)
    assert (error.request_id, caught.value.route.attempts[0].request_id) == ("r-1", "r-1")


def test_an_answer_without_a_request_id_has_none(ask):
    with hub_of(FakeProvider("Hi")) as hub:
        answer = ask(hub, "m", "Hello?")
    assert (answer.request_id, answer.route.attempts[0].request_id) == (None, None)


@pytest.mark.parametrize("header", ["x-request-id", "Request-Id", "x-amzn-RequestId", "apim-request-id"])
def test_the_toolkit_reads_it_from_the_headers(ask, header):
    refused = http_response(503, b"{}", {header: "r-1"})
    answered = chunked([stream_chunk("Hi"), stream_chunk("", "stop"), b"data: [DONE]\n\n"], headers={header: "r-2"})
    with FaultServer(refused, answered) as server:  # a stream, which the plugin reads although it was asked whole
        config = ProviderConfig(url=server.url, api_key="a-key-for-this-test", models=["m"])
        retry = RetryPolicy(attempts=2, backoff=0.01)
        with providerhub.Hub(Settings(allow=("openai",), providers={"openai": config}, retry=retry)) as hub:
            answer = ask(hub, "openai/m", "Hello?")
    assert (answer.text, answer.request_id) == ("Hi", "r-2")
    assert [attempt.request_id for attempt in answer.route.attempts] == ["r-1", "r-2"]
    assert answer.route.attempts[0].error.request_id == "r-1"


def stream_chunk(text, finish=None):
    chunk = {"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


# Two vendors


def claude(*content, stop="end_turn"):
    body = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": stop,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    return http_response(200, json.dumps(body).encode())


def chat(**message):
    body = {
        "id": "c-1",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}],
    }
    return http_response(200, json.dumps(body).encode())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_conversation_goes_from_one_vendor_to_the_next_and_back(is_async):
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}}
    call = {"id": "functions.look:0", "type": "function", "function": {"name": "look", "arguments": '{"a": 2}'}}
    down = http_response(529, b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}')
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    with (
        FaultServer(claude(thinking, use, stop="tool_use"), down, claude({"type": "text", "text": "9"})) as first,
        FaultServer(chat(content=None, tool_calls=[call])) as second,
    ):
        config = ProviderConfig(api_key="a-key-for-this-test", models=["m"])
        settings = Settings(
            allow=("anthropic", "openai"),
            retry=RetryPolicy(attempts=2),
            providers={
                "anthropic": attrs.evolve(config, url=first.url, priority=1),
                "openai": attrs.evolve(config, url=second.url),
            },
        )
        with providerhub.Hub(settings) as hub:

            def once(talk):
                if is_async:
                    return asyncio.run(hub.acomplete("m", talk, tools=tools))
                return hub.complete("m", talk, tools=tools)

            talk = [{"role": "user", "content": "Look."}]
            served = []
            for _ in range(2):
                answer = once(talk)
                served.append(answer.provider)
                talk += [answer.message, *(answer.tool_result(call, "7") for call in answer.tool_calls)]
            hub.forgive("anthropic")
            served.append(once(talk).provider)
        asked_first = [json.loads(request.body)["messages"] for request in first.requests]
        (asked_second,) = [json.loads(request.body)["messages"] for request in second.requests]
    assert served == ["anthropic", "openai", "anthropic"]
    assert asked_first[1][1]["content"] == [thinking, use], "the turn as Claude wrote it"
    assert asked_second[1:] == [
        {"role": "assistant", "content": None, "tool_calls": talk[1]["tool_calls"]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "7"},
    ]
    assert asked_first[2][1]["content"] == [thinking, use]
    (other,) = asked_first[2][3]["content"]
    assert (other["type"], other["name"], other["input"]) == ("tool_use", "look", {"a": 2})
    assert other["id"] == asked_first[2][4]["content"][0]["tool_use_id"], "one identifier in the call and in its result"
