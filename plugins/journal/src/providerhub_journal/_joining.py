"""The hooks by which the journal takes part in the calls of a hub."""

from __future__ import annotations

from typing import Any

from providerhub import CallRecord, Settings, hookimpl
from providerhub_journal._config import read
from providerhub_journal._writer import Writer, writer_for


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
