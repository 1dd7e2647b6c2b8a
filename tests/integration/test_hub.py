"""Calls through a hub, with provider objects registered directly."""

import asyncio
import gc
import logging
from types import SimpleNamespace

import pytest

import providerhub
from providerhub import (
    AllProvidersFailedError,
    AmbiguousProviderError,
    BadRequestError,
    BreakerRules,
    ConfigurationError,
    DeadlineExceededError,
    Finish,
    Hub,
    InvalidRequestError,
    ModelInfo,
    ModelNotFoundError,
    ModelUnavailableError,
    ProviderConnectionError,
    ProviderInfo,
    ReasoningDelta,
    RefusalDelta,
    RetryPolicy,
    ServerError,
    Settings,
    StreamInterruptedError,
    TextDelta,
    Timeout,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageDelta,
    hookimpl,
)


def test_an_answer_is_put_together(scripted, make_hub):
    script = [
        ReasoningDelta("hm"), "Hel", TextDelta("lo"), ToolCallDelta(0, "1", "f", '{"a'), ToolCallDelta(1, "2", "g"),
        ToolCallDelta(0, arguments='": 1}'), UsageDelta(Usage(input_tokens=3)), UsageDelta(Usage(output_tokens=4)),
        Finish("tool_calls"),
    ]  # fmt: skip
    answer = make_hub(a=scripted(script)).complete("m", "Hello")
    assert (answer.text, str(answer), answer.reasoning) == ("Hello", "Hello", "hm")
    assert answer.tool_calls == (ToolCall("1", "f", '{"a": 1}'), ToolCall("2", "g", "{}"))
    assert answer.usage == Usage(input_tokens=3, output_tokens=4)
    assert (answer.finish_reason, answer.refusal, answer.provider, answer.model) == ("tool_calls", None, "a", "m")
    assert [(a.provider, a.outcome) for a in answer.route.attempts] == [("a", "ok")]


def test_a_refusal_is_an_answer(scripted, make_hub):
    answer = make_hub(a=scripted([RefusalDelta("I can"), RefusalDelta("not")])).complete("m", "Hello")
    assert (answer.text, answer.refusal) == ("", "I cannot")


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_provider_is_asked(scripted, make_hub, stream):
    provider = scripted()
    hub = make_hub(a=provider, b=scripted())
    knobs = {
        "temperature": 0.5,
        "max_tokens": 9,
        "seed": 7,
        "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    hub.complete("a/m", "Hello", stream=stream, stop="END", options={"a": {"x": 1}, "b": {"y": 2}}, **knobs)
    (request,) = provider.requests
    assert {name: getattr(request, name) for name in knobs} == knobs
    assert (request.model, request.stream, request.stop, request.options) == ("m", stream, ("END",), {"x": 1})
    assert list(request.messages) == [{"role": "user", "content": "Hello"}]


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    "given",
    [
        {"type": "function", "function": {"name": "weather", "description": "Now.", "parameters": SCHEMA}},
        {"type": "function", "name": "weather", "description": "Now.", "parameters": SCHEMA},
        {"name": "weather", "description": "Now.", "input_schema": SCHEMA},
        {"type": "custom", "name": "weather", "description": "Now.", "input_schema": SCHEMA},
    ],
)
def test_a_tool_in_the_flat_form_of_another_api_reaches_the_provider_in_the_chat_shape(scripted, make_hub, given):
    provider = scripted()
    make_hub(a=provider).complete("a/m", "Hello", tools=[given, SEARCH], tool_choice="weather")
    function = {"name": "weather", "description": "Now.", "parameters": SCHEMA}
    assert list(provider.requests[0].tools) == [{"type": "function", "function": function}, SEARCH]
    make_hub(a=provider).complete("a/m", "Hello", tools=[{**given, "cache_control": {"type": "ephemeral"}}])
    assert provider.requests[1].tools[0]["cache_control"] == {"type": "ephemeral"}


