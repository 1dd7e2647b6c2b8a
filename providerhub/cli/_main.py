"""The entry point of the script `providerhub`."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from importlib.util import find_spec

NEEDED = ("click", "rich")
COMPLETE = all(find_spec(name) is not None for name in NEEDED)
_GARBAGE = 200_000
"""New objects between two collections; a conversation or a batch gets there, a start does not."""

# Not inside `main`, where the check of the layers would take no notice of it.
if COMPLETE:
    from providerhub.cli._app import app


def main() -> None:
    """Run the command line, or say which installation brings what it needs.

    Raises:
        SystemExit: Always; 0 means success, 1 failure, 2 wrong usage, 130 Ctrl-C.
    """
    _open_closed()
    # Imports make tens of thousands of objects that stay: looking through them again and again only slows the start.
    gc.set_threshold(_GARBAGE)
    if not COMPLETE:
        sys.stderr.write('providerhub\'s command line needs: pip install "providerhub[cli]"\n')
        raise SystemExit(1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an answer may hold what the terminal's encoding has not
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="providerhub")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        _let_go()


def _open_closed() -> None:
    """Give a standard stream that the parent closed something to be, lest a socket take its number.

    What is read is empty, and errors go nowhere. An answer is not lost silently: standard output is there for reading
    only, so that writing to it fails as it would on a full disk.
    """
    for name, number, flags in (("stdin", 0, os.O_RDONLY), ("stdout", 1, os.O_RDONLY), ("stderr", 2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            stream = io.TextIOWrapper(io.FileIO(number, "r" if name == "stdin" else "w", closefd=False), encoding="utf-8")
            setattr(sys, name, stream)


def _let_go() -> None:
    """Leave nothing to write when the interpreter ends, where a reader that has gone would be a message of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
