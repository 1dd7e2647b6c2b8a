"""The way of both transports to a service: address, headers, certificates and proxies."""

import asyncio
import socketserver
import ssl
import threading

import pytest
import trustme

import providerhub
from providerhub import CallContext, ConfigurationError, ProviderConfig, ProviderConnectionError, Timeout, TLSError
from providerhub.testing import FaultServer, Hold, http_response, openai_completion
from providerhub_openai.provider import OpenAI

KEY = "canary-key-0123456789"
ANSWER = http_response(body=openai_completion("42"))
REQUEST = providerhub.Request("m", [{"role": "user", "content": "?"}])


@pytest.fixture(params=["sync", "async"])
def ask(request):
    """`ask(sent=None, **config)`: the text of an answer."""

    def pieces(provider, call):
        if request.param == "sync":
            found = list(provider.stream(REQUEST, call))
            provider.close()
            return found

        async def run():
            try:
                return [piece async for piece in provider.astream(REQUEST, call)]
            finally:
                await provider.aclose()

        return asyncio.run(run())

    def found(sent=None, **config):
        call = CallContext(Timeout(total=20), headers=sent)
        return pieces(OpenAI(ProviderConfig(name="acme", **config)), call)[0]

    return found


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def _file(path, *blobs):
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    return str(path)


def test_a_query_of_the_url_stays_at_its_end(ask):
    with FaultServer(ANSWER) as server:
        assert ask(url=f"{server.url}/openai/deployments/gpt/?api-version=2024-06-01") == "42"
    assert server.requests[0].target == "/openai/deployments/gpt/chat/completions?api-version=2024-06-01"


def test_a_part_of_the_url_that_is_never_sent_is_refused(ask):
    with pytest.raises(ConfigurationError, match="url holds a #"):
        ask(url="http://127.0.0.1:1/v1#x")


def test_the_headers_of_the_settings_and_of_the_call_are_sent(ask):
    with FaultServer(ANSWER) as server:
        config = {"headers": {"X-Title": "mine", "user-agent": "me", "X-Own": "a"}, "api_key": KEY}
        assert ask(url=server.url, sent={"x-own": "b"}, **config) == "42"
    request = server.requests[0]
    assert [request.header(name) for name in ("x-title", "user-agent", "x-own")] == ["mine", "me", "b"]
    assert request.header("authorization") == f"Bearer {KEY}"


def test_a_header_of_the_settings_outranks_the_key(ask):
    with FaultServer(ANSWER) as server:
        assert ask(url=server.url, api_key=KEY, headers={"authorization": "Basic x"}) == "42"
    assert server.requests[0].header("authorization") == "Basic x"


def test_a_key_goes_unencrypted_to_another_machine_only_with_leave(ask):
    with pytest.raises(ConfigurationError, match="allow_http"):
        ask(url="http://name.invalid", api_key=KEY)
    with pytest.raises(ProviderConnectionError, match="cannot be resolved"):
        ask(url="http://name.invalid", api_key=KEY, allow_http=True)


def _server(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def _mutual(authority):
    context = _server(authority)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("parts", [1, 2])
def test_a_client_certificate_is_shown(ask, authority, tmp_path, parts):
    own = authority.issue_cert("client.example")
    ca = _file(tmp_path / "ca.pem", authority.cert_pem)
    if parts == 1:
        config = {"client_cert": _file(tmp_path / "both.pem", own.private_key_and_cert_chain_pem)}
    else:
        config = {
            "client_cert": _file(tmp_path / "cert.pem", *own.cert_chain_pems),
            "client_key": _file(tmp_path / "key.pem", own.private_key_pem),
        }
    with FaultServer(ANSWER, tls=_mutual(authority)) as server:
        assert ask(url=server.url, ca_bundle=ca, **config) == "42"


def test_a_service_that_asks_for_a_certificate_gets_none(ask, authority, tmp_path):
    with FaultServer(Hold(), repeat=True, tls=_mutual(authority)) as server:
        with pytest.raises((TLSError, ProviderConnectionError)):
            ask(url=server.url, ca_bundle=_file(tmp_path / "ca.pem", authority.cert_pem))
        assert server.received == b""


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"client_key": "x.pem"}, "without client_cert"),
        ({"client_cert": "/no/such.pem"}, "client_cert /no/such.pem cannot be read"),
    ],
)
def test_a_client_certificate_that_is_not_there_is_named(ask, config, words):
    with pytest.raises(ConfigurationError, match=words):
        ask(url="https://127.0.0.1:1", **config)


