"""A provider for the Cohere chat API, version 2."""

from providerhub import ProviderInfo, Setting, hookimpl

URL = "https://api.cohere.com"
"""The default address."""

__all__ = ["URL", "address", "providerhub_provider"]


def address(url: str) -> str:
    """Return the service's address without the version at its end, since the list of models and the chat have different versions.

    Args:
        url: The address, with or without `/v1` or `/v2` at its end.
    """
    return url.rstrip("/").removesuffix("/v2").removesuffix("/v1")


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider. It declares no models: the service lists them."""
    return ProviderInfo(
        name="cohere",
        factory="providerhub_cohere.provider:Cohere",
        discover="providerhub_cohere.provider:Cohere.discover",
        settings=(
            Setting("url", env="CO_API_URL", default=URL, convert=address, help="The service's address"),
            Setting("api_key", env=("CO_API_KEY", "COHERE_API_KEY"), secret=True, help="Sent as a bearer token"),
        ),
        needs_auth=True,
        description="Command models by the Cohere chat API",
    )
