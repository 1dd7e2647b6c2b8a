"""A provider for the Gemini API of Google AI Studio. The module `vertex` declares the provider for Vertex AI."""

from providerhub import ProviderInfo, Setting, hookimpl

URL = "https://generativelanguage.googleapis.com"
"""The default address."""

VERSION = "v1beta"
"""The default version of the API."""

__all__ = ["URL", "VERSION", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    from providerhub_gemini._models import MODELS, version  # not needed at import

    return ProviderInfo(
        name="gemini",
        models=MODELS,
        factory="providerhub_gemini.provider:Gemini",
        discover="providerhub_gemini.provider:Gemini.discover",
        settings=(
            Setting("url", env="GOOGLE_GEMINI_BASE_URL", default=URL, help="The service's address, with or without /v1beta"),
            Setting("api_key", env=("GEMINI_API_KEY", "GOOGLE_API_KEY"), secret=True, help="Sent as x-goog-api-key"),
            Setting("api_version", convert=version, help=f"The version in the address, such as v1. Default: {VERSION}"),
        ),
        needs_auth=True,
        description="Gemini models by Google AI Studio",
    )
