"""Certificates and proxies, over real sockets: TLS is verified as the settings say, directly and through proxies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import selectors
import socket
import ssl
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import trustme

from providerhub import (
    CallContext,
    ConfigurationError,
    ProtocolError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderTimeoutError,
    Timeout,
    TLSError,
)
from providerhub.http import AsyncHttpClient, HttpClient, HttpRequest
from providerhub.http._connection import ActiveConnection
from providerhub.testing import AtConnect, Close, FaultServer, Gate, Reset, Send

KEY = "canary-key-123"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def bundle(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def other_bundle(tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    return str(tmp_path / "other.pem")


class Server:
    """Answers one request for each connection. As a proxy it opens tunnels, and answers forwarded requests itself."""

    def __init__(self, context=None):
        self.seen = []
        self.opened = b"HTTP/1.1 200 OK\r\n\r\n"
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    got = connection.recv(65536)
                    if not got:
                        return
                    head += got
                self.seen.append(head.decode())
                if head.startswith(b"CONNECT"):
                    self._tunnel(connection, head.split()[1].decode())
                else:
                    connection.sendall(ANSWER)
                    connection.recv(1)

    def _tunnel(self, connection, target):
        with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as far:
            connection.sendall(self.opened)
            back = threading.Thread(target=self._copy, args=(far, connection), daemon=True)
            back.start()
            self._copy(connection, far)
            back.join()

    @staticmethod
    def _copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def serve(authority):
    servers = []

    def start(name=None):
        context = None
        if name is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert(name).configure_cert(context)
        servers.append(Server(context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def _ask(method="POST", **config):
    client = HttpClient(ProviderConfig(name="acme", **config))
    request = HttpRequest("/v1/chat/completions", {}, method=method)
    try:
        return client.fetch(request, CallContext(Timeout(total=20.0))).body
    finally:
        client.close()


def _aask(method="POST", **config):
    async def main():
        client = AsyncHttpClient(ProviderConfig(name="acme", **config))
        request = HttpRequest("/v1/chat/completions", {}, method=method)
        try:
            return (await client.fetch(request, CallContext(Timeout(total=20.0)))).body
        finally:
            await client.aclose()

    return asyncio.run(main())


@pytest.fixture(params=[_ask, _aask], ids=["threads", "asyncio"])
def ask(request):
    return request.param


def test_the_configured_bundle_is_trusted(ask, serve, bundle):
    server = serve("localhost")
    assert ask(url=f"https://localhost:{server.port}", ca_bundle=bundle, api_key=KEY) == b"{}"
    assert f"Authorization: Bearer {KEY}" in server.seen[0]


def test_a_certificate_of_another_authority_is_refused(ask, serve, other_bundle):
    server = serve("localhost")
    for trusted in (other_bundle, None):
        with pytest.raises(TLSError, match="certificate verify failed"):
            ask(url=f"https://localhost:{server.port}", ca_bundle=trusted, api_key=KEY)
    assert server.seen == []


def test_a_certificate_of_another_host_is_refused(ask, serve, bundle):
    server = serve("acme.example")
    with pytest.raises(TLSError, match="Hostname mismatch"):
        ask(url=f"https://localhost:{server.port}", ca_bundle=bundle, api_key=KEY)
    assert server.seen == []


@pytest.fixture
def mute():
    """The address of a server that takes connections and says nothing, not even in a TLS handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("proxied", [False, True])
def test_a_handshake_ends_when_the_call_is_cancelled(mute, proxied, serve):
    proxies = {"https": f"http://127.0.0.1:{serve().port}"} if proxied else {}
    client = HttpClient(ProviderConfig(name="acme", url=mute, proxies=proxies))
    call = CallContext(Timeout(connect=600.0))
    later = threading.Timer(0.2, call.cancel)
    later.start()
    with pytest.raises(ProviderConnectionError, match="cancelled"):
        client.post("/v1/chat/completions", {}, call, stream=True)
    later.join()
    client.close()


