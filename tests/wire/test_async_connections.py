"""Connections of an event loop: look-ups are shared, addresses take turns, and a host has a limit of connections."""

from __future__ import annotations

import asyncio
import socket

import pytest

from providerhub import CallContext, ProviderConfig, ProviderConnectionError, ProviderTimeoutError, Timeout
from providerhub.http import AsyncHttpClient, HttpRequest, _session
from providerhub.testing import FaultServer, Gate, Hold, http_response, refusing_url, unanswering_url

ANSWER = http_response(200, "fine")


def port_of(url):
    return int(url.rpartition(":")[2])


@pytest.fixture
def lookups(monkeypatch):
    """The addresses that names have, and a list of the look-ups."""
    found, asked = {}, []

    def look_up(host, port, *_, **__):
        asked.append(host)
        if host not in found:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", near)) for near in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found, asked


async def fetched(client, path="/", **timeout):
    return (await client.fetch(HttpRequest(path, {}), CallContext(Timeout(**timeout)))).body


def run(url, *works):
    """Run coroutine functions at once with a client, and return what they return or raise."""

    async def main():
        client = AsyncHttpClient(ProviderConfig(name="acme", url=url, allow_http=True))
        try:
            return await asyncio.gather(*(work(client) for work in works), return_exceptions=True)
        finally:
            await client.aclose()

    return asyncio.run(main())


def test_calls_at_once_share_a_look_up(lookups):
    found, asked = lookups
    with FaultServer(ANSWER, repeat=True) as server:
        found["acme.test"] = [port_of(server.url)]
        assert run("http://acme.test:1", *[fetched] * 5) == [b"fine"] * 5
    assert asked == ["acme.test"]


def test_a_look_up_that_failed_is_made_again(lookups):
    found, _ = lookups

    async def twice(client):
        with pytest.raises(ProviderConnectionError, match=r"the name 'acme\.test' cannot be resolved"):
            await fetched(client)
        found["acme.test"] = [port_of(server.url)]
        return await fetched(client)

    with FaultServer(ANSWER) as server:
        assert run("http://acme.test:1", twice) == [b"fine"]


def test_the_addresses_take_turns_and_the_others_are_closed(lookups):
    found, _ = lookups
    with FaultServer(ANSWER) as server, unanswering_url() as dead, refusing_url() as closed:
        found["acme.test"] = [port_of(dead), port_of(closed), port_of(server.url), port_of(dead)]
        assert run("http://acme.test:1", fetched) == [b"fine"]


def test_the_last_failure_of_several_addresses_is_told(lookups):
    found, _ = lookups
    with refusing_url() as closed:
        found["acme.test"] = [port_of(closed)] * 3
        (error,) = run("http://acme.test:1", fetched)
    assert "cannot connect to acme.test:1: Connection refused" in str(error)


def test_a_host_has_a_limit_of_connections(monkeypatch):
    monkeypatch.setattr(_session, "CONNECTIONS", 2)
    with FaultServer(ANSWER, repeat=True) as server:
        assert run(server.url, *[fetched] * 6) == [b"fine"] * 6
        assert server.connected <= 6


def test_a_call_waits_for_a_connection_within_the_connect_timeout(monkeypatch):
    monkeypatch.setattr(_session, "CONNECTIONS", 1)

    async def late(client):
        try:
            return await fetched(client, connect=0.05)
        finally:
            server.open("end")

    with FaultServer([Gate("end"), *ANSWER]) as server:
        first, second = run(server.url, fetched, late)
    assert first == b"fine"
    assert isinstance(second, ProviderTimeoutError)
    assert "connect timeout" in str(second)


def test_an_idle_connection_to_another_service_makes_room(monkeypatch):
    monkeypatch.setattr(_session, "CONNECTIONS", 1)
    with FaultServer(ANSWER) as one, FaultServer(ANSWER) as other:

        async def both(client):
            return [await fetched(client), await fetched(client, f"{other.url}/x")]

        assert run(one.url, both) == [[b"fine", b"fine"]]


def test_a_connection_that_brings_bytes_while_it_is_idle_is_not_used_again():
    with FaultServer([*ANSWER, Gate("more"), b"surplus", Hold()], ANSWER) as server:

        async def twice(client):
            first = await fetched(client)
            server.open("more")
            (session,) = client._sessions.values()
            while session._idle[server.url][0].is_idle:  # noqa: ASYNC110 -- nothing tells that bytes have come
                await asyncio.sleep(0)
            return [first, await fetched(client)]

        assert run(server.url, twice) == [[b"fine", b"fine"]]
        assert server.connected == 2


def test_a_call_that_is_cancelled_while_it_waits_for_its_turn_sends_nothing(monkeypatch):
    async def cancelled(client):
        await fetched(client)  # so that a connection is open
        call = CallContext(Timeout(total=60))

        async def wait(_turns):
            call.cancel()
            for _ in range(3):  # during this time, the loop notices it
                await asyncio.sleep(0)

        monkeypatch.setattr(_session.Turns, "has_room", lambda _turns: False)
        monkeypatch.setattr(_session.Turns, "wait", wait)
        await client.fetch(HttpRequest("/", {}), call)

    with FaultServer([*ANSWER, Hold()]) as server:
        (error,) = run(server.url, cancelled)
    assert "the call was cancelled" in str(error)
    assert len(server.requests) == 1
