"""A provider for Gemini models at Vertex AI. Google's credentials are looked up when the first request needs them."""

import re
from collections.abc import Mapping
from typing import Any

from providerhub import ProviderInfo, Setting, hookimpl

LOCATION = "global"
"""The default location."""

VERSION = "v1beta1"
"""The default version of the API."""

__all__ = ["LOCATION", "VERSION", "providerhub_provider"]


def _location(value: Any) -> str:
    if not re.fullmatch(r"global|us|eu|[a-z]+-[a-z]+\d+", str(value)):
        msg = f"location must be 'global', 'us', 'eu' or a region such as 'europe-west4', not {value!r}"
        raise ValueError(msg)
    return str(value)


def _url(values: Mapping[str, Any]) -> str:
    """Return the address of a location. Reference: "Locations" in the documentation of Vertex AI."""
    location = values.get("location") or LOCATION
    if location == LOCATION:
        return "https://aiplatform.googleapis.com"
    if location in {"us", "eu"}:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    from providerhub_gemini._models import MODELS, version  # not needed at import

    return ProviderInfo(
        name="vertex",
        models=MODELS,
        factory="providerhub_gemini.provider:Vertex",
        discover="providerhub_gemini.provider:Vertex.discover",
        settings=(
            Setting("project", env="GOOGLE_CLOUD_PROJECT", required_unless="api_key", help="The project to bill"),
            Setting(
                "location",
                env=("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION"),
                default=LOCATION,
                convert=_location,
                help="'global', 'us', 'eu' or a region such as 'europe-west4'",
            ),
            Setting("url", env="GOOGLE_VERTEX_BASE_URL", default=_url, help="Address of the service. Default: from the location"),
            Setting("credentials", help="Path of a file with credentials. Default: the application default credentials"),
            Setting("api_key", secret=True, help="A key of the express mode, in place of a project and credentials"),
            Setting("api_version", convert=version, help=f"The version in the address, such as v1. Default: {VERSION}"),
        ),
        description="Gemini models by Vertex AI",
        pinned_only=True,
    )
