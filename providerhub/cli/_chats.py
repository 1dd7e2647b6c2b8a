"""`providerhub chats`: the saved conversations of `ask` and `chat`."""

from __future__ import annotations

import fnmatch
import time
from pathlib import Path
from typing import Any

import click

from providerhub.cli import _options as options
from providerhub.cli import _screen as screen
from providerhub.cli import _store as store


@click.group()
def chats() -> None:
    """List and remove the saved conversations of `ask` and `chat`."""


@chats.command(name="list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """List the conversations, the last one first; `chat --conversation NAME` continues one."""
    found = [_row(path) for path in reversed(store.saved())]
    names = ("name", "changed", "questions", "model", "begins", "file")
    if as_json:
        screen.data([dict(zip(names, row, strict=True)) for row in found])
    elif found:
        rows = [(*map(str, row[:4]), screen.shortened(row[4], 80)) for row in found]
        screen.table(names[:5], rows, optional=("questions", "changed", "model"))


def _row(path: Path) -> tuple[Any, ...]:
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
    try:
        talk = store.read(path)
    except click.ClickException as error:  # the others are listed
        return path.stem, changed, 0, "", f"unreadable: {error.message}", str(path)
    begins = next((message.get("content") for message in talk.messages), "")
    if isinstance(begins, list):  # with attachments
        begins = " ".join(part.get("text") or f"[{part.get('type')}]" for part in begins)
    model = talk.model if isinstance(talk.model, str) else ", ".join(map(str, talk.model or ()))
    return path.stem, changed, len(talk.messages) // 2, model, str(begins), str(path)


@chats.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def remove(*, names: tuple[str, ...]) -> None:
    """Remove conversations by name. In a NAME, * and ? stand for any characters, as in '20260131-*'."""
    kept = store.saved()
    for name in names:
        chosen = [path for path in kept if fnmatch.fnmatchcase(path.stem, name)]
        if not chosen:
            raise click.ClickException(f"there is no conversation {name!r}; `providerhub chats list` shows all")
        for path in chosen:
            path.unlink(missing_ok=True)
            kept.remove(path)
            screen.line(f"Removed {path.stem}.", err=True)
