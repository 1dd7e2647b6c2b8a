"""One way to ask, synchronously and asynchronously."""

from functools import partial

import pytest

import providerhub
from providerhub_conformance.ways import WAYS

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


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def ask(request):
    return partial(request.param, model="ollama/m")
