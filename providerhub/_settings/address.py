"""Checks of addresses, keys and aliases without a connection, and the addresses in the environment.

The texts never contain an address or a key, since they may hold a password.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from providerhub._settings.secrets import is_quoted
from providerhub._values import ProviderConfig
from providerhub._values.checks import nearest

_TARGETS = ("http", "https", "all")  # a proxy is for one of these schemes, or for a host: "https://host"
# The schemes of proxies. `providerhub.http` refuses SOCKS; a plugin with its own transport may support it.
_PROXIES = ("http", "https", "socks5", "socks5h", "socks4", "socks4a")
QUOTED = "is in quotation marks, which would be sent with it; write it without them (`docker --env-file` keeps them)"


# Paths of whole endpoints, which a provider appends to the address of its service.
_ENDPOINTS = ("/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")


def flaws(config: ProviderConfig, *, endpoints: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the field and the text after it for each mistake in a configuration. With `endpoints`, an endpoint is one too."""
    if config.api_key is not None and config.api_key.source is None and is_quoted(config.api_key.reveal()):
        yield "api_key", QUOTED
    endings = _ENDPOINTS if endpoints else ()
    if config.url and (flaw := url_flaw(config.url) or next(filter(None, (endpoint_flaw(config.url, e) for e in endings)), "")):
        yield "url", flaw
    if config.client_key and not config.client_cert:
        yield "client_key", "is of no use without client_cert; set client_cert too"
    for name, flaw in proxy_flaws(config.proxies):
        yield f"proxies.{name}", flaw


def proxy_flaws(proxies: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the scheme and the text that follows it in a message, for each mistake in proxies."""
    for target, address in proxies.items():
        scheme = target.partition("://")[0]
        if scheme not in _TARGETS:
            yield target, f"names no scheme of a service{_near(scheme, _TARGETS)}"
        elif flaw := _flaw_of_proxy(address):
            yield target, flaw


def endpoint_flaw(url: str, path: str) -> str:
    """The mistake of an address with the path that a provider appends, such as `/v1/chat/completions`; else empty."""
    from urllib.parse import urlsplit  # slow to import; a provider's transport has done so

    whole = urlsplit(url).path.rstrip("/")
    ending = path.rstrip("/").removeprefix("/v1") or path
    if not ending.strip("/") or not whole.endswith(ending):
        return ""
    return f"ends with {ending}, which the provider appends itself; remove {ending} from its end"


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself.

    Args:
        host: A host name or an IP address, without a port.
    """
    from ipaddress import ip_address  # slow to import; a provider's transport needs it too

    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def url_flaw(url: str) -> str:
    """Find a mistake in the address of a service or a proxy; empty if it may work. A plugin may accept any scheme."""
    if is_quoted(url):
        return QUOTED
    if "#" in url:
        return "holds a #, and the part after it would not be sent; remove that part"
    if not url.isprintable() or " " in url:
        return "holds a blank or a control character; remove it, or write %20 for a blank in a path"
    return _flaw_of_parts(url)


def _flaw_of_parts(url: str) -> str:
    from urllib.parse import urlsplit  # slow to import; a provider's transport needs it too

    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        is_wrong = parts.port == 0
    except ValueError:  # the exception's text may show a part of a password
        parts, is_wrong = urlsplit(""), True
    if is_wrong:
        return "has a wrong host or port; write a port as a number from 1 to 65535, and an IPv6 address in brackets"
    if not parts.scheme or not (parts.netloc or ":/" in url):
        return "has no scheme; begin it with https:// (or http:// on this machine)"
    if parts.scheme in {"http", "https"} and not parts.hostname:
        return f"names no host; write it as {parts.scheme}://host"
    return ""


def _flaw_of_proxy(address: str) -> str:
    scheme, mark, _ = address.partition("://")
    if mark and not is_quoted(address) and scheme.lower() not in _PROXIES:
        return f"has an unknown scheme{_near(scheme, _PROXIES)}"
    return url_flaw(address if mark else f"http://{address}")  # an address without a scheme names an HTTP proxy


def _near(name: str, known: tuple[str, ...]) -> str:
    # The name itself is not shown: it may be part of a password.
    return "; " + nearest(name.lower(), known, f"the known ones are {', '.join(known)}")


def circle_of(aliases: Mapping[str, tuple[Any, ...]]) -> tuple[str, ...]:
    """The names along a circle of aliases, with the first name again at the end; empty without a circle."""
    if not aliases:
        return ()
    from graphlib import CycleError, TopologicalSorter  # few programs have aliases

    names = {name: [one for one in targets if isinstance(one, str) and one in aliases] for name, targets in aliases.items()}
    try:
        TopologicalSorter(names).prepare()
    except CycleError as error:
        return tuple(reversed(error.args[1]))
    return ()


# The variables that name certificates; the first variable that is set counts.
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")


def with_environment(config: ProviderConfig) -> ProviderConfig:
    """Take the proxies and the certificates of an instance from the environment, if `trust_env` is true."""
    if not config.trust_env or not config.url:
        return config
    proxies, bundle = _proxies(config), _bundle(config)
    if not proxies and not bundle:
        return config
    from requests.utils import get_environ_proxies  # slow to import; only a variable that is set needs it

    # requests also obeys the names, addresses and networks in NO_PROXY.
    found = get_environ_proxies(config.url, no_proxy=None) if proxies else {}
    own = {scheme: address for scheme, address in found.items() if scheme in {"http", "https", "all"}}
    return attrs.evolve(config, proxies=config.proxies or own, ca_bundle=config.ca_bundle or os.environ.get(bundle))


def options_in(host: str, config: ProviderConfig) -> str:
    """Return the fix for a host that does not exist: the options of an instance that are a part of its name; else empty."""
    parts = f"-{host.replace('.', '-')}-"
    texts = ((name, text.lower().replace(".", "-")) for name, text in config.options.items() if isinstance(text, str) and text)
    names = [f"`{name}`" for name, text in texts if f"-{text}-" in parts]
    return f"check {' and '.join(names)}, or set `url`" if names else ""


def unused_environment(config: ProviderConfig, *, bundle: bool = True) -> str:
    """Return a sentence about variables that are set but ignored by an instance; else empty. `bundle` includes certificates."""
    if config.trust_env or not config.url:
        return ""
    found = {"proxies": _proxies(config), "ca_bundle": _bundle(config) if bundle else ""}
    fields = [field for field, name in found.items() if name]
    if not fields:
        return ""
    names = [name for name in found.values() if name]
    verb = "are" if len(names) > 1 else "is"
    fix = f"set trust_env = true, or {' and '.join(fields)}, for provider {config.name!r}"
    return f"{' and '.join(names)} {verb} set but not used: {fix}"


def _proxies(config: ProviderConfig) -> str:
    """The proxy variable that applies to the url; empty if there is none, or if the instance has its own proxies."""
    scheme = "https" if (config.url or "").lower().startswith("https:") else "http"
    names = [name for kind in (scheme, "all") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY")]
    name = "" if config.proxies else next((name for name in names if os.environ.get(name)), "")
    if not name:
        return ""
    from requests.utils import should_bypass_proxies  # slow to import; only a variable that is set needs it

    return "" if should_bypass_proxies(config.url or "", no_proxy=None) else name


def _bundle(config: ProviderConfig) -> str:
    """The variable that names certificates; empty if there is none, or if the instance has its own bundle."""
    if config.ca_bundle or not (config.url or "").lower().startswith("https:"):
        return ""
    return next((name for name in _BUNDLES if os.environ.get(name)), "")
