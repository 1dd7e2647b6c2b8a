"""HTTP for plugin authors: one request at a time, with every phase of the timeout, cancellation, limits and key hygiene handled.

>>> from providerhub import CallContext, ProviderConfig, Timeout
>>> from providerhub.http import HttpClient
>>> from providerhub.testing import FaultServer, http_response
>>> with FaultServer(http_response(body={"answer": 42})) as server:
...     client = HttpClient(ProviderConfig(url=server.url))
...     with client.post("/ask", {"question": "?"}, CallContext(Timeout(total=10)), stream=False) as answer:
...         body = b"".join(answer)  # iterating gives the bytes as they come
...     client.close()
>>> body
b'{"answer":42}'

No redirect is followed (a redirect would carry the conversation, and some keys, to another host), nothing is retried, no
`.netrc`, cookie or proxy variable of the environment is read, and bodies are asked for without compression.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPException, IncompleteRead
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from urllib3.exceptions import ClosedPoolError
from urllib3.util import parse_url

from providerhub._body import READ_SIZE, Body
from providerhub._errors import (
    EXCERPT_LIMIT,
    CallerError,
    ConfigurationError,
    InvalidRequestError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from providerhub._mapping import map_exception
from providerhub._phases import Phases
from providerhub._provider import CallContext
from providerhub._status import error_from_status
from providerhub._transport import Connections, Line, use_line
from providerhub._types import ProviderConfig
from providerhub._watchdog import WATCHDOG

_log = logging.getLogger("providerhub")

ERROR_BODY_LIMIT = 65536
BODY_LIMIT = 64 * 1024 * 1024
"""Decoded bytes of one answer; more is a protocol error. Guards against compressed bombs and streams without end."""


class HttpClient:
    """Requests to one service. Thread-safe; connections are kept and used again, separately in each process.

    Args:
        config: The instance's settings: address, key, proxies, certificates.
        headers: Further headers of every request.
        key_header: The header that carries the key: as a bearer token in `Authorization`, as it is in any other.
        body_limit: The most decoded bytes of one answer.

    Raises:
        ConfigurationError: The address is missing or unusable, or a key would travel unencrypted.
    """

    def __init__(
        self,
        config: ProviderConfig,
        *,
        headers: Mapping[str, str] | None = None,
        key_header: str = "Authorization",
        body_limit: int = BODY_LIMIT,
    ) -> None:
        self._name = config.name
        self._url = _checked_url(config)
        self._key = _checked_key(config)
        self._verify: bool | str = _checked_bundle(config)
        self._proxies = _checked_proxies(config)
        self._limit = body_limit
        self._headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "providerhub",
            **(headers or {}),
        }
        if self._key and key_header.lower() not in {name.lower() for name in self._headers}:
            self._headers[key_header] = f"Bearer {self._key}" if key_header == "Authorization" else self._key
        self._lock = threading.Lock()
        self._kept: Connections | None = None
        self._pid = 0

    def post(self, path: str, payload: Mapping[str, Any], call: CallContext, *, stream: bool) -> Answer:
        """Send a request and wait for its headers.

        Args:
            path: Appended to the configured address.
            payload: Becomes the JSON body.
            call: How long there is, and whether the answer is still wanted.
            stream: Whether the wire answer streams, so that the first-token and token-idle clocks apply.

        Returns:
            The answer, to be used in a `with` block.

        Raises:
            ProviderError: Any refusal or failure, classed; keys are taken out of what it says.
        """
        return self._exchange("POST", path, payload, call, stream=stream)

    def get(self, path: str, call: CallContext) -> Answer:
        """Ask for what is there to read, such as the list of models; otherwise as `post` without a stream.

        Args:
            path: Appended to the configured address.
            call: How long there is, and whether the answer is still wanted.

        Returns:
            The answer, to be used in a `with` block.
        """
        return self._exchange("GET", path, None, call, stream=False)

    def _exchange(self, method: str, path: str, payload: Mapping[str, Any] | None, call: CallContext, *, stream: bool) -> Answer:
        # Sockets go by the system's clock, whatever the call goes by.
        line = Line(time.monotonic() + call.remaining(call.timeout.connect))
        phase = call.timeout.first_token if stream else call.timeout.total
        guard = Phases(call, line.end, stream=stream)
        forget = call.on_cancel(line.end)
        answer = Answer(call, line, guard, forget, self._limit, name=self._name)
        use_line(line)
        try:
            WATCHDOG.watch(guard)
            answer.take(self._send(method, path, payload, call, phase))
            if not 200 <= answer.status < 300:
                raise self._refusal(answer)  # noqa: TRY301 -- one place below classes every failure
        except Exception as error:  # noqa: BLE001 -- whatever the layers below raise is classed and raised on
            answer.close()
            raise self._classed(error, answer) from self._showable(error)
        except BaseException:
            answer.close()
            line.drop()
            raise
        finally:
            use_line(None)
        return answer

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def redact(self, text: str) -> str:
        """A text without the key, or the beginning of it where the text was cut.

        Args:
            text: What may hold the key.

        Returns:
            The text, with `***` in the key's place.
        """
        if not self._key:
            return text
        text = text.replace(self._key, "***")
        cut = next((n for n in range(len(self._key) - 1, 3, -1) if text.endswith(self._key[:n])), 0)
        return f"{text[:-cut]}***" if cut else text

    def redacted(self, error: ProviderError) -> ProviderError:
        """The same error without the key: in its message, its excerpt, and what a traceback would show as its cause.

        Args:
            error: The error; it is changed.

        Returns:
            The same object.
        """
        error.args = tuple(self.redact(str(part)) for part in error.args)
        error.excerpt = self.redact(error.excerpt)[:EXCERPT_LIMIT]
        error.__cause__ = self._showable(error.__cause__)
        return error

    def _send(self, method: str, path: str, payload: Mapping[str, Any] | None, call: CallContext, phase: float) -> Any:
        body = None if payload is None else _encoded(payload)
        headers = self._headers if body is None else {**self._headers, "Content-Length": str(len(body))}
        connect, read = call.remaining(call.timeout.connect), call.remaining(phase)
        while True:
            try:
                return self._connections().exchange(
                    method, path, headers, body, connect=max(connect, 0.001), read=max(read, 0.001)
                )
            except ClosedPoolError:
                continue  # another thread has closed them meanwhile: nothing was sent, and new ones are made

    def _connections(self) -> Connections:
        pid = os.getpid()
        kept = self._kept
        if kept is None or self._pid != pid:
            with self._lock:
                if self._kept is None or self._pid != pid:
                    # After a fork the parent's sockets are left to the parent: two processes on one connection mix their answers.
                    self._kept, self._pid = Connections(self._url, verify=self._verify, proxies=self._proxies), pid
                kept = self._kept
        return kept

    def _refusal(self, answer: Answer) -> ProviderError:
        if 300 <= answer.status < 400:
            return ProtocolError(
                f"HTTP {answer.status}: a redirect, which is not followed; correct the configured address", status=answer.status
            )
        body = answer.peek(ERROR_BODY_LIMIT)
        return error_from_status(answer.status, answer.headers, self.redact(body.decode("utf-8", "replace")))

    def _showable(self, error: BaseException | None) -> BaseException | None:
        """The error, unless it or what led to it repeats the key: a traceback shows all of them."""
        return None if any(self.redact(text) != text for text in map(str, _chained(error))) else error

    def _classed(self, error: Exception, answer: Answer) -> Exception:
        found = answer.classed(error)
        return self.redacted(found) if isinstance(found, ProviderError) else found


class Answer:
    """An answer whose headers have come. Iterating yields its body's bytes as they come.

    Use it in a `with` block: leaving it releases the connection, or closes it when the body was not read to its end.
    """

    def __init__(self, call: CallContext, line: Any, guard: Phases, forget: Any, limit: int, *, name: str) -> None:
        self._name = name
        self._call = call
        self._line = line
        self._guard = guard
        self._forget = forget
        self._limit = limit
        self._raw: Any = None
        self._body: Body | None = None
        self._read: Callable[[int], bytes] = _nothing
        self._complete = False
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def take(self, response: Any) -> None:
        """Take over the response that came.

        Args:
            response: urllib3's response, its body unread.
        """
        self._raw, self._body = response, self._line.body
        self.status, self.headers = response.status, response.headers
        # The body is read past urllib3 unless it must decode, which it was asked not to need.
        plain = self._body is not None and self.headers.get("content-encoding", "identity").strip().lower() in {"", "identity"}
        self._read = self._body.read1 if plain else partial(response.read1, decode_content=True)

    def token(self) -> None:
        """Say that content has come, and that the consumer has given control back: the token-idle clock starts again."""
        self._guard.token()

    def __iter__(self) -> Iterator[bytes]:
        call, guard, line, read, body = self._call, self._guard, self._line, self._read, self._body
        clock, idle, ahead = call.clock, call.timeout.byte_idle, guard.ahead
        total = call.deadline + ahead
        size = 0
        try:
            # The guard holds all clocks; a timeout of the socket's own would cost another system call for each read.
            self._read_timeout(None)
            while True:
                due = guard.byte_due = clock() + idle
                guard.move(min(due, guard.token_due) + ahead)
                data = read(READ_SIZE)
                if line.ended:
                    raise guard.ended()  # noqa: TRY301 -- one place below classes every end
                if not data:
                    break
                size += len(data)
                if size > self._limit:
                    msg = f"the answer is larger than {self._limit} bytes"
                    raise ProtocolError(msg)  # noqa: TRY301 -- as above
                # While the consumer holds what is yielded, only the whole call's clock runs.
                guard.deadline = total
                yield data
                if clock() > guard.token_due and guard.late():
                    raise guard.ended()  # noqa: TRY301 -- as above
                if body is not None and body.ended:
                    break
        except Exception as error:
            raise self.classed(error) from error
        self._complete = True

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self)

    def peek(self, limit: int) -> bytes:
        """The body's beginning; failures end it early, since it only explains another failure.

        Args:
            limit: The most bytes to give.

        Returns:
            What came of it.
        """
        found = bytearray()
        try:
            for data in self:
                found += data
                if len(found) >= limit:
                    break
        except ProviderError:
            _log.debug("the body of a refusal could not be read to its end")
        return bytes(found[:limit])

    def finished(self) -> None:
        """Say that the protocol's own end mark has come, so that the connection can serve again if the body ends here too."""
        try:
            self._read_timeout(0.02)
            self._complete = (self._body is not None and self._body.ended) or not self._read(READ_SIZE)
        except Exception:  # noqa: BLE001 -- the answer is whole; without a proper end the connection is merely closed
            self._complete = False

    def classed(self, error: Exception) -> Exception:
        """The error of the tree that a transport failure means: a clock run out or a cancellation explains it first.

        Args:
            error: What the transport raised.

        Returns:
            The error to raise in its place.
        """
        if isinstance(error, ProviderError | CallerError):
            return error
        if self._line.ended or self._guard.expired or self._call.cancelled:
            return self._guard.ended()
        if self._call.remaining() == 0:
            return ProviderTimeoutError("the call's total time is over")
        mapped = map_exception(error, provider=self._name, model="")
        if not self.status and _is_garbage(error):
            return ProtocolError("what answered does not speak HTTP; check the configured address")
        if self._line.failure:
            mapped.args = (self._line.failure,)
        elif isinstance(mapped, ProtocolError):
            if not self.status:
                return ProviderConnectionError(f"the connection broke before the answer began: {error}")
            if isinstance(error, IncompleteRead):
                mapped.args = ("the connection ended before the answer did",)
        if self.status and isinstance(mapped, ProviderConnectionError):
            mapped.retryable = False
        return mapped

    def close(self) -> None:
        """Release the connection. A second call does nothing."""
        WATCHDOG.release(self._guard)
        self._forget()
        raw, self._raw = self._raw, None
        if raw is None:
            return
        # Whoever ends this call from now on must not end the next one on the same connection.
        self._line.sock = None
        if not self._complete or self._line.ended or (self._body is not None and self._body.surplus):
            raw.close()
        raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read_timeout(self, seconds: float | None) -> None:
        sock = self._line.sock
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(seconds)


