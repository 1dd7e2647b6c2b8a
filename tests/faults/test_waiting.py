"""Rows 71 to 75, 79 to 81 and 85 of the fault matrix: limits, waits and keys, and providers that obey no rule."""

import asyncio
import signal
import threading
import time

import pytest

from providerhub import (
    AuthenticationError,
    DeadlineExceededError,
    ForbiddenError,
    Hub,
    ModelInfo,
    PluginError,
    ProviderInfo,
    RateLimitError,
    Restarted,
    RetryPolicy,
    Secret,
    Settings,
    StreamInterruptedError,
    TextDelta,
    Timeout,
)
from providerhub.testing import (
    Close,
    FakeClock,
    Hold,
    Mark,
    chunked,
    http_response,
    openai_chunk,
    openai_completion,
    openai_error,
    openai_stream,
    sse,
)

STOP = openai_chunk(finish_reason="stop")


def fine(request):
    return openai_stream("fine") if request.json().get("stream") else http_response(body=openai_completion("fine"))


def throttled(seconds):
    return http_response(429, openai_error("slow down", code="rate_limit_exceeded"), {"Retry-After": str(seconds)})


# --- 71, 72: limits ---------------------------------------------------------------------------------------------------


def test_fault_71_own_limit_full_and_an_alternative(way, hub_of, serve, good):
    busy = serve([*chunked(sse(openai_chunk("Hel"), done=False), end=False), Hold()])
    hub = hub_of(a=busy, b=good, config={"concurrency": 1})
    stream = way.call(hub, stream=True)
    answer = way.answer(hub, stream=False)
    assert [(attempt.provider, attempt.outcome) for attempt in answer.route.attempts] == [("b", "ok")]
    way.close(stream)


def test_fault_71_own_limit_full_and_no_alternative(way, hub_of, serve):
    begun = [*chunked(sse(openai_chunk("Hel"), done=False), end=False), Hold()]
    hub = hub_of(a=serve(begun, fine), config={"concurrency": 1})
    calls, answers = threading.Event(), []

    def call():
        calls.set()
        answers.append(hub.complete("m", "Hello") if not way.is_async else asyncio.run(hub.acomplete("m", "Hello")))

    stream = way.call(hub, stream=True)
    thread = threading.Thread(target=call)
    thread.start()
    assert calls.wait(60)
    way.close(stream)  # the turn is given back, even if the other call does not wait for it yet
    way.run(thread.join, 20)
    (answer,) = answers
    assert [(attempt.outcome, attempt.number) for attempt in answer.route.attempts] == [("ok", 1)]


CALLS = 100


class Throttling:
    """A service that refuses every call until a second has passed since the first one."""

    def __init__(self):
        self.until, self.refused, self.late = None, 0, 0
        self.lock = threading.Lock()

    def __call__(self, request):
        with self.lock:
            now = time.monotonic()
            if self.until is None:
                self.until = now + 1
            if now < self.until:
                self.refused += 1
                return throttled(1)
        return fine(request)


