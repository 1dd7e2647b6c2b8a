"""The Anthropic Messages API as a provider for providerhub."""

from providerhub import ProviderInfo, Setting, hookimpl
from providerhub_anthropic._models import MODELS

URL = "https://api.anthropic.com"
"""The address when none is given."""

__all__ = ["URL", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    return ProviderInfo(
        name="anthropic",
        models=MODELS,
        factory="providerhub_anthropic.provider:create",
        discover="providerhub_anthropic.provider:discover",
        settings=(
            Setting("url", env="ANTHROPIC_BASE_URL", default=URL, help="The service's address, without /v1"),
            Setting("api_key", env="ANTHROPIC_API_KEY", secret=True, help="Sent as x-api-key"),
            Setting(
                "max_tokens",
                default="4096",
                help="The most tokens of an answer where the caller does not say: the API must be told",
            ),
            Setting("beta", help="Names for the header anthropic-beta, separated by commas"),
        ),
        needs_auth=True,
        description="Claude models by the Anthropic Messages API",
    )
