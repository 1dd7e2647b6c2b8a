"""A provider for the Anthropic Messages API."""

from providerhub import ProviderInfo, Setting, hookimpl

URL = "https://api.anthropic.com"
"""The default address."""

__all__ = ["URL", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    from providerhub_anthropic._models import MODELS  # not needed at import

    return ProviderInfo(
        name="anthropic",
        models=MODELS,
        factory="providerhub_anthropic.provider:AnthropicItself",
        discover="providerhub_anthropic.provider:AnthropicItself.discover",
        settings=(
            Setting("url", env="ANTHROPIC_BASE_URL", default=URL, help="The service's address, with or without /v1"),
            Setting("api_key", env="ANTHROPIC_API_KEY", secret=True, help="Sent as x-api-key"),
            Setting(
                "max_tokens",
                help="The most tokens of an answer if the caller gives no max_tokens. Default: the model's own maximum",
            ),
            Setting("beta", help="Value of the header anthropic-beta: names separated by commas"),
        ),
        needs_auth=True,
        accepts_turns=("anthropic-bedrock", "anthropic-vertex"),
        description="Claude models by the Anthropic Messages API",
        tariffs={"batch": 0.5},  # "Batch processing" in Anthropic's documentation, November 2026
    )
