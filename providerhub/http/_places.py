"""The targets of connections: hosts and ports, proxies, certificates, and the errors of connecting."""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from providerhub._rules.mapping import is_shortage
from providerhub._values.errors import ProviderConnectionError, ProviderError, ProviderTimeoutError, ShortageError, TLSError

IDLE_LIMIT = 60.0
"""Seconds. A connection with a longer idle time is not used again, since a gateway may have dropped it silently."""

NO_TLS = "the server there speaks no TLS; if that is right, begin the url with http://"
"""The reason of a failed TLS connection that no certificate can fix."""

_NO_TLS_REASONS = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}  # depends on the version of OpenSSL


def place_of(parts: SplitResult) -> tuple[str, int]:
    """Return the host and the port of an address."""
    return unquote(parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)


def chosen_proxy(origin: str, proxies: Mapping[str, str]) -> str | None:
    """Return the proxy for an address; `None` for a direct connection."""
    parts = urlsplit(origin)
    names = (f"{parts.scheme}://{parts.hostname}", parts.scheme, f"all://{parts.hostname}", "all")
    proxy = next((proxies[name] for name in names if name in proxies), None)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def proxy_headers(proxy: str) -> dict[str, str]:
    """Return the headers for a proxy, with the user name and the password of its address."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}


def tunnel_request(origin: str, proxy: str) -> bytes:
    """Return the request for a tunnel to a service (RFC 9110, section 9.3.6)."""
    host, port = place_of(urlsplit(origin))
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    fields = "".join(f"{name}: {value}\r\n" for name, value in proxy_headers(proxy).items())
    return f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{fields}\r\n".encode()


def check_tunnel(status: int) -> None:
    """Raise an error for the status of a proxy that opens no tunnel."""
    if not 200 <= status < 300:
        fix = ": check the user name and the password in `proxies`" if status == 407 else ""
        raise ProviderConnectionError(f"HTTP {status}: the proxy refuses the request{fix}", status=status, retryable=False)


def certificates(verify: bool | str, certificate: tuple[str, str] | None) -> Any:  # noqa: FBT001 -- as the setting is kept
    """Return a TLS context: the certificates to trust (a file or folder; `True`: certifi's), and the client's certificate."""
    import ssl  # slow to import; only https needs it, and certifi

    import certifi

    trusted = certifi.where() if isinstance(verify, bool) else verify
    folder = os.path.isdir(trusted)
    context = ssl.create_default_context(cafile=None if folder else trusted, capath=trusted if folder else None)
    context.set_alpn_protocols(["http/1.1"])
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def mapped(error: Exception, place: str = "the service", *, begun: bool | None = None) -> Exception:
    """Translate an exception of a connection. `begun`: whether the headers had come; `None` while it connects."""
    if isinstance(error, ProviderError) or not (isinstance(error, OSError | UnicodeError) or is_shortage(error)):
        return error
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
    said, again, unknown = f"cannot connect to {place}: {reason}", None, ""
    kind: type[ProviderError] = ProviderConnectionError
    if is_shortage(error):
        kind = ShortageError
    elif type(error).__module__ == "ssl":
        why = NO_TLS if getattr(error, "reason", "") in _NO_TLS_REASONS else error
        said, kind = f"the connection to {place} cannot be secured: {why}", TLSError
    elif isinstance(error, TimeoutError) and error.errno is None:
        said, kind = "connecting took longer than the connect timeout", ProviderTimeoutError
    elif begun:
        said, again = "the connection broke before the answer ended", False
    elif begun is not None:
        said = "the connection ended before an answer came"
    elif isinstance(error, socket.gaierror | UnicodeError):
        unknown = place.rpartition(":")[0]
        said = f"the name {unknown!r} cannot be resolved: {getattr(error, 'strerror', None) or error}"
    found = kind(said, retryable=again)
    if isinstance(found, ProviderConnectionError):
        found.may_be_address, found.unknown_host = begun is None and kind is not ShortageError, unknown
    return found
