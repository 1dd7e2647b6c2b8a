"""Each plugin works with the core alone: it needs no other plugin and no extra, also for the suites of its entry points."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SUITES = metadata.entry_points(group="providerhub.conformance")
PLUGINS = sorted({canonicalize_name(point.dist.name) for point in SUITES})
OURS = {name for found in metadata.distributions() if (name := canonicalize_name(found.name)).startswith("providerhub-")}

CALLS = """
import sys
from importlib.metadata import entry_points
from unittest import SkipTest

for point in entry_points(group="providerhub.conformance"):
    suite = point.load()()
    for check in ("missing_key_named", "basic_call", "async_call", "claimed_stream", "models_listed"):
        try:
            getattr(suite, f"test_{check}")()
        except SkipTest as skipped:
            assert "not applicable" in str(skipped), skipped
    print(point.name)
"""


def _closure(name: str, extra: str = "") -> Iterator[str]:
    """The distributions that pip installs for one distribution."""
    yield name
    for text in metadata.requires(name) or ():
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            for more in needed.extras or {""}:
                yield from _closure(canonicalize_name(needed.name), more)


def _linked(folder: Path, names: set[str]) -> None:
    """Make a folder in which only some distributions are installed, as links to their places."""
    for name in names:
        found = metadata.distribution(name)
        places = {found.locate_file(file.parts[0]) for file in found.files or () if file.parts[0] != ".."}
        if name.startswith("providerhub"):  # an editable installation does not list its files
            places.add(Path(find_spec(name.replace("-", "_")).origin).parent)
        for place in map(Path, places):
            if not (folder / place.name).exists() and place.suffix != ".pth":
                (folder / place.name).symlink_to(place)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_plugin_requires_the_core_and_no_other_plugin(name: str) -> None:
    assert OURS & set(_closure(name)) == {name}


@pytest.mark.once
@pytest.mark.parametrize("name", PLUGINS)
def test_the_suites_of_a_plugin_run_beside_core_and_kit(name: str, tmp_path: Path) -> None:
    _linked(tmp_path, {*_closure(name), *_closure("providerhub", "cli"), *_closure("providerhub-conformance")})
    # `-S` leaves out the folder in which everything is installed.
    command = [sys.executable, "-S", "-c", CALLS]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8", timeout=100, check=True)
    assert set(done.stdout.split()) == {point.name for point in SUITES if canonicalize_name(point.dist.name) == name}
