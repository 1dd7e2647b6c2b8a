"""Limits that several processes keep together, through a real server."""

import asyncio
import threading
import time

import pytest
import redis

from providerhub import Claim, ModelInfo, ProviderConfig, ProviderHubError, ProviderInfo, RateLimitError, Usage, UsageDelta

pytestmark = pytest.mark.unix


class Timed:
    """Notes the starts of all calls, and the most at once; each call lasts until `go` is set."""

    def __init__(self):
        self.starts, self.now, self.most = [], 0, 0
        self.go = threading.Event()
        self.go.set()
        self.lock = threading.Lock()
        self.full = threading.Semaphore(0)

    def stream(self, _request, _call):
        with self.lock:
            self.starts.append(time.monotonic())
            self.now += 1
            self.most = max(self.most, self.now)
        self.full.release()
        self.go.wait(60)
        with self.lock:
            self.now -= 1
        yield "fine"
        yield UsageDelta(Usage(input_tokens=10, output_tokens=10))


@pytest.fixture
def workers(worker):
    """Make some hubs whose providers are one service with limits."""

    def make(url, number, *, limits, answer=20.0, **options):
        # The machine may be busy, so that a healthy server answers late.
        service, found, options = Timed(), [], {**options, "answer": answer}
        for _ in range(number):
            hub, provider, _ = worker(url, limits=limits, **options)
            provider.stream = service.stream
            found.append(hub)
        return service, found

    return make


def ask(hubs, each):
    """Let all hubs make calls at the same time; return the errors."""
    errors = []

    def work(hub):
        requests = [{"model": "acme/m", "messages": "?"} for _ in range(each)]
        errors.extend(outcome.error for outcome in hub.complete_many(requests, concurrency=each) if outcome.error)

    threads = [threading.Thread(target=work, args=(hub,)) for hub in hubs]
    for thread in threads:
        thread.start()
    return threads, errors


def test_all_workers_together_keep_the_rate(server, workers):
    service, hubs = workers(server.url, 3, limits={"rpm": 1200})
    before = time.monotonic()
    threads, errors = ask(hubs, 5)
    for thread in threads:
        thread.join()
    assert errors == []
    starts = sorted(service.starts)
    assert len(starts) == 15
    interval = 60 / (0.95 * 1200)
    assert starts[-1] >= before + 14 * interval - 0.05  # one may be 50 ms early


def test_all_workers_together_keep_the_calls_at_once(server, workers):
    service, hubs = workers(server.url, 3, limits={"concurrency": 2})
    service.go.clear()
    threads, errors = ask(hubs, 4)
    for _ in range(2):
        assert service.full.acquire(timeout=60)
    assert not service.full.acquire(timeout=0.5)
    service.go.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert service.most == 2
    assert len(service.starts) == 12


def test_tokens_count_for_all(server, workers):
    _, (first, second) = workers(server.url, 2, limits={"tpm": 2000})
    first.complete("acme/m", "?", max_tokens=1990)
    assert (
        second.complete("acme/m", "?", max_tokens=1900, timeout=30).text == "fine"
    )  # the first one has given back what it did not use
    with pytest.raises(ProviderHubError, match="tpm"):
        second.complete("acme/m", "word " * 8000, timeout=0.5)


def test_a_call_goes_elsewhere_where_others_have_used_the_limit_up(server, worker):
    pair = []
    for _ in range(2):
        hub, _, _ = worker(server.url, limits={"rpm": 1}, answer=20.0)
        hub.register(ProviderInfo(name="spare", models=(ModelInfo("m"),)), Timed(), config=ProviderConfig(priority=-1))
        pair.append(hub)
    assert [hub.complete("m", "?").provider for hub in pair] == ["acme", "spare"]
    plan = pair[1].explain("m")
    assert [(wait.provider, wait.reason) for wait in plan.waits] == [("acme", "rpm")]


def test_under_asyncio(server, workers):
    service, (hub,) = workers(server.url, 1, limits={"concurrency": 2})

    async def main():
        return await asyncio.gather(*(hub.acomplete("acme/m", "?") for _ in range(6)))

    assert [one.text for one in asyncio.run(main())] == ["fine"] * 6
    assert service.most <= 2


def test_a_limit_of_the_whole_account_and_one_of_a_model(server, worker):
    models = {"n": ModelInfo("n", rpm=1)}
    info = ProviderInfo(name="acme", models=(ModelInfo("m"), ModelInfo("n")), needs_auth=True)
    (first, _, _), (second, provider, _) = (
        worker(server.url, info=info, limits={"rpm": 3000, "model": models}, answer=20.0) for _ in range(2)
    )
    first.complete("acme/n", "?")
    with pytest.raises(ProviderHubError, match="rpm"):
        second.complete("acme/n", "?", timeout=1.0)
    assert second.complete("acme/m", "?").text == "fine"
    assert provider.asked == 1


