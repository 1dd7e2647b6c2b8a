"""The checks that run before a commit agree with those of tox, and with the rule for commit subjects."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

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
