"""A provider for the chat completions of Mistral."""

from providerhub import ProviderInfo, Setting, hookimpl

URL = "https://api.mistral.ai/v1"
"""The default address."""

__all__ = ["URL", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider. It declares no models: the service lists them."""
    return ProviderInfo(
        name="mistral",
        factory="providerhub_mistral.provider:Mistral",
        discover="providerhub_mistral.provider:Mistral.discover",
        settings=(
            Setting("url", env="MISTRAL_BASE_URL", default=URL, help="The service's address, with or without /v1"),
            Setting("api_key", env="MISTRAL_API_KEY", secret=True, help="Sent as a bearer token"),
        ),
        needs_auth=True,
        description="Mistral's models by its chat completions",
    )
