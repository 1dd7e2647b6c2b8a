"""The entry point of the script `providerhub`."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec

NEEDED = ("click", "rich")
COMPLETE = all(find_spec(name) is not None for name in NEEDED)

# Not inside `main`, where the check of the layers would take no notice of it.
if COMPLETE:
    from providerhub.cli._app import app


def main() -> None:
    """Run the command line, or say which installation brings what it needs.

    Raises:
        SystemExit: Always; 0 means success, 1 failure, 2 wrong usage, 130 Ctrl-C.
    """
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
