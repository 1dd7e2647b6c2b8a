"""The examples of the README have the described results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import providerhub
import providerhub_echo

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text("utf-8")
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


@pytest.fixture
def shown():
    """The plugin that the README shows, as a module's names."""
    names = {}
    exec(compile(EXAMPLES["plugin providerhub_echo.py"], "README.md", "exec"), names)
    return names


@pytest.mark.parametrize("text", ["Hello there", "", "  two\n lines ", "Привет, data: [DONE]", "one"])
def test_the_plugin_answers_as_the_echo_plugin(shown, text):
    request = providerhub.Request("echo-1", [{"role": "user", "content": text}])
    config = providerhub.ProviderConfig(name="echo")
    one, other = (
        list(made(config).stream(request, providerhub.CallContext(providerhub.Timeout())))
        for made in (shown["Echo"], providerhub_echo.Echo)
    )
    assert one == other


def test_the_plugin_declares_what_the_echo_plugin_declares(shown):
    one, other = shown["providerhub_provider"](), providerhub_echo.providerhub_provider()
    assert (one.name, one.factory) == (other.name, other.factory)
    assert [(model.name, model.supports_stream) for model in one.models] == [
        (model.name, model.supports_stream) for model in other.models
    ]


def test_the_project_file_is_of_the_same_distribution():
    one = tomllib.loads(EXAMPLES["plugin pyproject.toml"])["project"]
    other = tomllib.loads((CHECKOUT / "plugins" / "echo" / "pyproject.toml").read_text("utf-8"))["project"]
    assert one["name"] == other["name"]
    assert one["entry-points"]["providerhub"] == other["entry-points"]["providerhub"]
