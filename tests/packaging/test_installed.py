"""The tests run against the built and installed wheels, as users get them, not against the checkout.

The checkout is found from this file, and the installed packages through `sysconfig`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SITE_PACKAGES = Path(sysconfig.get_path("purelib")).resolve()
HINT = "run the tests through tox, which installs the built wheels"


def _projects() -> list[dict]:
    folders = [CHECKOUT, *sorted(file.parent for file in CHECKOUT.glob("plugins/*/pyproject.toml"))]
    return [tomllib.loads((folder / "pyproject.toml").read_text("utf-8")) for folder in folders]


# Only the tox environment `llm` installs the bridge to the llm package, and it runs this file too.
APART = {"providerhub-llm"} - {found.name for found in metadata.distributions()}
PROJECTS = {project["project"]["name"]: project for project in _projects() if project["project"]["name"] not in APART}
PLUGINS = sorted(set(PROJECTS) - {"providerhub"})


def _package(project: dict) -> str:
    (folder,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return Path(folder).name


def test_the_checkout_is_where_this_file_says() -> None:
    assert (CHECKOUT / "tox.ini").is_file()
    assert "providerhub" in PROJECTS


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_imported_from_site_packages(name: str) -> None:
    module = importlib.import_module(_package(PROJECTS[name]))
    assert Path(module.__file__).resolve().parent.parent == SITE_PACKAGES, HINT


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_every_loaded_module_of_ours_is_an_installed_one(name: str) -> None:
    package = _package(PROJECTS[name])
    importlib.import_module(package)
    ours = {key: module for key, module in sys.modules.items() if key.partition(".")[0] == package}
    strays = {
        key: module.__file__ for key, module in ours.items() if not Path(module.__file__).resolve().is_relative_to(SITE_PACKAGES)
    }
    assert ours
    assert not strays, HINT


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_installed_from_a_wheel_and_not_editable(name: str) -> None:
    distribution = metadata.distribution(name)
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    assert not origin.get("dir_info", {}).get("editable", False), HINT
    recorded = {str(file) for file in distribution.files or ()}
    assert f"{_package(PROJECTS[name])}/__init__.py" in recorded, HINT


def test_the_checkout_is_not_importable() -> None:
    forbidden = {CHECKOUT, *CHECKOUT.glob("plugins/*"), *CHECKOUT.glob("plugins/*/src")}
    assert not forbidden & {Path(entry or os.curdir).resolve() for entry in sys.path}, HINT


def test_a_process_with_a_bare_environment_sees_the_installed_core_too() -> None:
    code = "import providerhub; print(providerhub.__file__)"
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).resolve().parent.parent == SITE_PACKAGES, HINT


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_typed(name: str) -> None:
    assert (SITE_PACKAGES / _package(PROJECTS[name]) / "py.typed").is_file()


def test_the_versions_agree() -> None:
    from providerhub import _version

    assert metadata.version("providerhub") == _version.__version__


@pytest.mark.parametrize("name", PLUGINS)
def test_the_entry_points_of_a_plugin_are_installed_as_declared(name: str) -> None:
    declared = {
        (group, key, value)
        for group, points in PROJECTS[name]["project"].get("entry-points", {}).items()
        for key, value in points.items()
    }
    installed = {(point.group, point.name, point.value) for point in metadata.distribution(name).entry_points}
    assert declared <= installed
    groups = ("", ".commands", ".executors", ".hooks", ".shared")
    assert {group for group, _, _ in declared} & {f"providerhub{group}" for group in groups}


@pytest.mark.parametrize("name", PLUGINS)
def test_what_the_entry_points_of_a_plugin_name_exists(name: str) -> None:
    for point in metadata.distribution(name).entry_points:
        assert importlib.util.find_spec(point.module), point
        assert point.load() is not None
