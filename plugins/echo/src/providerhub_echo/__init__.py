"""A provider that repeats the last message: the example of providerhub's README, with types."""

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
        description="Answers with the words of the last message",
    )
