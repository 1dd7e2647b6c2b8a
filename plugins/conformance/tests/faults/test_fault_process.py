"""The fault server in a separate process."""

from __future__ import annotations

import contextlib
import operator
import socket
from urllib.parse import urlsplit

import pytest
import requests

from providerhub_conformance import Gate, Hold, chunked, http_response, serve_in_process, sse

ASK = b"GET / HTTP/1.1\r\n\r\n"


class Poison:
    """Pickles, and cannot be read back."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return int, ("not a number",)


def test_it_serves_and_counts() -> None:
    with serve_in_process(http_response(body=b"hi")) as server:
        assert [requests.get(server.url, timeout=60).text for _ in range(3)] == ["hi"] * 3
        assert (server.stats().connected, server.stats().served) == (3, 3)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(server.url, timeout=60)


def test_gates_work_from_here() -> None:
    with (
        serve_in_process(chunked(sse("a", Gate("g"), "b"))) as server,
        requests.get(server.url, stream=True, timeout=60) as answer,
    ):
        server.reached("g")
        with pytest.raises(TimeoutError, match="was not reached 2"):
            server.reached("g", times=2, timeout=0.01)
        server.open("g")
        assert answer.content == b"data: a\n\ndata: b\n\ndata: [DONE]\n\n"


def test_a_function_travels_by_its_name() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with serve_in_process(operator.attrgetter("body")) as server:
        assert requests.post(server.url, answer, timeout=60).text == "hi"


def test_a_script_that_cannot_be_served_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"did not start.*not a number"), serve_in_process(Poison()):
        pass


@pytest.mark.load
def test_a_thousand_connections_at_once() -> None:
    """Row 55 rests on it: all are held open together, and all are answered."""
    count = 1000
    resource = pytest.importorskip("resource", reason="absent on Windows")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    try:
        with serve_in_process([b"x", Gate("all"), b"y", Hold()]) as server, contextlib.ExitStack() as stack:
            address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
            socks = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(count)]
            for sock in socks:
                sock.sendall(ASK)
            server.reached("all", times=count, timeout=60)
            assert (server.stats().open, server.stats().peak) == (count, count)
            server.open("all")
            assert {sock.recv(1) + sock.recv(1) for sock in socks} == {b"xy"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
