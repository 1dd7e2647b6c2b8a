"""Importing plugins where it can do no harm: each in a process of its own, with a timeout."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

_MARK = "providerhub imported it in"

_CUT_OFF = b"Timeout ("
"""How `faulthandler` begins what it says before it ends a process."""

_GRACE = 60.0
"""Seconds beyond the timeout for the interpreter and the core, whose own start is not what is looked at."""

# The timeout begins when the core is loaded, and holds whatever the module does: the watchdog is a thread below Python.
_CODE = f"""
import sys, time, importlib, faulthandler
import providerhub; providerhub.hookimpl
faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
start = time.perf_counter()
try:
    importlib.import_module(sys.argv[1])
finally:
    sys.__stdout__.write(f"\\n{_MARK} {{time.perf_counter() - start}}\\n")
"""

_AT_ONCE = 4
"""More would be in each other's way, and make imports look slow."""


class Import(NamedTuple):
    """How the import of one module went.

    Args:
        module: Its name.
        seconds: How long it took, the core's own import left out; the timeout's length when it was cut off.
        outcome: `"done"`; `"raised"`, which the hub survives; `"timeout"` or `"ended"` when it ended its process.
        status: The exit status of its process.
        printed: Whether it wrote to standard output.
    """

    module: str
    seconds: float
    outcome: str
    status: int = 0
    printed: bool = False


def import_each(values: Iterable[str], timeout: float) -> dict[str, Import]:
    """Import modules, several at a time.

    Args:
        values: Values of entry points, `"module"` or `"module:object"`.
        timeout: Seconds for each.

    Returns:
        Value → how it went.
    """
    wanted = sorted(set(values))
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(lambda value: _import(value, timeout), wanted), strict=True))


def _import(value: str, timeout: float) -> Import:
    module = value.partition(":")[0].strip()
    # Files, not pipes: what the module starts in turn could hold a pipe open for ever.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        # `-P`: a file in the working directory must not stand in for the module.
        command = [sys.executable, "-P", "-c", _CODE, module, str(timeout)]
        try:
            done = subprocess.run(  # noqa: S603 -- the module is one that the hub would import
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, timeout=timeout + _GRACE, check=False
            )
        except subprocess.TimeoutExpired:
            return Import(module, timeout, "timeout")
        output.seek(0)
        errors.seek(0)
        was_cut_off = any(line.startswith(_CUT_OFF) for line in errors)
        before, mark, rest = output.read().decode("utf-8", "replace").partition(f"\n{_MARK} ")
    if not mark and was_cut_off:
        return Import(module, timeout, "timeout")
    if not mark:
        return Import(module, 0.0, "ended", done.returncode)
    outcome = "raised" if done.returncode else "done"
    return Import(module, float(rest.split()[0]), outcome, done.returncode, printed=bool(before.strip()))
