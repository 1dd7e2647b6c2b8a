"""Build every folder under `plugins/` into a wheel and install the wheels into the Python that runs this.

The core is not on an index, so pip cannot resolve a plugin that depends on it. So the script installs the third-party
dependencies first, then the wheels with `--no-deps`. `pip check` then proves that nothing is missing.

    python tools/install_plugins.py --cache DIRECTORY [--without FOLDER]

DIRECTORY keeps each wheel under a digest of its sources, so one run of tox builds each plugin once. One pip builds all wheels,
with the build backends installed once: an isolated environment for each plugin would take most of the time. No pip compiles
modules, which takes longer than the rest; Python does so where it imports one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CORE = "providerhub"
# Files that test runs leave, and folders that no wheel contains.
LEFT_OUT = re.compile(r"^(\.[^/]+|build|dist|tests)(/|$)|(^|/)(__pycache__|[^/]+\.egg-info)(/|$)")


def plugin_folders() -> list[Path]:
    """Return each folder under `plugins/` that is a distribution, sorted by name."""
    return sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))


def project_table(folder: Path) -> dict[str, object]:
    """Return the `[project]` table of a folder's `pyproject.toml`."""
    table: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def source_files(folder: Path) -> Iterator[Path]:
    """Yield the files that may end up in the wheel, in a stable order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not LEFT_OUT.search(path.relative_to(folder).as_posix()):
            yield path


def digest(folder: Path) -> str:
    """Return a digest of the names and contents of a plugin's sources."""
    total = hashlib.sha256()
    for path in source_files(folder):
        total.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def pip(*arguments: str, path: Path | None = None) -> None:
    """Run pip of this Python. With `path`, it also imports from that folder.

    Raises:
        subprocess.CalledProcessError: pip failed. Its output has the reason.
    """
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else None
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True, env=environment)


def backends(folders: Sequence[Path]) -> list[str]:
    """Return the requirements for building the plugins."""
    tables = [tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["build-system"] for folder in folders]
    return sorted({requirement for table in tables for requirement in table["requires"]})


def kept(folder: Path, cache: Path) -> Path:
    """Return the folder of the cache for the wheel of a plugin as its sources are now."""
    return cache / f"{folder.name}-{digest(folder)}"


def build(folders: Sequence[Path], cache: Path) -> list[Path]:
    """Return the wheels of plugins. Build those whose sources have changed since the cache got them."""
    places = {folder: kept(folder, cache) for folder in folders}
    missing = [folder for folder in folders if not places[folder].is_dir()]
    if missing:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as fresh:
            tools, wheels = Path(fresh) / "tools", Path(fresh) / "wheels"
            pip("install", "--no-compile", "--target", str(tools), *backends(missing))
            pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), *map(str, missing), path=tools)
            built = {canonicalize_name(wheel.name.partition("-")[0]): wheel for wheel in wheels.glob("*.whl")}
            for folder in missing:
                keep(built[canonicalize_name(str(project_table(folder)["name"]))], places[folder])
    return [next(place.glob("*.whl")) for place in places.values()]


def keep(wheel: Path, place: Path) -> None:
    """Move a wheel into the cache in one step, so that no other process sees half of it."""
    alone = wheel.parent / f"{wheel.name}.alone"
    alone.mkdir()
    wheel.rename(alone / wheel.name)
    try:
        alone.rename(place)
    except OSError:  # another environment that runs at the same time was first
        if not place.is_dir():
            raise


def third_party(folders: Sequence[Path]) -> list[str]:
    """Return the dependencies of the plugins without the core and the plugins, and those of the core's extras that they name."""
    tables = [project_table(folder) for folder in folders]
    extras = project_table(ROOT).get("optional-dependencies", {})
    assert isinstance(extras, dict)  # noqa: S101 - the build has already refused anything else
    ours = {canonicalize_name(CORE), *(canonicalize_name(str(table["name"])) for table in tables)}
    found: set[str] = set()
    for table in tables:
        dependencies = table.get("dependencies", [])
        assert isinstance(dependencies, list)  # noqa: S101 - the build has already refused anything else
        for text in dependencies:
            needed = Requirement(text)
            if canonicalize_name(needed.name) not in ours:
                found.add(text)
            elif canonicalize_name(needed.name) == CORE:
                found.update(more for extra in needed.extras for more in extras[extra])
    return sorted(found)


def main() -> int:
    """Build, install and check the plugins, and print the names of the wheels."""
    parser = argparse.ArgumentParser(description="Build and install every plugin of this repository.")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the built wheels")
    parser.add_argument("--without", action="append", default=[], metavar="FOLDER", help="a folder under plugins/ to leave out")
    arguments = parser.parse_args()
    cache: Path = arguments.cache
    folders = [folder for folder in plugin_folders() if folder.name not in arguments.without]
    if not folders:
        print("no plugins")
        return 0
    wheels = build(folders, cache)
    requirements = third_party(folders)
    if requirements:
        pip("install", "--no-compile", *requirements)
    # pip would keep an installed plugin of the same version, although the contents may have changed.
    pip("install", "--no-compile", "--no-deps", "--force-reinstall", *map(str, wheels))
    pip("check")
    print("installed:", ", ".join(wheel.name for wheel in wheels))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))}: exit status {error.returncode}")
