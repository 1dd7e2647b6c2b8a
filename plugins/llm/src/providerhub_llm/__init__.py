"""Every model of the `llm` package and of its installed plugins, as a provider for providerhub."""

from providerhub import ProviderInfo, Setting, hookimpl

__all__ = ["providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider. Its models are asked of `llm`, which takes a while to import, only when they are wanted."""
    return ProviderInfo(
        name="llm",
        factory="providerhub_llm.provider:create",
        discover="providerhub_llm.models:discover",
        settings=(
            Setting("api_key", env="PROVIDERHUB_LLM_API_KEY", secret=True, help="In place of the keys that llm itself keeps"),
        ),
        description="Every model of the llm package and its plugins",
    )
