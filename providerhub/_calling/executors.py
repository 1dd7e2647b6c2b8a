"""Executors of many calls by text: `"processes:4"`, or a plugin of the entry-point group `providerhub.executors`.

An entry point names a callable `(text, concurrency)` that returns a `concurrent.futures.Executor`. The name is the part of the
text before the first colon. A call whose process was killed ends with a `concurrent.futures.BrokenExecutor`, and is made once
more. The executor accepts further calls after that, and itself never makes a call twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from providerhub._finding.installed import import_object, in_group
from providerhub._values.errors import ConfigurationError

if TYPE_CHECKING:  # slow to import; few programs need them
    from concurrent.futures import Executor

    Factory = Callable[[str, int], Executor]

GROUP = "providerhub.executors"


def factory_of(text: str) -> Factory:
    """The callable that opens an executor. Raises `ConfigurationError` if no plugin has it, or its import fails."""
    name = text.partition(":")[0]
    if name == "processes":
        return processes
    targets = {entry.name: entry.value for entry in in_group(GROUP)}
    if name not in targets:
        fix = f"install providerhub-{name}, or choose one of: {', '.join(sorted({'processes', *targets}))}"
        raise ConfigurationError(f"executor {text!r}: no installed plugin offers {name!r}; {fix}")
    try:
        found: Factory = import_object(targets[name])
    except Exception as error:
        msg = f"executor {text!r}: importing {targets[name]} raised {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    return found


def executor_of(text: str, concurrency: int) -> Executor:
    """Open the executor of a text."""
    found = factory_of(text)(text, concurrency)
    if not callable(getattr(found, "submit", None)):
        msg = f"executor {text!r}: its plugin returned {type(found).__name__}, not a concurrent.futures.Executor"
        raise ConfigurationError(msg)
    return found


def processes(text: str, concurrency: int) -> Executor:
    """Open processes of this machine, such as `"processes:4"`; without a number, as many as calls at once."""
    count = text.partition(":")[2]
    if count and not (count.isdecimal() and int(count)):
        raise ConfigurationError(f"executor {text!r}: the number of processes must be 1 or more, as in 'processes:4'")
    from providerhub._calling.processes import Processes  # slow to import: multiprocessing

    return Processes(int(count or concurrency))
