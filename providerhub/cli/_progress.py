"""The progress of a batch: a bar in a terminal, or else a line from time to time."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from providerhub.cli import _screen as screen

EVERY = 30.0
"""Seconds between two lines about the progress, where standard error is not a terminal."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


class Bar(Progress):
    """A bar on standard error with rate, time left, failures and cost. A pipe as the input has no known `total`."""

    def __init__(self, total: int | None, before: int, **more: Any) -> None:
        told = ("{task.fields[failed]}", "{task.fields[spent]}")
        columns = (BarColumn(), MofNCompleteColumn(), _Rate(), "left", TimeRemainingColumn(), *told)
        super().__init__(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), **more)
        self._task = self.add_task("", total=total, completed=before, failed="", spent="")
        self._told = self.get_time()

    def step(self, failed: int, spent: str) -> None:
        """Count a result, and show the number of failed lines and the cost of the answers so far."""
        self.update(self._task, advance=1, failed=f"{failed} failed" if failed else "", spent=spent)
        if self.disable and self.get_time() - self._told >= EVERY:
            self._told = self.get_time()
            task = self.tasks[self._task]
            total = f" of {task.total:.0f}" if task.total else ""
            parts = (f"{task.completed:.0f}{total} lines", task.fields["failed"], spent)
            screen.line("; ".join(filter(None, parts)), err=True)

    def stop(self) -> None:
        if not self.disable:  # otherwise rich would write an empty line
            super().stop()
