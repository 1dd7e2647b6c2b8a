"""The times of a start: the interpreter's figure for every import up to the end of the first call."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST_CALL = "import sys; sys.path.insert(0, sys.argv[1]); import {driver} as it; it.prepare(sys.argv[2]); it.call(sys.argv[2])"
STANDARD = "standard library"


def by_package(python: Path, driver: str, url: str) -> dict[str, float]:
    """Milliseconds of each package's own modules, the slowest first; what of the standard library is loaded counts as one."""
    command = [python, "-X", "importtime", "-c", FIRST_CALL.format(driver=driver), HERE, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    spent: dict[str, float] = defaultdict(float)
    for line in done.stderr.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        package = rest.rpartition("|")[2].strip().partition(".")[0]
        if line.startswith("import time:") and own.strip().isdigit() and package != driver:
            known = package in sys.stdlib_module_names or package.startswith("_")
            spent[STANDARD if known else package] += int(own) / 1000
    return dict(sorted(spent.items(), key=lambda item: -item[1]))
