"""One way to ask a vendor, synchronously and asynchronously, without the variables of the machine."""

import pytest

import providerhub
from providerhub_compatible import VENDORS
from providerhub_conformance.ways import WAYS

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


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def ask(request):
    def ask(hub, model, messages="Hello", *, stream=False, **knobs):
        return request.param(hub, messages, model=model, stream=stream, **knobs)

    return ask
