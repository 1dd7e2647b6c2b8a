"""Other configurations agree with tox, with the rule for commit subjects, and with the code.

A failed check fails the run, also beside other checks.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from providerhub._finding.installed import OURS

CHECKOUT = Path(__file__).resolve().parents[2]
REPOS = {repo["repo"]: repo for repo in yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]}


def test_ruff_is_one_that_tox_may_install():
    groups = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    (ruff,) = (one for one in map(Requirement, groups["lint"]) if one.name == "ruff")
    assert REPOS["https://github.com/astral-sh/ruff-pre-commit"]["rev"].removeprefix("v") in ruff.specifier


@pytest.mark.parametrize(
    ("message", "accepted"),
    [
        ("http: Close the socket of a refused answer\n\nWhy.\n", True),
        ("ci: " + "X" * 68, True),
        ("ci: " + "X" * 69, False),
        ("Close the socket of a refused answer", False),
        ("http: close the socket", False),
        ("An answer that nobody reads: it is closed", False),
        ("\nhttp: Close the socket", False),
        ("Merge branch 'main'", True),
    ],
)
def test_a_commit_subject_names_its_area(message, accepted):
    (hook,) = REPOS["local"]["hooks"]
    assert hook["args"] == ["--multiline", "--negate"]
    assert bool(re.search(hook["entry"], message, re.MULTILINE | re.DOTALL)) == accepted


def test_what_mutation_runs_and_lists_is_there():
    runner = runpy.run_path(str(CHECKOUT / "tests" / "mutation" / "run.py"))
    modules = {name: CHECKOUT / "providerhub" / "_rules" / f"{name}.py" for name in runner["MODULES"]}
    lines = {name: {line.strip() for line in path.read_text("utf-8").splitlines()} for name, path in modules.items()}
    assert all(Path(test).is_file() for test in runner["TESTS"])
    listed = [runner["ENTRY"].match(entry) for entry in runner["known"](runner["MODULES"])]
    assert [entry[0] for entry in listed if entry["before"] not in lines[entry["module"]]] == []
    entries = (CHECKOUT / "tests" / "mutation" / "survivors.md").read_text("utf-8").count("\n- `")
    assert len(listed) == entries, "an entry of another module, or twice the same"


def test_a_provider_of_every_plugin_here_has_its_distribution_named():
    projects = [tomllib.loads(file.read_text("utf-8"))["project"] for file in CHECKOUT.glob("plugins/*/pyproject.toml")]
    offered = {
        name: project["name"].removeprefix("providerhub-")
        for project in projects
        for name in project.get("entry-points", {}).get("providerhub", {})
    }
    assert offered == OURS["providers"] | {"echo": "echo", "llm": "llm"}  # an example, and the bridge to another library


@pytest.mark.parametrize(("bad", "status"), [("python -c 'print(6 * 7); exit(3)'", 3), ("no-such-command --check", 127)])
def test_commands_side_by_side_all_run_and_one_that_fails_is_named(bad, status):
    good = f'"{sys.executable}" -c "print(1000 - 1)"'
    bad = bad.replace("python", f'"{sys.executable}"').replace("'", '"')
    runner = [sys.executable, str(CHECKOUT / "tools" / "side_by_side.py")]
    done = subprocess.run([*runner, bad, good], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"failed: {bad}"
    assert f"exit status {status}" in done.stdout
    assert "\n999\n" in done.stdout
    assert ("\n42\n" in done.stdout) == (status == 3)
    quiet = subprocess.run([*runner, "--quiet", good], capture_output=True, encoding="utf-8", check=False)
    assert quiet.returncode == 0
    assert "\n999\n" not in quiet.stdout
