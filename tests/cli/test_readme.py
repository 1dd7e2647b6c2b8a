"""The README's examples do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: ([^>]+) -->\n```\w+\n(.*?)```", README, re.DOTALL))
ASK = """
import providerhub
print(providerhub.complete("echo-1", "Hello there"))
print(*providerhub.complete("echo-1", "Hello there", stream=True), sep="|")
"""


def _run(*command, **knobs):
    done = subprocess.run([sys.executable, *command], capture_output=True, encoding="utf-8", timeout=110, check=False, **knobs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_set_up_are_there():
    assert '$ pip install ".[cli]" ./plugins/lockchat && providerhub demo\n' in README
    assert "$ pip install tox && tox\n" in README


def test_the_examples_are_as_short_as_promised():
    assert len(EXAMPLES["call"].splitlines()) <= 10
    plugin = [lines.splitlines() for name, lines in EXAMPLES.items() if name.startswith("plugin ")]
    assert sum(map(len, plugin)) <= 25


def test_the_call_answers():
    text = _run("-W", "error", "-c", EXAMPLES["call"])
    first, second, plan = text.splitlines()
    assert first == f"{second} -- lockchat"
    assert plan == "1. lockchat/gpt-4"


def test_the_plugin_is_found_after_pip_install_and_answers(tmp_path):
    project, target = tmp_path / "project", tmp_path / "target"
    project.mkdir()
    for name, text in EXAMPLES.items():
        if name.startswith("plugin "):
            (project / name.removeprefix("plugin ")).write_text(text, "utf-8")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    _run("-m", "pip", "install", "--quiet", *offline, "--target", str(target), str(project))
    text = _run("-W", "error", "-c", ASK, env={**os.environ, "PYTHONPATH": str(target)})
    assert text.splitlines() == ["Hello there ", "Hello |there "]
