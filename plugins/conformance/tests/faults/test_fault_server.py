"""The fault server, over real sockets: the view of a client, and the server's record of it."""

from __future__ import annotations

import contextlib
import pickle
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme

from providerhub_conformance import (
    AtConnect,
    Close,
    Drip,
    FaultServer,
    Gate,
    Hold,
    Mark,
    Pause,
    Peer,
    RecordedRequest,
    Repeat,
    Reset,
    Script,
    Send,
    chunk,
    chunked,
    close_delimited,
    flatten,
    http_response,
    openai_chunk,
    openai_completion,
    openai_error,
    openai_stream,
    refusing_url,
    sse,
    tls_handshake_hang,
    unanswering_url,
)

ASK = b"POST /v1/x?q=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"


def descriptors() -> int:
    folder = Path("/dev/fd")  # absent on Windows
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    threads, files = set(threading.enumerate()), descriptors()
    yield
    assert {thread for thread in threading.enumerate() if thread.name.startswith("fault-server")} <= threads
    assert descriptors() == files


@contextlib.contextmanager
def client(server: FaultServer, ask: bytes = ASK) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(ask)
        yield sock


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"closed after {data!r}"
        data += part
    return data


def talk(*scripts: Script, ask: bytes = ASK) -> bytes:
    with FaultServer(*scripts) as server, client(server, ask) as sock:
        return read_all(sock)


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        pytest.param([b"one", Send(b"two"), Close()], b"onetwo", id="bytes-and-sends"),
        pytest.param([[b"a", [b"b"]], (Send(b"c"), Close())], b"abc", id="nested"),
        pytest.param([Drip(b"slowly", size=4), Close()], b"slowly", id="drip"),
        pytest.param([Drip(b"abc", 0.001), Close()], b"abc", id="drip-with-an-interval"),
        pytest.param([Pause(0.001), b"x", Close()], b"x", id="pause"),
        pytest.param([Repeat(b"ab", 3), Close()], b"ababab", id="repeat-bytes"),
        pytest.param([Repeat([b"a", Mark("m"), b"b"], 2), Close()], b"abab", id="repeat-a-script"),
        pytest.param([Close(), b"never"], b"", id="nothing-after-close"),
        pytest.param(close_delimited(sse("a")), b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close"
                     b"\r\n\r\ndata: a\n\ndata: [DONE]\n\n", id="close-delimited"),
        pytest.param([chunked([b"hello", b"x" * 16], end=False, headers={"A": "b"}), Close()],
                     b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n"
                     b"5\r\nhello\r\n10\r\nxxxxxxxxxxxxxxxx\r\n", id="chunked-and-cut"),
    ],
)  # fmt: skip
def test_what_a_script_says_is_what_a_client_sees(script: Script, seen: bytes) -> None:
    assert talk(script) == seen


def test_a_reset_is_a_reset() -> None:
    with FaultServer([b"some", Gate("read"), Reset()]) as server, client(server) as sock:
        assert read_exactly(sock, 4) == b"some"
        server.open("read")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_requests_are_recorded_as_they_came() -> None:
    chunked_ask = b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    odd = b"HELLO\r\n\r\n"
    with (
        FaultServer(http_response(body=b"1"), repeat=True) as server,
        client(server, ASK + chunked_ask + odd + b"GET /half") as sock,
    ):
        server.wait_served(3)
        sock.shutdown(socket.SHUT_WR)
        server.client_gone()
        first, second, third = server.requests
        assert (first.method, first.target, first.path, first.body) == ("POST", "/v1/x?q=1", "/v1/x", b"hello")
        assert first.headers == (("Host", "h"), ("Content-Length", "5"))
        assert (first.header("hOST"), first.header("missing", "?"), first.raw, first.connection) == ("h", "?", ASK, 0)
        assert (second.body, second.raw) == (b"abcde", chunked_ask)
        assert (third.method, third.target) == ("", "HELLO")
        assert first.at <= second.at <= third.at <= (server.connections[0].gone_at or 0)
        assert server.received == ASK + chunked_ask + odd + b"GET /half"


