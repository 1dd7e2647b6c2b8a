"""The core and the plugins on Windows, imitated on another system; `as_windows.py` describes the imitation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from providerhub.testing import FaultServer, http_response, openai_completion, openai_stream

AS_WINDOWS = Path(__file__).with_name("as_windows.py")

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="as_windows.py needs Linux")

IMPORT_ALL = """
import importlib, pkgutil
from importlib import metadata

packages = {"providerhub"}
for distribution in metadata.distributions():
    if distribution.name.startswith("providerhub-"):
        packages |= {point.module.partition(".")[0] for point in distribution.entry_points}
for package in sorted(packages):
    print(package)
    module = importlib.import_module(package)
    if package == "providerhub_dask":  # psutil, which Dask needs, has a binary for this system alone
        continue
    for found in pkgutil.walk_packages(module.__path__, f"{package}."):
        if not found.name.endswith(("__main__", ".hook-providerhub")):  # PyInstaller alone imports its hook
            importlib.import_module(found.name)
"""

CALLS = """
import asyncio, providerhub

settings = providerhub.Settings(providers={"openai": providerhub.ProviderConfig(url=URL, models=["m"])})
with providerhub.Hub(settings) as hub:
    print(hub.complete("m", "Hello").text, *hub.complete("m", "Hello", stream=True))

async def main():
    async with providerhub.Hub(settings) as hub:
        print((await hub.acomplete("m", "Hello")).text, *[text async for text in await hub.acomplete("m", "Hello", stream=True)])

asyncio.run(main())
"""

HOLD = """
import subprocess, sys
from pathlib import Path
from providerhub.cli._lock import locked

with locked(Path("out.jsonl.lock")):
    sys.exit(subprocess.run(COMMAND).returncode)
"""


@pytest.fixture
def windows(tmp_path, monkeypatch):
    """Run Python in a process that lacks what Windows lacks."""
    monkeypatch.setenv("PROVIDERHUB_CONFIG", os.devnull)

    def run(*words, code=0):
        command = [sys.executable, "-X", "warn_default_encoding", str(AS_WINDOWS), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=100, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def _answer(request):
    return openai_stream("fi", "ne") if request.json().get("stream") else http_response(200, openai_completion("fine"))


def test_every_module_is_imported(windows):
    packages = windows("-c", IMPORT_ALL).stdout.split()
    assert {"providerhub", "providerhub_conformance", "providerhub_lockchat", "providerhub_openai"} <= set(packages)


def test_calls_are_answered(windows):
    with FaultServer(_answer) as server:
        assert windows("-c", f"URL = {server.url!r}\n{CALLS}").stdout == "fine fi ne\nfine fi ne\n"


def test_the_command_line_starts(windows):
    assert "Usage: providerhub" in windows("-m", "providerhub", "--help").stdout


def test_the_doctor_looks_at_the_settings_file(windows, tmp_path, monkeypatch):
    file = tmp_path / "settings.toml"
    file.write_text("timeout = 3\n", "utf-8")
    monkeypatch.setenv("PROVIDERHUB_CONFIG", str(file))
    monkeypatch.setenv("LOCKCHAT_URL", "http://127.0.0.1:9")
    report = json.loads(windows("-m", "providerhub", "doctor", "--json").stdout)
    assert report["healthy"]
    assert report["settings"]["file"] == str(file)


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """A batch of two lines, as words of the command line."""
    (tmp_path / "in.jsonl").write_text('{"messages": "One"}\n{"messages": "Two"}\n', "utf-8")
    with FaultServer(_answer) as server:
        monkeypatch.setenv("LOCKCHAT_URL", server.url)
        yield ("-m", "providerhub", "batch", "in.jsonl", "-o", "out.jsonl", "-m", "gpt-4")


def test_a_batch_writes_its_results_and_leaves_no_lock(windows, tmp_path, batch):
    results = tmp_path / "out.jsonl"
    results.write_text('{"line": 1, "input": "0000000000000000", "status": "failed"}\n', "utf-8")
    windows(*batch, "--retry-failed")  # replaces the file
    assert [json.loads(line)["completion"]["text"] for line in results.read_text("utf-8").splitlines()] == ["fine"] * 2
    assert {file.name for file in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl"}


def test_a_second_batch_for_the_same_output_is_refused(windows, batch):
    command = [sys.executable, str(AS_WINDOWS), *batch]
    assert "another batch is writing to " in windows("-c", f"COMMAND = {command!r}\n{HOLD}", code=1).stderr
