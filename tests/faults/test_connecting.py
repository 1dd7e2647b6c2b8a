"""Rows 1-8 of the fault matrix: the faults before the status line."""

import datetime as dt
import ssl

import pytest
import trustme

from providerhub import (
    ProtocolError,
    ProviderConnectionError,
    ProviderTimeoutError,
    Timeout,
    TLSError,
)
from providerhub.testing import (
    AtConnect,
    Close,
    Drip,
    Hold,
    Repeat,
    Reset,
    openai_stream,
    refusing_url,
    response_head,
    tls_handshake_hang,
    unanswering_url,
)


def test_fault_01_name_does_not_resolve(row, stream):
    # RFC 6761, section 6.4: no name under `.invalid` ever resolves.
    error = row.fails_over("https://name.invalid", ProviderConnectionError, again=True, stream=stream)
    assert "'name.invalid' cannot be resolved" in str(error)


def test_fault_02_connection_refused(row, stream):
    with refusing_url() as url:
        error = row.fails_over(url, ProviderConnectionError, again=True, stream=stream)
    assert "refused" in str(error)
    assert url.removeprefix("http://") in str(error)


def test_fault_03_connect_timeout(row, stream):
    with unanswering_url() as url:
        timeout = Timeout(connect=0.05, first_token=30, total=60)
        error = row.fails_over(url, ProviderTimeoutError, again=True, stream=stream, timeout=timeout)
    assert "connect timeout" in str(error)


def test_fault_03_connect_phase_spans_all_addresses(way, hub_of, monkeypatch):
    import socket

    with unanswering_url() as url:
        port = int(url.rpartition(":")[2])
        address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 200)
        hub = hub_of(a=url, timeout=Timeout(connect=0.2, first_token=30, total=60))
        error = way.fails(hub, ProviderTimeoutError, stream=True)
    # Once for each of the two hundred would be 40 s.
    assert all(0.2 <= attempt.duration < 30 for attempt in error.route.attempts)


@pytest.fixture
def authority():
    return trustme.CA()


def _server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize("wrong", ["unknown authority", "another host", "expired"])
def test_fault_04_certificate_invalid(row, serve, authority, tmp_path, monkeypatch, wrong, witness):
    # The switches of other libraries do not switch verification off here.
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
    monkeypatch.setenv("CURL_CA_BUNDLE", "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    name = "other.example" if wrong == "another host" else "127.0.0.1"
    certificate = authority.issue_cert(name, not_after=past if wrong == "expired" else None)
    server = serve(Hold(), tls=_server_context(certificate))
    config = {}
    if wrong != "unknown authority":
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        config = {"ca_bundle": str(tmp_path / "ca.pem")}
    error = row.fails_over(server, TLSError, again=False, config=config)
    assert "certificate" in str(error)
    # Nothing was sent to a server without a trusted certificate.
    assert (server.served, server.received) == (0, b"")


def test_fault_04_certificate_of_a_private_authority(way, hub_of, serve, authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = serve(openai_stream("fine"), tls=_server_context(authority.issue_cert("127.0.0.1")))
    hub = hub_of(a=server, config={"ca_bundle": str(tmp_path / "ca.pem")})
    assert way.answer(hub, stream=True).text == "fine"


def test_fault_05_tls_handshake_hangs(row, serve, stream):
    server = serve(tls_handshake_hang(), scheme="https")
    timeout = Timeout(connect=0.05, first_token=30, total=60)
    row.fails_over(server, ProviderTimeoutError, again=True, stream=stream, timeout=timeout)


def test_fault_05_tls_handshake_dripped(row, serve):
    # The header of a TLS record announces 16 KiB, and then single bytes come slowly: each read alone is in time.
    drip = [AtConnect(), Drip(b"\x16\x03\x03\x40\x00" + bytes(16384), 0.01)]
    timeout = Timeout(connect=0.05, first_token=30, total=60)
    row.fails_over(serve(drip, scheme="https"), ProviderTimeoutError, again=True, timeout=timeout)


@pytest.mark.parametrize("end", [Reset(), Close()], ids=["reset", "closed"])
@pytest.mark.parametrize("when", ["at connect", "after the request"])
def test_fault_06_reset_before_headers(row, serve, stream, end, when):
    server = serve([AtConnect(), end] if when == "at connect" else end)
    row.fails_over(server, ProviderConnectionError, again=True, stream=stream)


def test_fault_06_reset_in_the_middle_of_the_headers(row, serve, stream):
    server = serve([response_head(headers={"Content-Type": "text/event-stream"})[:30], Reset()])
    row.fails_over(server, ProviderConnectionError, again=True, stream=stream)


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.9\r\n", b"220 mail.example ESMTP\r\n", b"\x15\x03\x01\x00\x02\x02\x16"])
def test_fault_07_banner_that_is_not_http(row, serve, stream, banner):
    row.fails_over(serve([AtConnect(), banner, Close()]), ProtocolError, again=False, stream=stream)


def test_fault_07_banner_held_open(row, serve, stream, canary):
    server = serve([f"-ERR unknown command {canary}\r\n\r\n".encode(), Hold()])
    row.fails_over(server, ProtocolError, again=False, stream=stream)


def test_fault_08_headers_dripped(row, serve):
    server = serve([b"HTTP/1.1 200 OK\r\n", Repeat([b"X-Slow: 1\r\n", Drip(b"X-Pad: 0123456789\r\n", 0.01)])])
    timeout = Timeout(first_token=0.06, byte_idle=30, token_idle=30, total=60)
    error = row.fails_over(server, ProviderTimeoutError, again=True, timeout=timeout)
    assert "first token" in str(error)


def test_fault_08_headers_dripped_to_a_call_that_does_not_stream(row, serve):
    drip = Drip(response_head(headers={"X-Pad": "0" * 10_000}), 0.01)
    row.out_of_time(serve(drip), stream=False, timeout=Timeout(total=1.5))
    row.joined(serve(drip), stream=False)
