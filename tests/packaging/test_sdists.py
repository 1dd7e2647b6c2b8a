"""The source distributions: an index takes them, and they hold what their tests need."""

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
# The bridge to the llm package is installed in the tox environment `llm` only.
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


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Build the sdist of a folder, once."""
    built = {}

    def build(name):
        if name not in built:
            target = tmp_path_factory.mktemp(name)
            _run("-m", "hatchling", "build", "-t", "sdist", "-d", target, cwd=FOLDERS[name])
            (built[name],) = target.iterdir()
        return built[name]

    return build


@pytest.fixture
def unpacked(sdist, tmp_path):
    """Unpack the sdist of a folder."""

    def unpack(name):
        with tarfile.open(sdist(name)) as archive:
            archive.extractall(tmp_path, filter="data")
        (folder,) = tmp_path.iterdir()
        return folder

    return unpack


def test_an_index_accepts_the_metadata_and_shows_the_readmes(sdist):
    pytest.importorskip("twine", reason="the dependency group `packaging` has it")
    said = _run("-m", "twine", "check", "--strict", *map(sdist, FOLDERS), cwd=CHECKOUT)
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
    folder = unpacked("core")
    for name in ("conftest.py", "tox.ini", "tools/install_plugins.py", "plugins/echo/pyproject.toml", ".github/workflows/ci.yml"):
        assert (folder / name).is_file(), name
    assert " passed" in _run("-m", "pytest", "-q", "-p", "no:cacheprovider", *SOME, cwd=folder)


@pytest.mark.parametrize("name", PLUGINS)
def test_the_sdist_of_a_plugin_holds_what_its_tests_read(unpacked, name):
    folder = unpacked(name)
    some = SOME_OF.get(name, ("tests", "-k", "readme or entry_point"))
    assert " passed" in _run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *some, cwd=folder)
