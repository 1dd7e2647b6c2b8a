"""Limits of a provider: a call waits for its turn, goes elsewhere, or names the reached limit."""

import asyncio
import re

import pytest

from providerhub import (
    DeadlineExceededError,
    Finish,
    Hub,
    ModelInfo,
    ProviderConfig,
    ProviderInfo,
    RateLimitError,
    RetryPolicy,
    Settings,
)


class Talker:
    def stream(self, request, call):
        yield "one"
        yield "two"
        yield Finish("stop")


def _hub(*names, **limits):
    hub = Hub(Settings(autoload=False))
    for place, name in enumerate(names):
        info = ProviderInfo(name=name, models=(ModelInfo("m", supports_stream=True),))
        hub.register(info, Talker(), config=ProviderConfig(priority=-place, **(limits if not place else {})))
    return hub


def test_a_call_without_a_turn_in_time_names_the_limit():
    hub = _hub("a", concurrency=1)
    with (
        hub.complete("m", "x", stream=True),
        pytest.raises(DeadlineExceededError, match=r"a turn at a/m \(concurrency\)") as caught,
    ):
        hub.complete("m", "x", timeout=0.05)
    assert [(skip.provider, skip.reason) for skip in caught.value.route.skipped] == [("a", "concurrency")]


def test_a_full_provider_sends_the_call_elsewhere_at_once():
    hub = _hub("a", "b", concurrency=1)
    with hub.complete("m", "x", stream=True) as first:
        assert hub.complete("m", "x").provider == "b"
        assert first.completion.provider == "a"


def test_a_provider_that_waits_gives_the_turn_when_the_stream_ends():
    hub = _hub("a", "b", concurrency=1, when_full="wait")
    stream = hub.complete("m", "x", stream=True)

    async def main():
        waiting = asyncio.create_task(asyncio.to_thread(hub.complete, "m", "x"))
        await asyncio.sleep(0)
        stream.close()
        return await waiting

    assert asyncio.run(main()).provider == "a"


@pytest.mark.parametrize("limits", [{"rpm": 1}, {"concurrency": 1}])
@pytest.mark.parametrize("name", ["m", "m*"])
def test_the_limits_of_a_registered_model_hold_and_explain_shows_them(limits, name):
    hub = Hub(Settings(autoload=False), providers=[(ProviderInfo(name="a", models=(ModelInfo(name, **limits),)), Talker())])
    assert hub.explain("m").waits == ()
    with hub.complete("m", "x", stream=True):
        plan = hub.explain("m")
        assert [(wait.provider, wait.reason) for wait in plan.waits] == [("a", next(iter(limits)))]
        assert str(plan).startswith(f"1. a/m: {next(iter(limits))} (")
        assert hub.explain("m") == plan or "rpm" in limits
        with pytest.raises((DeadlineExceededError, RateLimitError), match=next(iter(limits))):
            hub.complete("m", "x", timeout=0.05)


def test_explain_shows_the_length_of_a_pause_that_a_provider_stated():
    class Busy:
        def stream(self, request, call):
            raise RateLimitError("slow down", retry_after=300)

    hub = Hub(Settings(autoload=False), providers=[(ProviderInfo(name="a", models=("m",)), Busy())])
    with pytest.raises(RateLimitError):
        hub.complete("m", "x", timeout=5)
    (wait,) = hub.explain("m").waits
    assert wait.reason == "rate limited"
    assert re.fullmatch(r"for [23]\d\d\.\d s more", wait.detail)
    assert str(hub.explain("m")).startswith("1. a/m: rate limited (for ")


@pytest.mark.parametrize("ask", ["complete", "explain"])
def test_a_closed_hub_says_so(ask):
    with _hub("a") as hub:
        hub.complete("m", "x")
    with pytest.raises(RuntimeError, match="this hub is closed"):
        getattr(hub, ask)("m", "x")


@pytest.mark.parametrize("named", [0.2, None], ids=["with Retry-After", "without"])
def test_calls_that_wait_together_for_a_rate_limit_go_on_to_the_next_model(named):
    class Limited:
        async def astream(self, request, call):
            raise RateLimitError("slow down", retry_after=named)
            yield

        def stream(self, request, call):
            raise AssertionError

    async def main():
        better, lesser = (ProviderInfo(name=name, models=(ModelInfo(model),)) for name, model in (("a", "large"), ("b", "small")))
        policy = RetryPolicy(patience=0.5, throttle_backoff=0.1, backoff=0.1)
        async with Hub(Settings(autoload=False, retry=policy), providers=[(better, Limited()), (lesser, Talker())]) as hub:
            calls = [hub.acomplete(["large", "small"], "x", timeout=60) for _ in range(20)]
            return await asyncio.gather(*calls)

    answers = asyncio.run(main())
    assert {answer.provider for answer in answers} == {"b"}
    assert all(len(answer.route.attempts) <= 3 for answer in answers)  # one more before the lesser model
