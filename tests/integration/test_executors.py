"""Many calls in other processes: the pickle of a hub, the keys that stay here, and the rows of a killed process."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading

import pytest

from providerhub import (
    ConfigurationError,
    Hub,
    InvalidRequestError,
    ProviderConfig,
    Secret,
    Settings,
)
from providerhub._calling import executors
from providerhub._settings.secrets import CommandKey, EnvironmentKey, FileKey
from providerhub.testing import FaultServer, Gate, Hold, Mark, http_response, openai_completion

CANARY = "sk-canary-5f2c"
FINE = http_response(body=openai_completion("fine"))


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)


def hub(**config):
    return Hub(Settings(providers={"openai": ProviderConfig(**config)} if config else {}, allow=("openai",)))


def ask(text="Hello"):
    return {"model": "openai/m", "messages": text}


@pytest.mark.parametrize("asked", [False, True], ids=["before the first call", "after it"])
@pytest.mark.parametrize("kind", ["environment", "file", "command", "variable of the plugin"])
def test_a_key_stays_where_it_is(monkeypatch, tmp_path, kind, asked):
    monkeypatch.setenv("ACME_KEY", CANARY)
    (tmp_path / "key").write_text(CANARY)
    sources = {
        "environment": EnvironmentKey("ACME_KEY"),
        "file": FileKey(str(tmp_path / "key")),
        "command": CommandKey(("cat", str(tmp_path / "key"))),
    }
    with FaultServer(FINE, repeat=True) as server:
        if kind in sources:
            here = hub(url=server.url, api_key=Secret.later(sources[kind]))
        else:
            monkeypatch.setenv("OPENAI_API_KEY", CANARY)
            here = hub(url=server.url)
        if asked:
            here.complete(**ask())
        data = pickle.dumps(here)
        assert CANARY.encode() not in data
        assert CANARY not in repr(pickle.loads(data).settings)
        there = pickle.loads(data)
        assert there.complete(**ask()).text == "fine"
        assert dict(server.requests[-1].headers)["Authorization"] == f"Bearer {CANARY}"
        there.close()
        here.close()


@pytest.mark.parametrize(
    "config",
    [
        {"api_key": CANARY},
        {"headers": {"X-Api-Key": CANARY}},
        {"proxies": {"https": f"http://user:{CANARY}@proxy.example:3128"}},
    ],
    ids=["key", "header", "proxy"],
)
def test_a_key_in_the_settings_goes_to_another_machine_only_by_name(config):
    with hub(url="http://127.0.0.1:9", **config) as here:
        with pytest.raises(ConfigurationError, match=r"key_travels = true") as caught:
            pickle.dumps(here)
        assert CANARY not in str(caught.value)
    with hub(url="http://127.0.0.1:9", key_travels=True, **config) as here:
        assert CANARY.encode() in pickle.dumps(here)


def test_what_variables_say_here_goes_along(monkeypatch):
    with FaultServer(FINE, repeat=True) as server, FaultServer(FINE, repeat=True) as other:
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with hub() as here:
            data = pickle.dumps(here)
        for elsewhere in (None, other.url):
            monkeypatch.setenv("OPENAI_BASE_URL", elsewhere) if elsewhere else monkeypatch.delenv("OPENAI_BASE_URL")
            there = pickle.loads(data)
            assert there.complete(**ask()).text == "fine"
        there.close()
        assert (len(server.requests), len(other.requests)) == (2, 0)


def test_a_variable_that_is_not_set_here_does_not_count_there(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with hub() as here:
        data = pickle.dumps(here)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PROVIDERHUB_TIMEOUT", "7")
    with pickle.loads(data) as there:
        assert there.settings.timeout.total == 600
        assert there._registry.instance("openai").config.url == "https://api.openai.com/v1"


def test_a_plugin_without_an_executor_is_named(monkeypatch):
    monkeypatch.setattr(executors, "factory_of", lambda text: lambda text, concurrency: None)
    with pytest.raises(ConfigurationError, match="'tide:2': its plugin returned NoneType, not a concurrent"):
        executors.executor_of("tide:2", 4)


@pytest.mark.parametrize("text", ["absent:4", "absent", "processes:0", "processes:many"])
def test_an_executor_that_there_is_not(text):
    with hub() as here, pytest.raises(ConfigurationError, match="executor"):
        list(here.complete_many([ask()], executor=text))


def test_an_executor_of_the_wrong_type():
    with hub() as here, pytest.raises(InvalidRequestError, match="processes:4"):
        here.complete_many([ask()], executor=5)


def test_processes_take_the_keys_of_the_settings():
    with FaultServer(FINE, repeat=True) as server, hub(url=server.url, api_key=CANARY) as here:
        outcomes = list(here.complete_many([ask(str(n)) for n in range(6)], executor="processes:2", concurrency=2))
        assert {outcome.unwrap().text for outcome in outcomes} == {"fine"}
        assert not any(outcome.resent for outcome in outcomes)
        assert len(server.requests) == 6


@pytest.mark.unix
@pytest.mark.parametrize("kills", [1, 2])
def test_a_row_of_a_killed_process_is_sent_once_more(kills):
    held = [Gate(f"held {number}") for number in range(kills)]
    with FaultServer(*([gate] for gate in held), FINE, FINE, repeat=True) as server, hub(url=server.url, api_key=CANARY) as here:

        def kill():
            for gate in held:
                server.reached(gate.name, timeout=60)
                for child in multiprocessing.active_children():
                    os.kill(child.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        [outcome] = here.complete_many([ask()], executor="processes:1", concurrency=1)
        killer.join()
    assert outcome.resent
    assert len(server.requests) == 2
    assert (outcome.error is None) is (kills == 1)


LEFT = """
import os, sys
from providerhub import Hub, ProviderConfig, Settings

url, how = sys.argv[1:]
hub = Hub(Settings(providers={"openai": ProviderConfig(url=url)}, allow=("openai",)))
requests = [{"model": "openai/m", "messages": str(n)} for n in range(4)]
left = hub.complete_many(requests, executor="processes:2", concurrency=2)
print(next(left).completion, flush=True)
if how == "closed":
    left.close()
if how == "failed":
    raise ValueError("left")
if how == "killed":
    sys.stdin.readline()
"""


@pytest.mark.unix
@pytest.mark.parametrize("how", ["open", "closed", "failed", "killed"])
def test_a_silent_service_leaves_no_process_behind(how):
    """The reads of the pipes end with the last process that has them."""
    with FaultServer(FINE, [Mark("asked"), Hold()], repeat=True) as server:
        command = [sys.executable, "-c", LEFT, server.url, how]
        environment = {**os.environ, "OPENAI_API_KEY": CANARY}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
            assert child.stdout.readline() == "fine\n"
            if how == "killed":
                server.reached("asked", times=1, timeout=60)
                child.kill()
            said, complaints = child.communicate(timeout=60)
    assert said == ""
    assert ("ValueError: left" in complaints) == (how == "failed")
