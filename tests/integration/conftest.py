"""The fixtures of the integration tests: hubs without installed plugins. Scripted providers are in the conftest above."""

import os

import pytest

from providerhub import Hub, ModelInfo, ProviderInfo, RetryPolicy, Settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("PROVIDERHUB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PROVIDERHUB_CONFIG", os.devnull)
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def make_hub():
    """`make_hub(a=provider, b=(info, provider))`: each serves `m` unless its info says otherwise; no wait is longer than 0.

    `hub_options` are further keywords of `Hub`.
    """
    hubs = []

    def make(settings=None, /, hub_options=None, **providers):
        settings = settings or Settings(autoload=False, retry=RetryPolicy(backoff=0, throttle_backoff=0))
        pairs = [
            entry if isinstance(entry, tuple) else (ProviderInfo(name=name, models=(ModelInfo("m"),)), entry)
            for name, entry in providers.items()
        ]
        hubs.append(Hub(settings, providers=pairs, **(hub_options or {})))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close()
