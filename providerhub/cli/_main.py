"""The entry point of the script `providerhub`."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from importlib.util import find_spec

NEEDED = ("click", "rich")
_GARBAGE = 200_000  # new objects between two collections: a start makes fewer; a conversation or a batch makes more


def main() -> None:
    """Run the command line. Without its dependencies, print the command that installs them.

    Raises:
        SystemExit: Always. The code is 0 for success, 1 for failure, 2 for wrong usage, 130 for Ctrl-C, 143 for a batch that
            SIGTERM ended.
    """
    # Imports make tens of thousands of objects that stay. Repeated collections of these would only slow the start.
    gc.set_threshold(_GARBAGE)
    _open_closed()
    os.environ.setdefault("PROVIDERHUB_PROGRAM", "providerhub")  # for hook plugins, also in the processes of a batch
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write('providerhub\'s command line needs: pip install "providerhub[cli]"\n')
        raise SystemExit(1)
    from providerhub.cli._app import app  # after the lines above, since the import needs them

    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # UTF-8 in pipes and files in every locale. A terminal keeps its encoding; "?" stands for characters that it lacks.
        if isinstance(stream, io.TextIOWrapper):
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors=stream.errors if stream is sys.stdin else "replace")
    try:
        app(prog_name="providerhub")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        _let_go()


def _open_closed() -> None:
    """Open the null device for a standard stream that the parent closed, so that no socket takes its number.

    Standard output is opened read-only, so that writing an answer fails, and the answer is not lost silently.
    """
    for name, number, flags in (("stdin", 0, os.O_RDONLY), ("stdout", 1, os.O_RDONLY), ("stderr", 2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            stream = io.TextIOWrapper(io.FileIO(number, "r" if name == "stdin" else "w", closefd=False), encoding="utf-8")
            setattr(sys, name, stream)


def _let_go() -> None:
    """Flush the output now. Otherwise the interpreter prints a message at its end if the reader has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
