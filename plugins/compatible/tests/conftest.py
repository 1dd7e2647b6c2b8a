"""One way to ask a vendor, synchronously and asynchronously, without the variables of the machine."""

import asyncio

import pytest

import providerhub
from providerhub_compatible import VENDORS

CANARY = "canary-key-0123456789"
VARIABLES = {name for vendor in VENDORS.values() for name in (*vendor.keys, *(env for own in vendor.own for env in own.env))}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub_at():
    """Make a hub with one vendor at an address."""

    def make(vendor, url=None, **config):
        config = {"api_key": CANARY, "models": ["*"], **config}
        settings = providerhub.Settings(
            providers={vendor: providerhub.ProviderConfig(url=url, **config)},
            allow=(vendor,),
            retry=providerhub.RetryPolicy(attempts=1),
        )
        return providerhub.Hub(settings)

    return make


def ask_sync(hub, model, messages="Hello", *, stream=False, **knobs):
    if not stream:
        return hub.complete(model, messages, **knobs)
    with hub.complete(model, messages, stream=True, **knobs) as answer:
        list(answer.events())
        return answer.completion


def ask_async(hub, model, messages="Hello", *, stream=False, **knobs):
    async def ask():
        if not stream:
            return await hub.acomplete(model, messages, **knobs)
        async with await hub.acomplete(model, messages, stream=True, **knobs) as answer:
            [_ async for _ in answer.events()]
            return answer.completion

    return asyncio.run(ask())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request):
    return request.param
