"""Observe a plugin in a separate process: the imports and the cost of its light module, and the I/O of its factory.

The process prints one JSON object. A fresh process shows exactly the modules that the plugin imports, and an audit hook, which
cannot be removed, ends with it.
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
        module: The name of the module.
        patience: A tenth of the longest wait for the process, in seconds.

    Returns:
        `core` and `own`: the processor time of importing the core and the module, in seconds; `new`: the modules that the module
        imported.
    """
    return _imports(module, json.dumps(sys.path), patience)


@functools.cache
def _imports(module: str, path: str, patience: float) -> dict[str, Any]:
    return _ask([sys.executable, "-c", _START, path, module], b"", patience)


def creation(factory: str, config: ProviderConfig, patience: float) -> dict[str, Any]:
    """Call a factory in a fresh process, and observe its I/O.

    Args:
        factory: The factory, as `module:function`.
        config: The argument of the factory.
        patience: A tenth of the longest wait for the process, in seconds.

    Returns:
        `events`: the network connections, look-ups and processes; `error`: the error of the factory, or `""`.
    """
    module, _, attribute = factory.partition(":")
    key = config.api_key.reveal() if config.api_key else None
    fields = {"name": config.name, "url": config.url, "api_key": key, "options": _revealed(config.options)}
    order = {"path": sys.path, "module": module, "attribute": attribute, "config": fields}
    return _ask([sys.executable, "-P", str(_CHILD)], pickle.dumps(order), patience)


def third_party(modules: list[str], own: set[str]) -> list[str]:
    """Find the third-party packages in a list of modules.

    Args:
        modules: The names of the modules.
        own: The top-level packages that do not count.

    Returns:
        The names of the top-level packages that are neither in the standard library nor in `own`.
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
        distribution: The name of the distribution.
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
        done = subprocess.run(command, input=payload, capture_output=True, timeout=10 * patience, check=False)  # noqa: S603 -- our own script
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"the plugin in a separate process did not end within {time.monotonic() - begun:.0f} s") from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CheckFailed(f"the plugin failed in a separate process: {' '.join(last) or done.returncode}") from None
    return found