def test_a_connection_is_kept_alive_and_each_request_has_its_script() -> None:
    scripts = (http_response(200, openai_completion("a")), http_response(429, openai_error("slow"), {"Retry-After": "2"}))
    with FaultServer(*scripts, openai_stream("Hé", "llo")) as server, requests.Session() as session:
        answers = [session.post(server.url + "/x", json={"n": n}) for n in range(3)]
        assert [answer.status_code for answer in answers] == [200, 429, 200]
        assert answers[0].json()["choices"][0]["message"]["content"] == "a"
        assert (answers[1].headers["Retry-After"], answers[1].json()["error"]["message"]) == ("2", "slow")
        lines = answers[2].content.decode().split("\n\n")
        assert '"delta":{"content":"Hé"}' in lines[0]
        assert lines[-2:] == ["data: [DONE]", ""]
        assert [request.json() for request in server.requests] == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert (server.connected, server.served, server.peak, server.open_connections) == (1, 3, 1, 1)
        session.close()
        del answers  # each keeps the pool, and through it the connection
        assert server.client_gone() == "closed"
        server.wait_idle()


def test_a_request_without_a_script_gets_a_500_that_says_so() -> None:
    with FaultServer(http_response()) as server:
        assert requests.get(server.url, timeout=60).status_code == 200
        answer = requests.get(server.url, timeout=60)
        assert (answer.status_code, answer.text) == (500, "fault server: no script is left for request 2")
        assert server.served == 2


def test_a_function_answers_every_request() -> None:
    def echo(request: RecordedRequest) -> Script:
        return http_response(200, request.body[::-1])

    with FaultServer(echo) as server:
        assert [requests.post(server.url, body, timeout=60).text for body in ("abc", "xyz")] == ["cba", "zyx"]


def test_a_request_aside_takes_no_script() -> None:
    def aside(request: RecordedRequest) -> Script | None:
        return http_response(200, b"token") if request.path == "/token" else None

    with FaultServer(http_response(200, b"one"), http_response(200, b"two"), aside=aside) as server:
        paths = ("/token", "/", "/token", "/")
        assert [requests.get(server.url + path, timeout=60).text for path in paths] == ["token", "one", "token", "two"]
        assert [request.path for request in server.requests] == ["/", "/"]


def test_what_a_function_raises_reaches_the_test() -> None:
    def broken(_: RecordedRequest) -> Script:
        raise LookupError("no such case")

    with pytest.raises(LookupError, match="no such case"), FaultServer(broken) as server, client(server) as sock:
        assert read_all(sock) == b""
    with pytest.raises(KeyError, match="the test's own"), FaultServer(broken) as server, client(server) as sock:
        raise KeyError(f"the test's own, after {read_all(sock)!r}")


def test_a_step_of_ones_own() -> None:
    class Twice:
        def play(self, peer: Peer) -> None:
            peer.send(b"hip ")
            peer.send(b"hip")
            peer.close()

    assert talk(Twice()) == b"hip hip"


def test_gates_and_marks_order_a_test_without_sleeping() -> None:
    with FaultServer([b"a", Gate("one"), b"b", Mark("two"), Gate("one"), Hold()], repeat=True) as server:
        with client(server) as first, client(server) as second:
            server.reached("one", times=2)
            assert [read_exactly(sock, 1) for sock in (first, second)] == [b"a", b"a"]
            server.open("one")
            server.reached("two", times=2)
            assert [read_exactly(sock, 1) for sock in (first, second)] == [b"b", b"b"]
        assert (server.client_gone(0), server.client_gone(1)) == ("closed", "closed")


@pytest.mark.parametrize(
    "script",
    [Hold(), Pause(600), Gate("never"), Drip(b"xx", 600), Repeat([Pause(0.001), b"x"]), Repeat(b"x"), [Gate("x"), Close()]],
)
def test_a_client_that_goes_is_noticed_wherever_the_script_is(script: Script) -> None:
    with FaultServer(script) as server:
        with client(server):
            server.wait_served()
            server.open("x")
        assert server.client_gone() in {"closed", "reset"}
        server.wait_idle()


def test_a_client_that_resets_is_told_apart() -> None:
    with FaultServer(Hold()) as server:
        with client(server) as sock:
            server.wait_served()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert server.client_gone() == "reset"


