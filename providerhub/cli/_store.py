"""The user's folders, and the conversations in them: a file each, with a line for each question and its answer."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import click

from providerhub import Message, Settings
from providerhub._settings.settings import user_folder
from providerhub.cli import _screen as screen


def config_folder(name: str) -> Path:
    """A folder beside the user's settings file."""
    return Path(user_folder("config")) / name


def folder() -> Path:
    return Path(user_folder("data")) / "conversations"


def append(path: Path, line: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        before = os.fstat(number).st_size
        try:
            while line:
                line = line[os.write(number, line) :]
        except OSError:  # the disk is full: half a line would make the file unreadable
            os.ftruncate(number, before)
            raise
    finally:
        os.close(number)


@contextlib.contextmanager
def replacing(path: Path, like: Path | None = None) -> Iterator[BinaryIO]:
    """Write a whole file or nothing. Only its owner may read the file, or the readers of the file `like`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
    try:
        with open(fresh, "xb", opener=partial(os.open, mode=0o600)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if like is not None and like.exists():
            fresh.chmod(like.stat().st_mode & 0o777)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


class Conversation:
    """A conversation. `path` is its file or `None`; `model` and `system` come from its last question."""

    def __init__(self, path: Path | None, model: Any = None, system: str | None = None, messages: Sequence[Message] = ()) -> None:
        self.path, self.model, self.system = path, model, system
        self.messages = [*messages]

    @property
    def name(self) -> str:
        return self.path.stem if self.path else ""

    def keep(self, question: Message, answer: Message, *, model: Any, system: str | None) -> None:
        """Add a question and its answer. If writing fails, standard error gets a line."""
        self.messages += [question, answer]
        self.model, self.system = model, system
        if self.path is None:
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        record = {"at": at, "model": model, "system": system, "messages": [question, answer]}
        try:
            append(self.path, json.dumps(record, default=repr).encode() + b"\n")
        except OSError as error:
            screen.line(f"The conversation is not saved in {self.path}: {error.strerror}; --no-save does without", err=True)
            self.path = None


def part_of_answer(heard: Iterable[str]) -> Message:
    """The message of a stopped answer, with a mark at its end for the model."""
    return {"role": "assistant", "content": "".join([*heard, " [interrupted]"]).lstrip()}


def opened(*, last: bool, name: str | None, save: bool) -> Conversation:
    """A new conversation; with `last`, the conversation that was changed last; with a name, the named conversation."""
    fresh = folder() / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}.jsonl" if save else None
    if not last and name is None:
        return Conversation(fresh)
    kept = [path for path in saved() if name is None or path.stem == name]
    if not kept and (found := _offered(name)):
        first, *rest = found["messages"]
        is_system = first["role"] == "system"
        return Conversation(fresh, found["model"], first["content"] if is_system else None, rest if is_system else [first, *rest])
    if not kept:
        text = f"there is no conversation {name!r}" if name else "there is no conversation to continue"
        fix = f"`providerhub chats list` shows those in {folder()}"
        raise click.ClickException(f"{text}; {fix}; without {'--conversation' if name else '-c'} a new one begins")
    return read(kept[-1], save=save)


def _offered(name: str | None) -> Mapping[str, Any] | None:
    """The conversation of a plugin, such as the journal; else `None`."""
    from providerhub._finding.discovery import Plugins  # not needed for a new conversation

    settings = Settings.load()
    offers = (offer(settings=settings, name=name) for offer in Plugins(settings).hooks("providerhub_conversation"))
    return next((found for found in offers if found is not None), None)


def saved() -> list[Path]:
    """The files of the conversations, the latest change last."""
    return sorted(folder().glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)


def read(path: Path, *, save: bool = True) -> Conversation:
    """Read a conversation. With `save`, further questions are added to its file."""
    found = Conversation(path if save else None)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise click.ClickException(f"cannot read the conversation {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            question, answer = record["messages"]
            found.model, found.system = record["model"], record["system"]
        except (ValueError, KeyError, TypeError) as error:
            text = f"{path}:{number} is not a question with its answer; remove the line, or begin a new conversation"
            raise click.ClickException(text) from error
        found.messages += [question, answer]
    return found
