"""Changes of the settings file that keep its comments and its order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from providerhub._settings.file import read
from providerhub._settings.settings import settings_path
from providerhub.cli import _store as store


def put(keys: Sequence[str], value: Any) -> Path:
    """Set the value of a key, given by its tables' names and its own; `None` removes it. Only its owner may read a new file."""
    named = settings_path(os.environ)
    if named is None:
        raise click.ClickException("this user has no configuration folder; name a file with PROVIDERHUB_CONFIG")
    path = Path(named).resolve()  # a link stays a link
    if path.exists() and not path.is_file():
        raise click.ClickException(f"{path} is not a file, so nothing can be saved in it; name another with PROVIDERHUB_CONFIG")
    _check(path, "correct it first")
    try:
        _write(path, keys, value)
    except OSError as error:
        raise click.ClickException(f"cannot change {path}: {error.strerror}") from error
    return path


def _write(path: Path, keys: Sequence[str], value: Any) -> None:
    import tomlkit  # slow to import

    document = tomlkit.parse(path.read_text("utf-8-sig") if path.exists() else "")
    table: Any = document
    above: Any = document
    for number, key in enumerate(keys[:-1]):
        if key not in table:
            table[key] = tomlkit.table(is_super_table=number < len(keys) - 2)
        table, above = table[key], table
    if value is None:
        del table[keys[-1]]
        if keys[1:] and not table.as_string().strip():  # an empty table would still configure a provider
            del above[keys[-2]]
    else:
        table[keys[-1]] = tomlkit.inline_table() if isinstance(value, dict) else value
    if isinstance(value, dict):
        table[keys[-1]].update(value)
    with store.replacing(path, like=path) as file:
        file.write(tomlkit.dumps(document).encode())
        file.flush()
        _check(Path(file.name), "nothing was saved")


def _check(path: Path, rest: str) -> None:
    if error := read(str(path), optional=True).error:
        raise click.ClickException(f"{error}; {rest}")
