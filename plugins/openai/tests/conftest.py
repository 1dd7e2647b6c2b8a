"""One way to ask, synchronously and asynchronously."""

import asyncio

import pytest

import providerhub

CANARY = "canary-key-0123456789"
VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "PROVIDERHUB_OPENAI_STREAM_USAGE")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def _hub_at(url, *, timeout=None, **config):
    config = {"api_key": CANARY, "models": ["m"], **config}
    settings = providerhub.Settings(
        providers={"openai": providerhub.ProviderConfig(url=url, **config)},
        allow=("openai",),
        timeout=timeout or providerhub.Timeout(),
        retry=providerhub.RetryPolicy(attempts=1),
    )
    return providerhub.Hub(settings)


@pytest.fixture
def hub_at():
    return _hub_at


def ask_sync(hub, messages="Hello", *, stream=True, **knobs):
    if not stream:
        return hub.complete("openai/m", messages, **knobs)
    with hub.complete("openai/m", messages, stream=True, **knobs) as answer:
        list(answer.events())
        return answer.completion


def ask_async(hub, messages="Hello", *, stream=True, **knobs):
    async def ask():
        if not stream:
            return await hub.acomplete("openai/m", messages, **knobs)
        async with await hub.acomplete("openai/m", messages, stream=True, **knobs) as answer:
            [_ async for _ in answer.events()]
            return answer.completion

    return asyncio.run(ask())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request):
    return request.param


@pytest.fixture
def sync_and_async():
    return ask_sync, ask_async
