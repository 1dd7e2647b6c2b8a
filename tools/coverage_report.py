"""Combine the coverage that the processes of a test run measured, and print it under the file names of the checkout.

    python tools/coverage_report.py [--gate]

`--gate` also requires that every branch of the core, from `_values/` up to `_hub.py`, and of `wire_provider.py` is covered. The
gate excludes the rest of the toolkit for plugin authors, the command line and the fakes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE_THE_GATE = ("cli/*", "testing/*", "wire/*", "http/*", "openai_provider.py")


def coverage(*arguments: str) -> int:
    """Run coverage in the root of the checkout, to whose paths the report is relative. Return the exit status."""
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=ROOT, check=False).returncode


def main() -> int:
    """Combine and report, and with `--gate` check the core. Return the exit status."""
    parser = argparse.ArgumentParser(description="Combine and report the coverage of a test run.")
    parser.add_argument("--gate", action="store_true", help="fail unless every branch of the core is covered")
    gate: bool = parser.parse_args().gate
    status = coverage("combine") or coverage("report")
    if gate and not status:
        omit = ",".join(f"providerhub/{pattern}" for pattern in OUTSIDE_THE_GATE)
        status = coverage("report", "--include=providerhub/*", f"--omit={omit}", "--fail-under=100")
    return status


if __name__ == "__main__":
    sys.exit(main())
