"""The core's run-time dependencies are a promise. Any other dependency is an extra, or belongs to a plugin."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import providerhub

CORE = {"attrs", "certifi", "importlib-metadata", "platformdirs", "pluggy", "requests", "urllib3"}
EXTRAS = {
    "async": set(),  # asynchronous calls need no further package; plugins name the extra
    "cli": {"click", "msgspec", "rich", "tomlkit"},
    "fast": {"msgspec"},
    "keyring": {"keyring"},
    "schema": {"msgspec"},
    "testing": {"pytest"},
}
REQUIREMENTS = [Requirement(text) for text in metadata.requires("providerhub") or ()]


def _names(extra: str) -> set[str]:
    plain = {canonicalize_name(item.name) for item in REQUIREMENTS if item.marker is None}
    brought = {
        canonicalize_name(item.name)
        for item in REQUIREMENTS
        if item.marker is not None and item.marker.evaluate({"extra": extra})
    }
    return brought if extra else plain | brought


def test_the_core_depends_on_exactly_these() -> None:
    assert _names("") == CORE


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_brings_exactly_these(extra: str) -> None:
    assert _names(extra) == EXTRAS[extra]


def test_there_is_no_other_extra() -> None:
    assert set(metadata.metadata("providerhub").get_all("Provides-Extra") or ()) == set(EXTRAS)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda item: item.name)
def test_every_dependency_has_a_lower_bound_and_no_upper_one(requirement: Requirement) -> None:
    assert [part.operator for part in requirement.specifier] == [">="]


def _imported(file: Path) -> Iterator[str]:
    """The top-level packages that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_whatever_is_imported_is_declared() -> None:
    """What another dependency happens to bring can be gone with its next release, or be too old."""
    package, owners = Path(providerhub.__file__).parent, metadata.packages_distributions()
    everywhere = CORE | EXTRAS["async"] | EXTRAS["fast"] | EXTRAS["keyring"]
    found, undeclared = set(), set()
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package)
        if place.parts[0] == "_pyinstaller":  # only PyInstaller imports its hook
            continue
        declared = everywhere | EXTRAS.get(place.parts[0], set())
        for name in set(_imported(file)) - sys.stdlib_module_names - {"providerhub"}:
            distributions = set(map(canonicalize_name, owners.get(name, ())))
            found |= distributions
            if not distributions & declared:
                undeclared.add(f"{place}: {name}")
    assert undeclared == set()
    assert found >= CORE  # and each declared dependency is imported


def test_urllib3_has_its_floor() -> None:
    (urllib3,) = [item for item in REQUIREMENTS if item.name == "urllib3"]
    (floor,) = [Version(part.version) for part in urllib3.specifier]
    assert floor >= Version("2.7")
