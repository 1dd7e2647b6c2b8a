"""A Dask cluster with real workers, and the processes of loky."""

import copyreg
import logging
import os
import signal
import threading

import pytest

import providerhub
from providerhub import ConfigurationError, Hub, ProviderConfig, Settings
from providerhub.testing import FaultServer, Gate, http_response, openai_completion, openai_error

pytestmark = [
    pytest.mark.unix,
    pytest.mark.filterwarnings("ignore"),  # of distributed, its event loops and its processes
    pytest.mark.timeout(240),
]

CANARY = "sk-canary-5f2c"
FINE = http_response(body=openai_completion("fine"))
DOWN = http_response(500, openai_error("down"))


@pytest.fixture(scope="module", autouse=True)
def _pickles_as_before():
    """The import of distributed changes how this process pickles every exception, which other tests look at."""
    before = dict(copyreg.dispatch_table)
    yield
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process with two threads, which have the key in their environment."""
    from distributed import LocalCluster  # not at collection, see above

    os.environ["OPENAI_API_KEY"] = CANARY
    made = LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None, silence_logs=logging.CRITICAL)
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

    def kill():
        for gate in gates:
            server.reached(gate.name, timeout=60)
            for pid in pids():
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    [outcome] = hub.complete_many(rows(1), executor=dask(cluster))
    killer.join()
    assert outcome.resent
    assert "worker" in str(outcome.error)
    assert len(server.requests) == 2


def test_no_key_is_in_the_cluster(cluster, served):
    """Neither a task, nor an event, nor a log of the scheduler has the key, while a call is under way."""
    server, hub = served([Gate("held"), *FINE])
    seen = []

    async def look(dask_scheduler):
        tasks = [repr(task) + repr(task.run_spec) for task in dask_scheduler.tasks.values()]
        return str([tasks, dask_scheduler.get_logs(), list(dask_scheduler.get_events().values()), dask_scheduler.transition_log])

    def spy():
        from distributed import Client

        server.reached("held", timeout=60)
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            seen.append(client.run_on_scheduler(look))
        server.open("held")

    spying = threading.Thread(target=spy)
    spying.start()
    [outcome] = hub.complete_many(rows(1), executor=dask(cluster))
    spying.join()
    assert outcome.unwrap().text == "fine"
    assert "providerhub-" in seen[0]
    assert CANARY not in seen[0]


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
