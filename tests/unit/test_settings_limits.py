"""The values in force for one model of an instance: timeouts, limits, headers, and the user's values."""

from __future__ import annotations

import pickle

import attrs
import pytest

from providerhub import Hub, Model, ModelInfo, ProviderConfig, ProviderInfo, Settings, Timeout
from providerhub._settings.refined import given, own_timeout, refined, refined_one, timeout_of
from providerhub._values.capabilities import PRICES
from providerhub.http import HttpRequest

M = ModelInfo("m")


def _timeout(general=None, config=None, model=None, call=None):
    general = general or Timeout()
    own = own_timeout(ProviderConfig(timeout=config), ModelInfo("m", timeout=model))
    of_call = general if call is None else attrs.evolve(general, **given(call))
    return of_call if own is None else timeout_of(of_call, own, call)


def test_each_phase_has_the_value_of_the_call_else_of_the_model_the_provider_the_settings():
    general, config = Timeout(connect=1, token_idle=1, byte_idle=1, total=1), Timeout(token_idle=2, byte_idle=2, total=2)
    model, call = Timeout(byte_idle=3, total=3), Timeout(total=4)
    assert _timeout(general, config, model, call) == Timeout(connect=1, token_idle=2, byte_idle=3, total=4)
    assert _timeout(general, config, model) == Timeout(connect=1, token_idle=2, byte_idle=3, total=3)
    assert _timeout(general, config) == Timeout(connect=1, token_idle=2, byte_idle=2, total=2)
    assert _timeout(general) is general


def test_a_given_value_counts_although_it_equals_the_default():
    default = Timeout().total
    assert _timeout(Timeout(total=5), Timeout(total=float(str(default)))).total == default
    assert given(Timeout()) == {}
    assert given(Timeout(total=float(str(default)))) == {"total": default}


DECLARED = (
    ModelInfo("gpt-4o", supports_tools=True, price_in=1, aliases=("best",), headers={"A": "1"}, timeout=Timeout(connect=9)),
    ModelInfo("gpt-*", supports_stream=True),
)


def test_the_users_values_outrank_the_declared_and_the_listed_ones():
    own = ModelInfo("gpt-4o", price_in=2, supports_tools=False, aliases=["mine"], headers={"B": "2"}, timeout=Timeout(total=7))
    for config in (ProviderConfig(model={"gpt-4o": own}), ProviderConfig(models=[own])):
        models = {model.name: model for model in refined((*DECLARED, *config.models), config)}
        assert list(models) == ["gpt-4o", "gpt-*"]
        assert models["gpt-4o"] == ModelInfo(
            "gpt-4o", supports_tools=False, price_in=2, aliases=("best", "mine"), headers={"A": "1", "B": "2"},
            timeout=Timeout(connect=9, total=7),
        )  # fmt: skip


def test_a_table_for_a_name_that_a_prefix_covers_has_an_entry_of_its_own_and_another_one_has_none():
    config = ProviderConfig(model={"gpt-5": ModelInfo("gpt-5", rpm=5), "claude": ModelInfo("claude", rpm=1)})
    assert refined(DECLARED, config)[2:] == (ModelInfo("gpt-5", supports_stream=True, rpm=5),)


def test_a_table_for_a_prefix_concerns_all_its_models_and_a_longer_name_outranks_it():
    config = ProviderConfig(model={"gpt-4o": ModelInfo("gpt-4o", rpm=4), "*": ModelInfo("*", rpm=1, tpm=100)})
    assert [(model.name, model.rpm, model.tpm) for model in refined(DECLARED, config)] == [("gpt-4o", 4, 100), ("gpt-*", 1, 100)]
    assert refined_one(ModelInfo("else"), config) == ModelInfo("else", rpm=1, tpm=100)


def test_without_values_of_the_user_nothing_changes():
    assert refined(DECLARED, ProviderConfig()) == DECLARED


def test_routing_uses_the_users_values():
    class Echo:
        def stream(self, request, call):
            yield "fine"

    info = ProviderInfo(name="a", models=(ModelInfo("m", context_window=10),))
    with Hub(Settings(autoload=False)) as hub:
        hub.register(info, Echo(), config=ProviderConfig(model={"m": ModelInfo("m", context_window=20)}))
        assert hub.explain(Model("m", "a"), "Hi").candidates[0].context_window == 20


@pytest.mark.parametrize(
    ("own", "prices"),
    [
        ({"price_out": 4}, (None, 4, None, "USD")),
        ({"price_out": 4, "price_currency": "EUR"}, (1, 4, 0.5, "EUR")),
        ({"price_out": 4, "price_currency": "GBP"}, (None, 4, None, "GBP")),
        ({"price_currency": "GBP"}, (1, 2, 0.5, "GBP")),
        ({"rpm": 1}, (1, 2, 0.5, "EUR")),
    ],
)
def test_prices_of_two_currencies_are_never_mixed(own, prices):
    listed = ModelInfo("m", price_in=1, price_out=2, price_cache_read=0.5, price_currency="EUR")
    found = refined_one(listed, ProviderConfig(model={"m": ModelInfo("m", **own)}))
    assert (found.price_in, found.price_out, found.price_cache_read, found.price_currency) == prices


@pytest.mark.parametrize("code", ["", "usd", "US", "$", "ÉUR", None, 1])
def test_a_currency_is_a_code(code):
    with pytest.raises(ValueError, match=r"price_currency must be a currency's code of ISO 4217, such as \"USD\""):
        ModelInfo("m", price_currency=code)


@pytest.mark.parametrize("field", ["rpm", "tpm", *(name for name in PRICES if name != "price_tiers")])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "1", True])
def test_a_limit_or_price_that_is_no_amount_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be a "):
        ModelInfo("m", **{field: value})


@pytest.mark.parametrize("headers", [{"X Title": "a"}, {"": "a"}, {"X": "a\nb"}, {"X": 1}, {"X": "é"}, ["X"], "X"])
def test_headers_that_cannot_be_sent_are_refused_and_not_shown(headers):
    for cls in (ProviderConfig, lambda **fields: ModelInfo("m", **fields)):
        with pytest.raises(ValueError, match="headers must be a mapping of header names to texts") as raised:
            cls(headers=headers)
        assert "a\\nb" not in str(raised.value)


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "Host", "connection", "Expect"])
def test_headers_that_frame_a_request_are_refused_with_the_reason(name):
    for made in (
        lambda headers: ProviderConfig(headers=headers),
        lambda headers: ModelInfo("m", headers=headers),
        lambda headers: HttpRequest("/x", headers=headers),
    ):
        with pytest.raises(ValueError, match="headers that the client alone can set, since they frame the request"):
            made({name: "5"})


def test_models_with_headers_have_a_hash_and_a_pickle():
    model = ModelInfo("m", headers={"A": "1"})
    assert hash(model) == hash(ModelInfo("m", headers={"A": "1"}))
    assert pickle.loads(pickle.dumps(model)) == model
