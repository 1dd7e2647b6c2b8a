"""The workflows: actions pinned by digest, few permissions, every supported system and Python."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / ".github" / "workflows"
if not FOLDER.is_dir():
    pytest.skip("an sdist has no workflows", allow_module_level=True)

WORKFLOWS = {file.stem: yaml.safe_load(file.read_text("utf-8")) for file in sorted(FOLDER.glob("*.yml"))}
JOBS = {f"{name}/{key}": job for name, workflow in WORKFLOWS.items() for key, job in workflow["jobs"].items()}
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
GRANTED = {
    "release/build": {"id-token": "write", "attestations": "write"},  # signs and stores the attestations
    "release/publish": {"id-token": "write"},  # trusted publishing
}
READ = {"contents": "read"}


def _commands(job):
    return "\n".join(step.get("run", "") for step in job["steps"])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_action_is_pinned_by_digest_and_names_its_version(name):
    text = (FOLDER / f"{name}.yml").read_text("utf-8")
    used = re.findall(r"^\s*-?\s*uses:\s*(.+)$", text, re.MULTILINE)
    assert used
    assert [action for action in used if not PINNED.fullmatch(action)] == []


def test_an_action_has_one_digest_everywhere():
    used = {action for file in FOLDER.glob("*.yml") for action in re.findall(r"uses: (\S+)", file.read_text("utf-8"))}
    assert len({action.partition("@")[0] for action in used}) == len(used)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_no_permission_of_its_own(name):
    assert WORKFLOWS[name]["permissions"] == {}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_has_few_permissions_and_ends(name):
    job = JOBS[name]
    reads = READ if "actions/checkout" in str(job) else {}
    assert job["permissions"] == {**reads, **GRANTED.get(name, {})}
    assert job["timeout-minutes"] <= 30
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_every_supported_python_is_tested_on_every_system():
    matrix = JOBS["ci/tests"]["strategy"]["matrix"]
    assert set(matrix["system"]) == {"ubuntu-latest", "macos-latest", "windows-latest"}
    pythons = {row["python"] for row in matrix["tests"]}
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert pythons == {*classifiers, "3.14t"}
    assert {row["env"] for row in matrix["tests"]} == {f"py{python.replace('.', '')}" for python in pythons}


def test_tox_has_the_environments_of_the_workflows():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(CHECKOUT / "tox.ini", "utf-8")
    listed = tox["tox"]["env_list"].split()
    assert {row["env"] for row in JOBS["ci/tests"]["strategy"]["matrix"]["tests"]} <= set(listed)
    named = {env for job in JOBS.values() for text in re.findall(r"tox -e (\S+)", _commands(job)) for env in text.split(",")}
    assert {env for env in named if "$" not in env and env.isalnum()} <= {*listed, "newest", "coverage"}
    assert "testenv:newest" in tox


def test_the_newest_dependencies_are_tested_each_week():
    assert WORKFLOWS["weekly"][True]["schedule"]  # YAML reads the key `on` as true
    job = JOBS["weekly/newest"]
    assert "tox -e newest" in _commands(job)
    (setup,) = (step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@"))
    assert setup["allow-prereleases"] is True
    assert "3.x" in job["strategy"]["matrix"]["python"]
