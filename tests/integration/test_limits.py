"""Limits of a provider: a call waits for its turn, goes elsewhere, or says which limit it met."""

import asyncio

import pytest

from providerhub import DeadlineExceededError, Finish, Hub, ModelInfo, ProviderConfig, ProviderInfo, Settings


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
