"""Declarations that could only fail later are refused where they are made."""

import pytest

from providerhub import ModelInfo, ProviderConfig, ProviderInfo, Setting


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ProviderInfo(name="acme", settings=("REGION",)), "settings"),
        (lambda: ProviderInfo(name="acme", settings={"region": 1}), "settings"),
        (lambda: ProviderInfo(name="acme", models="gpt"), "models"),
        (lambda: ProviderInfo(name="acme", factory="acme.provider"), "factory must be 'module:function'"),
        (lambda: ProviderInfo(name="acme", discover="acme:"), "discover must be 'module:function'"),
        (lambda: ProviderInfo(name="acme", api_version="1"), "api_version"),
        (lambda: ProviderInfo(name="ac/me"), "slash"),
        (lambda: Setting("region", env=5), "env"),
        (lambda: Setting("region", default=5), "default"),
        (lambda: ModelInfo("m", aliases="big"), "aliases"),
        (lambda: ModelInfo("m", context_window="8k"), "context_window"),
        (lambda: ModelInfo("m", price_in="1"), "price_in"),
        (lambda: ProviderConfig(models="gpt-9"), "models"),
        (lambda: ProviderConfig(weight=-1), "weight"),
        (lambda: ProviderConfig(weight=float("nan")), "weight"),
        (lambda: ProviderConfig(priority="high"), "priority"),
    ],
)
def test_the_field_is_named(make, says):
    with pytest.raises((TypeError, ValueError), match=says):
        make()
