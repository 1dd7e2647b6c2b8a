"""A Dask cluster with real workers, and the processes of loky."""

import contextlib
import copyreg
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

import providerhub
from providerhub import ConfigurationError, Hub, ProviderConfig, Settings
from providerhub.testing import FaultServer, Gate, http_response, openai_completion, openai_error

pytestmark = [
    pytest.mark.unix,
    pytest.mark.filterwarnings("ignore"),  # warnings of distributed, its event loops and its processes
    pytest.mark.timeout(240),
]

CANARY = "sk-canary-5f2c"
FINE = http_response(body=openai_completion("fine"))
DOWN = http_response(500, openai_error("down"))


@pytest.fixture(scope="module", autouse=True)
def _pickles_as_before():
    """Restore the pickling of exceptions: the import of distributed changes it, and other tests check it."""
    before = dict(copyreg.dispatch_table)
    yield
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers, each a process with two threads, which have the key in their environment."""
    from distributed import LocalCluster  # not at collection, see above

    os.environ["OPENAI_API_KEY"] = CANARY
    made = LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
        local_directory=tmp_path_factory.mktemp("dask"),
    )  # fmt: skip
    yield made
    made.close()
    del os.environ["OPENAI_API_KEY"]


@pytest.fixture
def pids(cluster):
    return lambda: [nanny.pid for nanny in cluster.workers.values()]


@pytest.fixture
def served(monkeypatch):
    """`served(*scripts)`: a server, and a hub of this process that finds it by a variable that the workers do not have."""
    made = []

    def start(*scripts, repeat=True, **config):
        server = FaultServer(*scripts, repeat=repeat)
        server.__enter__()
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        hub = Hub(Settings(providers={"openai": ProviderConfig(**config)} if config else {}, allow=("openai",)))
        made.extend((server, hub))
        return server, hub

    yield start
    for one in reversed(made):
        one.__exit__(None, None, None)


def dask(cluster):
    return f"dask:{cluster.scheduler_address}"


def rows(count, text="Hello"):
    return ({"model": "openai/m", "messages": text} for _ in range(count))


def test_equal_requests_are_as_many_calls(cluster, served):
    server, hub = served(FINE)
    outcomes = list(hub.complete_many(rows(20), executor=dask(cluster), concurrency=4))
    assert {outcome.unwrap().text for outcome in outcomes} == {"fine"}
    assert sorted(outcome.index for outcome in outcomes) == list(range(20))
    assert len(server.requests) == 20
    assert {dict(request.headers)["Authorization"] for request in server.requests} == {f"Bearer {CANARY}"}


def test_the_command(cluster, served, tmp_path):
    """A worker is killed while it makes a call: the result says that it may have been paid for twice."""
    server, _ = served([Gate("held")], FINE)
    (tmp_path / "in.jsonl").write_text("".join(f'{{"messages": "{number}"}}\n' for number in range(20)))
    words = ["batch", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "-m", "openai/m", "--executor", dask(cluster)]
    with subprocess.Popen([sys.executable, "-m", "providerhub", *words], stderr=subprocess.PIPE, text=True) as command:
        server.reached("held", timeout=60)
        for nanny in cluster.workers.values():
            os.kill(nanny.pid, signal.SIGKILL)
        _, said = command.communicate(timeout=120)
    last = said.splitlines()[-1]  # before it, Dask may warn of a result that was lost with its worker
    assert (command.returncode, last.partition(";")[0]) == (0, "20 answered, 0 failed")
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert sorted(result["line"] for result in results) == list(range(1, 21))
    assert any(result.get("resent") for result in results)


def test_equal_requests_at_an_executor_of_dask_itself(cluster, served):
    from distributed import Client

    server, hub = served(FINE)
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        for _ in range(2):
            assert len(list(hub.complete_many(list(rows(5)), executor=client.get_executor(), concurrency=4))) == 5
    assert len(server.requests) == 10


def test_a_refusal_comes_back(cluster, served):
    _, hub = served(http_response(400, openai_error("no")))
    [outcome] = hub.complete_many(rows(1), executor=dask(cluster))
    assert isinstance(outcome.error, providerhub.BadRequestError)
    assert outcome.error.route.attempts[0].provider == "openai"


def test_faults_and_a_killed_worker_lose_nothing(cluster, served, pids):
    _, hub = served(FINE, FINE, DOWN, FINE, FINE)
    outcomes = []
    for outcome in hub.complete_many(rows(400), executor=dask(cluster), concurrency=4):
        outcomes.append(outcome)
        if len(outcomes) == 100:
            os.kill(pids()[0], signal.SIGKILL)
    assert sorted(outcome.index for outcome in outcomes) == list(range(400))
    assert all(outcome.error is None for outcome in outcomes)
    assert sum(outcome.resent for outcome in outcomes) <= 4


def test_a_row_is_sent_twice_at_most(cluster, served, pids):
    gates = [Gate("first"), Gate("second")]
    server, hub = served(*([gate] for gate in gates), FINE)

    def sender():
        for pid in filter(None, pids()):
            with contextlib.suppress(psutil.Error):  # it has just been killed
                if any(one.raddr[-1:] == (server.port,) for one in psutil.Process(pid).net_connections()):
                    return pid
        raise AssertionError

    def kill():
        for gate in gates:
            server.reached(gate.name, timeout=60)
            # Not the other worker: it may have the row again by now, and has not sent it yet.
            os.kill(sender(), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    [outcome] = hub.complete_many(rows(1), executor=dask(cluster))
    killer.join()
    assert outcome.resent
    assert "worker" in str(outcome.error)
    assert len(server.requests) == 2


def pages(link):
    """The text of all pages that the dashboard of the scheduler lists."""
    base = link.rpartition("/")[0]
    with urlopen(f"{base}/sitemap.json") as found:
        paths = json.load(found)["paths"]
    texts = [base]
    for path in paths:
        with contextlib.suppress(HTTPError), urlopen(base + path) as page:
            texts.append(page.read().decode("utf-8", "replace"))
    return texts


def test_no_key_is_in_the_cluster(cluster, served, tmp_path_factory, caplog, capfd):
    """Neither a task, an event or a log, nor a page of the dashboard or a file has the key, while a call is under way."""
    refusal = openai_error(f"Incorrect API key provided: {CANARY}", code="invalid_api_key")
    server, hub = served([Gate("held"), *FINE], http_response(401, refusal))
    seen = []

    async def look(dask_scheduler):
        tasks = [repr(task) + repr(task.run_spec) for task in dask_scheduler.tasks.values()]
        return str([tasks, dask_scheduler.get_logs(), list(dask_scheduler.get_events().values()), dask_scheduler.transition_log])

    def spy():
        from distributed import Client

        server.reached("held", timeout=60)
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            seen.extend([client.run_on_scheduler(look), *pages(cluster.dashboard_link)])
        server.open("held")

    spying = threading.Thread(target=spy)
    spying.start()
    [outcome] = hub.complete_many(rows(1), executor=dask(cluster))
    spying.join()
    assert outcome.unwrap().text == "fine"
    with pytest.raises(providerhub.AuthenticationError) as refused:
        list(hub.complete_many(rows(1), executor=dask(cluster)))
    assert "providerhub-" in seen[0]
    assert len(seen) > 5
    files = [path.read_bytes() for path in tmp_path_factory.getbasetemp().rglob("*") if path.is_file()]
    for text in (*seen, repr(refused.value), str(files), caplog.text, *capfd.readouterr(), str(cluster.get_logs())):
        assert CANARY not in text


def test_a_key_in_the_settings_is_refused_at_once(cluster, served):
    server, hub = served(FINE, api_key=CANARY)
    with pytest.raises(ConfigurationError, match="key_travels"):
        list(hub.complete_many(rows(3), executor=dask(cluster)))
    assert server.requests == []


def test_a_scheduler_that_there_is_not(served):
    import dask as library

    _, hub = served(FINE)
    with library.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(ConfigurationError, match="scheduler"):
        list(hub.complete_many(rows(1), executor="dask://127.0.0.1:9"))


def test_loky(served, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    server, hub = served(FINE)
    outcomes = list(hub.complete_many(rows(6), executor="loky:2", concurrency=2))
    assert {outcome.unwrap().text for outcome in outcomes} == {"fine"}
    assert len(server.requests) == 6


def test_loky_replaces_killed_processes(served, monkeypatch):
    import psutil

    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    server, hub = served([Gate("held")], FINE)
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    def kill():
        server.reached("held", timeout=60)
        for child in psutil.Process().children(recursive=True):
            if child.pid not in before and "loky.backend.popen_loky" in " ".join(child.cmdline()):
                child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    [outcome] = hub.complete_many(rows(1), executor="loky:1", concurrency=1)
    killer.join()
    assert outcome.resent
    assert outcome.unwrap().text == "fine"


@pytest.mark.parametrize("text", ["loky:0", "loky:many"])
def test_a_wrong_number_of_processes(served, text):
    _, hub = served(FINE)
    with pytest.raises(ConfigurationError, match="1 or more"):
        list(hub.complete_many(rows(1), executor=text))
