"""Values of catalogues: they fill in values that the user, the service and the plugin do not give, and exclude no model."""

import os

import pytest

from providerhub import (
    ConfigurationError,
    Hub,
    ModelInfo,
    NoCapableProviderError,
    ProviderConfig,
    ProviderInfo,
    Setting,
    Settings,
    hookimpl,
)
from providerhub._finding.instance import Instance
from providerhub._finding.needs import Needs
from providerhub._settings.refined import over

TOOLS = [{"type": "function", "function": {"name": "f"}}]
LONG = "word " * 1000


class Catalogue:
    """A catalogue with some entries, by vendor and model. It records the questions."""

    def __init__(self, **entries):
        self.entries = {
            name.replace("__", "/"): ModelInfo("any", **{"source": "paper", **values}) for name, values in entries.items()
        }
        self.asked = []

    @hookimpl
    def providerhub_model(self, provider, model):
        self.asked.append((provider, model))
        return self.entries.get(f"{provider}/{model}")


def _hub(scripted, catalogue, **models):
    hub = Hub(Settings(autoload=False), observers=[catalogue])
    for name, model in models.items():
        hub.register(ProviderInfo(name=name, models=(model,)), scripted())
    return hub


def _model(**values):
    return ModelInfo("m", **values)


def _plan(hub, *args, **knobs):
    return [candidate.provider for candidate in hub.explain(*args, **knobs).candidates]


def test_a_yes_ranks_before_unknown_and_a_no_after_it_and_leaves_no_model_out(scripted):
    catalogue = Catalogue(v__yes={"supports_tools": True}, v__no={"supports_tools": False})
    hub = _hub(
        scripted, catalogue, a=_model(catalog="v/no"), b=_model(), c=_model(catalog="v/yes"), d=_model(supports_tools=False)
    )
    plan = hub.explain("m", tools=TOOLS)
    assert [candidate.provider for candidate in plan.candidates] == ["c", "b", "a"]
    assert [(skip.provider, skip.reason) for skip in plan.skipped] == [("d", "no tools")]
    assert _plan(hub, "m") == ["a", "b", "c", "d"]


def test_a_declared_value_outranks_the_catalogue(scripted):
    hub = _hub(scripted, Catalogue(v__yes={"supports_tools": True}), a=_model(catalog="v/yes", supports_tools=False))
    with pytest.raises(NoCapableProviderError):
        hub.explain("m", tools=TOOLS)


def test_a_window_that_a_catalogue_calls_too_small_is_tried_last(scripted):
    catalogue = Catalogue(v__small={"context_window": 10}, v__large={"context_window": 10_000})
    hub = _hub(
        scripted, catalogue, a=_model(catalog="v/small"), b=_model(), c=_model(catalog="v/large"), d=_model(context_window=10)
    )
    plan = hub.explain("m", LONG)
    assert [candidate.provider for candidate in plan.candidates] == ["c", "b", "a"]
    assert [skip.reason for skip in plan.skipped] == ["context window"]
    # After a refusal because of the length, only a certain window excludes a candidate.
    assert [candidate.context_window for candidate in plan.candidates] == [None, None, None]


def test_cheapest_and_the_cost_know_the_prices_of_a_catalogue(scripted):
    entries = {
        "v__dear": {"price_in": 5, "price_out": 5},
        "v__cheap": {"price_in": 1, "price_out": 1, "source": "paper 2030-01-02"},
    }
    hub = _hub(scripted, Catalogue(**entries), a=_model(), b=_model(catalog="v/dear"), c=_model(catalog="v/cheap"))
    assert _plan(hub, "m") == ["a", "b", "c"]
    assert _plan(hub, "m", strategy="cheapest") == ["c", "b", "a"]
    prices = [candidate.prices for candidate in hub.explain("m").candidates]
    assert prices[0] is None
    assert [(one.input, one.source, one.date) for one in prices[1:]] == [(5, "paper", None), (1, "paper", "2030-01-02")]


def test_prices_of_long_prompts_belong_to_the_prices_of_short_ones(scripted):
    known = {"price_in": 9, "price_out": 9, "price_tiers": [{"above": 10, "price_in": 99}]}
    hub = _hub(scripted, Catalogue(v__m=known), a=_model(catalog="v/m", price_in=1, price_out=1), b=_model(catalog="v/m"))
    prices = {one.provider: one.prices for one in hub.explain("m").candidates}
    assert {name: one.at(11).input for name, one in prices.items()} == {"a": 1, "b": 99}


