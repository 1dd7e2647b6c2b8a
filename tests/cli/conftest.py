"""The command line, in this process and in a separate process, without the user's settings."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from providerhub.cli._app import app
from providerhub.testing import FaultServer
from providerhub_lockchat.sandbox import serve


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items):
    for item in items:
        if "terminal" in getattr(item, "fixturenames", ()):
            item.add_marker("once")
            item.add_marker("unix")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path_factory):
    nowhere = str(tmp_path_factory.mktemp("home"))
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, nowhere)
    for name in [n for n in os.environ if n.startswith(("PROVIDERHUB_", "LOCKCHAT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PROVIDERHUB_CONFIG", os.devnull)
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", nowhere)


@pytest.fixture
def settings_file(monkeypatch, tmp_path):
    """The user's settings file, which is empty."""
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("PROVIDERHUB_CONFIG", str(path))
    path.touch(0o600)
    return path


@pytest.fixture
def sandbox(monkeypatch):
    """A context manager: the sandbox, configured as the provider `lockchat`."""

    def start(**how):
        manager = serve(**{"delay": 0.0, **how})
        monkeypatch.setenv("LOCKCHAT_URL", manager.__enter__())
        started.append(manager)

    started = []
    yield start
    for manager in started:
        manager.__exit__(None, None, None)


@pytest.fixture
def service(monkeypatch):
    """A context manager: a service that plays scripts and keeps the requests, configured as the provider `lockchat`."""

    def start(*scripts, **how):
        server = FaultServer(*scripts, **how)
        started.append(server)
        monkeypatch.setenv("LOCKCHAT_URL", server.url)
        return server

    started = []
    yield start
    for server in started:
        server.__exit__(None, None, None)


@pytest.fixture
def cli():
    """Run a command in this process."""

    def run(*words, **knobs):
        return CliRunner().invoke(app, words, prog_name="providerhub", **knobs)

    return run


@pytest.fixture
def script():
    """The installed script."""
    return str(Path(sysconfig.get_path("scripts")) / "providerhub")


@pytest.fixture
def terminal(script):
    """Run the installed script in a pseudo-terminal."""
    pexpect = pytest.importorskip("pexpect", reason="pseudo-terminals are for POSIX")

    def run(*words, term="dumb", **environ):
        environment = {**os.environ, "TERM": term, "NO_COLOR": "1", **environ}
        child = pexpect.spawn(script, list(words), env=environment, encoding="utf-8", timeout=60, dimensions=(50, 120))
        started.append(child)
        return child

    started = []
    yield run
    for child in started:
        child.close(force=True)


@pytest.fixture
def process(script):
    """Run the installed script in a process of its own."""

    def run(*words, env=None, **knobs):
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            [script, *words], env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False, **knobs
        )

    return run
