"""A provider for Claude at Amazon Bedrock, by the Messages API. Credentials of AWS need the extra `bedrock`."""

from collections.abc import Mapping
from typing import Any

from providerhub import ProviderInfo, Setting, hookimpl

__all__ = ["providerhub_provider"]


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider."""
    from providerhub_anthropic._models import BEDROCK_MODELS  # not needed at import

    return ProviderInfo(
        name="anthropic-bedrock",
        models=BEDROCK_MODELS,
        factory="providerhub_anthropic.bedrock_provider:AnthropicBedrock",
        discover="providerhub_anthropic.bedrock_provider:AnthropicBedrock.discover",
        settings=(
            Setting(
                "url",
                env=("ANTHROPIC_BEDROCK_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
                default=_url,
                help="The address; the region's own by default",
            ),
            Setting("api_key", env="AWS_BEARER_TOKEN_BEDROCK", secret=True, help="A key of Bedrock, in place of signed requests"),
            Setting(
                "region",
                env=("AWS_REGION", "AWS_DEFAULT_REGION"),
                required_unless="url",
                default=_region,
                convert=_checked,
                help="The region, such as us-east-1. Default: the region of the profile in AWS's configuration file",
            ),
            Setting("profile", env=("AWS_PROFILE", "AWS_DEFAULT_PROFILE"), help="The profile that holds the credentials"),
            Setting(
                "max_tokens",
                help="The most tokens of an answer if the caller gives no max_tokens. Default: the model's own maximum",
            ),
            Setting("beta", help="Names of beta features, separated by commas"),
        ),
        description="Claude models at Amazon Bedrock, by the Messages API",
        accepts_turns=("anthropic", "anthropic-vertex"),
        pinned_only=True,
    )


def _url(values: Mapping[str, Any]) -> str | None:
    region = _region(values)
    return f"https://bedrock-runtime.{_checked(region)}.amazonaws.com" if region else None


def _region(values: Mapping[str, Any]) -> str | None:
    """Return the region of the settings, or of the profile in AWS's configuration file."""
    if values.get("region"):
        return str(values["region"])
    import os

    path = os.environ.get("AWS_CONFIG_FILE") or os.path.expanduser("~/.aws/config")  # noqa: PTH111 -- pathlib would slow the start
    if not os.path.exists(path):  # noqa: PTH110 -- the same
        return None
    from configparser import Error, RawConfigParser  # the same

    profile = str(values.get("profile") or "default")
    parser = RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read(path, "utf-8")
    except (Error, ValueError):
        return None
    return next((found for name in (f"profile {profile}", profile) if (found := parser.get(name, "region", fallback=None))), None)


def _checked(region: Any) -> str:
    if not isinstance(region, str) or not region.replace("-", "").isalnum() or not region.isascii():
        msg = f"{region!r:.40} is not the name of a region, such as us-east-1"
        raise ValueError(msg)
    return region
