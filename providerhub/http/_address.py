"""Checks of what an instance's configuration says about its service: address, key, proxies, certificates."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from urllib3.util import parse_url

from providerhub._values import ProviderConfig
from providerhub._values.errors import ConfigurationError


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself.

    Args:
        host: The name or the address, without a port.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_key(config: ProviderConfig) -> str:
    # The newline at the end of a key file is nobody's intention.
    key = config.api_key.reveal().strip() if config.api_key else ""
    if not (key.isascii() and key.isprintable()):
        msg = f"provider {config.name!r}: the key holds characters that no key has, such as a line break; set it again"
        raise ConfigurationError(msg)
    return key


def checked_bundle(config: ProviderConfig) -> bool | str:
    if config.ca_bundle and not os.path.exists(config.ca_bundle):  # noqa: PTH110 -- pathlib is not worth its import here
        msg = f"provider {config.name!r}: there is no ca_bundle at {config.ca_bundle}"
        raise ConfigurationError(msg)
    return config.ca_bundle or True


def checked_proxies(config: ProviderConfig) -> dict[str, str]:
    for scheme, proxy in config.proxies.items():
        try:
            usable = bool(parse_url(proxy if "://" in proxy else f"http://{proxy}").host) and not _spaced(proxy)
        except ValueError:
            usable = False
        if not usable:
            msg = f"provider {config.name!r}: the proxy for {scheme} cannot be used; write it as http://host:port"
            raise ConfigurationError(msg)
    return dict(config.proxies)


def _spaced(text: str) -> bool:
    """Older versions of urllib3 take a space for a part of the host's name."""
    return any(char.isspace() for char in text)


def checked_url(config: ProviderConfig) -> str:
    if not config.url:
        msg = f"provider {config.name!r} has no address; set its url"
        raise ConfigurationError(msg)
    try:
        parts = urlsplit(config.url)
        _ = parts.port, parse_url(config.url), (parts.hostname or "").encode("idna")
    except ValueError as error:
        msg = f"provider {config.name!r}: the url cannot be used: {error}"
        raise ConfigurationError(msg) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or _spaced(parts.netloc):
        msg = f"provider {config.name!r}: the url must begin with https:// or http:// and name a host"
        raise ConfigurationError(msg)
    if parts.scheme == "http" and config.api_key and not is_loopback(parts.hostname):
        msg = f"provider {config.name!r}: a key is not sent unencrypted to {parts.hostname}; use https"
        raise ConfigurationError(msg)
    return config.url.rstrip("/")
