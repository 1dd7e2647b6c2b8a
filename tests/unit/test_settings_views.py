"""`Hub.instances()`: an application's view of its providers."""

from __future__ import annotations

import sys
import types

import attrs
import pytest

from providerhub import Hub, InstanceView, ModelInfo, ProviderConfig, ProviderInfo, Secret, Setting, Settings


class Fine:
    """Answers."""

    def stream(self, request, call):
        yield "ok"


INFO = ProviderInfo(name="acme", models=(ModelInfo("m"),), settings=(Setting("url", env="ACME_URL", required=True),))
SILENT = Settings(autoload=False)


def _view(info=INFO, config=None, settings=SILENT):
    with Hub(settings) as hub:
        hub.register(info, Fine(), config=config)
        (view,) = hub.instances()
        return view


def test_a_registered_object(monkeypatch):
    monkeypatch.delenv("ACME_URL", raising=False)
    view = _view(config=ProviderConfig(url="https://x", priority=3))
    assert (view.name, view.plugin, view.distribution, view.state) == ("acme", "acme", "", "ready")
    assert (view.config.url, view.config.priority, view.models) == ("https://x", 3, (ModelInfo("m"),))
    assert (view.settings, view.missing, view.can_list) == (INFO.settings, (), False)


def test_a_view_names_the_missing_setting_and_its_variable(monkeypatch):
    monkeypatch.delenv("ACME_URL", raising=False)
    view = _view()
    assert (view.state, view.missing) == ("not configured", ("ACME_URL",))
    assert "ACME_URL" in view.reason


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ProviderConfig(url="localhost:80"), "url has no scheme"),
        (ProviderConfig(url="https://x\ny"), "url holds a blank or a control character"),
        (ProviderConfig(url="https:///x"), "url names no host"),
        (ProviderConfig(url="https://x:y"), "url has a wrong host or port"),
        (ProviderConfig(url="https://x", proxies={"https": "proxy:x"}), "proxies.https has a wrong host or port"),
        (ProviderConfig(url="https://x/v1/messages"), "url ends with /messages, which the provider appends itself"),
        (ProviderConfig(url="https://x", ca_bundle="/nowhere"), "there is no ca_bundle at /nowhere"),
    ],
)
def test_a_configuration_that_cannot_work(config, said):
    view = _view(config=config)
    assert view.state == "misconfigured"
    assert view.reason.startswith(said)


@pytest.mark.parametrize("url", ["https://x", "http://[::1]:80/v1", "unix:/run/acme", "grpc://x:1"])
def test_addresses_that_may_work(url, tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    config = ProviderConfig(url=url, ca_bundle=str(bundle), proxies={"https": "http://proxy:1"})
    assert _view(config=config).state == "ready"


def test_a_view_is_frozen_and_shows_no_key():
    view = _view(config=ProviderConfig(url="https://x", api_key="sk-canary-0aa1"))
    assert view.config.api_key == Secret("sk-canary-0aa1")
    assert "canary" not in repr(view)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        view.name = "other"
    assert isinstance(view, InstanceView)


def test_a_provider_whose_plugin_is_not_installed():
    settings = Settings(autoload=False, providers={"mine": ProviderConfig(plugin="ghost")})
    with Hub(settings) as hub:
        (view,) = hub.instances()
    assert (view.name, view.plugin, view.state) == ("mine", "ghost", "not installed")
    assert "'ghost'" in view.reason


listed = ["one"]


def listing(_config):
    """What a service says it has."""
    return list(listed)


def test_refresh_asks_again_and_forgets_what_is_gone(monkeypatch):
    info = ProviderInfo(name="acme", models=("fixed",), discover="listing_module:listing")
    module = types.ModuleType("listing_module")
    module.listing = listing
    monkeypatch.setitem(sys.modules, "listing_module", module)
    with Hub(SILENT, providers=[(info, Fine())]) as hub:
        assert hub.instances()[0].can_list
        assert hub.refresh() is True
        assert [model.name for model in hub.instances()[0].models] == ["fixed", "one"]
        assert hub.complete("one", "Hello").text == "ok"
        monkeypatch.setitem(globals(), "listed", ["two"])
        assert hub.refresh() is True
        assert [model.name for model in hub.instances()[0].models] == ["fixed", "two"]
        assert hub.complete("two", "Hello").text == "ok"
        monkeypatch.setitem(globals(), "listed", [3])
        assert hub.refresh() is False
        assert "listing_module:listing raised" in hub.instances()[0].list_error
        monkeypatch.setitem(globals(), "listed", [])
        assert hub.refresh() is False
        assert (hub.instances()[0].list_error, len(hub.instances()[0].models)) == ("", 1)
