"""The fixtures of the unit tests: an environment without settings of this project."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch, tmp_path_factory):
    for name in [name for name in os.environ if name.startswith("PROVIDERHUB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PROVIDERHUB_CONFIG", os.devnull)
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
