"""The source distributions: an index accepts them, and they hold the files that their tests need."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = {"core": CHECKOUT} | {file.parent.name: file.parent for file in CHECKOUT.glob("plugins/*/pyproject.toml")}
# Only the tox environment `llm` installs the bridge to the llm package.
PLUGINS = sorted(set(FOLDERS) - {"core", "llm"})
SOME = ("tests/packaging/test_exports.py", "tests/unit/test_pickles.py", "tests/unit/test_policy.py")


def _run(*command, cwd):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, capture_output=True, encoding="utf-8", timeout=100, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


SOME_OF = {
    "conformance": ("tests/faults/test_fault_server.py",),
    "catalog": ("tests",),
    "dask": ("tests", "-k", "wrong_number"),
    "redis": ("tests", "-k", "distribution or address_is_never"),
}
"""The tests that are tried, where `readme or entry_point` chooses none: quick ones that read files of the sdist."""


BUILD = """
import os, sys
from hatchling.build import build_sdist
for name, folder in zip(sys.argv[2::2], sys.argv[3::2]):
    os.chdir(folder)
    os.mkdir(f"{sys.argv[1]}/{name}")
    build_sdist(f"{sys.argv[1]}/{name}")
"""


@pytest.fixture(scope="module")
def sdists(tmp_path_factory):
    """The sdist of each folder by its name. One process builds all."""
    target = tmp_path_factory.mktemp("sdists")
    _run("-c", BUILD, target, *(word for name, folder in FOLDERS.items() for word in (name, folder)), cwd=CHECKOUT)
    return {name: next((target / name).iterdir()) for name in FOLDERS}


@pytest.fixture(scope="module")
def unpacked(sdists, tmp_path_factory):
    """The unpacked sdist of each folder by its name."""
    target = tmp_path_factory.mktemp("unpacked")
    for name, path in sdists.items():
        with tarfile.open(path) as archive:
            archive.extractall(target / name, filter="data")
    return {name: next((target / name).iterdir()) for name in sdists}


def test_an_index_accepts_the_metadata_and_shows_the_readmes(sdists):
    pytest.importorskip("twine", reason="the dependency group `packaging` has it")
    said = _run("-m", "twine", "check", "--strict", *sdists.values(), cwd=CHECKOUT)
    assert said.count("PASSED") == len(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_readme_has_no_relative_link(name):
    """An index shows the page without the files beside it."""
    markdown = pytest.importorskip("readme_renderer.markdown", reason="the dependency group `packaging` has it")
    page = markdown.render((FOLDERS[name] / "README.md").read_text("utf-8"))
    links = re.findall(r'(?:href|src|srcset)="([^"]+)"', page)
    assert links
    assert [link for link in links if not link.startswith(("https://", "http://", "#"))] == []


def test_the_sdist_of_the_core_holds_its_tests_and_their_tools(unpacked):
    folder = unpacked["core"]
    for name in ("conftest.py", "tox.ini", "tools/install_plugins.py", "plugins/echo/pyproject.toml", ".github/workflows/ci.yml"):
        assert (folder / name).is_file(), name
    assert " passed" in _pytest(*SOME, cwd=folder)


def _pytest(*words, cwd):
    return _run("-m", "pytest", "-q", "-rp", "-p", "no:cacheprovider", "--import-mode=importlib", *words, cwd=cwd)


@pytest.mark.parametrize("name", SOME_OF)
def test_the_sdist_of_a_plugin_holds_what_its_tests_read(unpacked, name):
    assert " passed" in _pytest(*SOME_OF[name], cwd=unpacked[name])


def test_the_sdists_of_the_other_plugins_hold_what_their_tests_read(unpacked):
    folders = {name: unpacked[name] / "tests" for name in PLUGINS if name not in SOME_OF}
    parent = unpacked["core"].parents[1]
    said = _pytest("-k", "readme or entry_point", "--rootdir", parent, *folders.values(), cwd=parent)
    assert {name for name in folders if f"PASSED {name}/" not in said} == set()
