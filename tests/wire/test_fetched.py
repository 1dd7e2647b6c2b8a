"""A token that one call fetches for all calls: at once, after a refusal, and when the fetching call fails or is cancelled."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from providerhub import (
    AuthenticationError,
    Finish,
    Hub,
    ModelInfo,
    PluginError,
    ProviderConfig,
    ProviderInfo,
    ServerError,
    Settings,
)
from providerhub.testing import FaultServer, http_response
from providerhub.wire_provider import Fetched, HttpRequest, JsonReading, WireProvider

CALLS = 12
FINE = {"text": "fine"}


class Service:
    """A service whose token endpoint gives one token after the other. The chat takes the latest one only."""

    def __init__(self):
        self.paths, self.number, self.refuses, self.broken = [], 0, 0, False
        self.asked, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, request):
        self.paths.append(request.path)
        if request.path == "/token":
            self.asked.set()
            self.go.wait(60)
            self.number += 1
            return http_response(500) if self.broken else http_response(body={"token": f"secret-{self.number}"})
        if request.header("authorization") != f"Bearer secret-{self.number}" or self.refuses:
            self.refuses = max(0, self.refuses - 1)
            return http_response(401, {"error": f"bad {request.header('authorization')}"})
        return http_response(body=FINE)


class Reader(JsonReading):
    def event(self, data, name):
        yield data["text"]
        self.done = True
        yield Finish("stop")


class Acme(WireProvider):
    seconds = None

    def __init__(self, config):
        super().__init__(config)
        self.token = Fetched(self.fetch)

    def fetch(self):
        answer = yield HttpRequest("/token", {})
        return answer.json()["token"], self.seconds

    def build(self, request, call):
        token = yield from self.token.get(call)
        return HttpRequest("/talk", {}, headers={"Authorization": f"Bearer {token}"}, stream=request.stream)

    def reading(self, request, call, headers):
        return Reader(call, headers)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def hub_of(service):
    hubs = []

    def make(kind=Acme):
        hub = Hub(Settings(autoload=False))
        info = ProviderInfo(name="acme", models=(ModelInfo("m"),))
        hub.register(info, kind(ProviderConfig(name="acme", url=server.url, api_key="canary")))
        hubs.append(hub)
        return hub

    with FaultServer(service) as server:
        yield make
        for hub in hubs:
            hub.close()


def _in_threads(hub, count=CALLS):
    with ThreadPoolExecutor(count) as pool:
        return [
            future.exception() or future.result().text for future in [pool.submit(hub.complete, "m", "x") for _ in range(count)]
        ]


def _in_tasks(hub, count=CALLS):
    async def ask():
        found = await asyncio.gather(*(hub.acomplete("m", "x") for _ in range(count)), return_exceptions=True)
        await hub.aclose()
        return found

    return [one if isinstance(one, Exception) else one.text for one in asyncio.run(ask())]


@pytest.fixture(params=[_in_threads, _in_tasks], ids=["threads", "tasks"])
def many(request):
    return request.param


def test_many_calls_fetch_the_token_once(hub_of, service, many):
    assert many(hub_of()) == ["fine"] * CALLS
    assert service.paths.count("/token") == 1


def test_a_refused_token_is_fetched_once_and_costs_no_call(hub_of, service, many, caplog):
    hub = hub_of()
    assert str(hub.complete("m", "x")) == "fine"
    service.number += 100  # the service now has another token
    assert many(hub) == ["fine"] * CALLS
    assert service.paths.count("/token") == 2
    assert "calls skip it" not in caplog.text


def test_a_second_refusal_in_a_row_is_that_of_the_key(hub_of, service, caplog):
    hub = hub_of()
    service.refuses = 2
    with pytest.raises(AuthenticationError, match=r"bad Bearer \*\*\*") as caught:
        hub.complete("m", "x")
    assert len(caught.value.route.attempts) == 2
    assert "calls skip it" in caplog.text
    with pytest.raises(AuthenticationError, match="rejected the key"):
        hub.complete("m", "x")
    assert service.paths == ["/token", "/talk"] * 2


def test_a_late_refusal_of_the_old_token_keeps_the_new_token(service, hub_of):
    token, first, second = Fetched(lambda: iter(())), object(), object()
    token._held = first
    token._forget(second)
    assert token._held is first


def test_calls_that_wait_get_the_error_of_the_one_that_fetches(hub_of, service, many):
    service.broken = True
    service.go.clear()
    timer = threading.Timer(0.3, service.go.set)  # until all calls wait; later calls fetch the token themselves
    timer.start()
    found = many(hub_of())
    timer.join()
    assert {type(error) for error in found} == {ServerError}
    assert service.paths.count("/token") <= 2 * CALLS  # each call has two attempts; most calls wait for another call


def test_another_call_goes_on_when_the_one_that_fetches_is_cancelled(hub_of, service):
    hub = hub_of()
    service.go.clear()

    async def ask():
        first = asyncio.create_task(hub.acomplete("m", "x"))
        await asyncio.to_thread(service.asked.wait, 30)
        second = asyncio.create_task(hub.acomplete("m", "x"))
        for _ in range(50):
            await asyncio.sleep(0)
        first.cancel()
        service.go.set()
        found = await second
        await hub.aclose()
        return found.text, await asyncio.gather(first, return_exceptions=True)

    text, (error,) = asyncio.run(ask())
    assert text == "fine"
    assert isinstance(error, asyncio.CancelledError)


def test_a_token_whose_time_is_over_is_fetched_again(hub_of, service):
    class Short(Acme):
        seconds = 0.0

    hub = hub_of(Short)
    assert [str(hub.complete("m", "x")) for _ in range(2)] == ["fine", "fine"]
    assert service.paths == ["/token", "/talk"] * 2


@pytest.mark.parametrize("given", ["secret", ("secret", "60"), None])
def test_a_wrong_result_is_named_with_its_fix(hub_of, given):
    class Wrong(Acme):
        def fetch(self):
            yield HttpRequest("/token", {})
            return given

    with pytest.raises(PluginError, match=r"fetch\(\) returned .*; return the value, and its seconds or None"):
        hub_of(Wrong).complete("m", "x")
