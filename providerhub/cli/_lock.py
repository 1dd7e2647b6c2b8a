"""A lock between processes; the system releases it when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _take(number: int) -> None:
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


class HeldError(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock in a `with` block. Its file is removed afterwards; a file that a killed process left is used again."""
    while True:
        with contextlib.ExitStack() as closed, path.open("ab") as file:
            try:
                _take(file.fileno())
            except (BlockingIOError, PermissionError):  # raised by flock and by msvcrt
                raise HeldError from None
            try:
                is_there = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                is_there = False
            if not is_there:  # the last holder removed the file after it was opened here
                continue
            if sys.platform == "win32":  # Windows cannot remove an open file
                closed.callback(_remove, path)
            try:
                yield
            finally:
                _remove(path)
            return


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
