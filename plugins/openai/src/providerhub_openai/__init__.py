"""OpenAI, and every server that speaks its chat completions, as providers for providerhub."""

from providerhub import ProviderInfo, Setting, hookimpl

URL = "https://api.openai.com/v1"
"""The address when none is given; the only one at which a key is required."""

__all__ = ["URL", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider. It has no models of its own: each instance lists those of its service, or is told them."""
    return ProviderInfo(
        name="openai",
        factory="providerhub_openai.provider:create",
        discover="providerhub_openai.models:discover",
        settings=(
            Setting("url", env="OPENAI_BASE_URL", default=URL, help="The service's address, such as http://localhost:11434/v1"),
            Setting("api_key", env="OPENAI_API_KEY", secret=True, required_unless="url", help="Sent as a bearer token when set"),
            Setting("organization", env="OPENAI_ORG_ID", help="The organization that is billed, where a key serves several"),
            Setting("project", env="OPENAI_PROJECT_ID", help="The project that is billed, likewise"),
            Setting("stream_usage", default="yes", help="'no' where token counts in a stream may not be asked for"),
        ),
        description="OpenAI, and every server that speaks its chat completions",
    )
