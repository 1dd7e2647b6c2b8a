"""Signatures and event streams of AWS, by botocore. It does no I/O itself; a thread fetches the credentials."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

from botocore.eventstream import EventStreamBuffer, ParserError

from providerhub import AuthenticationError, CallContext
from providerhub.wire_provider import Blocking, Fetched, Order, WireProvider

_EXCERPT = 2048
_LARGEST = b"\x01"
"""The maximum of a frame's first byte, since a frame has at most 24 MiB."""

_LEAST = 60
"""Seconds before their end in which credentials are not used."""

_REGION = re.compile(r"bedrock[a-z-]*\.([a-z0-9-]+)\.(?:amazonaws|api\.aws|vpce)")
"""The region in an address of Bedrock, which a signature must name."""

_STATUSES: Mapping[str, int] = {
    "validation": 400,
    "accessdenied": 403,
    "resourcenotfound": 404,
    "modeltimeout": 408,
    "modelstreamerror": 424,
    "throttling": 429,
    "modelnotready": 429,
    "servicequotaexceeded": 429,
    "internalserver": 500,
    "internalfailure": 500,
    "serviceunavailable": 503,
}


def status_of(name: str) -> int:
    """Return the HTTP status for an exception inside a stream, as for the same failure before a stream; 200 if unknown.

    Its `originalStatusCode` comes from the model's host, and tells nothing about the caller's request or key.

    Args:
        name: The exception's type.
    """
    return _STATUSES.get(name.lower().removesuffix("exception"), 200)


class Frame(NamedTuple):
    """One event.

    Args:
        data: The JSON object.
        event: Its type; `"error:"` and the name for an exception.
    """

    data: bytes
    event: str


class EventStream:
    """Cuts `application/vnd.amazon.eventstream` into events; see `providerhub.wire.Framing`."""

    content_type = "eventstream"
    tail = b""
    done = False

    def __init__(self) -> None:
        self._buffer = EventStreamBuffer()
        self._open = bytearray()
        self._broken = ""
        self._begun = False
        self.stray = b""

    @staticmethod
    def is_whole(begin: bytes) -> bool:
        """Return whether an answer is one JSON object in place of a stream.

        Args:
            begin: The answer's beginning, not empty.
        """
        return begin[:1] in {b"{", b"["}

    def feed_events(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream.

        Args:
            data: Bytes from the transport.

        Returns:
            The complete events.

        Raises:
            ValueError: A frame is broken.
        """
        if self.stray or (not self._begun and data[:1] > _LARGEST):
            self.stray = (self.stray + data)[:_EXCERPT]
            return []
        self._begun = True
        self._open += data
        self._buffer.add_data(data)
        frames: list[Frame] = []
        try:
            message: Any
            for message in self._buffer:
                del self._open[: message.prelude.total_length]
                frames.append(_frame(message))
        except ParserError as error:
            self._broken = f"a frame of the event stream is broken: {error}"
        if self._broken and not frames:
            raise ValueError(self._broken)
        return frames

    def finish(self) -> bytes:
        """End the input, and return the beginning of the frame that is not complete.

        Raises:
            ValueError: A frame is broken.
        """
        if self._broken:
            raise ValueError(self._broken)
        return bytes(self._open[:_EXCERPT])


def _frame(message: Any) -> Frame:
    named = {name: str(value) for name, value in message.headers.items()}
    kind = named.get(":message-type", "event")
    if kind == "event":
        return Frame(message.payload, named.get(":event-type", ""))
    name = named.get(":exception-type") or named.get(":error-code") or kind
    said = message.payload or json.dumps({"message": named.get(":error-message", name)}).encode()
    return Frame(said, f"error:{name}")


class Signer:
    """Signs requests by the credentials that AWS's chain finds: variables, profiles, single sign-on, roles.

    Many calls share one search, and a call whose credentials are refused searches again.

    Args:
        provider: The provider. Its settings name the region and the profile, and the keys are secrets of it.
    """

    def __init__(self, provider: WireProvider) -> None:
        config = provider.config
        named = _REGION.search(config.url or "")
        self._provider = provider
        self._region = named[1] if named else config.get("region") or "us-east-1"
        self._credentials = Fetched(self._fetch)
        self._keys: Any = None

    def ready(self, call: CallContext | None = None) -> Generator[Order, Any, None]:
        """Find the credentials if there are none, or if they expire within a minute.

        Args:
            call: The call that uses them; `None`, the default, without a call.

        Yields:
            The work, if there is any.

        Raises:
            AuthenticationError: There are no credentials.
        """
        found, self._keys = yield from self._credentials.get(call)
        is_due = getattr(found, "refresh_needed", None)
        if is_due is not None and is_due(_LEAST):
            self._credentials.forget()
            _, self._keys = yield from self._credentials.get(call)

    def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """Return the headers of the signature.

        Args:
            method: The HTTP method.
            url: The address, exactly as sent.
            body: The body.
        """
        from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth  # slow to import; the first call has done it in a thread
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method, url, data=body)
        request.context["timestamp"] = dt.datetime.now(dt.UTC).strftime(SIGV4_TIMESTAMP)
        auth: Any = SigV4Auth(self._keys, "bedrock", self._region)
        # The steps of `add_auth`, which would log the session token.
        auth._modify_request_before_signing(request)  # noqa: SLF001 -- botocore has no other way
        said = auth.string_to_sign(request, auth.canonical_request(request))
        auth._inject_signature_to_request(request, auth.signature(said, request))  # noqa: SLF001
        return dict(request.headers.items())

    def _fetch(self) -> Generator[Order, Any, tuple[Any, None]]:
        found, keys = yield Blocking(self._search)
        self._provider.secrets = tuple(filter(None, (keys.secret_key, keys.token)))
        return (found, keys), None  # the credentials themselves say when they end

    def _search(self) -> tuple[Any, Any]:
        """Find the credentials, and the keys in them. This blocks."""
        import botocore.auth  # noqa: F401 -- for `headers`
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
        from botocore.session import Session

        config = self._provider.config
        try:
            found = Session(profile=config.get("profile")).get_credentials()
            if found is None:
                raise NoCredentialsError
            return found, found.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            msg = f"provider {config.name!r} has no credentials of AWS: {error}; set `profile`, or a key in `api_key`"
            raise AuthenticationError(msg) from error
