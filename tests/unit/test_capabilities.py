"""A declaration that could only fail later is refused when it is made."""

import pytest

from providerhub import Model, ModelInfo, ProviderConfig, ProviderInfo, Setting


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
        (lambda: ProviderConfig(url=""), "url must be a text that is not empty"),
        (lambda: ProviderConfig(proxies={"https": 3128}), "proxies must be a mapping of schemes .*, not {'https': int}"),
        (lambda: ProviderConfig(api_key=b"canary"), "api_key must be a text, a Secret or None, not bytes"),
        (lambda: ModelInfo("m", supports_tools="yes"), "supports_tools must be true or false, or None"),
        (lambda: ModelInfo("m", context_window=0), "context_window must be a whole number, 1 or more"),
        (lambda: ProviderInfo(name="acme", needs_auth="no"), "needs_auth"),
        (lambda: ProviderInfo(name="acme", models={"m": 1}), "models"),
        (lambda: ProviderInfo(name="acme", models=3), "models"),
        (lambda: Model(""), "name"),
        (lambda: ProviderConfig(weight=float("nan")), "weight"),
        (lambda: ProviderConfig(priority="high"), "priority"),
    ],
)
def test_the_field_is_named(make, says):
    with pytest.raises(ValueError, match=says) as raised:
        make()
    assert "canary" not in str(raised.value)
