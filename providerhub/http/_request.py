"""The requests and answers of a wire as values, and the parts of a request that depend on the service."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from providerhub._rules.status import error_from_status
from providerhub._values.checks import FLAG, HEADERS, MAPPING, Check, instance_of
from providerhub._values.config import Secret
from providerhub._values.errors import EXCERPT_LIMIT, ProtocolError, ProviderError
from providerhub._values.refusal import Refusal
from providerhub._values.value import Value, frozen

_PATH = Check("a path that begins with '/', or a whole address", lambda value: isinstance(value, str) and _is_path(value))
_METHOD = Check("in capitals, such as 'GET'", lambda value: isinstance(value, str) and value.isalpha() and value.isupper())
_NONE: Mapping[str, Any] = MappingProxyType({})
_PAGES = 20
_BODY = instance_of((Mapping, bytes, type(None)), "a mapping, which is sent as JSON, bytes or None")


def is_absolute(path: str) -> bool:
    """Return whether a path is a whole address."""
    return path.startswith(("https://", "http://"))


def _is_path(path: str) -> bool:
    return not path or path[0] in "/?" or is_absolute(path)


@frozen(eq=False, repr=False)
class HttpRequest(Value):
    """One HTTP request.

    Args:
        path: Appended to the configured url, before the url's query; empty for the url itself. A whole address, such as
            `"https://auth.acme.example/token"`, is used unchanged. If its scheme, host or port differ from the url's, the request
            has only its own headers, and no key.
        body: A mapping, sent as JSON, or bytes, sent unchanged; `None`, the default, for no body.
        method: The method; default `"POST"`.
        headers: Headers of this request; they take precedence over all others. Default none.
        stream: Whether the answer is a stream, with the first-token and token-idle timeouts. Otherwise the head timeout holds.
            Default false.
        query: Fields to add to the query of the address. Default none.

    Raises:
        ValueError: A value has a wrong type.
    """

    path: str
    body: Mapping[str, Any] | bytes | None = attrs.field(default=None, repr=False)
    method: str = attrs.field(default="POST", kw_only=True)
    headers: Mapping[str, str] = attrs.field(default=_NONE, kw_only=True, repr=False)
    stream: bool = attrs.field(default=False, kw_only=True)
    query: Mapping[str, Any] = attrs.field(default=_NONE, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        # Each call makes a request: for usual types, comparing the type takes a third of the time of the checks.
        if type(self.body) is not dict:
            _BODY.check(self.body, "body")
        if self.headers is not _NONE:
            HEADERS.check(self.headers, "headers")
        if self.query is not _NONE:
            MAPPING.check(self.query, "query")
        if self.method != "POST":
            _METHOD.check(self.method, "method")
        _PATH.check(self.path, "path")
        FLAG.check(self.stream, "stream")

    def pages(self, field: str, mark: str, parameter: str) -> Generator[HttpRequest, HttpAnswer, list[Mapping[str, Any]]]:
        """Read the pages of a list, at most 20, with this request and one for each further page.

        Args:
            field: The field of a page that holds its entries; see `HttpAnswer.entries`.
            mark: The field of a page that holds the mark of the next page. The last page has no mark, or its `has_more` is false.
            parameter: The parameter of the query that carries the mark.

        Yields:
            The request of each page.

        Returns:
            The entries of all pages.

        Raises:
            ProtocolError: A page holds no such list.
        """
        found, request = list[Mapping[str, Any]](), self
        for _ in range(_PAGES):
            answer = yield request
            found += answer.entries(field)
            page = answer.json()
            following = page.get(mark) if isinstance(page, dict) and page.get("has_more", True) else None
            if not following or following == request.query.get(parameter):
                break
            request = attrs.evolve(request, query={**request.query, parameter: str(following)})
        return found


@frozen(eq=False, repr=False)
class HttpAnswer(Value):
    """A whole answer with a success status. For any other status, the error from `Wire.refusal` is raised.

    Args:
        status: The HTTP status, from 200 to 299.
        headers: The headers; their names are looked up without regard to case.
        body: The whole body, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)

    def json(self) -> Any:
        """Return the parsed body.

        Raises:
            ProtocolError: The body is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise self._not("JSON") from error

    def number(self, field: str) -> int:
        """Return the whole number in a field of the JSON object, such as a count of tokens.

        Args:
            field: The field.

        Returns:
            The number, 0 or more.

        Raises:
            ProtocolError: The body is not a JSON object with a number of 0 or more in this field.
        """
        data = self.json()
        number = data.get(field) if isinstance(data, Mapping) else None
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise self._not(f"an object with a whole number as {field!r}")
        return number

    def entries(self, field: str = "data") -> list[Mapping[str, Any]]:
        """Return the objects of a list, such as the list of the service's models.

        Args:
            field: The field that holds the list, if the body is an object; default `"data"`.

        Returns:
            The objects of the list. Entries that are not objects are left out.

        Raises:
            ProtocolError: The body holds no such list.
        """
        found = self.json()
        entries = found.get(field) if isinstance(found, dict) else found
        if not isinstance(entries, list):
            raise self._not(f"a list, or an object with a list as {field!r}")
        return [entry for entry in entries if isinstance(entry, dict)]

    def _not(self, wanted: str) -> ProtocolError:
        msg = f"the answer is not {wanted}; check the configured url"
        return ProtocolError(msg, excerpt=self.body[:EXCERPT_LIMIT].decode("utf-8", "replace"))


class Wire:
    """The parts of a request that depend on the service. `WireProvider` is a subclass.

    Attributes:
        headers: Headers of every request. The headers of the settings take precedence. To change them, assign another mapping.
        key_header: The header for the key. `"Authorization"`, the default, has it as a bearer token; any other header has only
            the key; empty for no header.
        secrets: Texts other than the key that must not be shown, such as a fetched token. They are removed from every error, like
            each option that is a `Secret`.
        refusals: Lines for this service's refusals, which come before the lines for all services. Default none.
    """

    headers: Mapping[str, str] = MappingProxyType({})
    key_header: str = "Authorization"
    secrets: Iterable[str | Secret] = ()
    refusals: Iterable[Refusal] = ()

    redact: Callable[[str], str] = staticmethod(str)
    """Removes the secrets from a text. The client sets it."""

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """Return headers that depend on the whole request, such as a signature. The default returns no header.

        Args:
            method: The HTTP method, such as `"POST"`.
            url: The address, exactly as sent.
            headers: The headers that are sent.
            body: The body; empty for none.

        Returns:
            Headers to add. They take precedence over all others.
        """
        del method, url, headers, body
        return {}

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error for an answer without a success status, or with an error as JSON.

        The default calls `error_from_status`.

        Args:
            status: The HTTP status, never a redirect; 200 for an error object inside an answer or stream.
            headers: The headers of the answer; their names are looked up without regard to case.
            body: The body of the answer, at most 64 KiB. The client removes the secrets from the error.

        Returns:
            The error to raise.
        """
        # The secrets are removed after the search: a short key may be a part of the words that the search needs.
        return error_from_status(status, headers, body, refusals=self.refusals, redact=self.redact)
