"""`providerhub plugins`."""

from __future__ import annotations

from collections.abc import Iterable

import click

from providerhub import Hub, InstanceView
from providerhub._finding.registry import INSTALL_HINT
from providerhub.cli import _options as options
from providerhub.cli import _records as records
from providerhub.cli import _screen as screen

_COLUMNS = ("name", "distribution", "state", "models", "import", "reason")
_FIELDS = ("name", "plugin", "distribution", "version", "state", "reason")


def record(view: InstanceView, *more: str) -> dict[str, object]:
    """A provider as JSON, with `more` attributes than the usual ones."""
    return {**records.picked(view, *_FIELDS, *more), "models": _models(view)}


def table(instances: Iterable[InstanceView]) -> None:
    """Write the table of providers."""
    screen.table(_COLUMNS, [_row(view) for view in instances])


def _row(view: InstanceView) -> tuple[str, ...]:
    seconds = f"{view.import_seconds * 1000:.1f} ms" if view.import_seconds else ""
    plugin = [f"an instance of {view.plugin}"] if view.plugin != view.name else []
    notes = [note for note in view.notes if note not in view.reason]
    reason = "; ".join(filter(None, [*plugin, view.reason, *notes]))
    return view.name, f"{view.distribution} {view.version}", view.state, ", ".join(_models(view)), seconds, reason


def _models(view: InstanceView) -> list[str]:
    return [model.name for model in view.models]


@click.command()
@options.as_json
def plugins(*, as_json: bool) -> None:
    """List the installed and configured providers with their state."""
    with Hub() as hub:
        instances, malformed = hub.instances(), hub.malformed()
    if as_json:
        found = [record(view, "notes", "missing", "import_seconds") for view in instances]
        screen.data({"plugins": found, "malformed": [records.picked(item, "distribution", "reason") for item in malformed]})
        return
    if instances:
        table(instances)
    else:
        screen.line(f"No provider plugin is installed; try: {INSTALL_HINT}", err=True)
    for item in malformed:
        screen.line(f"{item.distribution} cannot be read: {item.reason}; reinstall or uninstall it", err=True)
