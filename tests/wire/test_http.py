"""What the HTTP toolkit refuses, redacts and explains, over real sockets."""

import socket

import pytest

import providerhub
from providerhub import CallContext, ConfigurationError, InvalidRequestError, ProviderConfig, Timeout
from providerhub.http import HttpClient
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.testing import FaultServer, http_response

CANARY = "canary-key-123"


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def post(client, payload=None, timeout=None):
    call = CallContext(timeout or Timeout(total=5.0))
    with client.post("/v1/chat/completions", payload or {}, call, stream=False) as answer:
        return answer.read()


def test_a_refused_connection_is_said_in_plain_words(closed_port):
    client = HttpClient(ProviderConfig(name="acme", url=f"http://127.0.0.1:{closed_port}", api_key=CANARY))
    with pytest.raises(
        providerhub.ProviderConnectionError, match=rf"cannot connect to 127.0.0.1:{closed_port}: .*refused"
    ) as caught:
        post(client)
    assert CANARY not in repr(caught.value)
    client.close()


def test_a_timeout_of_ages_is_no_error_of_its_own(closed_port):
    client = HttpClient(ProviderConfig(name="acme", url=f"http://127.0.0.1:{closed_port}"))
    with pytest.raises(providerhub.ProviderConnectionError):
        post(client, timeout=Timeout(total=1e10))
    client.close()


def test_the_line_break_at_the_end_of_a_key_is_dropped():
    client = HttpClient(ProviderConfig(name="acme", url="http://127.0.0.1:1", api_key=f"{CANARY}\n"))
    assert client.redact(f"Bearer {CANARY}") == "Bearer ***"


@pytest.mark.parametrize("key", [f"{CANARY}\nX-Other: 1", "ключ-canary"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key):
    with pytest.raises(ConfigurationError, match="acme") as caught:
        HttpClient(ProviderConfig(name="acme", url="http://127.0.0.1:1", api_key=key))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1", "127.0.0.1:80", "http://127.0.0.1:99999", "http://[::1"])
def test_an_unusable_address_is_a_matter_of_configuration(url):
    with pytest.raises(ConfigurationError, match="acme"):
        HttpClient(ProviderConfig(name="acme", url=url))


def test_a_key_goes_in_clear_text_to_this_machine_only():
    HttpClient(ProviderConfig(name="acme", url="http://localhost:1", api_key=CANARY))
    with pytest.raises(ConfigurationError, match="https"):
        HttpClient(ProviderConfig(name="acme", url="http://acme.example", api_key=CANARY))


def test_a_bundle_of_certificates_that_is_not_there_is_named():
    with pytest.raises(ConfigurationError, match=r"/no/such/bundle\.pem"):
        HttpClient(ProviderConfig(name="acme", url="https://acme.example", ca_bundle="/no/such/bundle.pem"))


def test_what_is_not_json_is_the_caller_s_to_mend(closed_port):
    client = HttpClient(ProviderConfig(name="acme", url=f"http://127.0.0.1:{closed_port}"))
    with pytest.raises(InvalidRequestError, match="JSON"):
        post(client, {"messages": [object()]})


def test_an_address_that_ends_in_the_version_is_not_given_it_twice():
    assert OpenAIChatProvider(ProviderConfig(name="acme", url="http://127.0.0.1:1/v1/")).path == "/chat/completions"


def test_what_is_there_to_read_is_asked_for_without_a_body():
    with FaultServer(http_response(200, {"data": []}), http_response(401, f"no {CANARY}")) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url, api_key=CANARY))
        with client.get("/v1/models", CallContext(Timeout(total=5.0))) as answer:
            assert answer.read() == b'{"data":[]}'
        with pytest.raises(providerhub.AuthenticationError) as caught:
            client.get("/v1/models", CallContext(Timeout(total=5.0)))
        client.close()
    request = server.requests[0]
    assert (request.method, request.target, request.body) == ("GET", "/v1/models", b"")
    assert request.header("authorization") == f"Bearer {CANARY}"
    assert CANARY not in repr(caught.value)


def test_a_key_may_have_a_header_of_its_own():
    with FaultServer(http_response(200, {})) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url, api_key=CANARY), key_header="x-api-key")
        post(client)
        client.close()
    request = server.requests[0]
    assert (request.header("x-api-key"), request.header("authorization")) == (CANARY, "")
