"""Servers of other projects, each in its own process on loopback, or the reason why a server is missing."""

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

import providerhub
from providerhub import ProviderConfig

HERE = Path(__file__).resolve().parent
KEY = "sk-interop-0123456789"
LITELLM = f"""
model_list:
  - model_name: mock
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "Hello from the other side"}}
  - model_name: mock-claude
    litellm_params: {{model: anthropic/claude-haiku-4-5, api_key: none, mock_response: "Hello from the other side"}}
  - model_name: busy
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "litellm.RateLimitError"}}
  - model_name: broken
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "litellm.InternalServerError"}}
  - model_name: full
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "litellm.ContextWindowExceededError"}}
general_settings: {{master_key: {KEY}}}
litellm_settings: {{num_retries: 0, request_timeout: 20, telemetry: false}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
"""


def home(name):
    """Where a server's Python is; skips with the reason when it is not."""
    folder = os.environ.get("PROVIDERHUB_INTEROP")
    if not folder:
        pytest.skip("PROVIDERHUB_INTEROP names no folder with servers; `tox -e interop` makes one")
    reason = Path(folder) / f"{name}.failed"
    if reason.exists():
        pytest.skip(f"{name}: {reason.read_text('utf-8')}")
    if not (Path(folder) / name / "installed").exists():
        pytest.skip(f"{name} was never installed into {folder}")
    return Path(folder) / name / "bin"


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Server:
    """A process that says when it is ready, as uvicorn does."""

    def __init__(self, command, port, log, ready="Uvicorn running on", **environment):
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        quiet = {"PYTHONUNBUFFERED": "1", "NO_PROXY": "*", "PYTHONSAFEPATH": "", **environment}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                list(map(str, command)),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **quiet},
                cwd=log.parent,
            )
            said = deque(maxlen=40)
            for line in self._process.stdout:
                out.write(line)
                said.append(line.decode("utf-8", "replace"))
                if ready in said[-1]:
                    break
            else:
                pytest.fail("the server ended before it was ready:\n" + "".join(said))
        # From here on, a process empties the pipe, so that it does not fill up.
        self._drain = subprocess.Popen(
            [sys.executable, "-c", "import sys; [None for _ in sys.stdin.buffer]"], stdin=self._process.stdout
        )

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._drain.wait()


@pytest.fixture(scope="session")
def litellm(tmp_path_factory):
    bin_, folder, port = home("litellm"), tmp_path_factory.mktemp("litellm"), free_port()
    (folder / "config.yaml").write_text(LITELLM, "utf-8")
    command = [
        bin_ / "litellm",
        "--config",
        folder / "config.yaml",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--telemetry",
        "False",
    ]
    server = Server(command, port, folder / "log", LITELLM_LOCAL_MODEL_COST_MAP="True", DISABLE_ADMIN_UI="True")
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    bin_, folder, port = home("llama_cpp"), tmp_path_factory.mktemp("llama"), free_port()
    model = folder / "random.gguf"
    subprocess.run([bin_ / "python", HERE / "random_model.py", model], check=True)
    command = [
        *(bin_ / "python", "-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", port),
        *("--model", model, "--model_alias", "random", "--n_ctx", "512", "--chat_format", "chatml", "--n_threads", "1"),
    ]
    server = Server(command, port, folder / "log")
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory):
    """`llama_server(*more)`: the address of llama.cpp's own server; with "embeddings", it makes embeddings too."""
    python, folder, servers = home("xllamacpp") / "python", tmp_path_factory.mktemp("llama_server"), {}
    model = folder / "random.gguf"
    subprocess.run([python, HERE / "random_model.py", model], check=True)

    def start(*more):
        if more not in servers:
            port = free_port()
            command = [python, HERE / "llama_server.py", model, port, KEY, *more]
            servers[more] = Server(command, port, folder / f"log{len(servers)}", ready="serves at")
        return servers[more].url

    yield start
    for server in servers.values():
        server.stop()


@pytest.fixture
def hub_at():
    hubs = []

    def make(plugin, url, **config):
        config = {"api_key": KEY, **config}
        settings = providerhub.Settings(
            providers={plugin: ProviderConfig(url=url, **config)}, allow=(plugin,), retry=providerhub.RetryPolicy(attempts=1)
        )
        hubs.append(providerhub.Hub(settings))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close()


def ask_sync(hub, model, messages="Hello", *, stream=False, **knobs):
    if not stream:
        return [], hub.complete(model, messages, **knobs)
    with hub.complete(model, messages, stream=True, **knobs) as answer:
        return list(answer), answer.completion


def ask_async(hub, model, messages="Hello", *, stream=False, **knobs):
    async def ask():
        if not stream:
            return [], await hub.acomplete(model, messages, **knobs)
        async with await hub.acomplete(model, messages, stream=True, **knobs) as answer:
            return [token async for token in answer], answer.completion

    return asyncio.run(ask())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request):
    return request.param
