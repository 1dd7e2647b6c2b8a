"""The progress bar of a batch."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


class Bar(Progress):
    """A bar with rate, time left, failures and cost, if standard error is a terminal. A pipe has no known `total`."""

    def __init__(self, total: int | None, before: int) -> None:
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            "left",
            TimeRemainingColumn(),
            "{task.fields[failed]}",
            "{task.fields[spent]}",
        )
        super().__init__(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self.add_task("", total=total, completed=before, failed="", spent="")

    def step(self, failed: int, spent: str) -> None:
        """Count a result, and show how many lines have failed so far, and what the answers have cost."""
        self.update(self._task, advance=1, failed=f"{failed} failed" if failed else "", spent=spent)

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if not self.disable:  # rich writes an empty line otherwise
            super().stop()