@pytest.mark.usefixtures("patient")
def test_a_full_server_counts_nothing_and_each_process_goes_on(serve, workers, log):
    server = serve("--maxmemory", "1")
    _, (hub,) = workers(server.url, 1, limits={"rpm": 3000}, answer=0.5)
    assert hub.complete("acme/m", "?").text == "fine"
    assert "command not allowed" in log.wait_for("counts no calls")
    assert hub.complete("acme/m", "?").text == "fine"
    assert log.rest() == []


@pytest.mark.parametrize("state", ["killed", "paused"])
def test_without_the_server_each_process_keeps_the_limits_alone(server, workers, log, state):
    service, (hub,) = workers(server.url, 1, limits={"concurrency": 2}, answer=0.005)
    getattr(server, {"killed": "kill", "paused": "pause"}[state])()
    threads, errors = ask([hub], 6)
    threads[0].join()
    assert errors == []
    assert service.most <= 2
    log.wait_for("does not work")
    assert hub.complete("acme/m", "?").text == "fine"


def test_without_the_server_calls_are_refused_if_wanted(server, workers, log):
    service, (hub,) = workers(server.url, 1, limits={"concurrency": 2}, on_outage="refuse")
    assert hub.complete("acme/m", "?").text == "fine"
    server.kill()
    log.wait_for("does not work")
    with pytest.raises(ProviderHubError, match="shared limits unknown"):
        hub.complete("acme/m", "?", timeout=0.5)
    assert len(service.starts) == 1
    server.start()
    log.wait_for("works again")
    assert hub.complete("acme/m", "?", timeout=20).text == "fine"


def test_a_server_that_stops_answering_is_not_waited_for(server, workers):
    service, (hub,) = workers(server.url, 1, limits={"rpm": 60000}, answer=0.005)
    server.pause()
    for _ in range(20):
        assert hub.complete("acme/m", "?", timeout=5).text == "fine"
    assert len(service.starts) == 20


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("on_outage", ["local", "refuse"])
def test_a_slow_server_is_used_and_not_waited_for(server, slow, workers, log, on_outage):
    """Its answers come after 50 ms, and a call waits 5 ms: on_outage applies, and a late turn counts until it is given back."""
    service, (hub,) = workers(slow(server, 0.05), 1, limits={"concurrency": 2}, answer=0.005, on_outage=on_outage)
    threads, errors = ask([hub], 20)
    threads[0].join()
    assert errors == []
    assert service.most <= 2
    hub._sharing._store.close()
    with redis.Redis.from_url(server.url) as client:
        while client.keys("*:calls"):
            hub._sharing._store._wake()
    assert log.rest() == []


def test_a_slow_server_passes_statements_on(server, slow, worker):
    (first, asked, _), (_, _, store) = worker(server.url), worker(slow(server, 0.05))
    asked.error = RateLimitError("slow down", status=429, retry_after=60.0)
    with pytest.raises(ProviderHubError):
        first.complete("acme/m", "?", timeout=1.0)
    assert store.heard().what == "rate limited"


def test_the_slots_of_a_process_that_died_come_back(server, connect):
    """Its leases end. A lease that has ended is what the server holds then."""
    store = connect(server.url)
    claim = Claim("a-1", (("acme:00:m", 1, None, None),), 0.0)
    answers = []
    answered = threading.Semaphore(0)

    def answer(*found):
        answers.append(found)
        answered.release()

    with redis.Redis.from_url(server.url) as client:
        client.hset("providerhub:{providerhub}:lane:acme:00:m:calls", "dead", 1)
        client.zadd("providerhub:{providerhub}:lane:acme:00:m:leases", {"dead": time.time() + 30})
        assert store.claim(claim, answer)
        assert answered.acquire(timeout=60)
        client.zadd("providerhub:{providerhub}:lane:acme:00:m:leases", {"dead": time.time() - 1})
        assert store.claim(claim, answer)
        assert answered.acquire(timeout=60)
    assert [reason for reason, _ in answers] == ["concurrency", ""]


def test_a_process_that_closes_gives_its_turns_back(server, workers, connect):
    service, (first, second) = workers(server.url, 2, limits={"concurrency": 1})
    service.go.clear()
    thread = threading.Thread(target=first.complete, args=("acme/m", "?"))
    thread.start()
    assert service.full.acquire(timeout=60)
    first._sharing._store.close()
    service.go.set()
    assert second.complete("acme/m", "?", timeout=20).text == "fine"
    thread.join()
