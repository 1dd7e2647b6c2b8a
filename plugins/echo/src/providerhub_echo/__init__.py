"""A provider that answers with what it was asked: the README's example with types."""

from providerhub import ModelInfo, ProviderInfo, hookimpl
from providerhub_echo._echo import Echo

__all__ = ["Echo", "providerhub_provider"]

_MODEL = ModelInfo("echo-1", supports_stream=True, supports_tools=False, supports_images=False, supports_json_schema=False)


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    return ProviderInfo(
        name="echo",
        models=(_MODEL,),
        factory="providerhub_echo:Echo",
        description="Answers with what it was asked, word by word",
    )