def test_the_password_of_an_encrypted_key_is_not_asked_for(ask, authority, tmp_path):
    from cryptography.hazmat.primitives import serialization

    own = authority.issue_cert("client.example")
    plain = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    locked = plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "key.pem").write_bytes(locked)
    config = {
        "client_cert": _file(tmp_path / "cert.pem", *own.cert_chain_pems),
        "client_key": str(tmp_path / "key.pem"),
        "ca_bundle": _file(tmp_path / "ca.pem", authority.cert_pem),
    }
    with (
        FaultServer(ANSWER, tls=_mutual(authority)) as server,
        pytest.raises(ConfigurationError, match=r"client_key .* is encrypted"),
    ):
        ask(url=server.url, **config)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "socks5h://127.0.0.1:1", "socks4://me:secret@127.0.0.1:1"])
def test_a_socks_proxy_is_refused(ask, proxy):
    with pytest.raises(ConfigurationError, match="only http and https proxies") as caught:
        ask(url="http://127.0.0.1:1", proxies={"http": proxy})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_the_password_is_named(ask, scheme):
    with FaultServer(http_response(407, b"", {"Proxy-Authenticate": "Basic"}), repeat=True) as server:
        proxies = {scheme: server.url.replace("//", "//me:secret@")}
        with pytest.raises(
            ProviderConnectionError, match="the proxy refuses the request: check the user name and the password"
        ) as caught:
            ask(url=f"{scheme}://127.0.0.1:9/v1", proxies=proxies)
    assert (caught.value.status, caught.value.retryable) == (407, False)
    assert "secret" not in str(caught.value)


def test_the_error_for_a_wrong_address_names_what_was_asked(ask):
    with FaultServer(http_response(404, "404 page not found")) as server:
        url = f"{server.url}/v1/chat/completions?key={KEY}"
        with pytest.raises(providerhub.ProtocolError) as caught:
            ask(url=url, api_key=KEY)
    asked = f"{server.url}/v1/chat/completions/chat/completions"
    said = f"404 page not found; check the setting `url`; asked POST {asked}; the url ends with /chat/completions"
    assert said in str(caught.value)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is not caught.value


@pytest.fixture
def _no_variables(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("_no_variables")
def test_the_error_of_a_connection_names_a_proxy_that_is_not_used(ask, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    with pytest.raises(
        ProviderConnectionError, match=r"cannot be resolved.*; HTTPS_PROXY is set but not used.*proxies"
    ) as caught:
        ask(url="https://name.invalid")
    assert str(caught.value).count("is set but not used") == 1


@pytest.mark.usefixtures("_no_variables")
def test_the_error_of_a_certificate_names_a_bundle_that_is_not_used(ask, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/company.pem")
    with FaultServer(Hold(), tls=_server(authority)) as server, pytest.raises(TLSError, match=r"SSL_CERT_FILE.*ca_bundle"):
        ask(url=server.url)


@pytest.mark.usefixtures("_no_variables")
def test_a_bundle_is_not_named_where_no_certificate_is_at_fault(ask, monkeypatch):
    class Refusing(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(5)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    monkeypatch.setenv("SSL_CERT_FILE", "/etc/company.pem")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(TLSError, match=r"speaks no TLS.*http://") as caught:
                ask(url=f"https://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
    assert "SSL_CERT_FILE" not in str(caught.value)
    with pytest.raises(ProviderConnectionError, match="cannot be resolved") as unresolved:
        ask(url="https://name.invalid")
    assert "SSL_CERT_FILE" not in str(unresolved.value)


@pytest.mark.usefixtures("_no_variables")
def test_no_other_error_names_the_proxy_variables(ask, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    with FaultServer(http_response(500, "no")) as server, pytest.raises(providerhub.ServerError) as caught:
        ask(url=server.url)
    assert "HTTP_PROXY" not in str(caught.value)
