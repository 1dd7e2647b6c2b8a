"""A provider for Claude at Vertex AI, by the Messages API. Google's credentials need the extra `vertex`."""

import re
from collections.abc import Mapping
from typing import Any

from providerhub import ProviderInfo, Setting, hookimpl

LOCATION = "global"
"""The default location."""

__all__ = ["LOCATION", "providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    from providerhub_anthropic._models import VERTEX_MODELS  # not needed at import

    return ProviderInfo(
        name="anthropic-vertex",
        models=VERTEX_MODELS,
        factory="providerhub_anthropic.vertex_provider:AnthropicVertex",
        discover="providerhub_anthropic.vertex_provider:AnthropicVertex.discover",
        settings=(
            Setting(
                "project", env=("ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT"), required=True, help="The project to bill"
            ),
            Setting(
                "location",
                env=("CLOUD_ML_REGION", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION"),
                default=LOCATION,
                convert=_location,
                help="'global', 'us', 'eu' or a region such as 'europe-west1'",
            ),
            Setting("url", env="ANTHROPIC_VERTEX_BASE_URL", default=_url, help="The address; the location's own by default"),
            Setting("credentials", help="Path of a file with credentials. Default: the application default credentials"),
            Setting("api_key", secret=True, help="An access token, in place of credentials"),
            Setting(
                "max_tokens",
                help="The most tokens of an answer if the caller gives no max_tokens. Default: the model's own maximum",
            ),
            Setting("beta", help="Value of the header anthropic-beta: names separated by commas"),
        ),
        description="Claude models at Vertex AI, by the Messages API",
        accepts_turns=("anthropic", "anthropic-bedrock"),
        pinned_only=True,
    )


def _url(values: Mapping[str, Any]) -> str:
    """Return the address of a location. Reference: "Locations" in the documentation of Vertex AI."""
    location = _location(values.get("location") or LOCATION)
    if location == LOCATION:
        return "https://aiplatform.googleapis.com/v1"
    if location in {"us", "eu"}:
        return f"https://aiplatform.{location}.rep.googleapis.com/v1"
    return f"https://{location}-aiplatform.googleapis.com/v1"


def _location(value: Any) -> str:
    if not re.fullmatch(r"global|us|eu|[a-z]+-[a-z]+\d+", str(value)):
        msg = f"location must be 'global', 'us', 'eu' or a region such as 'europe-west1', not {value!r}"
        raise ValueError(msg)
    return str(value)
