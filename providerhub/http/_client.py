"""Sends one request to a service, under all timeouts and limits, and keeps the key out of errors."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from urllib3.exceptions import ClosedPoolError

from providerhub._rules.mapping import chained
from providerhub._rules.status import error_from_status
from providerhub._settings.address import endpoint_flaw
from providerhub._settings.environment import unused_environment
from providerhub._values import ProviderConfig
from providerhub._values.errors import (
    EXCERPT_LIMIT,
    InvalidRequestError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ShortageError,
    TLSError,
)
from providerhub._values.provider import CallContext
from providerhub._values.refusal import Refusal
from providerhub._watchdog import WATCHDOG
from providerhub.http._answer import BODY_LIMIT, ERROR_BODY_LIMIT, Answer
from providerhub.http._answer_timer import AnswerTimer, first_timeout
from providerhub.http._connection import ActiveConnection, set_active
from providerhub.http._endpoint import (
    checked_bundle,
    checked_certificate,
    checked_key,
    checked_proxies,
    checked_url,
    joined,
    shown,
)
from providerhub.http._transport import Transport

_Sent = tuple[str, str, dict[str, str], bytes | None]
"""A request: method, path, headers and body."""


class HttpClient:
    """Sends requests to one service. Thread-safe. Connections are kept open between calls, separately in each process.

    Args:
        config: The instance's configuration. Its url, key, headers, proxies, ca_bundle and client certificate are used.
        headers: Headers to add to every request; default none. The headers of `config` outrank them.
        key_header: The header that carries the key. `"Authorization"`, the default, carries it as a bearer token; any other
            header carries the key alone.
        body_limit: The most decoded bytes of one answer; default 64 MiB.
        refusals: Lines that class this service's refusals, before those for all services. Default none.

    Raises:
        ConfigurationError: The url is missing or not valid; the key, a proxy, the ca_bundle or the client certificate cannot be
            used; or the key would be sent unencrypted.
    """

    def __init__(
        self,
        config: ProviderConfig,
        *,
        headers: Mapping[str, str] | None = None,
        key_header: str = "Authorization",
        body_limit: int = BODY_LIMIT,
        refusals: Iterable[Refusal] = (),
    ) -> None:
        self._config = config
        self._name = config.name
        self._url = checked_url(config)
        self._key = checked_key(config)
        self._verify: bool | str = checked_bundle(config)
        self._certificate = checked_certificate(config)
        self._proxies = checked_proxies(config)
        self._limit = body_limit
        self.refusals = tuple(refusals)
        own = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "providerhub"}
        self._headers = merged(own, headers or {}, config.headers)
        if self._key and key_header.lower() not in {name.lower() for name in self._headers}:
            self._headers[key_header] = f"Bearer {self._key}" if key_header == "Authorization" else self._key
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._pid = 0

    def address(self, path: str) -> str:
        """Return the whole address of a path.

        Args:
            path: Appended to the configured url, in front of the url's query.

        Returns:
            The configured url with the path.
        """
        return joined(self._url, path)

    def post(
        self,
        path: str,
        payload: Mapping[str, Any],
        call: CallContext,
        *,
        stream: bool,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a POST request and wait for the headers of the answer.

        Args:
            path: Appended to the configured url, in front of the url's query.
            payload: Sent as the JSON body.
            call: The call: its timeouts, its headers, and whether it is cancelled.
            stream: Whether the answer is a stream, so that the first-token and token-idle timeouts apply.
            headers: Headers for this request, which outrank those of the client. Default none.

        Returns:
            The answer. Use it in a `with` block.

        Raises:
            ProviderError: The service refused or the exchange failed. The error does not contain the key.
            InvalidRequestError: `payload` cannot be written as JSON.
        """
        body = _encoded(payload)
        sent = merged(self._headers, call.headers, headers or {}) if call.headers or headers else dict(self._headers)
        sent["Content-Length"] = str(len(body))
        return self._exchange(("POST", path, sent, body), call, stream=stream)

    def get(self, path: str, call: CallContext) -> Answer:
        """Send a GET request, such as one for the list of models, and wait for the headers of the answer.

        Args:
            path: Appended to the configured url.
            call: The call: its timeouts and whether it is cancelled.

        Returns:
            The answer. Use it in a `with` block.

        Raises:
            ProviderError: The service refused or the exchange failed. The error does not contain the key.
        """
        sent = merged(self._headers, call.headers) if call.headers else self._headers
        return self._exchange(("GET", path, sent, None), call, stream=False)

    def _exchange(self, request: _Sent, call: CallContext, *, stream: bool) -> Answer:
        # Sockets use the system's clock; the call's clock may be a test's.
        active = ActiveConnection(time.monotonic() + call.remaining(call.timeout.connect))
        timer = active.timer = AnswerTimer(call, active.abort, stream=stream)
        unsubscribe = call.on_cancel(active.abort)
        answer = Answer(call, active, timer, unsubscribe, limit=self._limit, name=self._name, stream=stream)
        set_active(active)
        try:
            WATCHDOG.start(timer)
            answer.take(self._send(request, call, first_timeout(call, stream=stream)))
            self._refuse_status(answer, request)
        except Exception as error:  # every exception of the transport is translated and raised again
            answer.close()
            found = self._classed(error, answer)
            if found is error:  # `raise error from error` would make it its own cause
                raise
            raise found from self._showable(error)
        except BaseException:
            answer.close()
            active.close()
            raise
        finally:
            set_active(None)
        return answer

    def close(self) -> None:
        """Close the idle connections. The client can still be used: the next call opens new ones."""
        with self._lock:
            transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def redact(self, text: str) -> str:
        """Return a text without the key. A beginning of the key at the text's end is replaced too, since the text may be cut.

        Args:
            text: A text that may contain the key.

        Returns:
            The text with `***` in place of the key.
        """
        if not self._key:
            return text
        text = text.replace(self._key, "***")
        cut = next((n for n in range(len(self._key) - 1, 3, -1) if text.endswith(self._key[:n])), 0)
        return f"{text[:-cut]}***" if cut else text

    def redacted(self, error: ProviderError) -> ProviderError:
        """Remove the key from an error: from its message, its excerpt, and the cause that a traceback shows.

        The error of a connection also gets the names of the environment's variables that are set and would change the connection,
        but are not used.

        Args:
            error: The error. It is changed in place.

        Returns:
            The same object.
        """
        error.args = tuple(self.redact(str(part)) for part in error.args)
        if _is_of_connection(error) and (hint := unused_environment(self._config)) and hint not in str(error):
            error.args = (f"{error}; {hint}",)
        error.excerpt = self.redact(error.excerpt)[:EXCERPT_LIMIT]
        error.__cause__ = self._showable(error.__cause__)
        return error

    def _send(self, request: _Sent, call: CallContext, phase: float | None) -> Any:
        connect, read = call.remaining(call.timeout.connect), call.remaining(phase)
        while True:
            try:
                return self._opened().exchange(*request, connect=max(connect, 0.001), read=max(read, 0.001))
            except ClosedPoolError:
                continue  # another thread has closed the pool; nothing was sent, and the next pool is a new one

    def _opened(self) -> Transport:
        pid = os.getpid()
        transport = self._transport
        if transport is None or self._pid != pid:
            with self._lock:
                if self._transport is None or self._pid != pid:
                    # A forked child leaves the parent's sockets alone: two processes on one connection would mix their answers.
                    self._transport, self._pid = self._made(), pid
                transport = self._transport
        return transport

    def refusal(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error for a refused request, without the key. A plugin with a transport of its own uses it too.

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
        asked = f"{method} {shown(self.address(path))}"
        # The key is removed after the search: a short one may be a part of the words that decide.
        error = error_from_status(status, headers, body, asked=self.redact(asked), refusals=self.refusals, redact=self.redact)
        if isinstance(error, ProtocolError) and (flaw := endpoint_flaw(self._url, path)):
            error.args = (f"{error}; the url {flaw}",)
        return error

    def _made(self) -> Transport:
        return Transport(self._url, verify=self._verify, proxies=self._proxies, certificate=self._certificate)

    def _refuse_status(self, answer: Answer, request: _Sent) -> None:
        if not 200 <= answer.status < 300:
            body = b"" if 300 <= answer.status < 400 else answer.peek(ERROR_BODY_LIMIT)
            raise self.refusal(request[0], request[1], answer.status, answer.headers, body)

    def _showable(self, error: BaseException | None) -> BaseException | None:
        """Return the error, or `None` if it or an error that led to it contains the key. A traceback shows all of them."""
        return None if any(self.redact(text) != text for text in map(str, chained(error))) else error

    def _classed(self, error: Exception, answer: Answer) -> Exception:
        found = answer.classed(error)
        return self.redacted(found) if isinstance(found, ProviderError) else found


def _is_of_connection(error: ProviderError) -> bool:
    if isinstance(error, ProviderTimeoutError):
        return "connect timeout" in str(error)
    return isinstance(error, ProviderConnectionError | TLSError) and not isinstance(error, ShortageError) and error.status is None


def merged(*headers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers together. A later one replaces an earlier one of the same name, in any case of its letters.

    Args:
        *headers: Headers by name, those that outrank the others last.
    """
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in (item for some in headers for item in some.items()):
        found.pop(names.get(name.lower(), ""), None)
        names[name.lower()] = name
        found[name] = value
    return found


def _encoded(payload: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:  # the halves of a surrogate pair may have come in two pieces of an answer
            return text.encode("utf-16", "surrogatepass").decode("utf-16").encode()
    except UnicodeDecodeError:
        msg = "the request holds half of a surrogate pair, which UTF-8 cannot hold; remove it from the text"
        raise InvalidRequestError(msg) from None
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"the request cannot be written as JSON: {error}"
        raise InvalidRequestError(msg) from error
