"""One way to ask, synchronously and asynchronously."""

import asyncio

import pytest

import providerhub


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("MISTRAL_API_KEY", "MISTRAL_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def _hub_at(url=None, *, models=("m",), **config):
    config = {"api_key": "canary-key-0123456789", **config}
    settings = providerhub.Settings(
        providers={"mistral": providerhub.ProviderConfig(url=url, models=models, **config)},
        allow=("mistral",),
        retry=providerhub.RetryPolicy(attempts=1),
    )
    return providerhub.Hub(settings)


@pytest.fixture
def hub_at():
    return _hub_at


def ask_sync(hub, messages="Hello", *, stream=False, **knobs):
    if not stream:
        return hub.complete("mistral/m", messages, **knobs)
    with hub.complete("mistral/m", messages, stream=True, **knobs) as answer:
        list(answer.events())
        return answer.completion


def ask_async(hub, messages="Hello", *, stream=False, **knobs):
    async def ask():
        if not stream:
            return await hub.acomplete("mistral/m", messages, **knobs)
        async with await hub.acomplete("mistral/m", messages, stream=True, **knobs) as answer:
            [_ async for _ in answer.events()]
            return answer.completion

    return asyncio.run(ask())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request):
    return request.param
