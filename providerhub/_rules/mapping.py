"""Foreign exceptions → errors of the tree, in one table.

The table names third-party classes and does not import them, since the import of an unused library would take time.
The nearest class in the exception's hierarchy counts. An exception that carries the status of a response is classed by it.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from providerhub._rules.status import error_from_status
from providerhub._values import errors

# The class of error → the foreign classes that are mapped to it. The names are as `_name` writes them.
_FOREIGN: Mapping[type[errors.ProviderError], str] = {
    errors.ProviderTimeoutError: """
        builtins.TimeoutError requests.exceptions.ConnectTimeout requests.exceptions.Timeout urllib3.exceptions.TimeoutError
        httpx.TimeoutException httpcore.TimeoutException aiohttp.client_exceptions.ServerTimeoutError
        botocore.exceptions.ConnectTimeoutError botocore.exceptions.ReadTimeoutError openai.APITimeoutError
        anthropic.APITimeoutError
    """,
    errors.ProviderConnectionError: """
        builtins.ConnectionError socket.gaierror socket.herror requests.exceptions.ConnectionError
        requests.exceptions.RequestException urllib3.exceptions.NewConnectionError urllib3.exceptions.HTTPError httpx.HTTPError
        httpcore.NetworkError httpcore.ProxyError httpcore.ConnectionNotAvailable aiohttp.client_exceptions.ClientHttpProxyError
        aiohttp.client_exceptions.ClientError anyio.BrokenResourceError anyio.ClosedResourceError anyio.EndOfStream
        botocore.exceptions.ConnectionError botocore.exceptions.HTTPClientError openai.APIConnectionError
        openai.WebSocketConnectionClosedError anthropic.APIConnectionError builtins.OSError
    """,
    errors.TLSError: """
        ssl.SSLError requests.exceptions.SSLError urllib3.exceptions.SSLError aiohttp.client_exceptions.ClientSSLError
        aiohttp.client_exceptions.ServerFingerprintMismatch botocore.exceptions.SSLError
    """,
    errors.ProtocolError: """
        http.client.HTTPException asyncio.exceptions.IncompleteReadError asyncio.exceptions.LimitOverrunError
        requests.exceptions.ChunkedEncodingError requests.exceptions.ContentDecodingError requests.exceptions.TooManyRedirects
        requests.exceptions.InvalidJSONError urllib3.exceptions.ProtocolError urllib3.exceptions.DecodeError
        urllib3.exceptions.IncompleteRead urllib3.exceptions.InvalidChunkLength httpx.ProtocolError httpx.DecodingError
        httpx.TooManyRedirects httpx.SSEError httpcore.ProtocolError aiohttp.client_exceptions.ClientPayloadError
        aiohttp.client_exceptions.ClientResponseError aiohttp.client_exceptions.RedirectClientError
        aiohttp.client_exceptions.WSMessageTypeError aiohttp.http_exceptions.HttpProcessingError anyio.IncompleteRead
        anyio.DelimiterNotFound botocore.exceptions.IncompleteReadError botocore.exceptions.ResponseStreamingError
        botocore.exceptions.ChecksumError openai.APIResponseValidationError openai.LengthFinishReasonError
        anthropic.APIResponseValidationError
    """,
    errors.ServerError: """
        botocore.exceptions.ClientError botocore.exceptions.CapacityNotAvailableError openai.APIError anthropic.APIError
        anthropic.RetryableError
    """,
    errors.AuthenticationError: """
        botocore.exceptions.NoCredentialsError botocore.exceptions.PartialCredentialsError
        botocore.exceptions.CredentialRetrievalError botocore.exceptions.UnknownCredentialError
        botocore.exceptions.NoAuthTokenError botocore.exceptions.TokenRetrievalError botocore.exceptions.SSOError
        botocore.exceptions.LoginError anthropic.CredentialsError anthropic.WorkloadIdentityError
    """,
    errors.ContentPolicyError: "openai.ContentFilterFinishReasonError",
}
TABLE = {name: kind for kind, names in _FOREIGN.items() for name in names.split()}
# Errors about the arguments of a library, which are the plugin's fault and not the service's.
_CALLED_WRONG = frozenset({
    "requests.exceptions.MissingSchema", "requests.exceptions.InvalidSchema", "requests.exceptions.InvalidURL",
    "httpx.UnsupportedProtocol", "httpx.LocalProtocolError", "httpcore.LocalProtocolError",
    "aiohttp.client_exceptions.InvalidURL", "aiohttp.client_exceptions.NonHttpUrlClientError",
    "botocore.exceptions.InvalidProxiesConfigError", "anthropic.APIWebhookValidationError",
})  # fmt: skip
# Libraries whose classes name the package in some releases, and a private module in others → the library with the same classes.
_FLAT = {name: name.rstrip("2") for name in ("httpx", "httpx2", "httpcore", "httpcore2", "anyio", "openai", "anthropic")}
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE})

UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError)
"""The exceptions for a value of an unexpected type, or a value that is too large or too deep."""

_KEYLESS = "; no key is set: declare needs_auth=True in the ProviderInfo, so that each call has a key, or test config.api_key"
_REFUSALS = range(400, 600)  # statuses of a refused request


def unreadable(error: Exception, data: bytes = b"") -> errors.ProtocolError:
    """Return the error for an answer whose reading raised an exception, or returned a wrong piece.

    A plugin reads each value of the service as the type in the protocol. For a value of another type, Python raises an exception.
    The bytes of `data` are the excerpt.
    """
    told = error.piece if isinstance(error, errors.PluginError) else shown(error)
    found = errors.ProtocolError(
        f"the answer has an unexpected shape: {told}; if every answer has it, check the configured url",
        excerpt=data[: errors.EXCERPT_LIMIT].decode(errors="replace"),
    )
    found.__cause__ = error
    return found


def map_exception(error: Exception, *, provider: str, model: str, reads: bool = False) -> errors.AttemptError:
    """Map an exception of a plugin to an error of the tree, with provider and model filled in.

    The exception becomes the `__cause__` of the mapped error. The error for a class that is not in the table is a `PluginError`;
    a `ProtocolError` if `reads`, since the toolkit then reads the answer of a service. A group with a
    single exception, such as of a `TaskGroup`, counts as this exception.
    """
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if reads and isinstance(error, errors.PluginError) and error.piece:
        error = unreadable(error)
    short = not isinstance(error, errors.ShortageError) and is_shortage(error)
    if isinstance(error, (errors.ProviderError, errors.PluginError)) and not short:
        return blamed(error, provider, model)
    found: errors.AttemptError | None = errors.ShortageError() if short else _mapped(error)
    if found is None:
        found = errors.PluginError(f"the plugin of {provider!r} raised {shown(error)}")
    else:
        found.args = (shown(error),)
    found.__cause__ = error
    return blamed(found, provider, model)


def blamed(error: errors.AttemptError, provider: str, model: str) -> errors.AttemptError:
    """Fill in the provider and model of an error, where the plugin did not."""
    if not error.provider:
        if isinstance(error, errors.PluginError):
            error.plugin = provider
        else:
            error.provider = provider
    error.model = error.model or model
    return error


def is_shortage(error: BaseException | None) -> bool:
    """Return whether an exception or its cause means that this process has no file descriptor or thread left."""
    links = chained(error)
    is_file = any(isinstance(link, OSError) and link.errno in _SHORTAGES for link in links)
    return is_file or any(isinstance(link, RuntimeError) and "can't start new thread" in str(link) for link in links)


def chained(error: BaseException | None) -> list[BaseException]:
    """Return an error and the errors that led to it. A chain may be a circle."""
    found: list[BaseException] = []
    while error is not None and not any(error is link for link in found):
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _mapped(error: Exception) -> errors.ProviderError | None:
    if isinstance(error, errors.ProviderHubError):  # a plugin must not raise the errors of the caller
        return None
    kind = _kind(type(error))
    if kind is errors.ProviderConnectionError and _name(type(error)) == "aiohttp.client_exceptions.ClientHttpProxyError":
        return kind(retryable=False)
    # The parser of aiohttp gives its own error the status 400.
    status = None if _name(type(error.__cause__)).startswith("aiohttp.http_exceptions.") else _status(error)
    body = _body(error)
    if status is None and kind is errors.ServerError and body:
        status = 200  # an error event inside a stream
    if status is None:
        return None if kind is None else kind()
    found = error_from_status(status, _headers(error), body)
    found.excerpt = ""  # the body of the library's response may hold keys
    return found


def _status(error: Any) -> int | None:
    response = getattr(error, "response", None)
    candidates = [getattr(owner, name, None) for owner in (response, error) for name in ("status_code", "status", "code")]
    candidates.append(_of(_of(response, "ResponseMetadata"), "HTTPStatusCode"))  # botocore
    return next((status for status in candidates if type(status) is int and status in _REFUSALS), None)


def _headers(error: Any) -> dict[str, str]:
    response = getattr(error, "response", None)
    for found in (getattr(response, "headers", None), getattr(error, "headers", None)):
        if found is not None and hasattr(found, "items"):
            return {str(name): str(value) for name, value in found.items()}
    return dict(_of(_of(response, "ResponseMetadata"), "HTTPHeaders") or {})


def _body(error: Any) -> bytes | Mapping[str, Any]:
    """Return the body of the refusal, without I/O, since a response may not have read it."""
    response = getattr(error, "response", None)
    said = _of(response, "Error")  # botocore
    if isinstance(said, Mapping):
        return {"error": {"code": _of(said, "Code", ""), "message": _of(said, "Message", "")}}
    body = getattr(error, "body", None)  # the SDKs of OpenAI and Anthropic
    if isinstance(body, Mapping):
        return body
    content = getattr(response, "_content", None)  # requests and httpx; their property `content` would read the body
    return content if isinstance(content, bytes) else b""


def _of(value: Any, name: str, otherwise: Any = None) -> Any:
    return value.get(name, otherwise) if isinstance(value, Mapping) else otherwise


def shown(error: BaseException) -> str:
    is_keyless = isinstance(error, AttributeError) and error.name == "reveal" and error.obj is None
    try:
        members = f": {'; '.join(map(shown, error.exceptions))}" if isinstance(error, BaseExceptionGroup) else ""
        return f"{type(error).__name__}: {error}{members}{_KEYLESS if is_keyless else ''}"
    except Exception:  # the exception's own `__str__` may raise anything
        return type(error).__name__


def _kind(cls: type[BaseException]) -> type[errors.ProviderError] | None:
    for name in map(_name, cls.__mro__):
        if name in _CALLED_WRONG:
            return None
        if name in TABLE:
            return TABLE[name]
    return None


def _name(cls: type) -> str:
    """Return the dotted name of a class as the table writes it."""
    package = _FLAT.get(cls.__module__.partition(".")[0])
    return f"{package or cls.__module__}.{cls.__qualname__}"
