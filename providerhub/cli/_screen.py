"""What goes to the terminal or the pipe: rich's drawing in the one, plain text in the other."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from providerhub import Route

# C0 and C1 but for newline and tab: a foreign text must not move the cursor or fill the clipboard.
_CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10})


def is_terminal() -> bool:
    """Whether a person is looking at standard output."""
    return sys.stdout.isatty()


def safe(text: str) -> str:
    """A foreign text without control characters, for a terminal.

    Args:
        text: What a model, a plugin or an error says.
    """
    return text.translate(_CONTROLS)


def piece(text: str) -> None:
    """Write a part of an answer at once, without a newline; a pipe gets it unchanged.

    Args:
        text: The part.
    """
    sys.stdout.write(safe(text) if is_terminal() else text)
    sys.stdout.flush()


def line(text: str, *, err: bool = False) -> None:
    """Write a line.

    Args:
        text: The line.
        err: To standard error.
    """
    click.echo(safe(text), err=err)


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415 -- slow; a pipe does without

    return Console(color_system=None) if os.environ.get("NO_COLOR") else Console()


def heading(text: str) -> None:
    """Write a heading.

    Args:
        text: One line.
    """
    if is_terminal():
        _console().print(f"\n{text}", style="bold", markup=False, highlight=False)
    else:
        line(f"\n{text}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table: drawn in a terminal; in a pipe aligned columns, one row a line.

    Args:
        columns: The columns' names.
        rows: One text for each column.
    """
    cells = [[" ".join(safe(cell).split()) for cell in row] for row in rows]
    if not is_terminal():
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        for row in (columns, *cells):
            line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich import box, table, text  # noqa: PLC0415 -- slow; a pipe does without

    drawn = table.Table(box=box.SIMPLE_HEAD)
    for column in columns:
        drawn.add_column(column, overflow="fold")  # a reason names its fix, so none of it may be cut off
    for row in cells:
        drawn.add_row(*map(text.Text, row))  # `Text`: square brackets in a reason are no markup
    _console().print(drawn)


def data(value: Any) -> None:
    """Write JSON.

    Args:
        value: What JSON can hold.
    """
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def one_line(error: BaseException) -> str:
    """An error as one line.

    Args:
        error: Its lines are joined.
    """
    return safe("; ".join(part.strip() for part in str(error).splitlines() if part.strip())) or type(error).__name__


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keep the library's log off standard error, for commands that say the same in their own words."""
    log, handler = logging.getLogger("providerhub"), logging.NullHandler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def route(taken: Route, *, err: bool = False) -> None:
    """Write what was tried and what was left out.

    Args:
        taken: The route of a call.
        err: To standard error.
    """
    for text in str(taken).splitlines():
        line(f"  {text}", err=err)
