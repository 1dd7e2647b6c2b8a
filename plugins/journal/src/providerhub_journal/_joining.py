"""The hooks by which the journal takes part in the calls of a hub."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

from providerhub import CallRecord, Settings, hookimpl
from providerhub_journal import _budget
from providerhub_journal._config import read
from providerhub_journal._gate import Gate
from providerhub_journal._writer import Writer, writer_for

_gates: dict[tuple[Any, ...], Gate] = {}
_lock = threading.Lock()


class Journal:
    """Records each finished call of a hub.

    Args:
        writer: The writer of the journal's database.
    """

    def __init__(self, writer: Writer) -> None:
        self._put = writer.put

    @hookimpl
    def providerhub_call_finished(self, call: CallRecord) -> None:
        """Put the record into the queue.

        Args:
            call: The record of the call.
        """
        self._put(call)


@hookimpl
def providerhub_join(settings: Settings) -> Any:
    """Record the calls of a hub: of the command line unless `[journal] enabled` is false, of other programs where it is true.

    Args:
        settings: The settings of the hub.

    Raises:
        ConfigurationError: A value in `[journal]` is wrong.
    """
    table = settings.journal
    config = read(table)
    return Journal(writer_for(config)) if table.get("enabled", config.program == "providerhub") else None


@hookimpl
def providerhub_gate(settings: Settings) -> Gate | None:
    """Keep the budgets of the settings.

    Args:
        settings: The settings of the hub.

    Raises:
        ConfigurationError: A value in `[budgets]` or `[journal]` is wrong.
    """
    if not settings.budgets:
        return None
    budgets, url = _budget.read(settings.budgets), read(settings.journal).url
    with _lock:  # the hubs of this process share what keeps the same budgets
        return _gates.setdefault((url, budgets), Gate(budgets, url))


def _finish() -> None:
    """The end of the program: settle what calls have cost."""
    for gate in tuple(_gates.values()):
        gate.close()


def _forked() -> None:
    global _lock  # noqa: PLW0603 -- another thread of the parent may have held it
    _lock = threading.Lock()
    for gate in _gates.values():
        gate._begin()  # noqa: SLF001


atexit.register(_finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
