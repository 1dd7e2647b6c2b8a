"""One request with every phase of the timeout, cancellation, limits and key hygiene handled."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from urllib3.exceptions import ClosedPoolError

from providerhub._rules.status import error_from_status
from providerhub._values import ProviderConfig
from providerhub._values.errors import EXCERPT_LIMIT, InvalidRequestError, ProtocolError, ProviderError
from providerhub._values.provider import CallContext
from providerhub.http._address import checked_bundle, checked_key, checked_proxies, checked_url
from providerhub.http._answer import BODY_LIMIT, ERROR_BODY_LIMIT, Answer, chained
from providerhub.http._phases import Phases
from providerhub.http._transport import Connections, Line, use_line
from providerhub.http._watchdog import WATCHDOG


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
        self._url = checked_url(config)
        self._key = checked_key(config)
        self._verify: bool | str = checked_bundle(config)
        self._proxies = checked_proxies(config)
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
        return None if any(self.redact(text) != text for text in map(str, chained(error))) else error

    def _classed(self, error: Exception, answer: Answer) -> Exception:
        found = answer.classed(error)
        return self.redacted(found) if isinstance(found, ProviderError) else found


def _encoded(payload: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"the request cannot be written as JSON: {error}"
        raise InvalidRequestError(msg) from error
