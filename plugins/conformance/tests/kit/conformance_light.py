"""The declarations of the entry points of the kit's own tests: one object for each provider, and no heavy import."""

from __future__ import annotations

from typing import Any

from providerhub import ModelInfo, ProviderInfo, Setting, hookimpl

ALL = {
    "supports_stream": True,
    "supports_tools": True,
    "supports_images": True,
    "supports_json_schema": True,
    "supports_audio": True,
    "supports_files": True,
}
CLAIMS = ModelInfo("large", aliases=("l",), **ALL)
OPEN = ModelInfo("large", aliases=("l",), supports_stream=True)
NO_SCHEMA = ModelInfo("large", aliases=("l",), **{**ALL, "supports_json_schema": False, "supports_files": False})
URL = Setting("url", env="CONFORMANCE_URL", required=True)
KEY = Setting("api_key", env="CONFORMANCE_API_KEY", secret=True)
TOKEN = Setting("token", env="CONFORMANCE_TOKEN", secret=True, required=True)
SKEW = Setting("skew", env="CONFORMANCE_SKEW", default="30", convert=int)


class Light:
    """What stands for a light module: an object with the hook."""

    def __init__(self, name: str, factory: str, **fields: Any) -> None:
        self.name = name
        values = {"models": (CLAIMS,), "settings": (URL, KEY), "needs_auth": True, "discover": "bad_providers:discover"}
        self.fields = {**values, "factory": factory, **fields}

    @hookimpl
    def providerhub_provider(self) -> ProviderInfo:
        return ProviderInfo(name=self.name, **self.fields)


class Misspelt(Light):
    """Has a hook that nobody calls."""

    @hookimpl
    def providerhub_atempt_started(self, attempt: Any) -> None: ...


SPECIAL: dict[str, dict[str, Any]] = {
    "metadata-valid": {"models": (CLAIMS, ModelInfo("l", **ALL))},
    "missing-key-named": {"needs_auth": False},
    "unsupported-refused": {"models": (OPEN,)},
    "models-listed": {"discover": "bad_providers:discover_nothing"},
}
"""What the bad provider for a check declares differently."""

GOOD = {
    "good-openai": {"settings": (URL, KEY, TOKEN, SKEW), "discover": "good_providers:discover_with_options"},
    "good-async": {},
    "good-token": {"discover": None},
    "good-anthropic": {"models": (NO_SCHEMA,), "discover": None},
    "good-silent": {"models": (ModelInfo("large", supports_stream=False),), "needs_auth": False, "settings": (URL,)},
    "good-inside": {"models": (OPEN,), "needs_auth": False, "settings": (), "discover": None},
}
"""What the good providers declare differently."""


def __getattr__(attribute: str) -> Light:
    """`bad_for_CHECK`, `async_bad_for_CHECK` and `good_NAME`, with underscores for hyphens."""
    name = attribute.replace("_", "-")
    if name.startswith("good-") and name in GOOD:
        return Light(name, f"good_providers:create_{attribute}", **GOOD[name])
    if name.startswith("async-bad-for-"):
        return Light(name.replace("-for-", "-"), f"bad_async:create_{attribute}")
    check = name.removeprefix("bad-for-")
    if check == name:
        raise AttributeError(attribute)
    if check == "entry-point-valid":
        return object()  # type: ignore[return-value]
    kind = Misspelt if check == "no-unknown-hooks" else Light
    return kind(f"bad-{check}", f"bad_providers:create_{attribute}", **SPECIAL.get(check, {}))
