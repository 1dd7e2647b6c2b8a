"""Mistakes in addresses, keys and aliases that show without a connection.

The texts never hold the value of an address or a key: it may be a password.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providerhub._settings.secrets import is_quoted
from providerhub._values import ProviderConfig
from providerhub._values.checks import nearest

_TARGETS = ("http", "https", "all")  # the schemes for which a proxy may be named; also "https://host" for one host alone
# The schemes of proxies. `providerhub.http` refuses SOCKS; a plugin with a transport of its own may speak it.
_PROXIES = ("http", "https", "socks5", "socks5h", "socks4", "socks4a")
QUOTED = "is in quotation marks, which would be sent with it; write it without them (`docker --env-file` keeps them)"


# Paths of whole endpoints, which a provider appends to the address of its service.
_ENDPOINTS = ("/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")


def flaws(config: ProviderConfig, *, endpoints: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the dotted field and the text that follows it in a message, for each mistake in a configuration. Reads nothing.

    With `endpoints`, a whole endpoint as `url` is a mistake too. The error of a call tells without that what it asked.
    """
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
    """The mistake of an address that ends with the path that a provider appends, such as `/v1/chat/completions`; else empty."""
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
    """Find a mistake in the address of a service or a proxy; empty for one that may work.

    A plugin with a transport of its own may take any scheme, such as `unix:/run/service`.
    """
    if is_quoted(url):
        return QUOTED
    if "#" in url:
        return "holds a #, and the part behind it would not be sent; remove that part"
    if not url.isprintable() or " " in url:
        return "holds a blank or a control character; remove it, or write %20 for a blank in a path"
    return _flaw_of_parts(url)


def _flaw_of_parts(url: str) -> str:
    from urllib.parse import urlsplit  # slow to import; a provider's transport needs it too

    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        is_wrong = parts.port == 0
    except ValueError:  # its text may show a part of a password
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
    return url_flaw(address if mark else f"http://{address}")  # an address without a scheme is that of an HTTP proxy


def _near(name: str, known: tuple[str, ...]) -> str:
    # The name itself is not shown: it may be part of a password.
    return "; " + nearest(name.lower(), known, f"the known ones are {', '.join(known)}")


def circle_of(aliases: Mapping[str, tuple[Any, ...]]) -> tuple[str, ...]:
    """The names along one circle of aliases, the first one again at the end; empty without a circle."""
    if not aliases:
        return ()
    from graphlib import CycleError, TopologicalSorter  # few programs have aliases

    names = {
        name: [target for target in targets if isinstance(target, str) and target in aliases] for name, targets in aliases.items()
    }
    try:
        TopologicalSorter(names).prepare()
    except CycleError as error:
        return tuple(reversed(error.args[1]))
    return ()
