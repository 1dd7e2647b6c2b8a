"""Install the lowest version that each direct run-time dependency of core and plugins declares.

The bounds are read from the installed distributions, so that they stand in one place, the `pyproject.toml` of
each. The extras `cli` and `keyring` are held to their bounds as well. Where two distributions bound the same dependency, the
higher bound is taken.

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
EXTRAS = ("", "cli", "fast", "keyring")


def our_distributions() -> list[metadata.Distribution]:
    """Find the installed core and its plugins by the prefix of their names."""
    return [
        distribution
        for distribution in metadata.distributions()
        if canonicalize_name(distribution.name) == OURS or canonicalize_name(distribution.name).startswith(f"{OURS}-")
    ]


def is_wanted(requirement: Requirement) -> bool:
    """Say whether a requirement is of run time, and of someone else's making."""
    marker = requirement.marker
    applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in EXTRAS)
    name = canonicalize_name(requirement.name)
    return applies and name != OURS and not name.startswith(f"{OURS}-")


def lower_bound(requirement: Requirement) -> Version:
    """Read the lower bound of a requirement.

    Raises:
        SystemExit: The requirement has no lower bound, so its lowest supported version is unknown.
    """
    bounds = [Version(part.version) for part in requirement.specifier if part.operator in {">=", "==", "~="}]
    if not bounds:
        sys.exit(f"{requirement}: no lower bound")
    return max(bounds)


def pins() -> dict[str, Version]:
    """Map each direct dependency to the lowest version that all of our distributions accept."""
    found: dict[str, Version] = {}
    for distribution in our_distributions():
        for requirement in map(Requirement, distribution.requires or ()):
            if is_wanted(requirement):
                name = canonicalize_name(requirement.name)
                found[name] = max(lower_bound(requirement), found.get(name, Version("0")))
    return found


def main() -> int:
    """Install the pins, prove that they go together, and print them."""
    wanted = [f"{name}=={version}" for name, version in sorted(pins().items())]
    if not wanted:
        sys.exit(f"{OURS} is not installed")
    print("lowest:", ", ".join(wanted))
    # The newest pytest may want a newer pluggy than the core does; named here, it steps back until it fits.
    for arguments in (["install", *wanted, "pytest"], ["check"]):
        subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))}: exit status {error.returncode}")
