"""The cost that follows from token counts and prices."""

from decimal import Decimal

import pytest

from providerhub import Cost, ModelInfo, Prices, Usage
from providerhub._values.cost import cost_of

PRICES = Prices(2.0, 10.0, cache_read=0.2, cache_write=2.5, input_audio=40.0, output_audio=80.0, output_image=30.0)


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        (Usage(1_000_000, 100_000), "3"),
        (Usage(1_000_000, 0, cached_tokens=600_000, cache_write_tokens=100_000), "0.97"),
        (Usage(1_000_000, 0, input_audio_tokens=1_000_000), "40"),
        (Usage(0, 1_000_000, output_audio_tokens=500_000, reasoning_tokens=100_000), "45"),
        (Usage(0, 1_000_000, output_image_tokens=1_000_000), "30"),
        (Usage(0, 0), "0"),
    ],
)
def test_each_kind_of_token_has_its_price(usage, amount):
    assert cost_of(usage, PRICES) == Cost(Decimal(amount), "USD", "model")


def test_reasoning_may_have_a_price_of_its_own():
    prices = Prices(2.0, 10.0, reasoning=3.0)
    assert cost_of(Usage(0, 1_000_000, reasoning_tokens=1_000_000), prices).amount == 3


def test_a_long_prompt_has_the_prices_of_its_tier():
    prices = Prices(1.0, 1.0, tiers=((200, Prices(2.0, 2.0)), (500, Prices(3.0, 3.0))), source="list", date="2026-05-01")
    found = [cost_of(Usage(count, 0), prices) for count in (200, 201, 501)]
    assert [cost.amount * 1_000_000 / count for cost, count in zip(found, (200, 201, 501), strict=True)] == [1, 2, 3]
    assert {(cost.source, cost.date) for cost in found} == {("list", "2026-05-01")}


@pytest.mark.parametrize(
    ("usage", "prices"),
    [
        (None, PRICES),
        (Usage(1, 1), None),
        (Usage(1, None), PRICES),
        (Usage(None, 1), PRICES),
        (Usage(10, 1, cached_tokens=5), Prices(1.0, 1.0)),
        (Usage(10, 1, cache_write_tokens=5), Prices(1.0, 1.0)),
        (Usage(10, 1, input_audio_tokens=5), Prices(1.0, 1.0)),
        (Usage(1, 10, output_audio_tokens=5), Prices(1.0, 1.0)),
        (Usage(1, 10, output_image_tokens=5), Prices(1.0, 1.0)),
        (Usage(1, 1), Prices(1.0)),
        (Usage(1, 1, cached_tokens=5), PRICES),
    ],
)
def test_an_unknown_cost_is_none(usage, prices):
    assert cost_of(usage, prices) is None


def test_the_most_that_vectors_may_cost_needs_no_price_of_output_tokens():
    assert Prices(2.0).most(Usage(1_000_000, 0)) == Cost(Decimal(2), "USD", "model")
    assert Prices(2.0).most(Usage(1_000_000, 1)) is None
    assert Prices(None, 2.0).most(Usage(1, 1)) is None


def test_the_vendors_own_figure_comes_first():
    assert cost_of(Usage(1, 1, cost=0.1), PRICES) == cost_of(Usage(cost=0.1), None) == Cost(Decimal("0.1"), "USD", "vendor")
    assert cost_of(Usage(cost=0.1), Prices(1.0, currency="EUR")).currency == "EUR"
    assert cost_of(Usage(1, 1, cost=0.0), PRICES).amount == 0


def test_a_model_without_any_price_has_no_prices():
    assert ModelInfo("m").prices is None
    assert ModelInfo("m", price_cache_read=1.0).prices == Prices(cache_read=1.0)


def test_the_prices_of_a_model_include_audio_reasoning_and_long_prompts():
    tiers = [{"above": 200_000, "price_in": 2.5, "price_out": 15.0}, {"above": 500_000, "price_cache_read": 9.0}]
    model = ModelInfo("m", price_in=1.0, price_out=4.0, price_cache_read=0.5, price_reasoning=5.0, price_in_audio=7.0,
                      price_out_audio=8.0, price_currency="EUR", price_tiers=tiers)  # fmt: skip
    usages = [
        (Usage(100_000, 100_000, cached_tokens=100_000), "0.45"),
        (Usage(100_000, 100_000, input_audio_tokens=100_000, output_audio_tokens=100_000), "1.5"),
        (Usage(300_000, 100_000, reasoning_tokens=100_000), "1.25"),
        (Usage(600_000, 0, cached_tokens=600_000), "5.4"),
    ]
    assert [cost_of(usage, model.prices).amount for usage, _ in usages] == [Decimal(amount) for _, amount in usages]
    assert cost_of(Usage(1, 1), model.prices).currency == "EUR"


@pytest.mark.parametrize("tiers", ["x", [1], [{"price_in": 1.0}], [{"above": 0}], [{"above": 5, "price": 1}],
                                   [{"above": 5, "price_in": -1}], [{"above": 5, "price_tiers": 1}]])  # fmt: skip
def test_wrong_prices_of_long_prompts_are_refused(tiers):
    with pytest.raises(ValueError, match='price_tiers must be a list of tables with the key "above" and prices, such as'):
        ModelInfo("m", price_tiers=tiers)