def _nothing(_size: int) -> bytes:
    """What there is to read before the head has come."""
    return b""


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


def _is_garbage(error: BaseException) -> bool:
    """Whether something other than HTTP answered. The layers below tell a broken connection and a strange banner by one class."""
    return any(isinstance(link, HTTPException) and not isinstance(link, ConnectionError) for link in _chained(error))


def _chained(error: BaseException | None) -> list[BaseException]:
    """An error and what led to it. Chains may run in a circle."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _encoded(payload: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"the request cannot be written as JSON: {error}"
        raise InvalidRequestError(msg) from error


def _checked_key(config: ProviderConfig) -> str:
    # The newline at the end of a key file is nobody's intention.
    key = config.api_key.reveal().strip() if config.api_key else ""
    if not (key.isascii() and key.isprintable()):
        msg = f"provider {config.name!r}: the key holds characters that no key has, such as a line break; set it again"
        raise ConfigurationError(msg)
    return key


def _checked_bundle(config: ProviderConfig) -> bool | str:
    if config.ca_bundle and not os.path.exists(config.ca_bundle):  # noqa: PTH110 -- pathlib is not worth its import here
        msg = f"provider {config.name!r}: there is no ca_bundle at {config.ca_bundle}"
        raise ConfigurationError(msg)
    return config.ca_bundle or True


def _checked_proxies(config: ProviderConfig) -> dict[str, str]:
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


def _checked_url(config: ProviderConfig) -> str:
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