def test_an_asterisk_of_an_entry_stands_for_the_name_that_is_sent(scripted):
    catalogue = Catalogue()
    hub = _hub(scripted, catalogue, a=ModelInfo("m*", catalog="v/x-*"))
    hub.explain("m-1")
    assert catalogue.asked == [("v", "x-m-1")]


def test_the_first_catalogue_that_knows_a_value_gives_it(scripted):
    class Both(Catalogue):
        @hookimpl(tryfirst=True)
        def providerhub_model(self, provider, model):
            return ModelInfo(model, price_in=1, price_out=2, source="invoice")

    first, second = Both(), Catalogue(v__m={"price_in": 9, "price_cache_read": 3, "supports_tools": True})
    hub = Hub(Settings(autoload=False), observers=[second, first])
    model = ModelInfo("m", catalog="v/m", supports_images=True)
    hub.register(ProviderInfo(name="a", models=(model,)), scripted())
    found, sources = hub._registry.explained("a", model)
    assert (found.price_in, found.price_out, found.price_cache_read, found.supports_tools) == (1, 2, 3, True)
    assert sources == {
        "supports_images": "plugin", "price_in": "invoice", "price_out": "invoice", "price_cache_read": "paper",
        "supports_tools": "paper",
    }  # fmt: skip


def test_prices_of_another_currency_are_taken_whole_or_not_at_all(scripted):
    euro = {"price_in": 9, "price_out": 8, "price_currency": "EUR"}
    hub = _hub(scripted, Catalogue(v__m=euro), a=_model(catalog="v/m", price_in=1), b=_model(catalog="v/m"))
    found = {view.name: hub._registry.explained(view.name, view.models[0])[0] for view in hub.instances()}
    assert (found["a"].price_in, found["a"].price_out, found["a"].price_currency) == (1, None, "USD")
    assert (found["b"].price_in, found["b"].price_out, found["b"].price_currency) == (9, 8, "EUR")


def test_a_catalogue_fills_in_nothing_but_descriptions(scripted):
    entry = {"headers": {"X": "1"}, "rpm": 1, "aliases": ("other",), "supports_prefill": True}
    hub = _hub(scripted, Catalogue(v__m=entry), a=_model(catalog="v/m"))
    assert hub._registry.explained("a", _model(catalog="v/m"))[0] == _model(catalog="v/m")


@pytest.mark.parametrize(("answer", "said"), [(1 / 3, "must return a ModelInfo or None, not float"), (KeyError("x"), "raised")])
def test_a_faulty_catalogue_is_logged_once_and_the_call_goes_on(scripted, caplog, answer, said):
    class Faulty:
        @hookimpl
        def providerhub_model(self, model):
            if isinstance(answer, Exception):
                raise answer
            return answer

    hub = _hub(scripted, Faulty(), a=_model(catalog="v/m"), b=_model(catalog="v/m"))
    assert _plan(hub, "m") == ["a", "b"]
    assert len([record for record in caplog.records if said in record.message]) == 1


def test_an_entry_that_no_catalogue_has_is_reported_once(scripted, caplog):
    hub = _hub(scripted, Catalogue(), a=_model(catalog="v/typo"))
    assert _plan(hub, "m") == _plan(hub, "m", tools=TOOLS) == ["a"]
    assert [record.message for record in caplog.records] == ["no catalogue has the entry 'v/typo' of the model m"]


@pytest.mark.parametrize("entry", ["", "gpt-4o", "/gpt-4o", "openai/", 1])
def test_an_entry_names_a_vendor_and_a_model(entry):
    with pytest.raises(ValueError, match=r"catalog must be an entry of a catalogue"):
        ModelInfo("m", catalog=entry)


