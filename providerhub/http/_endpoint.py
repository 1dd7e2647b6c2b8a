"""Checks of the settings for the connection to a service: url, key, proxies, certificates."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from providerhub._settings.address import flaws, is_loopback
from providerhub._values import ProviderConfig
from providerhub._values.errors import ConfigurationError


def _flaw(config: ProviderConfig, said: str) -> ConfigurationError:
    return ConfigurationError(f"provider {config.name!r}: {said}")


def checked_key(config: ProviderConfig) -> str:
    # A key file often ends with a line break.
    key = config.api_key.reveal().strip() if config.api_key else ""
    if not (key.isascii() and key.isprintable()):
        raise _flaw(config, "api_key has a character that no header can carry, such as a line break; set it again")
    return key


def checked_bundle(config: ProviderConfig) -> bool | str:
    if config.ca_bundle and not os.path.exists(config.ca_bundle):
        raise _flaw(config, f"ca_bundle {config.ca_bundle} does not exist; set it to a file or folder of certificates")
    return config.ca_bundle or True


def checked_certificate(config: ProviderConfig) -> tuple[str, str] | None:
    """Return the files of the client's certificate and its key; `None` without a client certificate."""
    if not config.client_cert:
        return None
    files = {"client_cert": config.client_cert, "client_key": config.client_key or config.client_cert}
    for setting, file in files.items():
        try:
            with open(file, encoding="utf-8", errors="replace") as opened:
                is_locked = "ENCRYPTED" in opened.read()
        except OSError as error:
            raise _flaw(config, f"{setting} {file} cannot be read ({error.strerror}); set it to a PEM file") from error
        if is_locked:  # OpenSSL would wait for a password at the terminal
            raise _flaw(config, f"{setting} {file} is encrypted; set it to a file without a password")
    return files["client_cert"], files["client_key"]


def checked_proxies(config: ProviderConfig) -> dict[str, str]:
    for name, proxy in config.proxies.items():
        kind, mark, _ = proxy.lower().partition("://")
        if mark and kind not in {"http", "https"}:
            said = f"proxies.{name} is a {kind} proxy; only http and https proxies are supported"
            raise _flaw(config, f"{said}: set an http proxy, such as one that forwards to it")
    return dict(config.proxies)


def checked_url(config: ProviderConfig) -> str:
    if not config.url:
        raise _flaw(config, "there is no url; set it")
    for setting, flaw in flaws(config):
        raise _flaw(config, f"{setting} {flaw}")
    parts = urlsplit(config.url)
    if parts.scheme not in {"http", "https"}:
        raise _flaw(config, f"url must begin with https:// or http://, not {parts.scheme}:")
    if parts.scheme == "http" and config.api_key and not config.allow_http and not is_loopback(parts.hostname or ""):
        raise _flaw(config, f"a key is not sent unencrypted to {parts.hostname}; use https, or set allow_http")
    return joined(config.url, "")


def joined(url: str, path: str) -> str:
    """Append a path to an address. The query of the address moves to the end, before the query of the path."""
    base, _, query = url.partition("?")
    own, _, more = path.partition("?")
    queries = "&".join(part for part in (query, more) if part)
    return f"{base.rstrip('/')}{own}{'?' if queries else ''}{queries}"


def shown(url: str) -> str:
    """Return an address for an error message: without its query and its password, which may hold keys."""
    base = url.partition("?")[0]
    scheme, separator, rest = base.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"
