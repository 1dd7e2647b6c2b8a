"""A provider for all models of the `llm` package and its installed plugins."""

from providerhub import ProviderInfo, Setting, hookimpl

__all__ = ["providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider. It lists its models only when a call needs the list: importing `llm` takes a second or two."""
    return ProviderInfo(
        name="llm",
        factory="providerhub_llm.provider:Llm",
        discover="providerhub_llm.models:discover",
        settings=(
            Setting(
                "api_key",
                env="PROVIDERHUB_LLM_API_KEY",
                secret=True,
                help="Used for all models in place of the keys stored by llm",
            ),
        ),
        description="All models of the llm package and its plugins",
    )
