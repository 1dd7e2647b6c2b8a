"""Combine what the tests measured and print the coverage, under the checkout's file names.

    python tools/coverage_report.py [--gate]

`--gate` also asks for all branches of the layers 0 to 6; the exports, the toolkit and the outer packages are
reported, but not held to it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE_THE_GATE = ("cli/*", "testing/*", "wire/*", "http*", "openai_provider*")


def coverage(*arguments: str) -> int:
    """Run coverage from the root of the checkout, whose paths are the ones to show; give its exit status."""
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=ROOT, check=False).returncode


def main() -> int:
    """Combine, report, and hold the inner layers to the gate if told to; give the exit status."""
    parser = argparse.ArgumentParser(description="Combine and report the coverage of a test run.")
    parser.add_argument("--gate", action="store_true", help="fail unless layers 0 to 6 are covered in full")
    gate: bool = parser.parse_args().gate
    status = coverage("combine") or coverage("report")
    if gate and not status:
        omit = ",".join(f"providerhub/{pattern}" for pattern in OUTSIDE_THE_GATE)
        status = coverage("report", "--include=providerhub/*", f"--omit={omit}", "--fail-under=100")
    return status


if __name__ == "__main__":
    sys.exit(main())
