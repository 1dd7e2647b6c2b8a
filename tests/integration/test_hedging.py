"""A second attempt beside a slow first attempt: the winner, the end of the other attempt, and nothing that still runs."""

import asyncio
import gc
import threading

import pytest

from providerhub import (
    BadRequestError,
    Finish,
    InvalidRequestError,
    ModelInfo,
    ProviderInfo,
    RetryPolicy,
    ServerError,
    Settings,
    hookimpl,
)

POLICY = RetryPolicy(hedge_samples=1, backoff=0)


class Player:
    """A provider that answers at once until it is made slow; then it waits for `go`, or for being cancelled."""

    def __init__(self):
        self.slow = False
        self.go = threading.Event()
        self.asked = threading.Event()
        self.outcome = None
        self.at_ask = lambda: None
        self.cancelled = threading.Event()
        self.closed = threading.Event()

    def stream(self, request, call):
        try:
            if self.slow:
                call.on_cancel(self.go.set)
                self.asked.set()
                self.at_ask()
                self.go.wait(60)
                if call.cancelled:
                    self.cancelled.set()
                    raise ConnectionError("the line was cut")
            if self.outcome is not None:
                raise self.outcome
            yield "Hel"
            yield "lo"
            yield Finish("stop")
        finally:
            self.closed.set()


class NativePlayer(Player):
    """The same, awaited."""

    async def astream(self, request, call):
        pieces = self.stream(request, call)
        try:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
        except asyncio.CancelledError:
            self.go.set()
            self.cancelled.set()
            self.closed.set()
            raise


@pytest.fixture(params=["complete", "acomplete", "acomplete, native"])
def way(request):
    return request.param


@pytest.fixture
def players(way):
    kind = NativePlayer if "native" in way else Player
    return kind(), kind()


class Ended:
    """An observer that calls `then` at the end of each attempt."""

    def __init__(self):
        self.then = lambda: None

    @hookimpl
    def providerhub_attempt_finished(self, attempt):
        self.then()


@pytest.fixture
def ended():
    return Ended()


@pytest.fixture
def hub(players, make_hub, ended):
    first, second = players
    infos = [
        ProviderInfo(name=name, models=(ModelInfo("m", supports_stream=True),)) for name in ("a", "b")
    ]  # fmt: skip
    hub = make_hub(
        Settings(autoload=False, retry=POLICY), hub_options={"observers": [ended]}, a=(infos[0], first), b=(infos[1], second)
    )
    for stream in (False, True):  # from now on, the usual time of its answers is known
        reply = hub.complete("a/m", "x", stream=stream)
        if stream:
            list(reply)
    first.slow = second.slow = True
    first.closed.clear()
    return hub


@pytest.fixture(autouse=True)
def _nothing_is_left():
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("providerhub") and thread.name != "providerhub-watchdog":  # one thread for the process
            thread.join(60)
            assert not thread.is_alive()


def ask(hub, way, *, stream, **knobs):
    """The text, the provider's name and the route, or the error."""
    if way == "complete":
        reply = hub.complete("m", "Hello", stream=stream, hedge=True, **knobs)
        text = "".join(reply) if stream else reply.text
        completion = reply.completion if stream else reply
        return text, completion

    async def main():
        reply = await hub.acomplete("m", "Hello", stream=stream, hedge=True, **knobs)
        text = "".join([token async for token in reply]) if stream else reply.text
        return text, (reply.completion if stream else reply)

    return asyncio.run(main())


def outcomes(route):
    return [(attempt.provider, attempt.outcome) for attempt in route.attempts]


@pytest.mark.parametrize("stream", [False, True])
def test_the_second_answers_while_the_first_is_silent(hub, players, way, stream):
    first, second = players
    second.slow = False
    text, completion = ask(hub, way, stream=stream)
    assert (text, completion.provider) == ("Hello", "b")
    assert outcomes(completion.route) == [("a", "abandoned"), ("b", "ok")]
    assert first.cancelled.wait(60)
    assert first.closed.wait(60)


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_may_still_win(hub, players, way, stream):
    first, second = players
    second.at_ask = first.go.set
    text, completion = ask(hub, way, stream=stream)
    assert (text, completion.provider) == ("Hello", "a")
    assert outcomes(completion.route) == [("a", "ok"), ("b", "abandoned")]
    assert second.cancelled.wait(60)


@pytest.mark.parametrize("stream", [False, True])
def test_after_one_attempt_fails_the_other_still_answers(hub, players, ended, way, stream):
    first, second = players
    second.slow, second.outcome = False, ServerError("down", status=503)
    ended.then = first.go.set  # the first attempt continues after the second has failed
    text, completion = ask(hub, way, stream=stream)
    assert (text, completion.provider) == ("Hello", "a")
    assert outcomes(completion.route) == [("a", "ok"), ("b", "error")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_request_ends_both(hub, players, way, stream):
    first, second = players
    second.slow, second.outcome = False, BadRequestError("no such field", status=400)
    with pytest.raises(BadRequestError) as caught:
        ask(hub, way, stream=stream)
    assert outcomes(caught.value.route) == [("a", "abandoned"), ("b", "error")]
    assert first.cancelled.wait(60)


def test_both_may_fail(hub, players, way):
    first, second = players
    first.outcome = second.outcome = ServerError("down", status=503)
    second.at_ask = lambda: (first.go.set(), second.go.set())
    with pytest.raises(ServerError) as caught:
        ask(hub, way, stream=False)
    assert {attempt.provider for attempt in caught.value.route.attempts} == {"a", "b"}
    assert len(caught.value.route.attempts) <= 4


def test_the_deadline_ends_both(hub, players, way):
    first, second = players
    with pytest.raises(TimeoutError) as caught:
        ask(hub, way, stream=False, timeout=0.3)
    assert [attempt.provider for attempt in caught.value.route.attempts] == ["a", "b"]
    assert first.cancelled.wait(60)
    assert second.cancelled.wait(60)


def test_without_the_knob_nobody_else_is_asked(hub, players):
    first, second = players
    threading.Thread(target=lambda: (first.asked.wait(60), first.go.set())).start()
    assert hub.complete("m", "Hello").provider == "a"
    assert not second.asked.is_set()


def test_the_settings_can_turn_it_on(players, make_hub, way):
    first, second = players
    infos = {name: ProviderInfo(name=name, models=(ModelInfo("m"),)) for name in ("a", "b")}
    hub = make_hub(Settings(autoload=False, retry=POLICY, hedge=True), a=(infos["a"], first), b=(infos["b"], second))
    hub.complete("a/m", "x")
    first.slow = True
    assert hub.complete("m", "Hello").provider == "b"
    first.go.clear()
    threading.Thread(target=first.go.set).start()
    assert hub.complete("m", "Hello", hedge=False).provider == "a"


def test_hedge_must_be_true_or_false(hub):
    with pytest.raises(InvalidRequestError, match="hedge must be true or false, not 'yes'"):
        hub.complete("m", "Hello", hedge="yes")
