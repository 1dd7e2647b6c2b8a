"""A provider that repeats the last message: the example of providerhub's README, with types."""

from providerhub import ModelInfo, ProviderInfo, hookimpl
from providerhub_echo._echo import Echo

__all__ = ["Echo", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    model = ModelInfo("echo-1", supports_stream=True, supports_tools=False, supports_images=False, supports_json_schema=False)
    return ProviderInfo(
        name="echo",
        models=(model,),
        factory="providerhub_echo:Echo",
        description="Answers with the words of the last message",
    )
