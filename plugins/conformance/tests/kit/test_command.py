"""`providerhub conformance`, its report and its badge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from providerhub.cli._app import app
from providerhub_conformance import CHECKS


def _run(*words):
    return CliRunner().invoke(app, ["conformance", *words], prog_name="providerhub")


def test_a_plugin_that_announces_its_suite_needs_no_option_and_as_a_process_only_the_report_is_printed(installed):
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "providerhub", "conformance", "good-openai"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("good-openai (providerhub-conformance-tests 1.0, model large, OpenAIChatWire) on providerhub ")
    assert lines[-1] == f"{len(CHECKS)} passed"
    assert all(any(name in line for line in lines) for name in CHECKS)


def test_a_plugin_that_announces_no_wire_is_told_the_option():
    result = _run("good-async")
    assert result.exit_code == 1
    assert "does not announce" in result.stderr
    assert "--wire: openai, anthropic, none, or module:Class" in result.stderr


def test_json_with_a_wire_that_is_named_by_its_module():
    result = _run("bad-usage-reported", "--wire", "providerhub_conformance:OpenAIChatWire", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert found["counts"]["failed"] == 1
    assert [check["name"] for check in found["checks"]] == list(CHECKS)
    assert {"provider", "distribution", "model", "wire", "providerhub", "python"} <= set(found)


def test_failures_are_explained_and_count_in_a_badge_for_shields(tmp_path):
    result = _run("bad-usage-reported", "--wire", "openai", "--badge", str(tmp_path / "badge.json"))
    assert result.exit_code == 1
    assert "FAILED  usage-reported" in result.stdout
    assert f"to mend: {CHECKS['usage-reported'].fix}" in result.stdout
    badge = json.loads((tmp_path / "badge.json").read_text("utf-8"))
    total = len(CHECKS) - 2  # without audio and files, which the provider does not claim
    assert badge == {
        "schemaVersion": 1,
        "label": "providerhub conformance",
        "message": f"{total - 2}/{total}",  # a check of the counts requires the failed check
        "color": "e05d44",
    }


def test_model_settings_and_waivers_can_be_given_and_a_badge_as_a_picture(tmp_path):
    result = _run(
        "bad-usage-reported", "--wire", "openai", "--model", "l", "--set", "api_key=of-my-own",
        "--waive", "usage-reported=it does not count", "--json", "--badge", str(tmp_path / "badge.svg"),
    )  # fmt: skip
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (found["counts"]["waived"], found["counts"]["failed"]) == (1, 0)
    root = ET.fromstring((tmp_path / "badge.svg").read_text("utf-8"))
    total = len(CHECKS) - 2
    assert [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")][-1] == f"{total - 2}/{total - 1}, 1 waived"
    assert "#dfb317" in ET.tostring(root, "unicode")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("good-openai", "--wire", "fax"), "'fax' cannot be imported"),
        (("good-openai", "--wire", "json:loads"), "is not a subclass of Wire"),
        (("good-openai", "--waive", "basic-call= "), "without a reason"),
        (("good-openai", "--waive", "nonsense=because"), "waives the unknown check 'nonsense'"),
        (("good-opnai",), "no provider 'good-opnai' is installed; installed are: "),
    ],
)
def test_a_wrong_option_is_one_line(words, said):
    result = _run(*words)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a provider"),
        (("good-openai", "--set", "novalue"), "'novalue' is not of the form NAME=VALUE"),
        (("good-openai", "--waive", "=x"), "'=x' is not of the form CHECK=REASON"),
        (("good-openai", "--badge", "badge.png"), "badge.png ends neither in .svg nor in .json"),
    ],
)
def test_wrong_usage(words, said):
    result = _run(*words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_the_checks_can_be_listed():
    listed = json.loads(_run("--list", "--json").stdout)
    assert [check["name"] for check in listed] == list(CHECKS)
    text = _run("--list").stdout
    assert all(check.means in text and check.fix in text and check.promise in text for check in CHECKS.values())
