"""One way to ask, synchronously and asynchronously."""

from functools import partial

import pytest

import providerhub
from providerhub_conformance.ways import WAYS

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


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def ask(request):
    return partial(request.param, model="openai/m", stream=True)


@pytest.fixture
def sync_and_async():
    return [partial(way, model="openai/m", stream=True) for way in WAYS.values()]
