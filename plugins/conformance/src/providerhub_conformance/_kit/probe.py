"""A look at a plugin from a process of its own: what its light module imports and costs, and what making a provider does.

The process says one JSON object. Only there is it known what the import of one plugin brings, and only there can it be watched
without a trace.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from providerhub import ProviderConfig
from providerhub_conformance._kit.outcome import CheckFailed

_CHILD = Path(__file__).with_name("probe_child.py")
_START = (
    "import sys, json, time; sys.path[:] = json.loads(sys.argv[1]); begun = time.process_time(); import providerhub, pluggy; "
    "from providerhub import ProviderInfo; core = time.process_time() - begun; known = set(sys.modules); "
    "begun = time.process_time(); import importlib; importlib.import_module(sys.argv[2]); "
    "own = time.process_time() - begun; new = sorted(set(sys.modules) - known); "
    "print(json.dumps({'core': core, 'own': own, 'new': new}))"
)


def imports(module: str, patience: float) -> dict[str, Any]:
    """Import a plugin's light module in a fresh process.

    Args:
        module: Its name.
        patience: Seconds to wait for the process, ten times over.

    Returns:
        `core` and `own`: processor seconds that the import of the core and that of the module took; `new`: the modules that the
        latter brought.
    """
    return _imports(module, json.dumps(sys.path), patience)


@functools.cache
def _imports(module: str, path: str, patience: float) -> dict[str, Any]:
    return _ask([sys.executable, "-c", _START, path, module], b"", patience)


def creation(factory: str, config: ProviderConfig, patience: float) -> dict[str, Any]:
    """Make a provider in a fresh process, and watch what it does.

    Args:
        factory: `module:function`.
        config: What to give it.
        patience: Seconds to wait for the process, ten times over.

    Returns:
        `events`: names and subjects of network connections, look-ups and processes; `error`: what it raised, or `""`.
    """
    module, _, attribute = factory.partition(":")
    key = config.api_key.reveal() if config.api_key else None
    told = {"name": config.name, "url": config.url, "api_key": key, "options": _revealed(config.options)}
    order = {"path": sys.path, "module": module, "attribute": attribute, "config": told}
    return _ask([sys.executable, "-P", str(_CHILD)], pickle.dumps(order), patience)


def third_party(modules: list[str], own: set[str]) -> list[str]:
    """Say which distributions a list of modules comes from.

    Args:
        modules: Names of modules.
        own: Top-level packages that do not count.

    Returns:
        The names of the top-level packages that are neither the standard library's nor in `own`.
    """
    tops = {name.partition(".")[0] for name in modules}
    return sorted(
        top
        for top in tops
        if top not in sys.stdlib_module_names and top not in own and not top.startswith(("__", "_sysconfigdata"))
    )


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


def _revealed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.reveal() if hasattr(value, "reveal") else value for name, value in values.items()}


def _ask(command: list[str], payload: bytes, patience: float) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        done = subprocess.run(command, input=payload, capture_output=True, timeout=10 * patience, check=False)  # noqa: S603 -- ourselves
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"a process of its own did not end within {time.monotonic() - begun:.0f} s") from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CheckFailed(f"in a process of its own it failed: {' '.join(last) or done.returncode}") from None
    return found
