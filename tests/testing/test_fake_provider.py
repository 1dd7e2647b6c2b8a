"""The fake provider: the hub gets the answers that the test scripts."""

import asyncio
import gc
import threading

import pytest

import providerhub
from providerhub import (
    AmbiguousProviderError,
    DeadlineExceededError,
    EmptyAnswerError,
    Finish,
    Hub,
    ModelInfo,
    PluginError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderInfo,
    ProviderTimeoutError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    Settings,
    StreamInterruptedError,
    TextDelta,
    ToolCallDelta,
)
from providerhub.testing import FakeAsyncProvider, FakeClock, FakeProvider, Gate, Hold, Mark, Pause, _fake_provider, fake_hub

ONCE = Settings(autoload=False, retry=RetryPolicy(attempts=1))


@pytest.fixture(params=[FakeProvider, FakeAsyncProvider])
def kind(request):
    return request.param


def test_it_says_hello_to_any_model():
    with FakeProvider().hub() as hub:
        answer = hub.complete("whatever/model", "Hi")
    assert (answer.text, answer.finish_reason, answer.provider, answer.model) == ("Hello", "stop", "fake", "whatever/model")


def test_answers_are_played_in_order_and_the_last_one_for_ever():
    hub = FakeProvider("one", "two").hub()
    assert [hub.complete("m", "?").text for _ in range(4)] == ["one", "two", "two", "two"]


def test_what_was_asked_is_kept():
    provider = FakeProvider()
    hub = provider.hub()
    hub.complete("m", "Hi", temperature=0.5, timeout=7)
    list(hub.complete("m", "Ho", stream=True))
    assert [(r.messages[0]["content"], r.stream, r.temperature) for r in provider.requests] == [
        ("Hi", False, 0.5),
        ("Ho", True, None),
    ]
    assert provider.calls[0].call.timeout.total == 7
    assert [call.state for call in provider.calls] == ["ended", "ended"]


def test_a_text_is_streamed_word_by_word():
    text = "  How do\n\nyou  do? "
    stream = FakeProvider(text).hub().complete("m", "?", stream=True)
    pieces = list(stream)
    assert "".join(pieces) == text
    assert len(pieces) == 4
    assert stream.completion.finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_text_is_an_empty_answer(kind, stream):
    with pytest.raises(EmptyAnswerError):
        kind("").hub(settings=ONCE).complete("m", "?", stream=stream)
    answer = kind(" ").hub().complete("m", "?", stream=stream)
    assert (list(answer) if stream else answer.text) == ([" "] if stream else " ")


@pytest.mark.parametrize("answer", [3, None, b"bytes", {"text": "x"}, ServerError])
def test_an_answer_of_a_wrong_type(answer):
    with pytest.raises(TypeError, match="answer 2 must be a text"):
        FakeProvider("fine", answer)
    with pytest.raises(PluginError, match="the answer of the function must be a text"):
        FakeProvider(lambda request: answer).hub().complete("m", "?")


@pytest.mark.parametrize("models", ["abc", [3], {"m": 1}, 5])
def test_models_of_a_wrong_type(models):
    with pytest.raises(TypeError, match="models must be a list of names"):
        FakeProvider(models=models)


def test_limits_are_part_of_the_configuration():
    clock = FakeClock()
    paced = FakeProvider(name="paced", config=ProviderConfig(rpm=1, when_full="elsewhere"))
    hub = paced.hub(FakeProvider(name="other"), clock=clock)
    assert [hub.complete("m", "?").provider for _ in range(3)] == ["paced", "other", "other"]
    clock.advance(64)  # a call starts each 60 s / 0.95
    assert hub.complete("m", "?").provider == "paced"


def test_events_and_functions():
    script = ["a", ToolCallDelta(0, "1", "f", "{}"), TextDelta("b"), Finish("tool_calls")]
    provider = FakeProvider(lambda request: request.messages[-1]["content"].upper(), lambda request: lambda request: script)
    hub = provider.hub()
    assert hub.complete("m", "hi").text == "HI"
    answer = hub.complete("m", "hi")
    assert (answer.text, answer.tool_calls[0].name, answer.finish_reason) == ("ab", "f", "tool_calls")