REGION = Setting("region", env="ACME_REGION", default="eu")
PLACES = [
    # the setting url, the user's url, the environment → is it the vendor's own address?
    (Setting("url", default="https://api.acme.example"), None, {}, True),
    (Setting("url", env="ACME_URL", default="https://api.acme.example/v1"), "https://api.acme.example", {}, True),
    (Setting("url", env="ACME_URL", default="https://api.acme.example"), None, {"ACME_URL": "https://proxy.example"}, False),
    (Setting("url", env="ACME_URL", default="https://api.acme.example"), None, {"ACME_URL": "https://api.acme.example/"}, True),
    (Setting("url", default="https://api.acme.example"), "http://127.0.0.1:1", {}, False),
    (Setting("url", default=lambda v: f"https://{v['region']}.acme.example"), None, {"ACME_REGION": "us"}, True),
    (Setting("url", default=lambda v: f"https://{v['region']}.acme.example"), "https://us.acme.example", {}, False),
    (Setting("url", required=True), "https://api.acme.example", {}, False),
    (Setting("other"), None, {}, True),
]


@pytest.mark.parametrize(("setting", "url", "environ", "at_home"), PLACES)
def test_the_vendors_own_address_is_the_default_host(monkeypatch, setting, url, environ, at_home):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    info = ProviderInfo(name="acme", settings=(setting, REGION), factory="acme:create")
    assert Instance(ProviderConfig(name="acme", url=url), info).is_at_home is at_home
    assert os.environ.get("ACME_URL") == environ.get("ACME_URL")


def test_a_plugin_at_home_is_described_and_a_registered_object_is_not(site, scripted):
    site.plugin("acme", model="m-1")
    site.write(
        "paper.py",
        """
from providerhub import ModelInfo, hookimpl
@hookimpl
def providerhub_model(provider, model):
    return ModelInfo(model, price_in=len(provider), price_out=0, source="paper")
""",
    )
    site.distribution("paper", "[providerhub.hooks]\npaper = paper\n")
    code = """
from providerhub import Hub
hub = Hub()
view = next(view for view in hub.instances() if view.name == "acme")
print([hub._registry.explained("acme", model)[1].get("price_in") for model in view.models])
"""
    assert "['paper']" in site.run(code)
    catalogue = Catalogue(a__m={"supports_tools": False})
    assert _plan(_hub(scripted, catalogue, a=_model(), b=_model()), "m", tools=TOOLS) == ["a", "b"]
    assert catalogue.asked == []


TABLE = [
    ModelInfo("m", supports_tools=True, context_window=10, aliases=("best",), rpm=5),
    ModelInfo("m-*", supports_tools=True, supports_images=False),
    ModelInfo("m-1*", supports_images=True),
]


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (ModelInfo("m"), TABLE[0]),
        (ModelInfo("m", supports_tools=False), ModelInfo("m", supports_tools=False, context_window=10, aliases=("best",), rpm=5)),
        (ModelInfo("m-2", context_window=7), ModelInfo("m-2", supports_tools=True, supports_images=False, context_window=7)),
        (ModelInfo("m-12"), ModelInfo("m-12", supports_images=True)),
        (ModelInfo("x"), ModelInfo("x")),
    ],
)
def test_the_list_of_a_service_outranks_the_table_of_the_plugin_value_by_value(listed, found):
    assert over(TABLE, listed) == found


def test_the_users_values_outrank_the_list(scripted):
    info = ProviderInfo(name="acme", models=TABLE, factory="acme:create")
    config = ProviderConfig(name="acme", models=[ModelInfo("m", supports_tools=True)], model={"m": ModelInfo("m", tpm=1)})
    instance = Instance(config, info)
    instance.list.models = (ModelInfo("m", supports_tools=False, context_window=20), ModelInfo("new"))
    models = {model.name: model for model in instance.models}
    assert list(models) == ["m", "m-*", "m-1*", "new"]
    assert models["m"] == ModelInfo("m", supports_tools=True, context_window=20, aliases=("best",), rpm=5, tpm=1)
    assert instance.sources(models["m"]) == {"supports_tools": "settings", "context_window": "service"}
    assert instance.models is instance.models


def test_needs_count_a_no_of_a_catalogue_twice():
    needs = Needs(tools=True, images=True, prefill=True)
    model = ModelInfo("m", supports_tools=False)
    assert (needs.lacking(model), needs.unknown(model)) == ("no tools", 4)
    assert needs.lacking(model, {"supports_tools"}) == "no prefill"
    with pytest.raises(ConfigurationError):
        Hub(Settings(autoload=False), observers=[object()])
