"""The record of a call, its cost, its metadata, and the context in which hooks are called."""

import asyncio
import contextvars
import threading
from decimal import Decimal

import attrs
import pytest

from providerhub import (
    Attempt,
    CallRecord,
    Completion,
    Cost,
    Detail,
    Finish,
    InvalidRequestError,
    ModelInfo,
    NoCapableProviderError,
    ProviderInfo,
    RateLimitError,
    RetryPolicy,
    Route,
    ServerError,
    Settings,
    StreamInterruptedError,
    Usage,
    UsageDelta,
    hookimpl,
)
from providerhub.testing import FakeClock

WHO = contextvars.ContextVar("who", default="nobody")
TOLD = UsageDelta(Usage(input_tokens=1000, output_tokens=100))


class Records:
    """Keeps what each hook of a call gets, and the value of `WHO` in its context."""

    def __init__(self):
        self.started, self.finished, self.attempts, self.who = [], [], [], []

    @hookimpl
    def providerhub_call_started(self, call):
        self.started.append(call)
        self.who.append(WHO.get())

    @hookimpl
    def providerhub_attempt_started(self, attempt):
        self.attempts.append(attempt)
        self.who.append(WHO.get())

    @hookimpl
    def providerhub_attempt_finished(self, attempt):
        self.attempts.append(attempt)
        self.who.append(WHO.get())

    @hookimpl
    def providerhub_call_finished(self, route, call):
        assert route is call.route
        self.finished.append(call)
        self.who.append(WHO.get())


@pytest.fixture
def records():
    return Records()


@pytest.fixture
def observed(make_hub, records):
    return lambda settings=None, **providers: make_hub(settings, hub_options={"observers": [records]}, **providers)


def priced(provider, **fields):
    return ProviderInfo(name="a", models=(ModelInfo("m", price_in=2.0, price_out=10.0, **fields),)), provider


def test_the_records_of_start_and_end_have_one_id_and_say_what_was_asked_and_answered(observed, records, scripted):
    hub = observed(a=priced(scripted([Detail("model", "m-2026"), Detail("request_id", "r1"), "Hi", TOLD, Finish()])))
    answer = hub.complete(["m"], "x", metadata={"user": "u1"}, timeout=7)
    (started,), (finished,) = records.started, records.finished
    assert isinstance(started, CallRecord)
    assert (started.completion, started.route, started.usage, started.cost) == (None, Route(), None, None)
    assert [str(candidate) for candidate in started.plan.candidates] == ["a/m"]
    assert finished.id == started.id
    assert finished.started == started.started
    assert (finished.asked, finished.timeout, finished.metadata, finished.parent) == (["m"], 7, {"user": "u1"}, None)
    assert finished.request.messages[0]["content"] == "x"
    assert finished.completion == answer
    assert finished.usage == TOLD.usage
    assert finished.error is None
    (attempt,) = finished.route.attempts
    assert {one.call_id for one in records.attempts} == {finished.id}
    assert (attempt.served_model, attempt.request_id, attempt.usage) == ("m-2026", "r1", TOLD.usage)
    assert answer.cost == attempt.cost == finished.cost == Cost(Decimal("0.003"), "USD", "model")


def test_metadata_reaches_no_provider_and_two_calls_have_two_ids(observed, records, scripted):
    provider = scripted(["a"])
    hub = observed(a=provider)
    hub.complete("m", "x", metadata={"user": "u1"})
    hub.complete("m", "x")
    assert "u1" not in repr(provider.requests)
    assert len({call.id for call in records.finished}) == 2
    with pytest.raises(InvalidRequestError, match="metadata must be a mapping"):
        hub.complete("m", "x", metadata=["user"])


def test_a_failed_call_is_told_with_its_error_and_one_without_a_plan_too(observed, records, scripted):
    hub = observed(a=priced(scripted([ServerError("down")]), supports_tools=False))
    with pytest.raises(ServerError) as failed:
        hub.complete("m", "x", retry=RetryPolicy(attempts=1))
    assert records.finished[0].error is failed.value
    assert records.finished[0].completion is None
    assert records.finished[0].cost is None
    with pytest.raises(NoCapableProviderError) as refused:
        hub.complete("m", "x", tools=[{"type": "function", "function": {"name": "f"}}])
    assert records.finished[1].error is refused.value
    assert records.finished[1].plan is None
    assert records.started[1].id == records.finished[1].id


