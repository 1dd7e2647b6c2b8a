"""The parts of a client that do no I/O: the checked configuration, headers, addresses, refusals, and the redaction of secrets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from providerhub._rules.mapping import chained
from providerhub._settings.address import endpoint_flaw, is_loopback, options_in, unused_environment
from providerhub._values import ProviderConfig
from providerhub._values.config import Secret
from providerhub._values.errors import (
    EXCERPT_LIMIT,
    ConfigurationError,
    InvalidRequestError,
    PluginError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ShortageError,
    TLSError,
)
from providerhub._values.provider import CallContext
from providerhub._values.refusal import Refusal
from providerhub.http._answer import BaseAnswer
from providerhub.http._endpoint import (
    checked_bundle,
    checked_certificate,
    checked_key,
    checked_proxies,
    checked_url,
    joined,
    shown,
)
from providerhub.http._fetched import Fetched
from providerhub.http._places import NO_TLS, certificates, chosen_proxy, proxy_headers
from providerhub.http._request import HttpRequest, Wire, is_absolute
from providerhub.http._wire_log import ExchangeLog, opened, unnamed, written

BODY_LIMIT = 64 * 1024 * 1024
"""Default limit of one answer, in decoded bytes, as a protection against compressed bombs and endless streams."""

ERROR_BODY_LIMIT = 65536
"""The maximum bytes to read from the body of a refusal."""

_COMMON = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "providerhub"}

_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_SAFE = "/%:@!$&'()*+,;=~?[]"
"""The characters of a path and a query that stay unchanged (RFC 3986), in addition to letters, digits and `-._`."""

_MAX_ADDRESSES = 1000
# Shorter keys are placeholders, such as "x" for a server that needs none. Without their letters, no message could be read, and
# the gaps would show the key.
_SHORTEST = 4
"""The number of prepared addresses that a client keeps."""


class Address(NamedTuple):
    """The address of a request as it is sent. `is_own`: it has the origin of the configured url, and may get the key."""

    url: str
    origin: str
    host: str
    target: str
    is_own: bool


class Sent(NamedTuple):
    """A request with all headers. Its `path` comes from the provider."""

    method: str
    path: str
    address: Address
    headers: dict[str, str]
    body: bytes | None
    proxy: str | None

    def written(self) -> bytes:
        """Return head and body in one piece, since a second piece would wake the server a second time.

        A proxy without encryption needs its own headers and the whole address.
        """
        address = self.address
        proxy = self.proxy if address.origin.startswith("http:") else None
        lines = [f"{self.method} {address.url if proxy else address.target} HTTP/1.1"]
        if "host" not in map(str.lower, self.headers):
            lines.append(f"Host: {address.host}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if proxy:
            lines += [f"{name}: {value}" for name, value in proxy_headers(proxy).items()]
        head = "\r\n".join(lines)
        if not head.count("\r") == head.count("\n") == len(lines) - 1:
            raise ValueError("a header or the method of the request holds a line break, which would begin another header")
        return head.encode("latin-1") + b"\r\n\r\n" + (self.body or b"")


class Client:
    """The base of both clients. They describe its arguments."""

    def __init__(
        self,
        config: ProviderConfig,
        *,
        headers: Mapping[str, str] | None = None,
        key_header: str = "Authorization",
        body_limit: int = BODY_LIMIT,
        refusals: Iterable[Refusal] = (),
        wire: Wire | None = None,
    ) -> None:
        self.config = config
        if wire is None:
            wire = Wire()
            wire.headers, wire.key_header, wire.refusals = headers or {}, key_header, refusals
        self.wire = wire
        wire.redact = self.redact
        self.body_limit = body_limit
        self._url = checked_url(config)
        self._key = checked_key(config)
        self._verify: bool | str = checked_bundle(config)
        self._certificate = checked_certificate(config)
        self._proxies = checked_proxies(config)
        self._tls: Any = None
        self._addresses: dict[str, Address] = {}
        self._headers: dict[str, str] = {}
        self._headers_of: object = self  # no wire yet
        self._origin = _origin(self._url)
        self._log = None if config.wire_log is None else opened(config.wire_log, config.name)
        self._begin()

    def _begin(self) -> None:
        """Prepare the transport, without I/O."""

    def send(self, request: HttpRequest, call: CallContext) -> Any:
        """Send a request and wait for the headers of the answer.

        Args:
            request: The request, as the provider writes it.
            call: The call: its timeouts, its headers, and whether it is cancelled.

        Returns:
            The answer. Use it in a `with` block.

        Raises:
            ProviderError: The service refused or the exchange failed. The error does not contain a secret.
            InvalidRequestError: The body cannot be written as JSON.
        """
        raise NotImplementedError

    def fetch(self, request: HttpRequest, call: CallContext) -> Any:
        """Send a request and read its whole answer; otherwise as `send`.

        Args:
            request: The request, as the provider writes it.
            call: The call: its timeouts, its headers, and whether it is cancelled.

        Returns:
            The whole answer.

        Raises:
            ProviderError: The service refused or the exchange failed. The error does not contain a secret.
        """
        raise NotImplementedError

    def address(self, path: str) -> str:
        """Return the whole address of a path.

        Args:
            path: Appended to the configured url, before the url's query. A whole address is returned unchanged.

        Returns:
            The configured url with the path.
        """
        return path if is_absolute(path) else joined(self._url, path)

    def redact(self, text: str) -> str:
        """Return a text without the secrets. The beginning of a secret at the end of a cut text is replaced too.

        Args:
            text: A text that may contain the key or another secret.

        Returns:
            The text with `***` in place of each secret.
        """
        for secret in written(self._secrets()):
            text = text.replace(secret, "***")
            cut = next((n for n in range(len(secret) - 1, 3, -1) if text.endswith(secret[:n])), 0)
            text = f"{text[:-cut]}***" if cut else text
        return unnamed(text)

    def redacted(self, error: ProviderError) -> ProviderError:
        """Remove the secrets from an error: from its message, its excerpt, and the cause that a traceback shows.

        A connection error also gets the names of options in an unknown host, and of ignored proxy and certificate variables.

        Args:
            error: The error, changed in place.

        Returns:
            The same object.
        """
        error.args = tuple(self.redact(str(part)) for part in error.args)
        if _is_of_connection(error):
            is_of_tls = isinstance(error, TLSError) and NO_TLS not in str(error)
            host = error.unknown_host if isinstance(error, ProviderConnectionError) else ""
            hints = (options_in(host, self.config), unused_environment(self.config, bundle=is_of_tls))
            error.args = ("; ".join([str(error), *(hint for hint in hints if hint and hint not in str(error))]),)
        error.excerpt = self.redact(error.excerpt)[:EXCERPT_LIMIT]
        error.__cause__ = self._showable(error.__cause__)
        return error

    def refusal(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error for a refused request, without the secrets.

        Args:
            method: The method of the request, such as `"POST"`.
            path: The path of the request, without the configured url.
            status: The HTTP status, which is not a success.
            headers: The headers of the answer.
            body: The beginning of the answer's body.

        Returns:
            The error to raise. Its class follows from the status and the body.
        """
        if 300 <= status < 400:
            msg = f"HTTP {status}: a redirect, which is not followed; correct the configured url"
            return ProtocolError(msg, status=status)
        error: object = self.wire.refusal(status, headers, body)
        if not isinstance(error, ProviderError):
            fix = "return a ProviderError, such as that of error_from_status()"
            raise self._wrong(f"refusal() returned {error!r} for HTTP {status}; {fix}")
        if isinstance(error, ProtocolError):
            asked = f"; asked {method} {shown(self.address(path))}" if status in {404, 405} else ""
            flaw = endpoint_flaw(self._url, path)
            error.args = (f"{error}{asked}{f'; the url {flaw}' if flaw else ''}",)
        return self.redacted(error)

    def _prepared(self, request: HttpRequest, call: CallContext) -> Sent:
        body = request.body if request.body is None or isinstance(request.body, bytes) else _encoded(request.body)
        path = request.path
        if request.query:
            path = f"{path}{'&' if '?' in path else '?'}{urlencode(request.query, doseq=True)}"
        address = self._addresses.get(path) or self._address(path)
        if address.is_own:
            headers = self._own_headers()
            merge = call.headers or request.headers
            headers = merged(headers, call.headers, request.headers) if merge else dict(headers)
        else:
            headers = merged(_COMMON, request.headers)
        if body is not None:
            headers["Content-Length"] = str(len(body))
        signed: Any
        if address.is_own and (signed := self.wire.sign(request.method, address.url, headers, body or b"")):
            if not isinstance(signed, Mapping):
                raise self._wrong(f"sign() returned {type(signed).__name__}; return a mapping of headers to add")
            headers = merged(headers, signed)
        proxy = chosen_proxy(address.origin, self._proxies) if self._proxies else None
        return Sent(request.method, request.path, address, headers, body, proxy)

    def _refuse(self, request: Sent, answer: BaseAnswer, body: bytes) -> NoReturn:
        raise self.refusal(request.method, request.path, answer.status, answer.headers, body)

    @contextlib.contextmanager
    def _opening(self, answer: BaseAnswer) -> Iterator[None]:
        """Close an answer that fails before its headers are accepted, and raise the error for the transport's exception."""
        try:
            yield
        except Exception as error:
            found = answer.classed(error)
            answer.close()
            if isinstance(found, ProviderError):
                self.redacted(found)
            if found is error:  # `raise error from error` would make it its own cause
                raise
            raise found from self._showable(error)
        except BaseException:
            answer.close()
            raise

    def _logged(self, request: Sent) -> ExchangeLog | None:
        if self._log is None:
            return None
        log = ExchangeLog(self._log, self.config.name, self._secrets, self.wire.key_header)
        log.request(request.method, request.address.url, request.headers, request.body)
        return log

    def _own_headers(self) -> dict[str, str]:
        given: Any = self.wire.headers
        if given is not self._headers_of:
            name: Any = self.wire.key_header
            if not isinstance(given, Mapping) or not isinstance(name, str | None):
                raise self._wrong(f"headers must be a mapping and key_header a text, not {given!r} and {name!r}")
            found = merged(_COMMON, given, self.config.headers)
            if self._key and name and name.lower() not in {other.lower() for other in found}:
                found[name] = f"Bearer {self._key}" if name == "Authorization" else self._key
            self._headers, self._headers_of = found, given
        return self._headers

    def _address(self, path: str) -> Address:
        whole = self.address(path)
        parts = urlsplit(whole)
        origin = _origin(whole)
        is_own = origin == self._origin
        if not is_own and parts.scheme != "https" and not self.config.allow_http and not is_loopback(parts.hostname or ""):
            msg = f"provider {self.config.name!r}: {origin} is not asked unencrypted; use https, or set allow_http"
            raise ConfigurationError(msg)
        if len(self._addresses) >= _MAX_ADDRESSES:
            self._addresses.clear()
        target = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")
        place = _host(parts) + (f":{parts.port}" if parts.port else "")
        found = self._addresses[path] = Address(f"{parts.scheme}://{place}{target}", origin, place, target, is_own)
        return found

    def _wrong(self, said: str) -> PluginError:
        return PluginError(f"{type(self.wire).__qualname__}: {said}")

    def _secure(self) -> Any:
        """Return the certificates. Reading them takes some milliseconds."""
        if self._tls is None:
            self._tls = certificates(self._verify, self._certificate)
        return self._tls

    def _secrets(self) -> Iterator[str]:
        options = (value for value in self.config.options.values() if isinstance(value, Secret))
        fetched = (text for one in vars(self.wire).values() if isinstance(one, Fetched) for text in one.values)
        given: Any = self.wire.secrets or ()
        own = (given,) if isinstance(given, str | Secret) else given
        for secret in (self._key, *own, *options, *(text for text in fetched if isinstance(text, str))):
            with contextlib.suppress(ConfigurationError):  # an unreadable secret was not sent
                text = secret.reveal().strip() if isinstance(secret, Secret) else str(secret or "")
                if len(text) >= _SHORTEST:
                    yield text

    def _showable(self, error: BaseException | None) -> BaseException | None:
        """Return the error, or `None` if it or its causes contain a secret, since a traceback shows all of them."""
        return None if any(self.redact(text) != text for text in map(str, chained(error))) else error


def merged(*headers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers together. A later header replaces an earlier header of the same name, in any case."""
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in (item for some in headers for item in some.items()):
        found.pop(names.get(name.lower(), ""), None)
        names[name.lower()] = name
        found[name] = value
    return found


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").encode("idna").decode()
    return f"[{host}]" if ":" in host else host


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{_host(parts)}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _is_of_connection(error: ProviderError) -> bool:
    if isinstance(error, ProviderTimeoutError):
        return "connect timeout" in str(error)
    return isinstance(error, ProviderConnectionError | TLSError) and not isinstance(error, ShortageError) and error.status is None


def _encoded(payload: Mapping[str, Any]) -> bytes:
    try:
        text = _json(payload)
        try:
            return text.encode()
        except UnicodeEncodeError:  # the halves of a surrogate pair may have come in two pieces of an answer
            return text.encode("utf-16", "surrogatepass").decode("utf-16").encode()
    except UnicodeDecodeError:
        msg = "the request holds half of a surrogate pair, which UTF-8 cannot hold; remove it from the text"
        raise InvalidRequestError(msg) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from error