def _at_once(way, hub):
    if way.is_async:

        async def every():
            return await asyncio.gather(*(hub.acomplete("m", "Hello") for _ in range(CALLS)))

        return way.runner.run(every())
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(hub.complete("m", "Hello"))) for _ in range(CALLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_fault_72_hundred_calls_at_a_limited_provider(way, hub_of, serve):
    service = Throttling()
    answers = _at_once(way, hub_of(a=serve(service), timeout=Timeout(total=60)))
    assert [answer.text for answer in answers] == ["fine"] * CALLS
    assert service.refused <= CALLS + 3  # the first calls, and a few more: no call is refused twice


# --- 73, 74, 75: keys -------------------------------------------------------------------------------------------------


def test_fault_73_one_refusal_of_the_key_then_fine(way, hub_of, serve):
    server, clock = serve(http_response(401, openai_error("try again")), fine), FakeClock(time.monotonic())
    hub = hub_of(a=server, clock=clock)
    for _ in range(2):
        way.fails(hub, AuthenticationError)
    assert server.served == 1  # the second call was not sent
    clock.advance(10.1)
    answer = way.answer(hub, stream=False)
    assert (answer.text, len(answer.route.attempts), server.served) == ("fine", 1, 2)


PAGE = b"<!DOCTYPE html><html><title>Access denied</title><p>The request was blocked by the firewall.</html>"


def test_fault_74_page_of_a_firewall(row, serve, stream):
    server = serve(http_response(403, PAGE, {"Content-Type": "text/html"}))
    row.fails_over(server, ForbiddenError, again=False, pause="forbidden", stream=stream)


def test_fault_74_page_of_a_firewall_pauses_that_model_only(way, hub_of, serve, good, caplog):
    clock = FakeClock(time.monotonic())
    hub = hub_of(a=serve(http_response(403, PAGE)), b=good, clock=clock, more=("n",))
    assert way.answer(hub, stream=False).provider == "b"
    assert [candidate.provider for candidate in hub.explain("n").candidates] == ["a", "b"]
    assert "refused its key" not in caplog.text
    clock.advance(10.1)
    assert [candidate.provider for candidate in hub.explain("m").candidates] == ["a", "b"]


class Tokens:
    """A source of keys that end."""

    def __init__(self):
        self.current = "token-1"

    def read(self):
        return self.current

    def __str__(self):
        return "a source of tokens"


def test_fault_75_token_that_expires(way, hub_of, serve, stream):
    tokens, accepted = Tokens(), ["token-1"]

    def service(request):
        if request.header("Authorization") != f"Bearer {accepted[0]}":
            return http_response(401, openai_error("the token has expired"))
        return fine(request)

    hub = hub_of(a=serve(service), config={"api_key": Secret.later(tokens)})
    assert way.answer(hub, stream=stream).text == "fine"
    tokens.current = accepted[0] = "token-2"
    for attempts in (2, 1):
        answer = way.answer(hub, stream=stream)
        assert (answer.text, len(answer.route.attempts)) == ("fine", attempts)


# --- 79, 80: providers ------------------------------------------------------------------------------------------------


class Deaf:
    """A provider that looks at no deadline."""

    def stream(self, request, call):
        time.sleep(0.3)
        yield "too late"

    async def astream(self, request, call):
        await asyncio.Event().wait()
        yield "never"


class Cancelling:
    """A provider that lets out a CancelledError although the call was not cancelled."""

    def stream(self, request, call):
        yield from ()
        raise asyncio.CancelledError


class CancellingTask(Cancelling):
    async def astream(self, request, call):
        for piece in self.stream(request, call):
            yield piece


class Good:
    def stream(self, request, call):
        yield "fine"


@pytest.fixture
def hub_with():
    """`hub_with(a=provider, b=provider)`: each serves `m`."""

    def make(**providers):
        hub = Hub(Settings(autoload=False, retry=RetryPolicy(backoff=0, throttle_backoff=0)))
        for name, provider in providers.items():
            hub.register(ProviderInfo(name=name, models=(ModelInfo("m"),)), provider)
        return hub

    return make


def test_fault_79_provider_that_ignores_its_deadline(way, hub_with, stream):
    # No other thread can end a thread: the call ends when the provider returns.
    way.fails(hub_with(a=Deaf()), DeadlineExceededError, stream=stream, timeout=0.1)


def test_fault_80_cancelled_error_that_nobody_asked_for(way, hub_with, stream):
    for provider in (Cancelling(), CancellingTask()) if way.is_async else (Cancelling(),):
        answer = way.answer(hub_with(a=provider, b=Good()), stream=stream)
        assert (answer.text, answer.provider) == ("fine", "b")
        assert type(answer.route.attempts[0].error) is PluginError


# --- 81: two interruptions --------------------------------------------------------------------------------------------


def broken(text):
    return [*chunked(sse(openai_chunk(text), done=False), end=False), Close()]


@pytest.mark.parametrize("how", ["restart", "continue"])
def test_fault_81_stream_that_breaks_twice(way, hub_of, serve, how):
    hub = hub_of(a=serve(broken("Hel")), b=serve(broken("lo")), model={"supports_prefill": True})
    stream, seen = way.call(hub, stream=True, on_interrupt=how, retry=RetryPolicy(attempts_per_provider=1)), []
    with pytest.raises(StreamInterruptedError) as caught:
        way.read(stream, events=True, into=seen)
    assert [type(event) for event in seen].count(Restarted) == 1
    assert (caught.value.provider, caught.value.partial) == ("b", "Hello" if how == "continue" else "lo")
    assert [attempt.provider for attempt in caught.value.route.attempts] == ["a", "b"]


# --- 85: the end of a wait --------------------------------------------------------------------------------------------


def test_fault_85_close_during_a_backoff(way, hub_of, serve):
    server = serve([Mark("refused"), *throttled(40)])
    hub = hub_of(a=serve(broken("Hel")), b=server, timeout=Timeout(total=300))
    stream, seen = way.call(hub, stream=True, on_interrupt="restart"), []
    if way.is_async:

        async def closed():
            async def read():
                seen.extend([event async for event in stream.events()])

            reader = asyncio.create_task(read())
            await asyncio.to_thread(server.reached, "refused")
            await stream.aclose()
            await asyncio.wait_for(reader, 20)

        way.runner.run(closed())
    else:
        reader = threading.Thread(target=lambda: seen.extend(stream.events()))
        reader.start()
        server.reached("refused")
        stream.close()
        reader.join(60)
        assert not reader.is_alive()
    assert server.served == 1
    assert [event.text for event in seen if isinstance(event, TextDelta)] == ["Hel"]


def test_fault_85_deadline_before_the_end_of_a_backoff_is_no_wait(way, hub_of, serve):
    server = serve(throttled(40))
    way.fails(hub_of(a=server, timeout=Timeout(total=20)), RateLimitError)
    assert server.served == 1


WAITING = """
import os
hub = Hub()
try:
    call()
except KeyboardInterrupt:
    hub.close()
    say("interrupted")
    os._exit(0)
"""


@pytest.mark.unix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fault_85_signal_during_a_backoff(serve, child, number):
    server = serve([Mark("refused"), *throttled(120)])
    process = child(WAITING, server.url, "whole", server.url)
    server.reached("refused")
    process.send_signal(number)
    said, complaints = process.communicate(timeout=60)
    assert complaints == ""
    assert (said, process.returncode) == (("interrupted\n", 0) if number == signal.SIGINT else ("", -signal.SIGTERM))
