"""Foreign exceptions → the tree. The mapping is total for all exceptions of sockets and of the libraries in the table."""

import errno
import http.client
import inspect
import socket
import ssl
from pathlib import Path

import pytest
import requests.exceptions
import urllib3.exceptions

import providerhub
from providerhub import (
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    PluginError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    ShortageError,
    TLSError,
)
from providerhub._rules.mapping import TABLE, _name, is_shortage, map_exception


def _family(root, *modules):
    found = {root}
    for module in modules:
        found |= {c for _, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, root)}
    return sorted(found, key=lambda cls: (cls.__module__, cls.__qualname__))


def _bare(cls):
    """An instance without running its constructor, whose arguments differ from class to class."""
    return cls.__new__(cls)


def _map(error):
    return map_exception(error, provider="acme", model="m")


BUILTIN = _family(OSError, __import__("builtins"), socket, ssl)
REQUESTS = _family(requests.exceptions.RequestException, requests.exceptions)
URLLIB3 = _family(urllib3.exceptions.HTTPError, urllib3.exceptions)
CALLED_WRONG = {requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL}


@pytest.mark.parametrize("cls", BUILTIN + URLLIB3, ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_every_network_exception_is_the_providers(cls):
    mapped = _map(_bare(cls))
    assert isinstance(mapped, ProviderError)
    assert (mapped.provider, mapped.model) == ("acme", "m")


@pytest.mark.parametrize("cls", REQUESTS, ids=lambda cls: cls.__name__)
def test_every_exception_of_requests_has_its_class(cls):
    mapped = _map(_bare(cls))
    assert isinstance(mapped, PluginError if issubclass(cls, tuple(CALLED_WRONG)) else ProviderError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError("t"), ProviderTimeoutError),
        (ConnectionResetError("r"), ProviderConnectionError),
        (BrokenPipeError("b"), ProviderConnectionError),
        (socket.gaierror(8, "unknown"), ProviderConnectionError),
        (PermissionError("p"), ProviderConnectionError),
        (ssl.SSLCertVerificationError("c"), TLSError),
        (http.client.BadStatusLine("x"), ProtocolError),
        (http.client.IncompleteRead(b""), ProtocolError),
        (requests.exceptions.ConnectTimeout("t"), ProviderTimeoutError),
        (requests.exceptions.ReadTimeout("t"), ProviderTimeoutError),
        (requests.exceptions.SSLError("t"), TLSError),
        (requests.exceptions.ProxyError("t"), ProviderConnectionError),
        (requests.exceptions.ConnectionError("t"), ProviderConnectionError),
        (requests.exceptions.ChunkedEncodingError("t"), ProtocolError),
        (requests.exceptions.JSONDecodeError("t", "doc", 0), ProtocolError),
        (urllib3.exceptions.ReadTimeoutError(None, "/", "t"), ProviderTimeoutError),
        (urllib3.exceptions.IncompleteRead(1, 2), ProtocolError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_nearest_entry_decides(error, kind):
    mapped = _map(error)
    assert type(mapped) is kind
    assert mapped.__cause__ is error
    assert type(error).__name__ in str(mapped)


def _recorded():
    """Each recorded class of a library that need not be installed: a class of the same name and bases, and its error."""
    lines = Path(__file__).with_name("foreign_errors.tsv").read_text("utf-8").splitlines()
    made = {}
    for line in lines:
        if not line.startswith("#"):
            name, expected, bases = line.split("\t")
            yield _class(name, bases.split(), made), getattr(providerhub, expected)


def _class(name, bases, made):
    if name not in made:
        module, _, short = name.rpartition(".")
        parent = _class(bases[0], bases[1:], made) if bases else Exception
        made[name] = type(short, (parent,), {"__module__": module})
    return made[name]


RECORDED = list(_recorded())


@pytest.mark.parametrize(("cls", "expected"), RECORDED, ids=_name)
def test_every_exception_of_a_library_has_its_class(cls, expected):
    assert type(_map(_bare(cls))) is expected


def test_every_entry_of_the_table_names_a_class_that_exists():
    recorded = {_name(cls) for cls, _ in RECORDED}
    for name in TABLE.keys() - recorded:
        module, _, cls = name.rpartition(".")
        found = getattr(__import__(module, fromlist=["_"]), cls)
        assert f"{found.__module__}.{found.__qualname__}" == name


def test_the_table_knows_the_private_modules_of_a_library():
    cls = type("BrokenResourceError", (Exception,), {"__module__": "anyio._core._exceptions"})
    assert type(_map(cls("gone"))) is ProviderConnectionError


class Response:
    """A response as httpx and requests keep it, its body read."""

    def __init__(self, status_code, body=b"", **headers):
        self.status_code = status_code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._content = body


def _carrying(name="acme.StatusError", **attributes):
    error = _class(name, [], {})("refused")
    vars(error).update(attributes)
    return error


AWS = {
    "Error": {"Code": "ThrottlingException", "Message": "slow down"},
    "ResponseMetadata": {"HTTPStatusCode": 400, "HTTPHeaders": {"retry-after": "3"}},
}
TOO_LONG = b'{"error": {"code": "context_length_exceeded", "message": "too long"}}'


@pytest.mark.parametrize(
    ("error", "kind", "retry_after"),
    [
        (_carrying("httpx.HTTPStatusError", response=Response(429, retry_after="3")), RateLimitError, 3.0),
        (_carrying("requests.exceptions.HTTPError", response=Response(401)), AuthenticationError, None),
        (_carrying("httpx.HTTPStatusError", response=Response(400, TOO_LONG)), ContextLengthError, None),
        (_carrying("openai.APIStatusError", status_code=400, body={"code": "insufficient_quota"}), QuotaExceededError, None),
        (_carrying("openai.APIError", body={"type": "rate_limit_error"}), RateLimitError, None),
        (_carrying("openai.APIError", body=None), ServerError, None),
        (_carrying("anthropic.APIStatusError", status_code=529, body={"error": {"type": "overloaded_error"}}), ServerError, None),
        (_carrying("botocore.exceptions.ClientError", response=AWS), RateLimitError, 3.0),
        (_carrying("aiohttp.client_exceptions.ClientResponseError", status=422, headers=None), BadRequestError, None),
        (_carrying("urllib.error.HTTPError", code=503, headers={"Retry-After": "1"}), ServerError, 1.0),
        (_carrying("acme.StatusError", status_code=500), ServerError, None),
    ],
)
def test_an_exception_that_carries_a_status_is_classed_by_it(error, kind, retry_after):
    mapped = _map(error)
    assert (type(mapped), mapped.retry_after) == (kind, retry_after)
    assert (mapped.provider, mapped.model, mapped.__cause__) == ("acme", "m", error)
    assert str(mapped).endswith(": refused")


@pytest.mark.parametrize("status", [None, "500", 200, 7, True])
def test_a_number_that_is_no_refusal_is_not_taken_for_one(status):
    assert type(_map(_carrying(status_code=status, response=None))) is PluginError


def test_a_broken_answer_is_not_the_status_that_aiohttp_gives_it():
    error = _carrying("aiohttp.client_exceptions.ClientResponseError", status=400)
    error.__cause__ = _class("aiohttp.http_exceptions.BadStatusLine", [], {})("no HTTP")
    assert type(_map(error)) is ProtocolError


def test_a_response_that_is_not_read_stays_unread():
    class Unread(Response):
        @property
        def content(self):
            raise AssertionError("read")

    error = _carrying("requests.exceptions.HTTPError", response=Unread(500, False))
    assert type(_map(error)) is ServerError


def test_a_proxy_that_refuses_is_not_the_service():
    mapped = _map(_carrying("aiohttp.client_exceptions.ClientHttpProxyError", status=407))
    assert (type(mapped), mapped.retryable) == (ProviderConnectionError, False)


def _wrapped(cause):
    error = requests.exceptions.ConnectionError("wrapped")
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENFILE, "File table overflow"),
        RuntimeError("can't start new thread"),
        _wrapped(OSError(errno.EMFILE, "Too many open files")),
    ],
)
def test_a_shortage_of_this_process_is_nobody_else_s_fault(error):
    assert is_shortage(error)
    assert type(_map(error)) is ShortageError


