"""The installed distributions, as their metadata lies on the disk.

A plain folder of the path, which nearly every one is, is read directly: importing importlib-metadata takes several times as long
as reading a hundred distributions. Whatever else may hold some (an archive, a finder of another kind) is left to it.
Sources: "Recording installed projects" and "Entry points specification", packaging.python.org.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

_SUFFIXES = (".dist-info", ".egg-info")
_USUAL_FINDERS = frozenset({"_frozen_importlib_external", "importlib_metadata"})
"""Modules of the finders that look for distributions in the folders of the path."""
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class Distribution(Protocol):
    """One installed distribution; importlib-metadata's have the same method."""

    def read_text(self, filename: str) -> str | None:
        """A file of its metadata; `None` when it is not there.

        Args:
            filename: Such as `"METADATA"`.
        """
        ...  # pragma: no cover -- a protocol's method is never run


class Folder:
    """A distribution whose metadata is a folder.

    Args:
        place: The folder.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def read_text(self, filename: str) -> str | None:
        """As `Distribution.read_text`."""
        try:
            with open(os.path.join(self.place, filename), encoding="utf-8") as file:
                return file.read()
        except _ABSENT:
            return None


def distributions() -> Iterator[Distribution]:
    """All of them, in the order of the path: of two with one name the first is the one that is imported."""
    if not all(map(_is_usual, sys.meta_path)):
        yield from _left_to_library()
        return
    # Nothing is imported from an entry that is no text either.
    for place in (entry or os.curdir for entry in sys.path if isinstance(entry, str)):
        try:
            names = os.listdir(place)
        except NotADirectoryError:
            yield from _left_to_library([place])
        except OSError:
            continue  # the path names much that is not there
        else:
            is_egg = place.lower().endswith(".egg")
            for name in names:
                if name.lower().endswith(_SUFFIXES) or (is_egg and name.lower() == "egg-info"):
                    yield Folder(os.path.join(place, name))


def entry_points(text: str) -> Iterator[tuple[str, str, str]]:
    """Take `entry_points.txt` apart.

    Args:
        text: The file.

    Yields:
        Group, name and value of each entry.

    Raises:
        ValueError: A line is no entry.
    """
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and group and not line.startswith(("#", ";")):
            name, sign, value = line.partition("=")
            if not sign:
                msg = f"{line!r} is not of the form name = value"
                raise ValueError(msg)
            # Behind a bracket stand extras, which nobody uses any more.
            yield group, name.strip(), value.partition("[")[0].strip()


def name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Two headers of the core metadata, read without a parser for e-mail.

    Args:
        distribution: Whose.

    Returns:
        The name and the version.

    Raises:
        ValueError: There is no name.
    """
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    headers = text.replace("\r\n", "\n").partition("\n\n")[0]
    found = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in headers.split("\n"))}
    if not found.get("name"):
        msg = "its metadata has no name"
        raise ValueError(msg)
    return found["name"], found.get("version", "")


def name_of(distribution: Distribution) -> str:
    """Its name; that of its folder serves where not even the metadata can be read.

    Args:
        distribution: Whose.
    """
    try:
        return name_and_version(distribution)[0]
    except Exception:
        return str(getattr(distribution, "place", None) or getattr(distribution, "_path", "unknown"))


def _left_to_library(path: Sequence[str] | None = None) -> Iterator[Distribution]:
    import importlib_metadata  # noqa: PLC0415 -- slow to import, and hardly ever needed

    options = {} if path is None else {"path": path}
    yield from importlib_metadata.distributions(**options)


def _is_usual(finder: object) -> bool:
    return not hasattr(finder, "find_distributions") or getattr(finder, "__module__", "") in _USUAL_FINDERS
