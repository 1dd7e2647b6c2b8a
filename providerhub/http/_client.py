"""Sends one request to a service, with all timeouts and limits, and keeps secrets out of errors."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

from providerhub._threads import renewed_at_fork
from providerhub._values.errors import ProviderError
from providerhub._values.provider import CallContext
from providerhub._watchdog import WATCHDOG
from providerhub.http._answer import Answer
from providerhub.http._answer_timer import AnswerTimer
from providerhub.http._base import ERROR_BODY_LIMIT, Client, Sent
from providerhub.http._connection import ActiveConnection, is_quiet
from providerhub.http._places import IDLE_LIMIT
from providerhub.http._request import HttpAnswer, HttpRequest

_MAX_IDLE = 100
"""The maximum number of connections to one service that stay open between calls."""


class HttpClient(Client):
    """Sends requests to one service. Thread-safe. Connections are kept open between calls, separately in each process.

    Args:
        config: The instance's configuration. Its url, key, headers, proxies, ca_bundle and client certificate are used.
        headers: Headers to add to every request; default none. The headers of `config` take precedence.
        key_header: The header for the key. `"Authorization"`, the default, has it as a bearer token; any other header has only
            the key.
        body_limit: The limit of decoded bytes of one answer; default 64 MiB.
        refusals: Lines for this service's refusals, which come before the lines for all services. Default none.
        wire: The headers, secrets, signature and refusals of the service, in place of `headers`, `key_header` and `refusals`;
            `None`, the default, for a `Wire` with these three.

    Raises:
        ConfigurationError: The url, the key, a proxy, the ca_bundle or the client certificate cannot be used; or the key would be
            sent unencrypted.
    """

    def _begin(self) -> None:
        self._lock = renewed_at_fork(threading.Lock())
        self._kept = _Kept()
        # Not `__del__`: the garbage collector may first end the sockets, which would then warn that they were not closed.
        weakref.finalize(self, self._kept.close)
        self._pid, self._cleaned = 0, time.monotonic()

    def send(self, request: HttpRequest, call: CallContext) -> Answer:
        """Send a request and wait for the headers of the answer; see `Client.send`."""
        sent = self._prepared(request, call)
        # Sockets use the system's clock; the call's clock may be a test's.
        active = ActiveConnection(time.monotonic() + call.remaining(call.timeout.connect))
        timer = active.timer = AnswerTimer(call, active.abort, stream=request.stream)
        answer = Answer(call, active, timer, self.body_limit)
        answer.log = self._logged(sent)
        with self._opening(answer):
            WATCHDOG.start(timer)
            self._send(answer, sent, active, call.remaining(timer.first))
            if not 200 <= answer.status < 300:
                self._refuse(sent, answer, b"" if answer.status < 400 else answer.peek(ERROR_BODY_LIMIT))
        return answer

    def fetch(self, request: HttpRequest, call: CallContext) -> HttpAnswer:
        """Send a request and read its whole answer; see `Client.fetch`."""
        with self.send(request, call) as answer:
            try:
                return HttpAnswer(answer.status, answer.headers, answer.read())
            except ProviderError as error:
                self.redacted(error)
                raise

    def post(
        self,
        path: str,
        payload: Mapping[str, Any],
        call: CallContext,
        *,
        stream: bool,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a POST request and wait for the headers of the answer; otherwise as `send`.

        Args:
            path: Appended to the configured url, before the url's query.
            payload: Sent as the JSON body.
            call: The call: its timeouts, its headers, and whether it is cancelled.
            stream: Whether the answer is a stream. The first-token and token-idle timeouts apply only to a stream.
            headers: Headers for this request; they take precedence over the client's headers. Default none.

        Returns:
            The answer. Use it in a `with` block.
        """
        return self.send(HttpRequest(path, payload, stream=stream, headers=headers or {}), call)

    def get(self, path: str, call: CallContext) -> Answer:
        """Send a GET request, for example for the list of models, and wait for the headers of the answer; otherwise as `send`.

        Args:
            path: Appended to the configured url.
            call: The call: its timeouts and whether it is cancelled.

        Returns:
            The answer. Use it in a `with` block.
        """
        return self.send(HttpRequest(path, method="GET"), call)

    def close(self) -> None:
        """Close the idle connections. The client can still be used: the next call opens a new connection."""
        self._kept.close()

    def _send(self, answer: Answer, request: Sent, active: ActiveConnection, read: float) -> None:
        idle, origin = self._own_idle(), request.address.origin
        connections = idle.setdefault(origin, [])
        sock = _taken(connections)
        active.release = partial(self._keep, idle, connections)
        if sock is None:
            active.connect(origin, request.proxy, self._secure)
        else:
            active.use(sock)
        answer.take(active.exchange(request.written(), read), request.method)

    def _own_idle(self) -> dict[str, list[tuple[Any, float]]]:
        pid = os.getpid()
        if self._pid != pid:
            with self._lock:
                if self._pid != pid:
                    # A forked child does not use the parent's sockets: two processes on one connection would mix their answers.
                    self.close()
                    self._pid = pid
        return self._kept.idle

    def _keep(self, idle: dict[str, list[tuple[Any, float]]], connections: list[tuple[Any, float]], sock: Any) -> None:
        """Keep a connection for the next call. Appending to a list and popping from it need no lock."""
        if len(connections) >= _MAX_IDLE:
            sock.close()
            return
        now = time.monotonic()
        connections.append((sock, now))
        if idle is not self._kept.idle:  # the client was closed; checked last, so that no `close` comes in between
            _close_all(idle)
        elif now - self._cleaned > IDLE_LIMIT:
            self._cleaned = now
            for kept in list(idle.values()):
                for entry in [one for one in kept if now - one[1] > IDLE_LIMIT]:
                    with contextlib.suppress(ValueError):  # another thread has taken it
                        kept.remove(entry)
                        entry[0].close()


class _Kept:
    """The idle connections of a client by origin, each with the start of its idle time."""

    __slots__ = ("idle",)

    def __init__(self) -> None:
        self.idle: dict[str, list[tuple[Any, float]]] = {}

    def close(self) -> None:
        """Close the connections. Other threads may take connections, or add a service, in the meantime."""
        idle, self.idle = self.idle, {}
        _close_all(idle)


def _close_all(idle: Mapping[str, list[tuple[Any, float]]]) -> None:
    """Close idle connections. Other threads may take connections, or add a service, in the meantime."""
    for connections in list(idle.values()):
        with contextlib.suppress(IndexError):
            while True:
                connections.pop()[0].close()


def _taken(connections: list[tuple[Any, float]]) -> Any:
    with contextlib.suppress(IndexError):
        while True:
            sock, since = connections.pop()
            if time.monotonic() - since <= IDLE_LIMIT and is_quiet(sock):
                return sock
            sock.close()
    return None
