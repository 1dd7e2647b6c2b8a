"""Lockchat as a provider for providerhub, and the interface of the module that it grew out of."""

from typing import Any

from providerhub import ModelInfo, ProviderInfo, Setting, hookimpl
from providerhub_lockchat._seed import _create_completion

model = ["gpt-4", "gpt-3.5-turbo"]
"""The models that the service offers."""
supports_stream = True
"""Whether answers come in pieces."""
needs_auth = False
"""Whether a key is required. One that is configured is sent all the same."""


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    return ProviderInfo(
        name="lockchat",
        models=tuple(ModelInfo(name, supports_stream=supports_stream) for name in model),
        factory="providerhub_lockchat.provider:create",
        settings=(
            Setting("url", env="LOCKCHAT_URL", required=True, help="The service's address; there is no default."),
            Setting("api_key", env="LOCKCHAT_API_KEY", secret=True, help="Sent as a bearer token when set."),
        ),
        needs_auth=needs_auth,
        description="GPT models behind a Lockchat service",
    )


def __getattr__(name: str) -> Any:
    # `url` is read when it is asked for: the environment may be set after the import.
    if name == "url":
        import os  # noqa: PLC0415 -- only this attribute needs it

        return os.environ.get("LOCKCHAT_URL")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


__all__ = ["_create_completion", "model", "needs_auth", "providerhub_provider", "supports_stream"]