def test_an_error_and_then_an_answer_take_no_time():
    clock = FakeClock()
    provider = FakeProvider(RateLimitError("slow down", retry_after=20), "Hello")
    answer = provider.hub(clock=clock).complete("m", "?")
    assert answer.text == "Hello"
    assert 20 <= clock.sleeps[0] <= 22
    assert [attempt.outcome for attempt in answer.route.attempts] == ["error", "ok"]
    assert [call.state for call in provider.calls] == ["failed", "ended"]


def test_every_call_has_an_error_of_its_own():
    provider = FakeProvider(ServerError("down", status=503, retryable=False))
    errors = [_error(provider.hub()), _error(provider.hub())]
    assert errors[0] is not errors[1]
    assert [error.status for error in errors] == [503, 503]


def _error(hub):
    with pytest.raises(ServerError) as caught:
        hub.complete("m", "?")
    return caught.value


class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def test_an_error_that_cannot_be_copied_is_raised_as_it_is():
    odd = OddError("x", "y")
    with pytest.raises(PluginError) as caught:
        FakeProvider(odd).hub().complete("m", "?")
    assert caught.value.__cause__ is odd


def test_an_error_in_mid_stream():
    stream = FakeProvider(["Hel", ProviderConnectionError("reset")]).hub().complete("m", "?", stream=True)
    with pytest.raises(StreamInterruptedError) as caught:
        list(stream)
    assert caught.value.partial == "Hel"


@pytest.mark.parametrize("script", [[5], [b"bytes"], [None]])
def test_what_no_provider_may_yield(script):
    with pytest.raises(PluginError, match="yielded"):
        FakeProvider(script).hub().complete("m", "?")


def test_several_are_asked_in_their_order():
    first, second = FakeProvider(ServerError("down"), name="z"), FakeProvider("fine", name="a")
    answer = first.hub(second).complete("m", "?")
    assert [attempt.provider for attempt in answer.route.attempts] == ["z", "a"]
    with pytest.raises(AmbiguousProviderError):
        fake_hub(FakeProvider(), FakeProvider())


def test_models_and_settings_are_those_given():
    provider = FakeProvider(ServerError("down"), models=["m", ModelInfo("n", supports_stream=False)])
    hub = provider.hub(settings=ONCE)
    with pytest.raises(ServerError):
        hub.complete("m", "?")
    assert len(provider.calls) == 1
    with pytest.raises(providerhub.NoCapableProviderError):
        hub.complete("n", "?", stream=True)
    with pytest.raises(providerhub.ModelNotFoundError):
        hub.complete("absent", "?")


def test_a_gate_holds_a_stream_until_it_is_opened(kind):
    provider = kind(["Hel", Gate("middle"), "lo"])
    stream = provider.hub().complete("m", "?", stream=True)
    assert next(stream) == "Hel"
    opener = threading.Thread(target=lambda: (provider.reached("middle"), provider.open("middle")))
    opener.start()
    assert list(stream) == ["lo"]
    opener.join()
    assert provider.hub(clock=FakeClock()).complete("m", "?").text == "Hello"  # it stays open


@pytest.mark.parametrize("ask", ["complete", "acomplete"])
def test_a_gate_that_stays_closed_ends_the_call(kind, ask, monkeypatch):
    monkeypatch.setattr(_fake_provider, "WAIT", 0.01)
    hub = kind(["x", Gate("middle")]).hub()
    with pytest.raises(PluginError, match=r"the gate 'middle' stayed closed for 0.01 s: call open\('middle'\)"):
        hub.complete("m", "?") if ask == "complete" else asyncio.run(hub.acomplete("m", "?"))


def test_a_gate_that_is_never_reached():
    with pytest.raises(TimeoutError, match=r"'x' was reached 0 time\(s\)"):
        FakeProvider().reached("x", timeout=0)


