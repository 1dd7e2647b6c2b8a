"""Providers for the kit, installed like a distribution: by a folder of metadata on the path."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from providerhub_conformance import CHECKS

HERE = Path(__file__).resolve().parent
MODULES = {"declared-light": "conformance_heavy", "import-cheap": "conformance_slow"}
ASYNC_BAD = (
    "first-token-early", "cancel-reaches-socket", "truncated-is-error", "stall-timeout", "redirect-not-followed",
    "no-own-retries", "key-not-in-errors", "nothing-left",
)  # fmt: skip
GOOD = ("good-openai", "good-async", "good-token", "good-anthropic", "good-silent", "good-inside")


def _entry_points() -> str:
    lines = ["[providerhub]"]
    for check in CHECKS:
        module = MODULES.get(check, "conformance_light")
        lines.append(f"bad-{check} = {module}:bad_for_{check.replace('-', '_')}")
    lines += [f"async-bad-{check} = conformance_light:async_bad_for_{check.replace('-', '_')}" for check in ASYNC_BAD]
    lines += [f"{name} = conformance_light:{name.replace('-', '_')}" for name in GOOD]
    lines += ["[providerhub.conformance]", "good-openai = conformance_suites:TestOpenAI"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def site_packages(tmp_path_factory):
    """A folder with the installed providers."""
    site = tmp_path_factory.mktemp("site")
    folder = site / "providerhub_conformance_tests-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: providerhub-conformance-tests\nVersion: 1.0\n", "utf-8")
    (folder / "entry_points.txt").write_text(_entry_points(), "utf-8")
    modules = [file for file in sorted(HERE.glob("*.py")) if not file.name.startswith(("test_", "conftest"))]
    for file in modules:
        shutil.copy(file, site)
    # The kit recognises a distribution's own packages by its list of files.
    (folder / "RECORD").write_text("".join(f"{file.name},,\n" for file in modules), "utf-8")
    yield site
    for name in ("bad_providers", "bad_async"):
        if name in sys.modules:
            sys.modules[name].tidy()


@pytest.fixture(autouse=True)
def installed(site_packages, monkeypatch):
    """The folder on the path, for one test: tests of other folders must not see the bad providers."""
    monkeypatch.setattr(sys, "path", [str(site_packages), *sys.path])
    return site_packages
