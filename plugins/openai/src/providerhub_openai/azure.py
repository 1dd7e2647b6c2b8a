"""The declaration of the provider `azure`: OpenAI's models, and others, at Azure."""

from providerhub import ProviderInfo, Setting, hookimpl

SCOPE = "https://cognitiveservices.azure.com/.default"
"""The default scope of an Entra token."""

__all__ = ["SCOPE", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider. Its models are the deployments of the resource, which an instance names or asks for."""
    return ProviderInfo(
        name="azure",
        factory="providerhub_openai.azure_provider:Azure",
        discover="providerhub_openai.azure_provider:Azure.discover",
        settings=(
            Setting(
                "url",
                env=("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_BASE_URL"),
                required=True,
                help="The resource's address, such as https://NAME.openai.azure.com",
            ),
            Setting(
                "api_key",
                env="AZURE_OPENAI_API_KEY",
                secret=True,
                required_unless="auth",
                help="A key of the resource, sent as api-key",
            ),
            Setting("auth", default="key", help="'key', or 'entra' for tokens by azure-identity: providerhub-openai[azure]"),
            Setting(
                "api_version",
                env=("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION"),
                default="v1",
                help="'v1', 'preview', or a date such as '2024-10-21' for the older addresses",
            ),
            Setting("api", default="auto", help="'chat', 'responses', or 'auto': Responses for models without chat completions"),
            Setting("scope", default=SCOPE, help="The scope of Entra tokens; national clouds have other scopes"),
            Setting("credential", help="From Python: an object with get_token(scope), in place of DefaultAzureCredential"),
            Setting("stream_usage", help="'no' for an API version that refuses stream_options. Default: by the version"),
        ),
        description="OpenAI's models at Azure, by chat completions and the Responses API",
        tariffs={"batch": 0.5},  # "Azure OpenAI batch" in Microsoft's documentation, November 2026
    )
