"""The turns that a process takes in advance: few requests to the server, and the limits still hold."""

import json
import queue
import subprocess
import sys
import textwrap
import threading

import pytest
import redis

from providerhub import Claim

pytestmark = [pytest.mark.unix, pytest.mark.usefixtures("patient")]

MARGIN = 0.95  # the share of a rate that is used


def scripts_run(server):
    """How often the server was asked for turns."""
    with redis.Redis.from_url(server.url) as client:
        return client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)


@pytest.mark.parametrize("limits", [{"concurrency": 50}, {"rpm": 1e8}, {"concurrency": 50, "rpm": 1e8, "tpm": 1e11}], ids=str)
def test_most_calls_ask_the_server_nothing(server, worker, limits):
    hub, provider, _ = worker(server.url, limits=limits, answer=20.0)
    for _ in range(1000):
        hub.complete("acme/m", "?")
    assert provider.asked == 1000
    assert scripts_run(server) <= 250


def test_a_process_that_waits_gets_what_another_keeps(server, worker):
    """The first process keeps two calls at once, which it does not need. It learns that the second one waits."""
    limits, together, hubs = {"concurrency": 2}, threading.Barrier(2), []
    for _ in range(2):
        hub, provider, _ = worker(server.url, limits=limits, answer=20.0)
        hubs.append(hub)
        provider.stream = lambda _request, _call: iter([f"fine{together.wait(60)}"])
    for hub in hubs:
        two = [{"model": "acme/m", "messages": "?", "timeout": 20}] * 2
        assert [outcome.error for outcome in hub.complete_many(two, concurrency=2)] == [None, None]


def test_turns_under_other_limits_are_asked_for(server, connect):
    """The limits of a lane change while calls are under way: what is in stock is for the earlier ones."""
    store, answers = connect(server.url, answer=20.0), queue.Queue()
    rate, both = (("lane", None, 1e-6, None),), (("lane", 2, 1e-6, None),)
    for number, lanes in enumerate((rate, both, both, both)):
        if store.claim(claim := Claim(f"c{number}", lanes, 0.0), lambda *found: answers.put(found)) is None:
            answers.put(("", 0.0))
        assert answers.get(timeout=60)[0] == ("" if number < 3 else "concurrency")
    store.give_back(claim, None)  # it has no turn
    with redis.Redis.from_url(server.url) as client:
        [key] = client.keys("*:calls")
        assert sum(map(int, client.hvals(key))) == 2


def test_tokens_that_were_taken_ahead_are_given_back(server, worker):
    first, _, store = worker(server.url, limits={"tpm": 1e6}, answer=20.0)
    for _ in range(50):
        first.complete("acme/m", "?", max_tokens=100)
    with redis.Redis.from_url(server.url) as client:
        [key] = client.keys("*:tokens")
        while sum(map(float, client.hvals(key))) > 50 * 110:
            store._wake()
    assert store.is_up


WORKER = """
    import json, sys, threading, time
    from providerhub import Hub, ModelInfo, ProviderConfig, ProviderInfo, Settings, Shared, Usage, UsageDelta

    class Timed:
        spans = []
        def stream(self, request, call):
            begun = time.monotonic()
            time.sleep(0.002)
            yield "fine"
            yield UsageDelta(Usage(input_tokens=10, output_tokens=10))
            self.spans.append((begun, time.monotonic()))

    hub = Hub(Settings(autoload=False), shared=Shared(sys.argv[1], answer=20.0))
    config = ProviderConfig(url="https://acme.example", api_key="sk-1", **json.loads(sys.argv[2]))
    hub.register(ProviderInfo(name="acme", models=(ModelInfo("m"),), needs_auth=True), Timed(), config=config)
    while not hub._sharing._store.is_up:
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.readline()
    rows = ({"model": "acme/m", "messages": "?", "max_tokens": 10} for _ in range(300))
    errors = sum(outcome.error is not None for outcome in hub.complete_many(rows, concurrency=8))
    print(json.dumps([errors, Timed.spans]))
    hub.close()
"""


@pytest.fixture
def processes(server):
    """Run three workers at the same time; return the errors, and the beginning and the end of each call."""

    def run(**limits):
        command = [sys.executable, "-c", textwrap.dedent(WORKER), server.url, json.dumps(limits)]
        children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        found = [json.loads(child.communicate(timeout=120)[0]) for child in children]
        return sum(errors for errors, _ in found), sorted(tuple(span) for _, spans in found for span in spans)

    return run


def test_processes_keep_the_calls_at_once(processes):
    errors, spans = processes(concurrency=5)
    assert (errors, len(spans)) == (0, 900)
    changes = sorted([(begun, 1) for begun, _ in spans] + [(ended, -1) for _, ended in spans])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    assert most <= 5


def test_processes_keep_the_rate(processes):
    errors, spans = processes(rpm=60_000)
    assert (errors, len(spans)) == (0, 900)
    starts, each = [begun for begun, _ in spans], 60 / (MARGIN * 60_000)
    # A start may be 50 ms early or late. The machine may delay the start before it by more.
    assert starts[-1] - starts[0] >= 899 * each - 0.15
