"""The cost of `import providerhub`, with its exports, beside `import requests`; and the cost of discovery with 100 plugins.

Run by hand, or by `tox -e bench`: `python tests/benchmarks/startup.py`. Every figure is a median over fresh interpreters. The
variants take turns, so that other work of the machine affects all of them equally.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 25
PLUGINS = 100
IMPORT_TARGET = 0.75
DISCOVERY_TARGET_MS = 60.0

VARIANTS = {"bare": "pass", "requests": "import requests", "providerhub": "import providerhub; providerhub.complete"}

LOADED = "import sys, providerhub; providerhub.complete; print('requests' in sys.modules)"

DISCOVER = """
import time, providerhub
providerhub.complete  # what is exported is loaded by then
start, cpu = time.perf_counter(), time.process_time()
hub = providerhub.Hub()
took, used = time.perf_counter() - start, time.process_time() - cpu
print(took * 1000, used * 1000, sum(name.startswith("bench-") for name in hub._registry.names()))
"""


def _child(code: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environ, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def _report(what: str, figure: float, target: float, unit: str) -> bool:
    reached = figure <= target
    print(f"{what}: {figure:.2f}{unit}; target at most {target:g}{unit}: {'reached' if reached else 'NOT reached'}")
    return reached


def imports() -> bool:
    """Wall time of whole interpreters, so that nothing that an import causes is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for number in range(-2, ROUNDS):  # the first rounds write byte code and warm the disk's cache
        for name, code in VARIANTS.items():
            start = time.perf_counter()
            _child(code)
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) * 1000 for name, values in seconds.items()}
    print("medians:", ", ".join(f"{name} {value:.1f} ms" for name, value in median.items()))
    ratio = (median["providerhub"] - median["bare"]) / (median["requests"] - median["bare"])
    reached = _report("import providerhub over import requests, bare interpreter taken off", ratio, IMPORT_TARGET, "")
    lazy = _child(LOADED).strip() == "False"
    print(f"requests is not loaded by import providerhub: {'reached' if lazy else 'NOT reached'}")
    return reached and lazy


def _install(site: Path) -> None:
    for number in range(PLUGINS):
        name = f"bench-{number:03}"
        folder = site / f"bench_{number:03}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (folder / "entry_points.txt").write_text(f"[providerhub]\n{name} = plug_{number:03}\n", encoding="utf-8")


def discovery() -> bool:
    """From a hub's making to all names known, importlib-metadata's own import included."""
    with tempfile.TemporaryDirectory() as site:
        _install(Path(site))
        path = os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH", "")]))
        took: list[float] = []
        used: list[float] = []
        for number in range(-2, ROUNDS):
            milliseconds, cpu, found = _child(DISCOVER, PYTHONPATH=path).split()
            if int(found) != PLUGINS:
                msg = f"only {found} of {PLUGINS} plugins were found"
                raise RuntimeError(msg)
            if number >= 0:
                took.append(float(milliseconds))
                used.append(float(cpu))
    print(f"processor time of discovery: {statistics.median(used):.1f} ms (tells how much of the rest was waiting)")
    return _report(f"discovery with {PLUGINS} plugins installed", statistics.median(took), DISCOVERY_TARGET_MS, " ms")


if __name__ == "__main__":
    results = [imports(), discovery()]
    sys.exit(0 if all(results) else 1)
