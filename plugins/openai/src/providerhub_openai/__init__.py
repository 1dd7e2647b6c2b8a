"""A provider for OpenAI, and for every server with its chat completions or Responses API."""

from providerhub import ProviderInfo, Setting, hookimpl

URL = "https://api.openai.com/v1"
"""The default address. A key is required at this address only."""

__all__ = ["URL", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider. It declares no models: an instance names them in its settings, or asks its service for them."""
    return ProviderInfo(
        name="openai",
        factory="providerhub_openai.provider:OpenAI",
        discover="providerhub_openai.provider:OpenAI.discover",
        settings=(
            Setting("url", env="OPENAI_BASE_URL", default=URL, help="The service's address, such as http://localhost:11434/v1"),
            Setting("api_key", env="OPENAI_API_KEY", secret=True, required_unless="url", help="Sent as a bearer token when set"),
            Setting("organization", env="OPENAI_ORG_ID", help="The organization to bill, for a key that serves several"),
            Setting("project", env="OPENAI_PROJECT_ID", help="The project to bill, for a key that serves several"),
            Setting("api", default="auto", help="'chat', 'responses', or 'auto': Responses for models without chat completions"),
            Setting("stream_usage", default="yes", help="'no' for a service that refuses stream_options"),
        ),
        description="OpenAI, and every server that speaks its chat completions",
        tariffs={"batch": 0.5, "flex": 0.5},  # "Batch API" and "Flex processing" in OpenAI's guides, November 2026
    )
