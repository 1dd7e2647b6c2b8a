"""Sends one request to a service, under all timeouts and limits, and keeps the secrets out of errors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from urllib3.exceptions import ClosedPoolError

from providerhub._threads import renewed_at_fork
from providerhub._values.errors import ProviderError
from providerhub._values.provider import CallContext
from providerhub._watchdog import WATCHDOG
from providerhub.http._answer import Answer
from providerhub.http._answer_timer import AnswerTimer, first_timeout
from providerhub.http._base import ERROR_BODY_LIMIT, Client, Sent
from providerhub.http._connection import ActiveConnection, set_active
from providerhub.http._request import HttpAnswer, HttpRequest
from providerhub.http._transport import Transport


class HttpClient(Client):
    """Sends requests to one service. Thread-safe. Connections are kept open between calls, separately in each process.

    Args:
        config: The instance's configuration. Its url, key, headers, proxies, ca_bundle and client certificate are used.
        headers: Headers to add to every request; default none. The headers of `config` outrank them.
        key_header: The header that carries the key. `"Authorization"`, the default, carries it as a bearer token; any other
            header carries the key alone.
        body_limit: The most decoded bytes of one answer; default 64 MiB.
        refusals: Lines that class this service's refusals, before those for all services. Default none.
        wire: The headers, secrets, signature and refusals of the service, in place of `headers`, `key_header` and `refusals`;
            `None`, the default, for a `Wire` with these three.

    Raises:
        ConfigurationError: The url is missing or not valid; the key, a proxy, the ca_bundle or the client certificate cannot be
            used; or the key would be sent unencrypted.
    """

    def _begin(self) -> None:
        self._lock = renewed_at_fork(threading.Lock())
        self._transports: dict[str, Transport] = {}
        self._pid = 0

    def send(self, request: HttpRequest, call: CallContext) -> Answer:
        """Send a request and wait for the headers of the answer; see `Client.send`."""
        return self._exchange(self._prepared(request, call), call)

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
            path: Appended to the configured url, in front of the url's query.
            payload: Sent as the JSON body.
            call: The call: its timeouts, its headers, and whether it is cancelled.
            stream: Whether the answer is a stream, so that the first-token and token-idle timeouts apply.
            headers: Headers for this request, which outrank those of the client. Default none.

        Returns:
            The answer. Use it in a `with` block.
        """
        return self.send(HttpRequest(path, payload, stream=stream, headers=headers or {}), call)

    def get(self, path: str, call: CallContext) -> Answer:
        """Send a GET request, such as one for the list of models, and wait for the headers of the answer; otherwise as `send`.

        Args:
            path: Appended to the configured url.
            call: The call: its timeouts and whether it is cancelled.

        Returns:
            The answer. Use it in a `with` block.
        """
        return self.send(HttpRequest(path, method="GET"), call)

    def _exchange(self, request: Sent, call: CallContext) -> Answer:
        # Sockets use the system's clock; the call's clock may be a test's.
        active = ActiveConnection(time.monotonic() + call.remaining(call.timeout.connect))
        timer = active.timer = AnswerTimer(call, active.abort, stream=request.stream)
        unsubscribe = call.on_cancel(active.abort)
        answer = Answer(call, active, timer, unsubscribe, limit=self.body_limit, name=self.config.name, stream=request.stream)
        answer.log = self._logged(request)
        set_active(active)
        try:
            WATCHDOG.start(timer)
            self._send(answer, request, active, call.remaining(first_timeout(call, stream=request.stream)))
            if not 200 <= answer.status < 300:
                self._refuse(request, answer, b"" if answer.status < 400 else answer.peek(ERROR_BODY_LIMIT))
        except Exception as error:  # every exception of the transport is translated and raised again
            found = self._failed(answer, error)
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
            transports, self._transports = self._transports, {}
        for transport in transports.values():
            transport.close()

    def _send(self, answer: Answer, request: Sent, active: ActiveConnection, read: float) -> None:
        while True:
            try:
                answer.take(self._opened(request.address.origin).send(request, active, read), request.method)
            except ClosedPoolError:
                continue  # another thread has closed the pool; nothing was sent, and the next pool is a new one
            return

    def _opened(self, origin: str) -> Transport:
        pid = os.getpid()
        transport = self._transports.get(origin) if self._pid == pid else None
        if transport is None:
            with self._lock:
                if self._pid != pid:
                    # A forked child leaves the parent's sockets alone: two processes on one connection would mix their answers.
                    self._transports, self._pid = {}, pid
                transport = self._transports.get(origin)
                if transport is None:
                    transport = Transport(origin, verify=self._verify, proxies=self._proxies, certificate=self._certificate)
                    self._transports[origin] = transport
        return transport
