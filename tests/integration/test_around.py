"""Callables around each call: guardrails, redaction, caches."""

import asyncio

import attrs
import pytest

from providerhub import (
    Citation,
    Completion,
    ConfigurationError,
    Detail,
    Finish,
    InvalidRequestError,
    Media,
    ReasoningDelta,
    RefusalDelta,
    Route,
    ToolCallDelta,
    Turn,
    Usage,
    UsageDelta,
    hookimpl,
)
from providerhub._calling.around import events_of
from providerhub._calling.assembly import Assembly


@pytest.fixture
def wrapped(make_hub, scripted):
    """`wrapped(around, ...)` is a hub with a provider `a`, whose requests are in `wrapped.provider`."""

    def make(*around, script=("Hel", "lo"), **options):
        make.provider = scripted([*script, Finish()])
        return make_hub(hub_options={"around": around, **options}, a=make.provider)

    return make


def redacted(request, go_on):
    return go_on(attrs.evolve(request, messages=[{"role": "user", "content": "redacted"}]))


async def aredacted(request, go_on):
    return await redacted(request, go_on)


def call(hub, awaited, model="m", messages="secret", **knobs):
    """The text of an answer, by any of the four ways."""
    stream = knobs.get("stream", False)
    if not awaited:
        answer = hub.complete(model, messages, **knobs)
        return "".join(answer) if stream else answer.text

    async def text():
        answer = await hub.acomplete(model, messages, **knobs)
        return "".join([piece async for piece in answer]) if stream else answer.text

    return asyncio.run(text())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("awaited", "around"), [(False, redacted), (True, redacted), (True, aredacted)])
def test_the_request_may_be_changed_once_before_the_plan(wrapped, stream, awaited, around):
    hub = wrapped(around)
    assert call(hub, awaited, stream=stream) == "Hello"
    (request,) = wrapped.provider.requests
    assert request.messages[0]["content"] == "redacted"


def test_the_first_callable_is_the_outermost_and_a_plugins_the_innermost(wrapped):
    seen = []

    def named(name):
        def around(request, go_on):
            seen.append(name)
            return go_on(request)

        return around

    class Plugin:
        @hookimpl
        def providerhub_around(self, settings):
            return named("plugin")

    hub = wrapped(named("first"), named("second"), observers=[Plugin()])
    hub.complete("m", "x")
    hub.explain("m", "x")
    assert seen == ["first", "second", "plugin"]


def test_a_callable_around_a_call_sees_how_the_call_was_made(wrapped):
    def around(request, go_on):
        seen.append((go_on.asked, go_on.options, go_on.metadata, go_on.cache, go_on.awaited))
        return go_on(request)

    seen = []
    hub = wrapped(around)
    hub.complete(["m"], "x", options={"a": {"b": 1}}, metadata={"user": "u"}, cache=False)
    call(hub, True)
    assert seen == [(["m"], {"a": {"b": 1}}, {"user": "u"}, False, False), ("m", {}, {}, None, True)]
    assert wrapped.provider.requests[0].options == {"b": 1}


def test_many_calls_go_through_the_callable(wrapped):
    hub = wrapped(redacted)
    rows = [{"model": "m", "messages": "secret"}]

    async def gathered():
        return [outcome async for outcome in hub.acomplete_many(rows)]

    assert [one.completion.text for one in (*hub.complete_many(rows), *asyncio.run(gathered()))] == ["Hello"] * 2
    assert {request.messages[0]["content"] for request in wrapped.provider.requests} == {"redacted"}


def test_a_coroutine_function_serves_awaited_calls_only(wrapped):
    class Callable:
        async def __call__(self, request, go_on):
            return await go_on(request)

    for around in (aredacted, Callable()):
        with pytest.raises(ConfigurationError, match=r"coroutine function .*acomplete"):
            wrapped(around).complete("m", "x")
        assert not wrapped.provider.calls
        assert call(wrapped(around), True) == "Hello"


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_its_own_asks_no_provider_and_is_told_to_observers(wrapped, awaited, stream):
    records = []

    class Log:
        @hookimpl
        def providerhub_call_started(self, call):
            records.append(call)

        @hookimpl
        def providerhub_call_finished(self, call):
            records.append(call)

    kept = Completion("kept", usage=Usage(1, 2), cached=True)
    hub = wrapped(lambda request, go_on: kept, observers=[Log()])
    assert call(hub, awaited, stream=stream) == "kept"
    assert not wrapped.provider.calls
    started, finished = records
    assert started.id == finished.id
    assert (finished.completion, finished.plan, finished.route, finished.cost) == (kept, None, Route(), None)