def test_the_tokens_of_failed_interrupted_and_abandoned_attempts_are_told(observed, records, scripted):
    told = UsageDelta(Usage(input_tokens=7))
    hub = observed(a=scripted([told, ServerError("down")]), b=scripted([told, "Hel", ServerError("x")]))
    stream = hub.complete(["a/m", "b/m"], "x", stream=True, retry=RetryPolicy(attempts=2))
    with pytest.raises(StreamInterruptedError):
        list(stream)
    assert [(one.outcome, one.usage) for one in stream.route.attempts] == [("error", told.usage)] * 2
    assert records.finished[0].error.partial == "Hel"
    hub.complete("b/m", "x", stream=True).close()
    assert [(one.outcome, one.usage) for one in records.finished[1].route.attempts] == [("abandoned", told.usage)]
    assert records.finished[1].completion.text == "Hel"
    assert records.finished[1].error is None


def test_a_continued_stream_tells_the_tokens_of_each_attempt(observed, records, scripted):
    first = scripted([Detail("model", "one"), TOLD, "Hel", ServerError("x")])
    info = ProviderInfo(name="b", models=(ModelInfo("m", supports_prefill=True),))
    hub = observed(a=first, b=(info, scripted(["lo", Finish()])))
    assert "".join(hub.complete(["a/m", "b/m"], "x", stream=True, on_interrupt="continue")) == "Hello"
    assert [(one.usage, one.served_model) for one in records.finished[0].route.attempts] == [(TOLD.usage, "one"), (None, None)]


def test_the_hooks_of_a_stream_that_another_thread_reads_have_the_context_of_the_caller(observed, records, scripted):
    hub = observed(a=scripted(["Hel", "lo"]))
    token = WHO.set("caller")
    stream = hub.complete("m", "x", stream=True)
    WHO.reset(token)
    reader = threading.Thread(target=list, args=[stream])
    reader.start()
    reader.join()
    assert records.who == ["caller"] * 4


def test_the_hooks_of_a_slow_attempt_have_the_context_of_the_caller(observed, records, scripted):
    release = threading.Event()

    def slow():
        release.wait(60)
        yield "late"

    def quick():
        yield "quick"
        release.set()

    hub = observed(Settings(autoload=False, retry=RetryPolicy(beside_after=0.01)), a=scripted(slow), b=scripted(quick))
    token = WHO.set("caller")
    assert hub.complete(["a/m", "b/m"], "x").text == "quick"
    WHO.reset(token)
    assert len(records.finished) == 1
    assert records.who == ["caller"] * 6


def test_the_hooks_of_tasks_have_the_context_of_the_task(observed, records, scripted):
    hub = observed(a=scripted(["Hel", "lo"]))

    async def one(name):
        WHO.set(name)
        async with await hub.acomplete("m", "x", stream=True) as stream:
            return [text async for text in stream]

    async def all_of_them():
        await asyncio.gather(one("first"), one("second"))

    asyncio.run(all_of_them())
    assert sorted(records.who) == ["first"] * 4 + ["second"] * 4


@pytest.mark.parametrize("awaited", [False, True])
def test_a_further_try_of_many_calls_names_the_first_one(observed, records, scripted, awaited):
    hub = observed(a=scripted([RateLimitError("later", retry_after=0)], [ServerError("down")], ["ok"]))
    rows = [{"model": "m", "messages": "x", "metadata": {"row": 1}, "retry": RetryPolicy(attempts=1, backoff=0)}]

    async def gathered():
        return [outcome async for outcome in hub.acomplete_many(rows)]

    (outcome,) = asyncio.run(gathered()) if awaited else hub.complete_many(rows)
    assert outcome.completion.text == "ok"
    first, *later = records.finished
    assert later
    assert first.parent is None
    assert {call.parent for call in later} == {first.id}
    assert all(call.metadata == {"row": 1} for call in records.finished)


def test_an_attempt_without_an_observer_has_no_call(make_hub, scripted):
    assert make_hub(a=scripted(["a"])).complete("m", "x").route.attempts[0].call_id == ""


