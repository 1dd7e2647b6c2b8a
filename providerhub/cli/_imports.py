"""Trial imports of plugins in another process, each with a timeout."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_MARK = "providerhub imported it in"

_CUT_OFF = b"Timeout ("  # the first words of `faulthandler` when it ends a process

_GRACE = 60.0  # seconds beyond the timeouts for the start of the interpreter and the core

# The timeout begins when the core is loaded. The watchdog is a thread in C, so the module cannot block it.
_CODE = f"""
import sys, time, importlib, faulthandler
import providerhub; providerhub.hookimpl
for module in sys.argv[2:]:
    faulthandler.dump_traceback_later(float(sys.argv[1]), exit=True)
    start, outcome = time.perf_counter(), "done"
    try:
        importlib.import_module(module)
    except BaseException:
        outcome = "raised"
    seconds = time.perf_counter() - start
    faulthandler.cancel_dump_traceback_later()
    sys.__stdout__.write(f"\\n{_MARK} {{seconds}} {{outcome}}\\n")
    sys.__stdout__.flush()
"""


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
    """Import the modules that the values of entry points name, each once and with a timeout in seconds.

    One process imports them one after another, like a hub. If a module ends the process, another process goes on.
    """
    modules = {value: value.partition(":")[0].strip() for value in values}
    left = sorted(set(modules.values()))
    went: dict[str, Import] = {}
    while left:
        found = _imported(left, timeout)
        went.update((one.module, one) for one in found)
        left = left[len(found) :]
    return {value: went[module] for value, module in modules.items()}


def _imported(modules: Sequence[str], timeout: float) -> list[Import]:
    """Import some modules in one process, up to a module that ends it."""
    # Files, not pipes: a process that a module starts could keep a pipe open for ever.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        # `-P`: a file in the working directory must not shadow a module.
        command = [sys.executable, "-P", "-c", _CODE, str(timeout), *modules]
        limit = timeout * len(modules) + _GRACE
        try:
            status = subprocess.run(  # noqa: S603 -- every hub would import these modules
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, timeout=limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
        output.seek(0)
        errors.seek(0)
        was_cut_off = status is None or any(line.startswith(_CUT_OFF) for line in errors)
        printed, *parts = output.read().decode("utf-8", "replace").split(f"\n{_MARK} ")
    found: list[Import] = []
    for module, part in zip(modules, parts, strict=False):
        said, _, rest = part.partition("\n")
        seconds, outcome = said.split()
        found.append(Import(module, float(seconds), outcome, printed=bool(printed.strip())))
        printed = rest
    if len(found) < len(modules):
        ended = modules[len(found)]
        found.append(Import(ended, timeout, "timeout") if was_cut_off else Import(ended, 0.0, "ended", status or 0))
    return found