@pytest.mark.parametrize("script", [Hold(), Pause(600), Gate("never"), Repeat(b"x"), Close(), http_response()])
def test_closing_the_server_ends_every_script(script: Script) -> None:
    server = FaultServer(script)
    with client(server) as sock:
        server.wait_served()
        server.close()
        server.close()
        with contextlib.suppress(ConnectionResetError):
            read_all(sock)
    assert server.connections[0].gone is None
    with pytest.raises(OSError, match=r".*"):
        socket.create_connection(("127.0.0.1", server.port), timeout=60)


def test_waiting_in_vain_says_for_what() -> None:
    with FaultServer() as server:
        with pytest.raises(TimeoutError, match=r"'x' was not reached 2 time\(s\) within 0.01 s \(0 connections"):
            server.reached("x", times=2, timeout=0.01)
        with pytest.raises(TimeoutError, match="connection 3 has not gone"):
            server.client_gone(3, timeout=0.01)
        with pytest.raises(TimeoutError, match="did not come"):
            server.wait_connected(timeout=0.01)


def test_a_script_can_begin_before_any_request() -> None:
    scripts = ([AtConnect(), b"SSH-2.0-x\r\n", Close()], [AtConnect(), Reset()], http_response(body=b"ok"))
    with FaultServer(*scripts) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            assert read_all(sock) == b"SSH-2.0-x\r\n"
        with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            sock.recv(1)  # the reset may also come while the connection is being made
        assert requests.get(server.url, timeout=60).text == "ok"
        assert (server.connected, server.served) == (3, 1)


def test_a_tls_handshake_can_hang() -> None:
    with FaultServer(tls_handshake_hang(), scheme="https") as server:
        assert server.url.startswith("https://")
        with pytest.raises(requests.exceptions.Timeout):
            requests.get(server.url, timeout=(0.2, 20))
        server.client_gone()
        assert server.received.startswith(b"\x16\x03")


def test_tls_is_spoken_and_distrust_is_seen(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    script = close_delimited([b"over", Pause(0.001), b" TLS"])
    with FaultServer([AtConnect()], script, http_response(), tls=context) as server:
        assert requests.get(server.url, timeout=60, verify=str(tmp_path / "ca.pem")).text == "over TLS"
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(server.url, timeout=60)
        server.client_gone(1)
        assert isinstance(server.connections[1].tls_error, ssl.SSLError)
        assert server.served == 1


def test_an_address_that_refuses() -> None:
    with refusing_url() as url, pytest.raises(requests.exceptions.ConnectionError, match="refused"):
        requests.get(url, timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit into the queue")
def test_an_address_that_does_not_answer() -> None:
    with unanswering_url() as url:
        for _ in range(3):
            with pytest.raises(requests.exceptions.ConnectTimeout):
                requests.get(url, timeout=(0.2, 20))


def test_scripts_are_values() -> None:
    script = flatten([openai_stream("a"), Gate("g"), Repeat([b"x", Pause(1)], 2), Reset()])
    assert pickle.loads(pickle.dumps(script)) == script
    assert hash(script) == hash(flatten(list(script)))
    for wrong in ("text", 5, [b"x", None]):
        with pytest.raises(TypeError, match="a script is made of steps and bytes, not"):
            FaultServer([wrong])
    with pytest.raises(ValueError, match="size"):
        Drip(b"x", size=0)


def test_the_shapes_of_the_builders() -> None:
    assert sse("a\nb", b"c", {"d": 1}, event="e", done=False) == [
        b"event: e\ndata: a\ndata: b\n\n",
        b"event: e\ndata: c\n\n",
        b'event: e\ndata: {"d":1}\n\n',
    ]
    assert sse(Gate("g")) == [Gate("g"), b"data: [DONE]\n\n"]
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert openai_chunk("a", role="assistant")["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": None}
    ]
    assert openai_chunk(finish_reason="stop")["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert openai_chunk(usage={"total_tokens": 3})["choices"] == []
    assert openai_completion(usage={"total_tokens": 3})["usage"] == {"total_tokens": 3}
    assert flatten(http_response(599))[0] == Send(
        b"HTTP/1.1 599 Unknown\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
    )
