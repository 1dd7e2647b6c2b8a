"""The look-up of a name, its addresses, a proxy's tunnel and TLS share one connect timeout."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from providerhub import CallContext, ProviderConfig, ProviderConnectionError, ProviderTimeoutError, ShortageError, Timeout
from providerhub.http import HttpClient, _async_connection, _racing
from providerhub.http._racing import Race, addresses_of
from providerhub.testing import AtConnect, Drip, FaultServer, http_response, refusing_url, unanswering_url


def _never():
    return False


def _later(seconds=60):
    return time.monotonic() + seconds


def _entry(url):
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.fixture
def server():
    with FaultServer(http_response(200, {}), repeat=True) as running:
        yield running


def _ask(url, timeout, **config):
    client = HttpClient(ProviderConfig(name="acme", url=url, **config))
    try:
        with client.post("/", {}, CallContext(timeout), stream=False) as answer:
            return answer.read()
    finally:
        client.close()


def test_the_addresses_take_turns_by_family(monkeypatch):
    six, four = socket.AF_INET6, socket.AF_INET
    found = [(family, socket.SOCK_STREAM, 6, "", (name, 1)) for family, name in ((six, "a"), (six, "b"), (six, "c"), (four, "d"))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    assert [entry[4][0] for entry in addresses_of("dual.test", 1, _later(), _never)] == ["a", "d", "b", "c"]


def test_an_address_needs_no_codec_of_names():
    code = (
        "import sys; from providerhub.http._racing import addresses_of; "
        "found = addresses_of('127.0.0.1', 80, float('inf'), bool) + addresses_of('::1', 80, float('inf'), bool); "
        "print(*(entry[4][0] for entry in found), 'encodings.idna' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "127.0.0.1 ::1 False\n"


def test_an_address_that_refuses_costs_no_turn(server, monkeypatch):
    monkeypatch.setattr(_racing, "NEXT_ADDRESS", 60)
    with refusing_url() as refusing, Race([]) as race:
        sock = race.run([_entry(refusing)] * 3 + [_entry(server.url)], _later(), _never)
    with sock:
        assert sock.getpeername() == ("127.0.0.1", _entry(server.url)[4][1])
    assert isinstance(race.failure, ConnectionRefusedError | OSError)


def test_the_losers_of_a_race_are_closed(server):
    made = []

    class Kept(Race):
        def _begun(self, entry):
            found = super()._begun(entry)
            made.extend(key.fileobj for key in self._selector.get_map().values())
            return found

    with unanswering_url() as silent, Kept([]) as race:
        sock = race.run([_entry(silent), _entry(silent), _entry(server.url)], _later(), _never)
    sock.close()
    assert len({id(one) for one in made}) == 3
    assert all(one.fileno() == -1 for one in made)


def test_a_short_phase_is_shared_by_all_addresses(server, monkeypatch):
    now = 0.0

    class Late(Race):
        """Each turn ends after one and a half times its length, as on a machine that others load."""

        def _ready(self, seconds):
            nonlocal now
            now += 1.5 * seconds
            return super()._ready(0)

    monkeypatch.setattr(_racing, "time", SimpleNamespace(monotonic=lambda: now))
    with unanswering_url() as silent, Late([]) as race:
        # A quarter of a second for each address would be longer than the phase.
        sock = race.run([*[_entry(silent)] * 30, _entry(server.url)], 1.0, _never)
    with sock:
        assert sock.getpeername() == ("127.0.0.1", _entry(server.url)[4][1])


def test_a_short_phase_is_shared_by_all_addresses_in_an_event_loop(server, monkeypatch):
    monkeypatch.setattr(_racing, "NEXT_ADDRESS", 60.0)

    async def main(entries):
        loop = asyncio.get_running_loop()
        return await _async_connection.Opener(loop)._raced(entries, loop.time() + 0.5)

    with unanswering_url() as silent, asyncio.run(main([*[_entry(silent)] * 30, _entry(server.url)])) as sock:
        assert sock.getpeername() == ("127.0.0.1", _entry(server.url)[4][1])


def test_a_race_that_is_aborted_or_late_has_no_winner():
    with unanswering_url() as silent:
        for deadline, aborted in ((_later(), lambda: True), (_later(-1), _never), (_later(0.1), _never)):
            with Race([]) as race:
                assert race.run([_entry(silent)], deadline, aborted) is None
    with Race([]) as race:
        assert race.run([], _later(), _never) is None


@pytest.fixture
def silent_names(monkeypatch):
    """A name server that answers when the event is set; the names that were asked for."""
    answered, asked, real = threading.Event(), [], socket.getaddrinfo

    def look_up(host, *rest):
        asked.append(host)
        assert answered.wait(60)
        return real("127.0.0.1", *rest)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield answered, asked
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "providerhub-lookup":
            thread.join()


def test_calls_for_the_same_host_share_a_look_up(silent_names):
    answered, asked = silent_names
    assert addresses_of("silent.test", 1, _later(0.01), _never) == []
    assert addresses_of("silent.test", 1, _later(), lambda: True) == []
    answered.set()
    assert addresses_of("silent.test", 1, _later(), _never)[0][4] == ("127.0.0.1", 1)
    assert asked in (["silent.test"], ["silent.test"] * 2)  # the last call may come after the end of the first look-up
    assert addresses_of("silent.test", 1, _later(), _never)[0][4] == ("127.0.0.1", 1)


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_a_look_up_does_not_hold_a_call(silent_names, how):
    call = CallContext(Timeout(connect=0.1 if how == "timeout" else 60, total=60))
    client = HttpClient(ProviderConfig(name="acme", url="http://silent.test:1"))
    later = threading.Timer(0.1, call.cancel if how == "cancelled" else lambda: None)
    later.start()
    with pytest.raises(ProviderTimeoutError if how == "timeout" else ProviderConnectionError, match=how):
        client.post("/", {}, call, stream=True)
    later.join()
    client.close()


def test_a_name_that_no_encoding_knows_is_a_failed_connection():
    with pytest.raises(UnicodeError):
        addresses_of("a" * 70 + ".test", 1, _later(), _never)


def test_a_look_up_without_a_thread_is_a_shortage(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_racing.Lookup, "start", start)
    with pytest.raises(ShortageError, match=r"cannot connect to acme\.test:1: can't start new thread"):
        _ask("http://acme.test:1", Timeout(total=10))


def test_a_tunnel_that_comes_byte_by_byte_ends_with_the_connect_phase():
    tunnel = [AtConnect(), Drip(b"HTTP/1.1 200 OK\r\nX-Pad: " + b"0" * 10_000, 0.01)]
    timeout = Timeout(connect=0.3, total=60)
    with FaultServer(tunnel) as proxy, pytest.raises(ProviderTimeoutError, match="longer than the connect timeout"):
        _ask("https://127.0.0.1:9", timeout, proxies={"https": proxy.url})


def test_a_connection_that_is_open_is_bound_by_the_other_timeouts_only(server):
    assert _ask(server.url, Timeout(connect=5, total=60)) == b"{}"
    assert not _racing._lookups
