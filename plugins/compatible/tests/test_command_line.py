"""The command line with the vendors installed: vendors that are not configured share one line."""

import json
import os

import pytest
from click.testing import CliRunner

from providerhub.cli._app import app


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("PROVIDERHUB_CONFIG", os.devnull)
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", str(tmp_path))


def run(*arguments):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "10000"})


def test_the_list_of_plugins_has_one_line_for_all_vendors_with_their_variables(monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "k")
    lines = run("plugins").stdout.splitlines()
    (groq,) = [line for line in lines if line.startswith("groq\t")]
    assert "ready" in groq
    (rest,) = [line for line in lines if line.startswith("providerhub-compatible\t")]
    assert "alibaba (DASHSCOPE_API_KEY)" in rest
    assert rest.endswith("more")
    assert not any(line.startswith("deepseek") for line in lines)


def test_json_has_all_vendors():
    found = json.loads(run("plugins", "--json").stdout)["plugins"]
    assert {"groq", "deepseek", "vllm"} <= {record["name"] for record in found}


def test_a_vendor_that_the_settings_name_has_a_line_of_its_own(monkeypatch, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[providers.groq]\npriority = 1\n")
    file.chmod(0o600)
    monkeypatch.setenv("PROVIDERHUB_CONFIG", str(file))
    lines = run("plugins").stdout.splitlines()
    assert any(line.startswith("groq\t") and "GROQ_API_KEY" in line for line in lines)


def test_the_doctor_imports_the_vendors_module_once_and_has_one_line_for_all():
    text = run("doctor", "-v").stdout
    assert text.count("providerhub_compatible\t") == 1
    (line,) = [line for line in text.splitlines() if line.startswith("providerhub-compatible\tai21")]
    assert "alibaba (DASHSCOPE_API_KEY)" in line
    assert "providers.groq." not in text


def test_a_plan_says_why_a_vendor_is_left_out(monkeypatch):
    monkeypatch.setenv("PERPLEXITY_API_KEY", "k")
    done = run("route", "sonar")
    assert done.exit_code != 0
    assert "perplexity/sonar: pinned only (ask for perplexity/sonar, or add [providers.perplexity] to the settings)" in (
        done.stdout + done.stderr
    )
