"""Checks of the settings that say where a service is and how to reach it: url, key, proxies, certificates."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from urllib3.util import parse_url

from providerhub._values import ProviderConfig
from providerhub._values.errors import ConfigurationError


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself.

    Args:
        host: A host name or an IP address, without a port.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_key(config: ProviderConfig) -> str:
    # A key file often ends with a line break.
    key = config.api_key.reveal().strip() if config.api_key else ""
    if not (key.isascii() and key.isprintable()):
        msg = f"provider {config.name!r}: api_key has a character that no header can carry, such as a line break; set it again"
        raise ConfigurationError(msg)
    return key


def checked_bundle(config: ProviderConfig) -> bool | str:
    if config.ca_bundle and not os.path.exists(config.ca_bundle):  # noqa: PTH110 -- importing pathlib would slow the start
        msg = f"provider {config.name!r}: ca_bundle {config.ca_bundle} does not exist; set it to a file or folder of certificates"
        raise ConfigurationError(msg)
    return config.ca_bundle or True


def checked_proxies(config: ProviderConfig) -> dict[str, str]:
    for scheme, proxy in config.proxies.items():
        try:
            usable = bool(parse_url(proxy if "://" in proxy else f"http://{proxy}").host) and not _has_space(proxy)
        except ValueError:
            usable = False
        if not usable:  # the proxy itself is not shown: it may hold a password
            msg = f"provider {config.name!r}: the proxy for {scheme} is not a valid address; write it as http://host:port"
            raise ConfigurationError(msg)
    return dict(config.proxies)


def checked_url(config: ProviderConfig) -> str:
    if not config.url:
        msg = f"provider {config.name!r} has no url; set it"
        raise ConfigurationError(msg)
    try:
        parts = urlsplit(config.url)
        _ = parts.port, parse_url(config.url), (parts.hostname or "").encode("idna")
    except ValueError as error:
        msg = f"provider {config.name!r}: the url is not valid: {error}"
        raise ConfigurationError(msg) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or _has_space(parts.netloc):
        msg = f"provider {config.name!r}: the url must begin with https:// or http:// and name a host"
        raise ConfigurationError(msg)
    if parts.scheme == "http" and config.api_key and not is_loopback(parts.hostname):
        msg = f"provider {config.name!r}: a key is not sent unencrypted to {parts.hostname}; use https"
        raise ConfigurationError(msg)
    return config.url.rstrip("/")


def _has_space(text: str) -> bool:
    """Older versions of urllib3 accept a space as part of a host name."""
    return any(char.isspace() for char in text)