def test_an_unusual_tariff_has_no_known_cost_and_a_note_says_so(make_hub, scripted):
    answers = ([Detail("tier", tier), "Hi", TOLD] for tier in ({"name": "flex"}, "flex", "default"))
    hub = make_hub(a=priced(scripted(*answers)))
    assert hub.complete("m", "x").cost is None
    answer = hub.complete("m", "x")
    assert answer.cost is None
    assert "the tariff 'flex'" in answer.route.attempts[0].notes[0]
    assert hub.complete("m", "x").cost.amount == Decimal("0.003")


def test_a_tariff_whose_share_the_plugin_declares_is_priced(make_hub, scripted):
    info, provider = priced(scripted([Detail("tier", "flex"), "Hi", TOLD], [Detail("tier", "priority"), "Hi", TOLD]))
    hub = make_hub(a=(attrs.evolve(info, tariffs={"flex": 0.5}), provider))
    cost = hub.complete("m", "x").cost
    assert (cost.amount, cost.source) == (Decimal("0.0015"), "model, flex")
    assert hub.complete("m", "x").cost is None
    long = ModelInfo("m", price_in=2.0, price_out=4.0, price_tiers=({"above": 10, "price_in": 6.0},)).prices
    halved = attrs.evolve(long, tariffs=(("batch", 0.5),)).under("batch")
    assert (halved.at(5).input, halved.at(11).input, halved.at(11).output) == (1.0, 3.0, 2.0)


def test_the_cost_of_a_route_adds_up_and_is_unknown_where_a_part_is():
    usage = TOLD.usage
    prices = ModelInfo("m", price_in=1.0, price_out=1.0, price_currency="EUR").prices
    paid = Attempt(2, "a", "m", "ok", usage=usage, prices=prices)
    refused = Attempt(1, "a", "m", "error", error=ServerError("down"))
    assert Route((refused, paid)).cost == Cost(Decimal("0.0011"), "EUR")
    assert Route((paid, paid)).cost == Cost(Decimal("0.0022"), "EUR")
    assert Route((paid, Attempt(3, "b", "m", "abandoned"))).cost is None
    assert Route((paid, Attempt(3, "b", "m", "error", first_token=0.1))).cost is None
    assert Route((paid, Attempt(3, "b", "m", "ok", usage=Usage(cost=0.1)))).cost is None  # in dollars
    assert Route((refused,)).cost is None
    assert Completion(usage=usage, provider="a", model="m", route=Route((paid,)), cached=True).cost is None
    assert str(Route((paid,)).cost) == "0.001100 EUR"


class Gaps:
    def __init__(self):
        self.seen = []

    @hookimpl
    def providerhub_chunk(self, attempt, seconds):
        self.seen.append((attempt.provider, attempt.number, attempt.outcome, seconds))


class Talker:
    """Yields pieces of content, each after so many seconds."""

    def __init__(self, clock, *seconds, error=None):
        self.clock, self.seconds, self.error = clock, seconds, error
        self.closed = 0

    def stream(self, request, call):
        try:
            yield UsageDelta(Usage(1, 1))
            for each in self.seconds:
                self.clock.advance(each)
                yield "x"
                yield Detail("id", "1")
            if self.error:
                raise self.error
            yield Finish("stop")
        finally:
            self.closed += 1


class AsyncTalker(Talker):
    async def astream(self, request, call):
        for piece in self.stream(request, call):
            yield piece


@pytest.mark.parametrize("kind", [Talker, AsyncTalker])
@pytest.mark.parametrize("awaited", [False, True])
def test_the_time_between_two_pieces_of_a_stream_is_told(make_hub, kind, awaited):
    gaps, clock = Gaps(), FakeClock()
    provider = kind(clock, 5.0, 0.25, 0.5)
    hub = make_hub(hub_options={"observers": [gaps], "clock": clock}, a=kind(clock, error=ServerError("down")), b=provider)

    async def main():
        async with await hub.acomplete(["a/m", "b/m"], "x", stream=True) as stream:
            return "".join([text async for text in stream])

    assert (asyncio.run(main()) if awaited else "".join(hub.complete(["a/m", "b/m"], "x", stream=True))) == "xxx"
    assert gaps.seen == [("b", 2, "open", 0.25), ("b", 2, "open", 0.5)]
    hub.complete("b/m", "x")
    assert len(gaps.seen) == 2
    with hub.complete("b/m", "x", stream=True) as stream:
        next(iter(stream))
    assert provider.closed == 3
