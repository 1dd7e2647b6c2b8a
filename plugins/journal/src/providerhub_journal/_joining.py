"""The journal's hooks."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from providerhub import CallRecord, ConfigurationError, Settings, hookimpl

if TYPE_CHECKING:  # slow to import; most hubs have neither a journal nor a budget
    from collections.abc import Callable

    from providerhub_journal._config import Config
    from providerhub_journal._gate import Gate

COMMAND_LINE = "providerhub"  # calls of this program are recorded by default


class Journal:
    """Records each finished call of a hub. The writer is imported at the end of the first call, so that no answer waits for it.

    Args:
        config: The settings of the journal; `None`, the default, for the defaults.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = config
        self._put: Callable[[CallRecord], None] | None = None

    @hookimpl
    def providerhub_call_finished(self, call: CallRecord) -> None:
        """Put the record into the queue.

        Args:
            call: The record of the call.
        """
        if self._put is None:
            from providerhub_journal._config import read
            from providerhub_journal._worker import shared
            from providerhub_journal._writer import Writer

            self._put = shared(Writer, self._config or read({})).put
        self._put(call)


def program() -> str:
    """The name of the program: the variable `PROVIDERHUB_PROGRAM`, which the command line sets, else the name of its file."""
    return os.environ.get("PROVIDERHUB_PROGRAM") or os.path.basename(sys.argv[0])  # noqa: PTH119 -- pathlib is slow to import


@hookimpl
def providerhub_join(settings: Settings) -> Any:
    """Record the calls of a hub: of the command line unless `[journal] enabled` is false, of other programs if it is true.

    Args:
        settings: The settings of the hub.

    Raises:
        ConfigurationError: A value in `[journal]` is wrong.
    """
    table = settings.journal
    if not table:
        return Journal() if program() == COMMAND_LINE else None
    from providerhub_journal._config import read

    config = read(table)
    if not table.get("enabled", config.program == COMMAND_LINE):
        return None
    if config.program != COMMAND_LINE:
        import providerhub_journal._insert  # noqa: F401 -- later, beside busy threads, this takes seconds
    return Journal(config)


@hookimpl
def providerhub_conversation(settings: Settings, name: str | None) -> dict[str, Any] | None:
    """Find the conversation of an answered call, if the journal keeps content.

    Args:
        settings: The settings of the command line.
        name: The identifier of the call, its beginning or its end; `None` for the latest call of the command line.

    Raises:
        ConfigurationError: The journal has the call without its content.
    """
    from providerhub_journal import _queries
    from providerhub_journal._config import read
    from providerhub_journal._database import connect, is_missing

    url = read(settings.journal).url
    if is_missing(url):
        return None
    engine = connect(url)
    try:
        found = _queries.call(engine, name)[0] if name else [*_queries.conversations(engine, COMMAND_LINE)]
    finally:
        engine.dispose()
    if not found:
        return None
    row = found[0]
    if not row["prompt"] or row["answer"] is None:
        fix = "[journal] content = true in the settings records the content of later calls"
        raise ConfigurationError(f"the journal has the call {row['id']} without its content, so it cannot go on; {fix}")
    names = row["asked"].split(", ")
    return {
        "model": names if names[1:] else names[0],
        "messages": [*row["prompt"], {"role": "assistant", "content": row["answer"]}],
    }


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
    from providerhub_journal import _budget
    from providerhub_journal._config import read
    from providerhub_journal._gate import Gate, shared_ledger
    from providerhub_journal._worker import shared

    budgets, config = _budget.read(settings.budgets), read(settings.journal)
    if config.ledger == "database":
        return shared(Gate, budgets, config.url, "")
    if settings.shared.url is None:
        raise ConfigurationError('journal.ledger = "shared" needs a store: set url in [shared]')
    url = settings.shared.url.reveal()
    shared_ledger(url)  # a missing plugin raises now, and is not an outage later
    return shared(Gate, budgets, url, settings.shared.namespace)