@pytest.mark.parametrize("awaited", [False, True])
def test_a_refusal_of_its_own_is_raised_and_told_to_observers(wrapped, awaited):
    records = []

    class Log:
        @hookimpl
        def providerhub_call_finished(self, call):
            records.append(call.error)

    def refuse(request, go_on):
        raise PermissionError("not in this house")

    with pytest.raises(PermissionError, match="not in this house") as refused:
        call(wrapped(refuse, observers=[Log()]), awaited)
    assert records == [refused.value]
    call(wrapped(redacted, observers=[Log()]), awaited)
    assert records == [refused.value, None]  # a call that continued has one record


def test_a_whole_stream_is_given_to_a_function_at_its_end_alone(wrapped):
    kept = []

    def around(request, go_on):
        stream = go_on(request)
        stream.when_whole(kept.append)
        return stream

    hub = wrapped(around)
    hub.complete("m", "x", stream=True).close()
    assert kept == []
    assert list(hub.complete("m", "x", stream=True)) == ["Hel", "lo"]
    assert [answer.text for answer in kept] == ["Hello"]
    replayed = wrapped(lambda request, go_on: kept[0]).complete("m", "x", stream=True)
    replayed.when_whole(kept.append)
    assert list(replayed) == ["Hello"]
    assert replayed.completion.text == "Hello"
    assert len(kept) == 2


@pytest.mark.parametrize("awaited", [False, True])
def test_a_replayed_stream_is_read_in_two_loops(wrapped, awaited):
    hub = wrapped(lambda request, go_on: Completion("Hello"))

    async def twice():
        stream = await hub.acomplete("m", "x", stream=True)
        first = await anext(stream)
        return [first, *[text async for text in stream]]

    if awaited:
        assert asyncio.run(twice()) == ["Hello"]
    else:
        stream = hub.complete("m", "x", stream=True)
        assert [next(stream), *stream] == ["Hello"]


def test_a_changed_request_is_checked_again(wrapped):
    def changed(**fields):
        return lambda request, go_on: go_on(attrs.evolve(request, **fields))

    wrong = [{"temperature": "hot"}, {"messages": [{"role": "user"}]}, {"stream": True}, {"max_tokens": -1}]
    for fields in wrong:
        with pytest.raises(InvalidRequestError):
            wrapped(changed(**fields)).complete("m", "x")
        assert not wrapped.provider.calls
    with pytest.raises(InvalidRequestError, match=r"takes the Request, .* not dict"):
        wrapped(lambda request, go_on: go_on({})).complete("m", "x")
    with pytest.raises(LookupError, match="other"):
        wrapped(changed(model="other")).complete("m", "x")
    wrapped(changed(temperature=0.5, stop=("END",))).complete("m", "x", system="Be brief.", top_p=0.1)
    (request,) = wrapped.provider.requests
    assert (request.temperature, request.stop, request.top_p) == (0.5, ("END",), 0.1)
    assert [message["role"] for message in request.messages] == ["system", "user"]


@pytest.mark.parametrize("awaited", [False, True])
def test_a_result_that_is_no_answer_is_refused(wrapped, awaited):
    with pytest.raises(ConfigurationError, match=r"returned str; return the result of go_on\(\), or a Completion"):
        call(wrapped(lambda request, go_on: "text"), awaited)
    with pytest.raises(ConfigurationError, match="each of around must be a callable"):
        wrapped("text")


def test_the_events_of_an_answer_make_the_same_answer():
    pieces = [
        ReasoningDelta("Hm."), "Hello", RefusalDelta("No."), ToolCallDelta(0, "c1", "f", "{}"), Citation("https://a.example"),
        Media("image", base64="UE5H"), UsageDelta(Usage(1, 2)), Detail("id", "1"), Turn({"a": 1}), Finish("length", "max"),
    ]  # fmt: skip

    def gathered(pieces):
        assembly = Assembly()
        for piece in pieces:
            assembly.add(piece)
        return assembly.completion("a", "m", Route())

    assert gathered(events_of(gathered(pieces))) == gathered(pieces)
    assert list(events_of(Completion())) == [Finish(None)]
