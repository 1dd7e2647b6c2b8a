"""`providerhub chats`: the saved conversations of `ask` and `chat`."""

from __future__ import annotations

import fnmatch
import time
from pathlib import Path
from typing import Any

import click

from providerhub import Message
from providerhub.cli import _options as options
from providerhub.cli import _screen as screen
from providerhub.cli import _store as store


@click.group()
def chats() -> None:
    """List, show and remove the saved conversations of `ask` and `chat`."""


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
    except click.ClickException as error:  # the other conversations are still listed
        return path.stem, changed, 0, "", f"unreadable: {error.message}", str(path)
    begins = next(map(_text, talk.messages), "")
    model = talk.model if isinstance(talk.model, str) else ", ".join(map(str, talk.model or ()))
    return path.stem, changed, len(talk.messages) // 2, model, begins, str(path)


def _text(message: Message) -> str:
    """The text of a message, with the kind of each attachment in brackets."""
    content = message.get("content")
    if isinstance(content, list):
        content = " ".join(part.get("text") or f"[{part.get('type')}]" for part in content)
    return str(content or "")


@chats.command()
@click.argument("name")
@options.as_json
def show(*, name: str, as_json: bool) -> None:
    """Print the messages of the conversation NAME; --json prints whole messages."""
    path = next((path for path in store.saved() if path.stem == name), None)
    if path is None:
        raise _unknown(name)
    talk = store.read(path)
    messages = [*([{"role": "system", "content": talk.system}] if talk.system else ()), *talk.messages]
    if as_json:
        screen.data({"name": name, "model": talk.model, "messages": messages})
    for message in () if as_json else messages:
        screen.line(f"{message['role']}: {_text(message)}")


def _unknown(name: str) -> click.ClickException:
    return click.ClickException(f"there is no conversation {name!r}; `providerhub chats list` shows all")


@chats.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.as_json
def remove(*, names: tuple[str, ...], as_json: bool) -> None:
    """Remove conversations by name. In a NAME, * and ? stand for any characters, as in '20260131-*'."""
    kept, removed = store.saved(), []
    for name in names:
        chosen = [path for path in kept if fnmatch.fnmatchcase(path.stem, name)]
        if not chosen:
            raise _unknown(name)
        for path in chosen:
            path.unlink(missing_ok=True)
            kept.remove(path)
            removed.append(path.stem)
    screen.told("\n".join(f"Removed {name}." for name in removed), {"removed": removed}, as_json=as_json)
