"""The promises of the template: in a fresh virtual environment, the project installs, and passes its tests and the kit."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[4]
PLUGINS = {"openai": "acme", "sse": "Beta_AI", "ndjson": "gamma", "custom": "delta", "hooks": "epsilon"}


def _run(*command, cwd):
    # Variables for paths and coverage of the tests' environment do not apply in the fresh environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "COV_"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, encoding="utf-8", timeout=540, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Fresh:
    """A virtual environment with the wheels of the core and the kit, and the tools of a plugin's author."""

    def __init__(self, path: Path) -> None:
        self.path = path
        venv.create(path / "venv", with_pip=True)
        self.bin = path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        # No isolation: the build backends are in this environment, so that no wheel must fetch them.
        self.wheels = path / "wheels"
        self.build(CHECKOUT)
        self.build(CHECKOUT / "plugins" / "conformance")
        ours = sorted(self.wheels.glob("*.whl"))
        self("pip", "install", "--quiet", *ours, "mypy>=1.15", "pytest>=8.2", "ruff>=0.9", cwd=path)

    def build(self, folder: Path) -> None:
        pip = (sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", self.wheels)
        _run(*pip, folder, cwd=self.path)

    def __call__(self, tool, *arguments, cwd):
        return _run(self.bin / "python", "-m", tool, *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    return Fresh(tmp_path_factory.mktemp("fresh"))


@pytest.mark.once
@pytest.mark.timeout(600)
@pytest.mark.parametrize("wire", PLUGINS)
def test_builds_installs_and_passes(fresh, tmp_path, wire):
    folder = tmp_path / "project"
    fresh("providerhub", "new-plugin", PLUGINS[wire], "--wire", wire, "--directory", folder, cwd=tmp_path)
    name = PLUGINS[wire].lower().replace("_", "-")
    fresh.build(folder)
    (wheel,) = fresh.wheels.glob(f"providerhub_{name.replace('-', '_')}-*.whl")
    fresh("pip", "install", "--quiet", "--no-deps", wheel, cwd=folder)
    fresh("pip", "check", cwd=folder)

    # Without the checks that take half of the time: the command below runs them too.
    tests = fresh("pytest", "-q", "-p", "no:cacheprovider", "-k", "not test_every_ and not sides_agree", cwd=folder)
    assert " passed" in tests
    assert "xfailed" not in tests
    assert "Success: no issues found" in fresh("mypy", "--cache-dir", fresh.path / "mypy", cwd=folder)
    fresh("ruff", "check", cwd=folder)
    fresh("ruff", "format", "--check", cwd=folder)
    if wire == "hooks":
        return
    report = fresh("providerhub", "conformance", name, cwd=folder)
    outcome = report.splitlines()[-1]
    assert " passed" in outcome
    assert not any(word in outcome for word in ("failed", "blocked", "waived"))
