"""The bar that shows how far a batch is."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


class Bar:
    """A bar with the rate and the time left on standard error, where that is a terminal; otherwise nothing.

    Args:
        total: The lines to come, or `None` where that is not known.
        before: The lines that have a result already.
    """

    def __init__(self, total: int | None, before: int) -> None:
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")) or None)
            self._progress = Progress(
                BarColumn(), MofNCompleteColumn(), _Rate(), TextColumn("left"), TimeRemainingColumn(),
                TextColumn("{task.fields[failed]}"), console=console,
            )  # fmt: skip
            self._task = self._progress.add_task("", total=total, completed=before, failed="")

    def advance(self, failed: int) -> None:
        """One line more has its result.

        Args:
            failed: How many have failed.
        """
        if self._progress:
            self._progress.update(self._task, advance=1, failed=f"{failed} failed" if failed else "")

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._progress:
            self._progress.stop()

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
