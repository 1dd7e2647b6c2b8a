"""The cost of a call and of the start, compared with an earlier commit: ratios of processor time. Both versions take turns.

Run by hand, in a clone with the whole history: `python against.py COMMIT`. The commit's package is unpacked into a temporary
folder. Each figure is the best of many rounds, each in its own process, so that other work of the machine affects both versions
equally. A call without I/O goes through a hub of one provider, and through a hub of two providers. The second provider waits for
the share of the first one. The exit code is 1 if a ratio is above its target.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 15
TARGET = 1.05
TARGET_SHARE = 2.0

CALL = """
import gc, time
from providerhub import Hub, ModelInfo, ProviderInfo, Settings

class Echo:
    def stream(self, request, call):
        yield "ok"

def hub(count):
    made = Hub(Settings(autoload=False))
    for number in range(count):
        made.register(ProviderInfo(name=f"p{number}", models=(ModelInfo("m", supports_stream=True),)), Echo())
    return made

def micros(hub, best=float("inf")):
    for _ in range(30):
        start = time.thread_time()
        for _ in range(200):
            hub.complete("m", "x")
        best = min(best, (time.thread_time() - start) / 200 * 1e6)
    return best

gc.disable()
print(micros(hub(1)), micros(hub(2)))
"""

START = """
import time
start = time.process_time()
import providerhub
{what}
print((time.process_time() - start) * 1e3)
"""


def child(code: str, package: Path) -> list[float]:
    """The figures that a program prints with one version of the package."""
    environ = os.environ | {"PYTHONPATH": str(package), "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        cwd=tempfile.gettempdir(),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return [float(figure) for figure in done.stdout.split()]


def best(code: str, packages: list[Path]) -> list[list[float]]:
    """The smallest figures of each version."""
    found = [[child(code, package) for package in packages] for _ in range(ROUNDS)]
    return [[min(figures) for figures in zip(*rounds, strict=True)] for rounds in zip(*found, strict=True)]


def ratio(what: str, old: float, new: float, unit: str, target: float = TARGET) -> bool:
    """Print a ratio and whether it reaches its target."""
    reached = new <= target * old
    said = "reached" if reached else "NOT reached"
    print(f"{what}: {old:.1f} {unit}, now {new:.1f} {unit}, {new / old:.2f}; target at most {target:g}: {said}")
    return reached


def main() -> int:
    """Compare this checkout with a commit."""
    parser = argparse.ArgumentParser(description="Compare what a call and the start cost with an earlier commit.")
    parser.add_argument("commit", help="the commit to compare with")
    commit = parser.parse_args().commit
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit, "providerhub"], stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        packages = [Path(folder), ROOT]
        for package in packages:
            subprocess.run([sys.executable, "-m", "compileall", "-q", package / "providerhub"], check=True)
        (old, _), (new, two) = best(CALL, packages)
        results = [ratio("a call of one provider", old, new, "µs")]
        share = two - new
        results.append(share <= TARGET_SHARE)
        print(f"a second candidate adds {share:.1f} µs; target at most {TARGET_SHARE:g} µs: {results[-1]}")
        for what in ("pass", "providerhub.Hub"):
            (old,), (new,) = best(START.format(what=what), packages)
            results.append(ratio(f"import providerhub; {what}", old, new, "ms"))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
