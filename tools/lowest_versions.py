"""Install the lowest version of each direct run-time dependency that the core and the plugins declare.

The script reads the bounds from the installed distributions, so each bound stands in one `pyproject.toml` only. It includes the
extras `async`, `cli`, `fast`, `keyring` and `schema`. If two distributions bound the same dependency, the higher bound applies.

    python tools/lowest_versions.py
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

OURS = "providerhub"
EXTRAS = ("", "async", "cli", "fast", "keyring", "schema")


def our_distributions() -> list[metadata.Distribution]:
    """Return the installed core and its plugins, found by the prefix of their names."""
    return [
        distribution
        for distribution in metadata.distributions()
        if canonicalize_name(distribution.name) == OURS or canonicalize_name(distribution.name).startswith(f"{OURS}-")
    ]


def is_wanted(requirement: Requirement) -> bool:
    """Return whether a requirement applies at run time and names a third-party distribution."""
    marker = requirement.marker
    applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in EXTRAS)
    name = canonicalize_name(requirement.name)
    return applies and name != OURS and not name.startswith(f"{OURS}-")


def lower_bound(requirement: Requirement) -> Version:
    """Return the lower bound of a requirement.

    Raises:
        SystemExit: The requirement has no lower bound, so its lowest supported version is unknown.
    """
    bounds = [Version(part.version) for part in requirement.specifier if part.operator in {">=", "==", "~="}]
    if not bounds:
        sys.exit(f"{requirement} has no lower bound: add one with >= to the pyproject.toml that declares it")
    return max(bounds)


def pins() -> dict[str, Version]:
    """Return the lowest version of each direct dependency that all our distributions accept."""
    found: dict[str, Version] = {}
    for distribution in our_distributions():
        for requirement in map(Requirement, distribution.requires or ()):
            if is_wanted(requirement):
                name = canonicalize_name(requirement.name)
                found[name] = max(lower_bound(requirement), found.get(name, Version("0")))
    return found


def main() -> int:
    """Install the lowest versions, check that they are compatible, and print them."""
    wanted = [f"{name}=={version}" for name, version in sorted(pins().items())]
    if not wanted:
        sys.exit(f"{OURS} is not installed: run this with the Python of a tox environment")
    print("lowest:", ", ".join(wanted))
    # The newest pytest may require a newer pluggy than the core. Because pytest is named here, pip installs a pytest that fits.
    for arguments in (["install", "--no-compile", *wanted, "pytest"], ["check"]):
        subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))}: exit status {error.returncode}")
