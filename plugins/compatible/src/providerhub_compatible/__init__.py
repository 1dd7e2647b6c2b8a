"""Providers for services with OpenAI's chat completions: an entry point for each vendor, from one table."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from providerhub import ModelInfo, ProviderInfo, Setting, hookimpl
from providerhub_compatible.vendors import VENDORS, Vendor

__all__ = ["VENDORS", "EntryPoint", "Vendor"]


class EntryPoint:
    """The plugin of one vendor.

    Args:
        name: The name of the vendor in `VENDORS`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __dir__(self) -> list[str]:
        """Name the hook only: pluggy examines each attribute, which would take most of the time of loading 39 plugins."""
        return ["providerhub_provider"]

    @hookimpl
    def providerhub_provider(self) -> ProviderInfo:
        """Declare the provider."""
        vendor = VENDORS[self.name]
        return ProviderInfo(
            name=self.name,
            models=tuple(ModelInfo(**fields) for fields in vendor.known),
            factory="providerhub_compatible.provider:create",
            discover=None if vendor.models is None else "providerhub_compatible.provider:discover",
            settings=_settings(vendor),
            description=f"{vendor.title}; see {vendor.docs}",
            slow_start=vendor.slow,
            pinned_only=bool(vendor.url),
        )


def __getattr__(name: str) -> EntryPoint:
    """Make the plugin that an entry point names; `_` stands for `-`."""
    vendor = name.replace("_", "-")
    if vendor not in VENDORS:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return EntryPoint(vendor)


@cache
def _stream_usage() -> Setting:
    """Return a setting that all vendors share: making it for each of forty would take a fifth of their time."""
    return Setting("stream_usage", default="yes", help="'no' for a service that refuses stream_options")


def _settings(vendor: Vendor) -> tuple[Setting, ...]:
    needed = None if not vendor.url else "token" if vendor.kind == "watsonx" else "url"
    env = vendor.keys or None
    return (
        Setting("url", default=_url(vendor), required=not vendor.url, help=f"The address of {vendor.title}"),
        Setting("api_key", env=env, secret=True, required_unless=needed, help="Sent as a bearer token when set"),
        *(
            Setting(
                one.name, env=one.env or None, required_unless=one.unless, secret=one.secret, default=one.default, help=one.help
            )
            for one in vendor.own
        ),
        _stream_usage(),
    )


def _url(vendor: Vendor) -> str | Callable[[Mapping[str, Any]], str | None] | None:
    """Return the default address, or a function that makes it from settings."""
    if vendor.kind == "github":
        return _github
    if "{" not in vendor.url:
        return vendor.url or None
    parts = [own.name for own in vendor.own if f"{{{own.name}}}" in vendor.url]
    return lambda values: vendor.url.format_map({name: _part(values.get(name)) for name in parts})


def _part(value: object) -> str:
    """Return a setting as a part of an address.

    Raises:
        ValueError: The setting has no value, so the address has no default.
    """
    if not value:
        raise ValueError(value)
    return str(value).strip().removeprefix("https://").rstrip("/")


def _github(values: Mapping[str, Any]) -> str:
    owner = values.get("organization")
    return f"https://models.github.ai/{f'orgs/{owner}/' if owner else ''}inference"