def test_a_handshake_is_bounded_by_the_first_token_as_well(mute):
    client = HttpClient(ProviderConfig(name="acme", url=mute))
    with pytest.raises(ProviderTimeoutError, match="first token"):
        client.post("/v1/chat/completions", {}, CallContext(Timeout(connect=600.0, first_token=0.2)), stream=True)
    client.close()


def test_a_connection_that_breaks_before_the_handshake_is_closed():
    def secure():
        server.open("connected")
        with selectors.DefaultSelector() as selector:
            selector.register(active.sock, selectors.EVENT_READ)
            assert selector.select(60)
        return ssl.create_default_context()

    # A reset that comes earlier ends the connecting itself.
    with FaultServer([AtConnect(), Gate("connected"), Reset()]) as server:
        active = ActiveConnection(time.monotonic() + 60)
        with pytest.raises(ProviderConnectionError):
            active.connect(f"https://127.0.0.1:{server.port}", None, secure)
    gc.collect()  # a warning about an open socket is an error
    assert active.sock.fileno() == -1


def test_an_aborted_connection_does_not_go_on_in_clear_text(authority):
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("acme.example").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    near, far = socket.socketpair()
    far = server_side.wrap_socket(far, server_side=True, do_handshake_on_connect=False)
    answering = threading.Thread(target=far.do_handshake)
    answering.start()
    with far, client_side.wrap_socket(near, server_hostname="acme.example") as secured:
        answering.join()
        active = ActiveConnection(0.0)
        active.sock = secured
        active.abort()
        assert secured.version() is not None


def test_https_goes_through_a_tunnel_that_sees_no_key(ask, serve, bundle, other_bundle):
    server, proxy = serve("localhost"), serve()
    via = {"https": f"http://127.0.0.1:{proxy.port}"}
    assert ask(url=f"https://localhost:{server.port}", ca_bundle=bundle, api_key=KEY, proxies=via) == b"{}"
    assert proxy.seen[0].startswith(f"CONNECT localhost:{server.port} ")
    assert KEY not in proxy.seen[0]
    with pytest.raises(TLSError):
        ask(url=f"https://localhost:{server.port}", ca_bundle=other_bundle, api_key=KEY, proxies=via)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "opened",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_any_success_of_a_proxy_opens_the_tunnel(ask, serve, bundle, opened):
    server, proxy = serve("localhost"), serve()
    proxy.opened = opened
    via = {"https": f"http://127.0.0.1:{proxy.port}"}
    assert ask(url=f"https://localhost:{server.port}", ca_bundle=bundle, proxies=via) == b"{}"


def test_the_answer_to_head_has_no_body(ask):
    bodiless = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n"
    with FaultServer([Send(bodiless), Close()]) as server:
        assert ask("HEAD", url=server.url) == b""


def test_http_is_forwarded(ask, serve):
    proxy = serve()
    assert ask(url="http://127.0.0.1:1", proxies={"http": f"127.0.0.1:{proxy.port}"}) == b"{}"
    assert proxy.seen[0].startswith("POST http://127.0.0.1:1/v1/chat/completions ")


def test_a_proxy_gets_the_user_name_and_the_password_of_its_address(ask, serve, bundle):
    server, proxy = serve("localhost"), serve()
    via = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
    assert ask(url="http://127.0.0.1:1", proxies={"http": via}) == b"{}"
    assert ask(url=f"https://localhost:{server.port}", ca_bundle=bundle, proxies={"https": via}) == b"{}"
    assert [head.lower().count("proxy-authorization: basic dxnlcjpwqhnz\r\n") for head in proxy.seen] == [1, 1]
    assert "proxy-authorization" not in server.seen[0].lower()


