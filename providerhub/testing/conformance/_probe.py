"""A look at a plugin from a process of its own: what its light module imports and costs, and what making a provider does.

The process says one JSON object. Only there is it known what the import of one plugin brings, and only there can it be watched
without a trace.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import pickle
import subprocess
import sys
import time
from typing import Any

from providerhub import ProviderConfig
from providerhub.testing.conformance._outcome import CheckFailed

_WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen", "os.system")
_START = (
    "import sys, json, time; sys.path[:] = json.loads(sys.argv[1]); begun = time.process_time(); import providerhub, pluggy; "
    "from providerhub import ProviderInfo; core = time.process_time() - begun; known = set(sys.modules); "
    "begun = time.process_time(); import importlib; importlib.import_module(sys.argv[2]); "
    "own = time.process_time() - begun; new = sorted(set(sys.modules) - known); "
    "print(json.dumps({'core': core, 'own': own, 'new': new}))"
)
_CREATE = "from providerhub.testing.conformance._probe import main; main()"


def imports(module: str, patience: float) -> dict[str, Any]:
    """Import a plugin's light module in a fresh process.

    Args:
        module: Its name.
        patience: Seconds to wait for the process, ten times over.

    Returns:
        `core` and `own`: processor seconds that the import of the core and that of the module took; `new`: the modules that the
        latter brought.
    """
    return _ask([sys.executable, "-c", _START, json.dumps(sys.path), module], b"", patience)


def creation(factory: str, config: ProviderConfig, patience: float) -> dict[str, Any]:
    """Make a provider in a fresh process, and watch what it does.

    Args:
        factory: `module:function`.
        config: What to give it.
        patience: Seconds to wait for the process, ten times over.

    Returns:
        `events`: names and subjects of network connections, look-ups and processes; `error`: what it raised, or `""`.
    """
    plain = {**config.options, "url": config.url, "api_key": config.api_key.reveal() if config.api_key else None}
    payload = pickle.dumps((sys.path, factory, config.name, _revealed(plain)))
    return _ask([sys.executable, "-c", _bootstrap()], payload, patience)


def third_party(modules: list[str], own: set[str]) -> list[str]:
    """Say which distributions a list of modules comes from.

    Args:
        modules: Names of modules.
        own: Top-level packages that do not count.

    Returns:
        The names of the top-level packages that are neither the standard library's nor in `own`.
    """
    tops = {name.partition(".")[0] for name in modules}
    return sorted(top for top in tops if top not in sys.stdlib_module_names and top not in own and not top.startswith("__"))


def own_packages(distribution: str) -> set[str]:
    """The top-level packages of a distribution.

    Args:
        distribution: Its name.
    """
    try:
        files = importlib.metadata.files(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        return set()
    return {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"}


def main() -> None:
    """Be the process: read the order, make the provider, say what it did."""
    sys.path[:], factory, name, plain = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    url, key = plain.pop("url"), plain.pop("api_key")
    config = ProviderConfig(name=name, url=url, api_key=key, options=plain)
    module, _, attribute = factory.partition(":")
    events: list[str] = []
    watching = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in _WATCHED:
            events.append(f"{event} {arguments[1] if event == 'socket.connect' else arguments[0]!r}")

    error = ""
    sys.addaudithook(watch)
    try:
        create = getattr(importlib.import_module(module), attribute)
        watching = True
        create(config)
    except BaseException as raised:  # noqa: BLE001 - told to the check
        error = f"{type(raised).__name__}: {raised}"
    watching = False
    sys.stdout.write(json.dumps({"events": events, "error": error}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what the provider left behind, threads included, must not keep the process


def _bootstrap() -> str:
    # The kit itself may be importable only through this process's path.
    return f"import sys, json; sys.path[:] = json.loads({json.dumps(json.dumps(sys.path))}); {_CREATE}"


def _revealed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.reveal() if hasattr(value, "reveal") else value for name, value in values.items()}


def _ask(command: list[str], payload: bytes, patience: float) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        done = subprocess.run(command, input=payload, capture_output=True, timeout=10 * patience, check=False)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"a process of its own did not end within {time.monotonic() - begun:.0f} s") from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CheckFailed(f"in a process of its own it failed: {' '.join(last) or done.returncode}") from None
    return found
