"""One way to ask, synchronously and asynchronously."""

from functools import partial

import pytest

import providerhub
from providerhub_conformance.ways import WAYS


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("CO_API_KEY", "COHERE_API_KEY", "CO_API_URL"):
        monkeypatch.delenv(name, raising=False)


def _hub_at(url=None, *, models=("m",), **config):
    config = {"api_key": "canary-key-0123456789", **config}
    settings = providerhub.Settings(
        providers={"cohere": providerhub.ProviderConfig(url=url, models=models, **config)},
        allow=("cohere",),
        retry=providerhub.RetryPolicy(attempts=1),
    )
    return providerhub.Hub(settings)


@pytest.fixture
def hub_at():
    return _hub_at


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def ask(request):
    return partial(request.param, model="cohere/m")