FUNCTION = {"type": "function", "function": {"name": "weather"}}
CUSTOM = {"type": "custom", "custom": {"name": "sql"}}
SEARCH = {"type": "web_search_20260209", "name": "web_search"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("weather", {"type": "function", "function": {"name": "weather"}}),
        ("sql", {"type": "custom", "custom": {"name": "sql"}}),
        ("web_search", {"type": "tool", "name": "web_search"}),
        ("required", "required"),
        ("any", "any"),
        (FUNCTION, FUNCTION),
        ({"type": "any"}, "any"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
        ({"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
        ({"type": "custom", "name": "sql"}, {"type": "custom", "custom": {"name": "sql"}}),
        ({"type": "tool", "name": "of_options"}, {"type": "tool", "name": "of_options"}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_a_tool_choice_may_name_one_of_the_tools(scripted, make_hub, given, sent):
    provider = scripted()
    make_hub(a=provider).complete("a/m", "Hello", tools=[FUNCTION, CUSTOM, SEARCH], tool_choice=given)
    assert provider.requests[0].tool_choice == sent


@pytest.mark.parametrize(
    ("given", "tools", "hint"),
    [
        ("wether", [FUNCTION, SEARCH], "did you mean 'weather'"),
        ("Auto", [FUNCTION], "did you mean 'auto'"),
        ("x", [CUSTOM], "it may be 'auto', 'none', 'required', 'any', 'sql'"),
        ("weather", None, "it may be 'auto'"),
    ],
)
def test_a_tool_choice_that_names_no_tool_is_refused(scripted, make_hub, given, tools, hint):
    provider = scripted()
    with pytest.raises(InvalidRequestError, match=f"tool_choice '{given}' .*{hint}"):
        make_hub(a=provider).complete("a/m", "Hello", tools=tools, tool_choice=given)
    assert not provider.requests


def test_a_fallback_never_gets_anothers_options(scripted, make_hub):
    second = scripted()
    make_hub(a=scripted([ServerError("x")]), b=second).complete("m", "Hello", options={"a": {"x": 1}})
    assert second.requests[0].options == {}


@pytest.mark.parametrize("options", [{"absent": {}}, {"a": 5}])
def test_options_for_nobody_are_refused(scripted, make_hub, options):
    with pytest.raises(InvalidRequestError, match=r"absent|'a'"):
        make_hub(a=scripted()).complete("m", "Hello", options=options)


def test_an_unknown_keyword_is_an_error(scripted, make_hub):
    with pytest.raises(TypeError, match="temprature"):
        make_hub(a=scripted()).complete("m", "Hello", temprature=1)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", True])
def test_a_bad_timeout_is_refused(scripted, make_hub, timeout):
    with pytest.raises(InvalidRequestError, match="timeout"):
        make_hub(a=scripted()).complete("m", "Hello", timeout=timeout)


def test_a_bad_on_interrupt_is_refused(scripted, make_hub):
    with pytest.raises(InvalidRequestError, match="on_interrupt"):
        make_hub(a=scripted()).complete("m", "Hello", on_interrupt="ignore")


def test_messages_of_the_wrong_shape_name_index_and_key(scripted, make_hub):
    provider = scripted()
    with pytest.raises(InvalidRequestError, match=r"messages\[1\]\['role'\]"):
        make_hub(a=provider).complete("m", [{"role": "user", "content": "x"}, {"content": "y"}])
    assert provider.requests == []


def test_the_provider_is_told_how_long_it_has(scripted, make_hub):
    provider = scripted()
    make_hub(a=provider).complete("m", "Hello", timeout=7)
    (call,) = provider.calls
    assert call.timeout.total == 7
    assert 0 < call.remaining() <= 7
    assert call.remaining(0.5) == 0.5
    assert not call.cancelled


def test_a_stream_hands_text_over_as_it_comes(make_hub):
    log = []

    class Slow:
        def stream(self, request, call):
            for piece in ("", "a", ReasoningDelta("hm"), "b", Finish()):
                log.append(f"made {piece}" if isinstance(piece, str) else "made")
                yield piece

    stream = make_hub(a=Slow()).complete("m", "x", stream=True)
    assert log == ["made ", "made a"]
    assert next(stream) == "a"
    assert log == ["made ", "made a"]
    assert next(stream) == "b"
    assert list(stream) == []
    assert (stream.completion.text, stream.completion.reasoning, stream.completion.finish_reason) == ("ab", "hm", "stop")
    assert stream.route.attempts[0].outcome == "ok"
    assert stream.route.attempts[0].first_token is not None


def test_events_are_everything_in_order(scripted, make_hub):
    script = ["a", ReasoningDelta("hm"), TextDelta("b"), UsageDelta(Usage(output_tokens=2)), Finish("length")]
    stream = make_hub(a=scripted(script)).complete("m", "x", stream=True)
    assert list(stream.events()) == [TextDelta("a"), *script[1:]]
    assert stream.completion.usage.output_tokens == 2


def test_a_stream_is_read_one_way_only(scripted, make_hub):
    stream = make_hub(a=scripted()).complete("m", "x", stream=True)
    next(stream)
    with pytest.raises(RuntimeError, match="read already"):
        stream.events()
    stream.close()


def test_text_that_comes_first_after_reasoning(scripted, make_hub):
    stream = make_hub(a=scripted([ReasoningDelta("hm"), "a"])).complete("m", "x", stream=True)
    assert list(stream) == ["a"]


def _close(stream):
    stream.close()
    stream.close()


def _with(stream):
    with stream:
        pass


def _half_with(stream):
    with stream:
        next(stream)


def _break(stream):
    for _ in stream:
        break


def _events(stream):
    for _ in stream.events():
        break


def _unread(stream):
    """Only made, never read."""


def _unread_events(stream):
    stream.events()


def _unread_iter(stream):
    iter(stream)


LEAVE = [_close, _with, _half_with, _break, _events, _unread, _unread_events, _unread_iter]


def test_what_comes_after_a_close_is_nothing(scripted, make_hub):
    stream = make_hub(a=scripted(["a", "b", "c"])).complete("m", "x", stream=True)
    assert next(stream) == "a"
    stream.close()
    assert list(stream) == []
    assert stream.route.attempts[0].outcome == "abandoned"
    assert stream.completion.text == "a"


def test_a_whole_answer_closes_the_providers_generator_too(scripted, make_hub):
    provider = scripted(["a"])
    make_hub(a=provider).complete("m", "x")
    assert provider.closed == 1


def test_failing_over_is_invisible_before_the_first_content(scripted, make_hub):
    first = scripted([ReasoningDelta(""), "", ServerError("x", retryable=False)])
    stream = make_hub(a=first, b=scripted(["fine"])).complete("m", "x", stream=True)
    assert list(stream) == ["fine"]
    assert [a.outcome for a in stream.route.attempts] == ["error", "ok"]
    assert first.closed == 1


def test_failing_over_discards_the_words_of_the_first_provider(scripted, make_hub):
    answer = make_hub(a=scripted(["wrong", ServerError("x")]), b=scripted(["right"])).complete("m", "x")
    assert answer.text == "right"


def test_a_retry_at_the_only_provider(scripted, make_hub):
    answer = make_hub(a=scripted([ServerError("x")], ["fine"])).complete("m", "x")
    assert answer.text == "fine"
    assert [a.outcome for a in answer.route.attempts] == ["error", "ok"]


@pytest.mark.parametrize("stream", [False, True])
def test_every_attempt_failing_alike_is_that_error(scripted, make_hub, stream):
    hub = make_hub(a=scripted([ServerError("a")]), b=scripted([ServerError("b")]))
    with pytest.raises(ServerError) as caught:
        hub.complete("m", "x", stream=stream)
    assert [a.provider for a in caught.value.route.attempts] == ["a", "b", "a", "b"]


def test_different_failures_are_listed(scripted, make_hub):
    with pytest.raises(AllProvidersFailedError) as caught:
        make_hub(a=scripted([ModelUnavailableError("none")]), b=scripted([KeyError("odd")])).complete("m", "x")
    assert "a/m" in str(caught.value)
    assert "KeyError" in str(caught.value)


def test_nobody_having_the_model_is_a_value_error(scripted, make_hub):
    with pytest.raises(ValueError, match="does not have the model") as caught:
        make_hub(a=scripted([ModelUnavailableError("none", retryable=True)])).complete("m", "x", stream=True)
    assert type(caught.value) is ModelNotFoundError
    assert len(caught.value.route.attempts) == 2


def test_a_refused_request_asks_nobody_else(scripted, make_hub):
    second = scripted()
    with pytest.raises(BadRequestError):
        make_hub(a=scripted([BadRequestError("x", status=400)]), b=second).complete("m", "x")
    assert second.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_an_end_mark_alone_is_an_answer(scripted, make_hub, stream):
    found = make_hub(a=scripted([Finish("stop")])).complete("m", "x", stream=stream)
    if stream:
        assert list(found) == []
        found = found.completion
    assert (found.text, found.finish_reason) == ("", "stop")


def test_an_ordinary_sequence_will_do(scripted, make_hub):
    assert make_hub(a=scripted(lambda: ["a", "b"])).complete("m", "x").text == "ab"


def test_a_generator_that_fails_while_it_is_closed_hides_nothing(make_hub):
    class Stubborn:
        def stream(self, request, call):
            try:
                yield "a"
                yield "b"
            finally:
                raise RuntimeError("on the way out")

    with make_hub(a=Stubborn()).complete("m", "x", stream=True) as stream:
        assert next(stream) == "a"


def test_an_interrupted_stream_has_the_partial_text(scripted, make_hub):
    stream = make_hub(a=scripted(["Hel", "lo", ConnectionResetError("rst")]), b=scripted()).complete("m", "x", stream=True)
    got = []
    with pytest.raises(StreamInterruptedError) as caught:
        got.extend(iter(stream))
    assert caught.value.partial == "Hello"
    assert caught.value.provider == "a"
    assert isinstance(caught.value.cause, ProviderConnectionError)
    assert [a.outcome for a in caught.value.route.attempts] == ["error"]
    assert caught.value.completion.text == "Hello"


def test_a_restart_is_shown_as_an_event(scripted, make_hub):
    hub = make_hub(a=scripted(["Hel", ServerError("x")]), b=scripted(["new", Finish()]))
    stream = hub.complete("m", "x", stream=True, on_interrupt="restart")
    first, restarted, *rest = stream.events()
    assert first == TextDelta("Hel")
    assert (restarted.provider, restarted.continued) == ("b", False)
    assert isinstance(restarted.error, ServerError)
    assert rest == [TextDelta("new"), Finish()]
    assert stream.completion.text == "new"


def test_a_restart_that_text_could_not_show_raises(scripted, make_hub):
    hub = make_hub(a=scripted(["Hel", ServerError("x")]), b=scripted(["new"]))
    with pytest.raises(StreamInterruptedError):
        list(hub.complete("m", "x", stream=True, on_interrupt="restart"))


def test_carrying_on_asks_for_the_rest(scripted, make_hub):
    info = {name: ProviderInfo(name=name, models=(ModelInfo("m", supports_prefill=True),)) for name in "ab"}
    second = scripted(["lo"])
    hub = make_hub(a=(info["a"], scripted(["Hel", ServerError("x")])), b=(info["b"], second))
    stream = hub.complete("m", "x", stream=True, on_interrupt="continue")
    assert list(stream) == ["Hel", "lo"]
    assert stream.completion.text == "Hello"
    assert second.requests[0].messages[-1] == {"role": "assistant", "content": "Hel"}


def test_the_deadline_holds_between_pieces(make_hub, monkeypatch):
    class Endless:
        def stream(self, request, call):
            while call.remaining() > 0:
                pass
            yield "late"
            yield "later"

    with pytest.raises(DeadlineExceededError):
        make_hub(a=Endless()).complete("m", "x", timeout=0.02)


def test_providers_may_be_given_to_the_hub(scripted):
    hub = Hub(Settings(autoload=False), providers=[(ProviderInfo(name="a", models=("m",)), scripted(["fine"]))])
    assert hub.complete("m", "x").text == "fine"


def test_a_registered_provider_is_seen_at_once(scripted, make_hub):
    hub = make_hub()
    with pytest.raises(ModelNotFoundError):
        hub.complete("m", "x")
    hub.register(ProviderInfo(name="a", models=("m",)), scripted(["fine"]))
    assert hub.complete("m", "x").text == "fine"
    hub.register(ProviderInfo(name="A", models=("m",)), scripted(["other"]))
    assert hub.complete("m", "x").text == "other"


def test_a_taken_name_is_refused(scripted, make_hub):
    hub = make_hub(a=scripted())
    with pytest.raises(AmbiguousProviderError, match="'a'"):
        hub.register(ProviderInfo(name="a"), scripted())


def test_oddities_are_shown_with_their_attempt(make_hub):
    class Noting:
        def stream(self, request, call):
            call.note("wrong content type")
            yield "fine"

    assert make_hub(a=Noting()).complete("m", "x").route.attempts[0].notes == ("wrong content type",)


def test_a_callback_runs_when_the_stream_is_left(make_hub):
    fired = []

    class Listening:
        def stream(self, request, call):
            call.on_cancel(lambda: fired.append("kept"))
            call.on_cancel(lambda: fired.append("taken back"))()
            yield "a"
            yield "b"

    make_hub(a=Listening()).complete("m", "x", stream=True).close()
    assert fired == ["kept"]
    make_hub(a=Listening()).complete("m", "x")
    assert fired == ["kept"]


def test_retry_and_strategy_can_be_given_to_one_call(scripted, make_hub):
    provider = scripted([ServerError("x")])
    with pytest.raises(ServerError):
        make_hub(a=provider).complete("m", "x", retry=RetryPolicy(attempts=1))
    assert len(provider.requests) == 1


def test_a_success_logs_nothing(scripted, make_hub, caplog):
    with caplog.at_level(logging.DEBUG):
        make_hub(a=scripted()).complete("m", "x")
    assert caplog.text == ""


class Ends:
    """An observer that keeps the outcomes of each call."""

    def __init__(self):
        self.calls = []

    @hookimpl
    def providerhub_call_finished(self, route):
        self.calls.append([attempt.outcome for attempt in route.attempts])


@pytest.mark.parametrize("leave", LEAVE, ids=lambda f: f.__name__)
def test_an_abandoned_call_is_told_of_once(scripted, make_hub, leave):
    ends = Ends()
    hub = make_hub(hub_options={"observers": [ends]}, a=scripted(["a", "b", "c"]))
    leave(hub.complete("m", "x", stream=True))
    gc.collect()
    assert ends.calls == [["abandoned"]]


def test_reading_on_after_a_close_is_not_told_of_again(scripted, make_hub):
    ends = Ends()
    hub = make_hub(hub_options={"observers": [ends]}, a=scripted(["a", "b", "c"]))
    stream = hub.complete("m", "x", stream=True)
    next(stream)
    stream.close()
    assert list(stream) == []
    assert ends.calls == [["abandoned"]]


def test_a_failed_call_is_told_of_once(scripted, make_hub):
    ends = Ends()
    hub = make_hub(hub_options={"observers": [ends]}, a=scripted([ServerError("x")]))
    with pytest.raises(ServerError):
        hub.complete("m", "x")
    assert ends.calls == [["error", "error"]]


@pytest.mark.parametrize("events", [False, True])
def test_the_deadline_holds_after_the_first_content_too(make_hub, events):
    class Endless:
        def stream(self, request, call):
            yield "a"
            while call.remaining() > 0:
                pass
            yield "b"
            yield "c"

    stream = make_hub(a=Endless()).complete("m", "x", stream=True, timeout=0.02)
    with pytest.raises(StreamInterruptedError) as caught:
        list(stream.events() if events else stream)
    assert isinstance(caught.value.cause, DeadlineExceededError)
    assert caught.value.partial == "ab"


@pytest.mark.parametrize("call", ["complete", "explain"])
def test_an_unknown_keyword_is_named_with_the_known_ones(call):
    hub = providerhub.Hub(providers=[])
    with pytest.raises(TypeError, match=r"'temprature'; did you mean 'temperature'"):
        getattr(hub, call)("m", "Hello", temprature=1)


@pytest.mark.parametrize("wrong", [{"retry": 3}, {"options": 5}, {"response_format": "json"}])
def test_a_knob_of_the_wrong_type_is_an_invalid_request(wrong):
    with pytest.raises(providerhub.InvalidRequestError, match=next(iter(wrong))):
        providerhub.Hub(providers=[]).complete("m", "Hello", **wrong)


def test_a_callback_that_raises_keeps_no_other_from_being_called(caplog):
    called = []
    call = providerhub.CallContext(Timeout())
    call.on_cancel(lambda: called.append("first"))
    call.on_cancel(lambda: 1 / 0)
    call.on_cancel(lambda: called.append("last"))
    call.cancel()
    assert called == ["last", "first"]
    assert "on_cancel" in caplog.text
    assert "ZeroDivisionError" in caplog.text


WRONG_PIECES = [
    (TextDelta(5), "TextDelta whose text is int"),
    (ReasoningDelta(None), "ReasoningDelta whose text is NoneType"),
    (ToolCallDelta(0, "a", "f", None), "ToolCallDelta whose arguments is NoneType"),
    (ToolCallDelta("0", "a", "f", ""), "ToolCallDelta whose index is '0'"),
]


@pytest.mark.parametrize(("piece", "told"), WRONG_PIECES)
def test_an_event_that_holds_the_wrong_type_is_the_plugin_s_fault_and_the_next_one_answers(scripted, make_hub, piece, told):
    for stream in (False, True):
        hub = make_hub(a=scripted([piece]), b=scripted(["fine"]))
        answer = hub.complete("m", "x", stream=stream)
        assert "".join(answer if stream else [answer.text]) == "fine"
        assert told in str(answer.route.attempts[0].error)


def test_an_unclosed_stream_that_is_collected_in_the_middle_of_the_book_keeping_does_no_harm(scripted, make_hub):
    settings = Settings(autoload=False, retry=RetryPolicy(backoff=0), breaker=BreakerRules(in_a_row=1))
    collected = []

    def collecting():
        collected.append(gc.collect())
        return 0.5

    providers = {"a": scripted(["a", "b"]), "b": scripted([ServerError("x")] * 9)}
    hub = make_hub(settings, hub_options={"rng": collecting}, **providers)  # it is asked while a breaker opens
    stream = hub.complete("a/m", "x", stream=True)
    circle = [stream]
    circle.append(circle)
    del stream, circle
    with pytest.raises(ServerError):
        hub.complete("b/m", "x")
    assert collected
    assert hub.complete("a/m", "x").text == "ab"


def test_timeouts_of_ages_hold_for_ages(scripted, make_hub):
    ages = Timeout(connect=1e308, first_token=1e308, byte_idle=1e308, token_idle=1e308, total=1e308)
    hub = make_hub(a=scripted(["a"]))
    assert hub.complete("m", "x", timeout=ages).text == "a"
    assert hub.complete("m", "x", timeout=ages, hedge=True).text == "a"
    assert asyncio.run(hub.acomplete("m", "x", timeout=ages, hedge=True)).text == "a"


@pytest.mark.parametrize("kind", [{}, {"type": ["json_object"]}, {"type": {}}])
def test_a_response_format_without_a_type_is_refused(scripted, make_hub, kind):
    with pytest.raises(InvalidRequestError, match="response_format must be a mapping such as"):
        make_hub(a=scripted(["a"])).complete("m", "x", response_format=kind, on_interrupt="restart")


class _Still:
    def stream(self, request, call):
        yield "x"


WRONG_PROVIDERS = [
    ([("a", object())], "register a ProviderInfo, .* not str"),
    ([(ProviderInfo(name="a"), object())], r"an object with a method stream\(request, call\), not object"),
    ([(ProviderInfo(name="a"), _Still)], r"not type, which is a class; give an object: _Still\(\)"),
    ([(ProviderInfo(name="a"), SimpleNamespace(stream=lambda request: "x"))], r"stream does not take \(request, call\)"),
    ({"a": {}}, r"settings of providers go into Hub\(Settings\(providers="),
    ([ProviderInfo(name="a")], "a pair of a ProviderInfo and a provider object, not ProviderInfo"),
]


@pytest.mark.parametrize(("providers", "told"), WRONG_PROVIDERS)
def test_what_is_no_provider_is_refused_when_it_is_handed_in(providers, told):
    with pytest.raises(ConfigurationError, match=told):
        Hub(Settings(autoload=False), providers=providers)


@pytest.mark.parametrize("wrong", [{"stream": None}, {"stream": 1}, {"temperature": 10**400}, {"timeout": 10**400}])
def test_what_is_no_truth_value_or_number_is_named(scripted, make_hub, wrong):
    with pytest.raises(InvalidRequestError, match=f"{next(iter(wrong))} must be"):
        make_hub(a=scripted()).complete(**{"model": "m", "messages": "x", **wrong})


def test_a_sequence_of_models_holds_no_sequences(scripted, make_hub):
    circle = []
    circle.append(circle)
    for model in (circle, [["m"]], "", ["m", ""]):
        with pytest.raises(InvalidRequestError, match="model must be a name, a Model, or a non-empty sequence of these"):
            make_hub(a=scripted()).complete(model, "x")
