"""Trial imports of plugins, each in its own process and with a timeout."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

_MARK = "providerhub imported it in"

_CUT_OFF = b"Timeout ("  # the first words of `faulthandler` when it ends a process

_GRACE = 60.0  # seconds beyond the timeout for the start of the interpreter and the core

# The timeout begins when the core is loaded. The watchdog is a thread in C, so the module cannot block it.
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

_AT_ONCE = 4  # more processes would slow each other's imports


class Import(NamedTuple):
    """The import of a module: its seconds without the core's; the outcome is `"done"`, `"raised"`, `"timeout"` or `"ended"`."""

    module: str
    seconds: float
    outcome: str
    status: int = 0
    printed: bool = False

    @property
    def is_fatal(self) -> bool:
        """Whether the import would block or end this process."""
        return self.outcome in {"timeout", "ended"}


def import_each(values: Iterable[str], timeout: float) -> dict[str, Import]:
    """Import the modules that the values of entry points name, several at a time, each once and with a timeout in seconds."""
    modules = {value: value.partition(":")[0].strip() for value in values}
    wanted = sorted(set(modules.values()))
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        went = dict(zip(wanted, pool.map(lambda module: _import(module, timeout), wanted), strict=True))
    return {value: went[module] for value, module in modules.items()}


def _import(module: str, timeout: float) -> Import:
    # Files, not pipes: a process that the module starts could keep a pipe open for ever.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        # `-P`: a file in the working directory must not shadow the module.
        command = [sys.executable, "-P", "-c", _CODE, module, str(timeout)]
        try:
            done = subprocess.run(  # noqa: S603 -- the module is one that every hub would import
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, timeout=timeout + _GRACE, check=False
            )
        except subprocess.TimeoutExpired:
            return Import(module, timeout, "timeout")
        output.seek(0)
        errors.seek(0)
        was_cut_off = any(line.startswith(_CUT_OFF) for line in errors)
        before, mark, rest = output.read().decode("utf-8", "replace").partition(f"\n{_MARK} ")
    if not mark:
        return Import(module, timeout, "timeout") if was_cut_off else Import(module, 0.0, "ended", done.returncode)
    outcome = "raised" if done.returncode else "done"
    return Import(module, float(rest.split()[0]), outcome, done.returncode, printed=bool(before.strip()))