def test_a_circle_of_causes_is_walked_once():
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_shortage(first)


@pytest.mark.parametrize("error", [KeyError("k"), RuntimeError("r"), AssertionError(), ZeroDivisionError("z")])
def test_everything_unknown_is_the_plugins_fault(error):
    mapped = _map(error)
    assert type(mapped) is PluginError
    assert mapped.plugin == "acme"
    assert "acme" in str(mapped)
    assert mapped.__cause__ is error


def test_errors_of_the_tree_pass_with_their_blank_names_filled_in():
    error = ServerError("x")
    assert _map(error) is error
    assert (error.provider, error.model) == ("acme", "m")
    named = ServerError("x", provider="own", model="n")
    assert (_map(named).provider, _map(named).model) == ("own", "n")
    plugin = PluginError("x")
    assert _map(plugin) is plugin
    assert plugin.plugin == "acme"


def test_a_callers_error_out_of_a_plugin_is_the_plugins_fault():
    assert type(_map(providerhub.InvalidRequestError("x"))) is PluginError


@pytest.mark.parametrize(
    ("members", "kind", "words"),
    [
        ([RateLimitError("slow down")], RateLimitError, "slow down"),
        ([ExceptionGroup("inner", [ConnectionResetError("gone")])], ProviderConnectionError, "gone"),
        ([ValueError("a"), TimeoutError("b")], PluginError, "ValueError: a; TimeoutError: b"),
    ],
    ids=["one", "nested", "several"],
)
def test_the_only_exception_of_a_group_counts_in_its_place(members, kind, words):
    """A `TaskGroup` of a plugin wraps each of its exceptions."""
    found = map_exception(ExceptionGroup("unhandled", members), provider="p", model="m")
    assert type(found) is kind
    assert words in str(found)
