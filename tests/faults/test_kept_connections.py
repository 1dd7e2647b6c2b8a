"""Rows 76 to 78 and 82 of the fault matrix: addresses that drop packets, idle connections, and a process at its limits."""

import asyncio
import errno
import gc
import socket
import threading
import weakref

import pytest

import providerhub.http._client
import providerhub.http._session
from providerhub import ProtocolError, ProviderTimeoutError, ShortageError, Timeout
from providerhub.testing import Send, http_response, openai_completion, unanswering_url

ANSWER = http_response(body=openai_completion("fine"))


@pytest.fixture
def named(monkeypatch):
    """`named(*ports)`: the address of a host whose name has an address on loopback for each port, in this order."""
    real = socket.getaddrinfo

    def make(*ports):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *rest, **more: found if host == "dual.test" else real(host, *rest, **more)
        )
        return "http://dual.test:1"

    return make


def _port(url):
    return int(url.rpartition(":")[2])


def test_fault_76_first_of_two_addresses_swallows_packets(way, hub_of, serve, named, stream):
    good = serve(ANSWER)
    with unanswering_url() as dead:
        hub = hub_of(a=named(_port(dead), _port(good.url)), timeout=Timeout(connect=20, total=60), config={"allow_http": True})
        answer = way.answer(hub, stream=stream)
    assert (answer.text, len(answer.route.attempts)) == ("fine", 1)


def test_fault_76_look_up_that_hangs_ends_with_the_connect_phase(way, hub_of, monkeypatch):
    ended, real = threading.Event(), socket.getaddrinfo

    def silent(host, *rest, **more):
        if host == "silent.test":
            assert ended.wait(60)
        return real("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    hub = hub_of(a="http://silent.test:1", timeout=Timeout(connect=0.1, total=60), config={"allow_http": True})
    error = way.fails(hub, ProviderTimeoutError)
    ended.set()
    assert all(attempt.duration < 30 for attempt in error.route.attempts)
    assert "connect timeout" in str(error)


@pytest.mark.parametrize("idle", [False, True])
def test_fault_77_connection_that_was_idle_is_not_used_again(way, hub_of, serve, monkeypatch, idle):
    if idle:
        monkeypatch.setattr(providerhub.http._client, "IDLE_LIMIT", 1e-9)
        monkeypatch.setattr(providerhub.http._session, "IDLE_LIMIT", 1e-9)
    server = serve(ANSWER)
    hub = hub_of(a=server)
    for _ in range(3):
        assert way.answer(hub, stream=False).text == "fine"
    assert server.connected == (3 if idle else 1)


def test_fault_77_silent_connections_are_probed(way, hub_of, serve, monkeypatch):
    options, real = [], socket.socket.setsockopt

    def recorded(sock, *option):
        options.append(option)
        return real(sock, *option)

    monkeypatch.setattr(socket.socket, "setsockopt", recorded, raising=False)
    assert way.answer(hub_of(a=serve(ANSWER)), stream=False).text == "fine"
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options
    idle = getattr(socket, "TCP_KEEPIDLE", None)  # absent on some systems
    assert idle is None or any(level == socket.IPPROTO_TCP and name == idle and value < 60 for level, name, value in options)


class Limited(socket.socket):
    """A socket that cannot be made while the process has no descriptor left for it."""

    left = 0

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):  # noqa: A002 -- the name of the base class
        if fileno is None and family == socket.AF_INET and Limited.left:
            Limited.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        super().__init__(family, type, proto, fileno)


def test_fault_78_no_descriptor_left(way, hub_of, serve, row, monkeypatch):
    hub = hub_of(a=serve(ANSWER))
    monkeypatch.setattr(socket, "socket", Limited)
    monkeypatch.setattr(Limited, "left", 1)
    assert way.answer(hub, stream=False).text == "fine"
    assert Limited.left == 0
    assert row.candidates(hub) == ["a"]


def test_fault_78_no_descriptor_left_blames_no_provider(way, hub_of, serve, row, monkeypatch):
    server = serve(ANSWER)
    hub = hub_of(a=server, timeout=Timeout(total=0.2))
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Limited)
        patched.setattr(Limited, "left", 1_000_000)
        for _ in range(6):
            with pytest.raises((ShortageError, TimeoutError)):
                way.answer(hub, stream=False)
    assert server.connected == 0
    assert row.candidates(hub) == ["a"]
    assert way.answer(hub, stream=False, timeout=60).text == "fine"


def test_fault_82_event_loops_end_with_kept_connections(way, hub_of, serve):
    server = serve(ANSWER)
    hub, loops = hub_of(a=server), []
    if not way.is_async:  # the same with threads that end
        for _ in range(5):
            assert way.answer(hub, stream=False).text == "fine"
        assert server.connected == 1
        return
    for _ in range(5):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(hub.acomplete("m", "Hello")).text == "fine"
        loop.close()  # without closing its generators first
        loops.append(weakref.ref(loop))
    del loop
    hub.close()
    gc.collect()
    assert [found() for found in loops] == [None] * 5


def test_fault_82_hub_closes_while_the_loop_stands_still(way, hub_of, serve, caplog):
    hub = hub_of(a=serve(ANSWER))
    if way.is_async:
        with asyncio.Runner() as runner:
            assert runner.run(hub.acomplete("m", "Hello")).text == "fine"
            hub.close()
    else:
        assert way.answer(hub, stream=False).text == "fine"
        hub.close()
    assert [record for record in caplog.records if record.name == "asyncio" and record.levelname == "ERROR"] == []


@pytest.mark.parametrize("heads", ["100 Continue", "102 Processing", "103 Early Hints", "103 Early Hints\r\nLink: </a>"])
def test_fault_86_interim_answers_are_skipped(way, hub_of, serve, heads, stream):
    interim = Send(f"HTTP/1.1 {heads}\r\n\r\n".encode())
    server = serve(
        [interim, interim, *http_response(body=openai_completion("first"))], http_response(body=openai_completion("second"))
    )
    hub = hub_of(a=server)
    assert [way.answer(hub, stream=stream).text for _ in range(2)] == ["first", "second"]
    assert server.connected == 1


def test_fault_86_another_protocol_ends_the_connection(way, hub_of, serve, stream):
    server = serve([Send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")], ANSWER)
    hub = hub_of(a=server)
    with pytest.raises(ProtocolError, match="101"):
        way.answer(hub, stream=stream)
    assert way.answer(hub, stream=stream).text == "fine"
