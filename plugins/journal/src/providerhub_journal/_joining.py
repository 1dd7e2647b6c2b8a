"""The hooks by which the journal takes part in the calls of a hub."""

from __future__ import annotations

from typing import Any

from providerhub import CallRecord, Settings, hookimpl
from providerhub_journal import _budget
from providerhub_journal._config import read
from providerhub_journal._gate import Gate
from providerhub_journal._worker import shared
from providerhub_journal._writer import Writer


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
    if table.get("enabled"):  # the command line, which makes one call, does not wait for this import of a tenth of a second
        import providerhub_journal._insert  # noqa: F401 -- beside busy threads it takes seconds, and the calls wait in memory
    return Journal(shared(Writer, config)) if table.get("enabled", config.program == "providerhub") else None


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
    return shared(Gate, budgets, url)
