"""A lock between processes that the system releases whatever becomes of its holder."""

from __future__ import annotations

import contextlib
import errno
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
    """Hold a lock for the length of a `with` block.

    Args:
        path: The lock's file, which is removed afterwards; one that a killed process left behind is taken over.

    Raises:
        HeldError: Another process holds it.
        OSError: The file cannot be made or locked.
    """
    number = _taken(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # an open file cannot be removed on Windows; the next holder takes it over
            path.unlink()
        os.close(number)


def _taken(path: Path) -> int:
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(number)
        except OSError as error:
            os.close(number)
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                raise HeldError from None
            raise
        if _is(number, path):
            return number
        os.close(number)  # its last holder removed it after we had opened it


def _is(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False
