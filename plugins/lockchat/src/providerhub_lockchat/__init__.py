"""A provider for Lockchat, with the names of the original Lockchat module."""

from typing import Any

from providerhub import ModelInfo, ProviderInfo, Setting, hookimpl
from providerhub_lockchat._seed import _create_completion

model = ["gpt-4", "gpt-3.5-turbo"]
"""The models that the service offers."""
supports_stream = True
"""Whether the service streams answers."""
needs_auth = False
"""Whether the service requires a key. A configured key is sent even so."""


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    return ProviderInfo(
        name="lockchat",
        models=tuple(ModelInfo(name, supports_stream=supports_stream) for name in model),
        factory="providerhub_lockchat.provider:Lockchat",
        settings=(
            Setting("url", env="LOCKCHAT_URL", required=True, help="The service's address; there is no default."),
            Setting("api_key", env="LOCKCHAT_API_KEY", secret=True, help="Sent as a bearer token when set."),
        ),
        needs_auth=needs_auth,
        description="GPT models behind a Lockchat service",
    )


def __getattr__(name: str) -> Any:
    # The environment may be set after the import, so `url` is read at each access.
    if name == "url":
        import os  # keeps the module light; only this attribute needs os

        return os.environ.get("LOCKCHAT_URL")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


__all__ = ["_create_completion", "model", "needs_auth", "providerhub_provider", "supports_stream"]
