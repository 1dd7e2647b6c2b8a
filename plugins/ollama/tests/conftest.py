"""One way to ask, synchronously and asynchronously."""

import asyncio

import pytest

import providerhub

VARIABLES = ("OLLAMA_HOST", "OLLAMA_API_KEY", "OLLAMA_CONTEXT_LENGTH", "PROVIDERHUB_OLLAMA_KEEP_ALIVE")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def _hub_at(url=None, *, models=("m",), **config):
    settings = providerhub.Settings(
        providers={"ollama": providerhub.ProviderConfig(url=url, models=models, **config)},
        allow=("ollama",),
        retry=providerhub.RetryPolicy(attempts=1),
    )
    return providerhub.Hub(settings)


@pytest.fixture
def hub_at():
    return _hub_at


def ask_sync(hub, messages="Hello", *, stream=False, **knobs):
    if not stream:
        return hub.complete("ollama/m", messages, **knobs)
    with hub.complete("ollama/m", messages, stream=True, **knobs) as answer:
        list(answer.events())
        return answer.completion


def ask_async(hub, messages="Hello", *, stream=False, **knobs):
    async def ask():
        if not stream:
            return await hub.acomplete("ollama/m", messages, **knobs)
        async with await hub.acomplete("ollama/m", messages, stream=True, **knobs) as answer:
            [_ async for _ in answer.events()]
            return answer.completion

    return asyncio.run(ask())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request):
    return request.param
