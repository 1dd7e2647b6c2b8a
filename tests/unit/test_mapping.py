"""Foreign exceptions → the tree: total over what sockets, requests and urllib3 can raise."""

import http.client
import inspect
import socket
import ssl

import pytest
import requests.exceptions
import urllib3.exceptions

import providerhub
from providerhub import (
    PluginError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ServerError,
    TLSError,
)
from providerhub._rules.mapping import TABLE, map_exception


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


def test_every_entry_of_the_table_names_a_class_that_exists():
    for name in TABLE:
        module, _, cls = name.rpartition(".")
        found = getattr(__import__(module, fromlist=["_"]), cls)
        assert f"{found.__module__}.{found.__qualname__}" == name


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