def test_https_goes_through_a_proxy_that_speaks_tls(ask, serve, bundle):
    server, proxy = serve("localhost"), serve("localhost")
    via = {"https": f"https://localhost:{proxy.port}"}
    assert ask(url=f"https://localhost:{server.port}", ca_bundle=bundle, api_key=KEY, proxies=via) == b"{}"
    assert KEY not in proxy.seen[0]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", ProviderConnectionError, "407.*the user name and the password"),
        (b"HTTP/1.1 502 No\r\n\r\n", ProviderConnectionError, "502: the proxy refuses"),
        (b"HTTP/1.1 101 No\r\n\r\n", ProviderConnectionError, "101: the proxy refuses"),
        (b"SSH-2.0\r\n\r\n", ProtocolError, "does not speak HTTP"),
    ],
)
def test_a_proxy_that_opens_no_tunnel(ask, bundle, answer, error, words):
    with FaultServer([Send(answer), Close()]) as proxy, pytest.raises(error, match=words):
        ask(url="https://localhost:1", ca_bundle=bundle, proxies={"https": proxy.url})


def test_a_proxy_for_another_scheme_is_not_used(ask, serve):
    server = serve()
    assert ask(url=f"http://127.0.0.1:{server.port}", proxies={"https": "http://127.0.0.1:1"}) == b"{}"


def test_the_environment_s_proxies_are_not_used(ask, serve, monkeypatch):
    server = serve()
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(url=f"http://127.0.0.1:{server.port}") == b"{}"


def test_a_proxy_that_does_not_answer_is_a_connection_error(ask, serve, bundle):
    with pytest.raises(ProviderConnectionError):
        ask(url="https://localhost:1", ca_bundle=bundle, proxies={"https": "http://127.0.0.1:1"})


@pytest.mark.parametrize("proxy", ["http://", "http://a b", "http://[::1"])
def test_an_invalid_proxy_is_a_configuration_error(proxy):
    with pytest.raises(ConfigurationError, match=r"acme.*proxies\.https"):
        HttpClient(ProviderConfig(name="acme", url="https://acme.example", proxies={"https": proxy}))


@pytest.mark.parametrize("url", ["http://a b", "http://a..b", "https://x:y"])
def test_an_invalid_url_raises_when_the_client_is_made(url):
    with pytest.raises(ConfigurationError, match="acme"):
        HttpClient(ProviderConfig(name="acme", url=url))


def test_requests_is_imported_only_for_proxies():
    code = "import sys, providerhub.http; sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_connection_that_comes_back_while_the_client_closes_is_closed(monkeypatch):
    with FaultServer([Send(ANSWER)]) as server:
        client = HttpClient(ProviderConfig(url=server.url))
        with client.send(HttpRequest("/x"), CallContext(Timeout(total=20))) as answer:
            sock = answer._active.sock
            assert answer.read() == b"{}"
            clock = SimpleNamespace(monotonic=lambda: client.close() or time.monotonic())
            monkeypatch.setattr("providerhub.http._client.time", clock)  # another thread closes the client at this moment
    assert sock.fileno() == -1


@pytest.mark.parametrize("left", ["idle", "in use"])
def test_the_garbage_collector_finds_no_open_socket(left):
    # The collector ends the objects of a cycle in any order: here the socket is before the client and its answer.
    head = ANSWER[:-2]
    with FaultServer([Send(ANSWER)], [Send(head)]) as server:
        gc.collect()
        gc.disable()
        try:
            cycle = [HttpClient(ProviderConfig(url=server.url))]
            cycle.append(cycle)
            with cycle[0].send(HttpRequest("/x"), CallContext(Timeout(total=20))) as answer:
                sock = answer._active.sock
                assert answer.read() == b"{}"
            if left == "in use":
                cycle.append(cycle[0].send(HttpRequest("/x"), CallContext(Timeout(total=20))))
                assert cycle[-1]._active.sock is sock
            del answer
            gc.collect(0)  # from here, it finds the list and the socket, and then the client and its answer
            del cycle, sock
            gc.collect()  # a warning about an open socket is an error
        finally:
            gc.enable()
