"""Call a factory in this process and report its I/O. `probe` runs this file as a script, so that it imports nothing else.

It reads a pickled order from standard input, and writes one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
from typing import Any

WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen", "os.system")
"""Audit events (PEP 578) of connections, look-ups and processes."""


def main() -> None:
    """Read the order, call the factory, and write the report."""
    order = pickle.load(sys.stdin.buffer)  # noqa: S301 -- from the process that started this one
    sys.path[:] = order["path"]
    events: list[str] = []
    watching = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in WATCHED:
            events.append(f"{event} {arguments[1] if event == 'socket.connect' else arguments[0]!r}")

    error = ""
    sys.addaudithook(watch)
    try:
        given = importlib.import_module("providerhub").ProviderConfig(**order["config"])
        config = importlib.import_module("providerhub_conformance._kit.subject").completed(given)
        create = getattr(importlib.import_module(order["module"]), order["attribute"])
        watching = True
        create(config)
    except BaseException as raised:  # the check gets the error
        error = f"{type(raised).__name__}: {raised}"
    watching = False
    sys.stdout.write(json.dumps({"events": events, "error": error}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # remaining threads of the provider must not keep the process alive


if __name__ == "__main__":
    main()