def test_marks_are_counted():
    provider = FakeProvider([Mark("here"), "x"])
    hub = provider.hub()
    for _ in range(3):
        hub.complete("m", "?")
    provider.reached("here", times=3, timeout=0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_pause_moves_the_clock_and_nothing_waits(kind, stream):
    provider = kind([Pause(7), "x", Pause(8), Finish()])
    clock = FakeClock()
    start = clock()
    answer = provider.hub(clock=clock).complete("m", "?", stream=stream)
    assert (list(answer) if stream else answer.text) == (["x"] if stream else "x")
    assert clock() - start == 15
    assert clock.sleeps == []
    assert answer.route.attempts[0].duration == 15


@pytest.mark.parametrize(
    ("script", "timeout", "seconds"),
    [
        ([Hold()], providerhub.Timeout(first_token=9), 9),
        ([Pause(10)], providerhub.Timeout(first_token=9), 9),
        (["x", Hold()], providerhub.Timeout(token_idle=8), 8),
        ([Hold()], providerhub.Timeout(total=4), 4),
    ],
)
def test_a_silence_ends_when_the_calls_timeouts_say_so(script, timeout, seconds):
    clock = FakeClock()
    start = clock()
    hub = FakeProvider(script).hub(settings=ONCE, clock=clock)
    with pytest.raises((ProviderTimeoutError, DeadlineExceededError, StreamInterruptedError)):
        list(hub.complete("m", "?", stream=True, timeout=timeout))
    assert clock() - start == seconds


def _asked(ask, provider, *others, clock, stream, **knobs):
    hub = provider.hub(*others, clock=clock)
    if ask == "complete":
        answer = hub.complete("m", "?", stream=stream, **knobs)
        return ("".join(answer), answer.completion) if stream else (answer.text, answer)

    async def main():
        answer = await hub.acomplete("m", "?", stream=stream, **knobs)
        return ("".join([text async for text in answer]), answer.completion) if stream else (answer.text, answer)

    return asyncio.run(main())


@pytest.mark.parametrize("ask", ["complete", "acomplete"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "text", "outcomes", "seconds"),
    [
        ([Pause(59), "first"], "second", "first", ["ok"], 59),
        ([Pause(100), "first"], "second", "second", ["abandoned", "ok"], 60),
        ([Hold()], [Pause(7), "second", Pause(5), Finish()], "second", ["abandoned", "ok"], 72),
        ([Pause(40), Pause(60), "first"], [Pause(200), "second"], "first", ["ok", "abandoned"], 100),
        ([Pause(100), ServerError("down")], [Pause(70), "second"], "second", ["error", "ok"], 130),
        ([Pause(100), "first"], ServerError("down", retryable=False), "first", ["ok", "error"], 100),
    ],
)
def test_a_slow_attempt_is_joined_on_the_fake_clock(kind, ask, stream, first, second, text, outcomes, seconds):
    clock = FakeClock()
    start = clock()
    slow, other = kind(first, name="slow"), kind(second, name="other")
    found, completion = _asked(ask, slow, other, clock=clock, stream=stream)
    attempts = sorted(completion.route.attempts, key=lambda attempt: attempt.number)
    assert (found, [attempt.outcome for attempt in attempts]) == (text, outcomes)
    assert clock() - start == seconds
    assert [attempt.started for attempt in attempts[1:]] in ([], [60])


@pytest.mark.parametrize("ask", ["complete", "acomplete"])
def test_silent_providers_are_asked_one_after_another_until_the_deadline(kind, ask):
    clock = FakeClock()
    start = clock()
    providers = [kind([Hold()], name=name) for name in "abc"]
    with pytest.raises(DeadlineExceededError) as caught:
        _asked(ask, *providers, clock=clock, stream=False, timeout=300)
    assert clock() - start == 300
    assert [len(provider.calls) for provider in providers] == [1, 1, 1]
    assert [attempt.started for attempt in caught.value.route.attempts] == [0, 60, 120]


def test_without_a_stream_only_the_whole_calls_time_counts():
    clock = FakeClock()
    assert FakeProvider([Pause(100), "x"]).hub(clock=clock).complete("m", "?").text == "x"
    with pytest.raises(DeadlineExceededError):
        FakeProvider([Pause(100), "x"]).hub(clock=clock).complete("m", "?", timeout=50)


def _real(provider):
    return Hub(
        Settings(autoload=False, retry=RetryPolicy(attempts=1)),
        providers=[(ProviderInfo(name="fake", models=(ModelInfo("m"),)), provider)],
    )


@pytest.mark.parametrize("step", [Hold(), Gate("never"), Pause(60)])
def test_a_hub_with_the_real_clock_waits_in_real_time(step):
    with pytest.raises((ProviderTimeoutError, DeadlineExceededError)):
        _real(FakeProvider([step])).complete("m", "?", timeout=0.05)
    assert _real(FakeProvider([Pause(0.01), "x"])).complete("m", "?").text == "x"


@pytest.mark.parametrize("step", [Hold(), Gate("never"), Pause(60)])
def test_closing_a_stream_from_another_thread_ends_its_silence(step):
    provider = FakeProvider(["x", Mark("silent"), step])
    stream = _real(provider).complete("m", "?", stream=True)
    assert next(stream) == "x"
    closer = threading.Thread(target=lambda: (provider.reached("silent"), provider.calls[0].call.cancel()))
    closer.start()
    with pytest.raises(StreamInterruptedError, match="cancelled"):
        next(stream)
    closer.join()
    assert provider.calls[0].state == "failed"


def test_a_stream_that_is_left_is_closed(kind):
    provider = kind(["a", "b"])
    with provider.hub().complete("m", "?", stream=True) as stream:
        next(stream)
        assert provider.calls[0].state == "open"
    assert provider.calls[0].state == "closed"
    assert provider.calls[0].call.cancelled


def test_asynchronous_calls(kind):
    provider = kind("Hello world", ["Hel", Gate("middle"), "lo"], ServerError("down", retryable=False))

    def open_when_reached():
        provider.reached("middle")
        provider.open("middle")

    async def main():
        hub = provider.hub()
        assert (await hub.acomplete("m", "?")).text == "Hello world"
        async with await hub.acomplete("m", "?", stream=True) as stream:
            assert await anext(aiter(stream)) == "Hel"
            opening = asyncio.create_task(asyncio.to_thread(open_when_reached))
            assert [text async for text in stream] == ["lo"]
            await opening
        with pytest.raises(ServerError):
            await hub.acomplete("m", "?")

    asyncio.run(main())
    assert {call.native for call in provider.calls} == {kind is FakeAsyncProvider}
    assert [call.state for call in provider.calls] == ["ended", "ended", "failed"]


@pytest.mark.parametrize("step", [Hold(), Gate("never")])
def test_cancelling_a_task_ends_the_silence(kind, step):
    provider = kind([Mark("silent"), step])

    async def main():
        task = asyncio.create_task(_real(provider).acomplete("m", "?"))
        await asyncio.to_thread(provider.reached, "silent")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()
    assert provider.calls[0].call.cancelled


@pytest.mark.parametrize("step", [Hold(), Gate("never"), Pause(60)])
def test_an_awaiting_provider_waits_in_real_time_too(step):
    async def main():
        with pytest.raises((ProviderTimeoutError, DeadlineExceededError)):
            await _real(FakeAsyncProvider([step])).acomplete("m", "?", timeout=0.05)

    asyncio.run(main())


def test_many_threads():
    provider = FakeProvider(lambda request: request.messages[-1]["content"])
    with provider.hub() as hub:
        requests = ({"model": "m", "messages": str(n)} for n in range(200))
        outcomes = list(hub.complete_many(requests, concurrency=16))
    assert sorted(int(outcome.completion.text) for outcome in outcomes) == list(range(200))
    assert len(provider.calls) == 200
