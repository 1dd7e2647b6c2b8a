"""The installed distributions as they lie on the disk: which cannot be read, and which are there twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from providerhub import hookspecs
from providerhub._finding.installed import name_and_version
from providerhub.cli import _screen as screen
from providerhub.cli._findings import Finding

GROUPS = (hookspecs.PROJECT, "providerhub.hooks", "providerhub.sandbox")


class Installed(NamedTuple):
    """One distribution.

    Args:
        name: Its name, as it writes it.
        version: Its version.
        place: The folder of its metadata.
        groups: Those of our entry-point groups in which it has entries.
        flaw: What is wrong with its metadata; empty when nothing is.
    """

    name: str
    version: str
    place: str
    groups: tuple[str, ...]
    flaw: str


def installed() -> tuple[Installed, ...]:
    """All distributions that this Python sees, in the order in which it does; each is read by itself."""
    import importlib_metadata  # noqa: PLC0415 -- slow to import

    return tuple(_read(distribution) for distribution in importlib_metadata.distributions())


def _read(distribution: Any) -> Installed:
    place = str(getattr(distribution, "_path", "an unknown place"))
    name, version, groups, flaw = "", "", (), ""
    try:
        name, version = name_and_version(distribution)
    except Exception as error:  # noqa: BLE001 -- any broken metadata on this machine must not stop the others
        flaw = f"its metadata cannot be used ({type(error).__name__}: {screen.one_line(error)})"
    try:
        _check_lines(distribution.read_text("entry_points.txt") or "")
        entries = [(entry.group, entry.name, entry.module) for entry in distribution.entry_points]
        groups = tuple(sorted({group for group, _, _ in entries if group in GROUPS}))
    except Exception as error:  # noqa: BLE001 -- the same
        flaw = f"its entry_points.txt is malformed ({type(error).__name__}: {screen.one_line(error)})"
    return Installed(name or Path(place).name, version, place, groups, flaw)


def _check_lines(text: str) -> None:
    """Hold a file to the entry points specification: sections of `name = value`. What reads it passes over what is none.

    Raises:
        ValueError: A line is neither a section's head, an entry in one, a comment nor blank.
    """
    section = False
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line.startswith("[") and line.endswith("]"):
            section = True
        elif line and not line.startswith(("#", ";")) and not (section and "=" in line and not line.startswith("[")):
            msg = f"line {number} is neither [group] nor name = value in a group"
            raise ValueError(msg)


def findings(found: tuple[Installed, ...]) -> Iterator[Finding]:
    """What is wrong with the distributions.

    Args:
        found: What `installed()` gave.
    """
    by_name: dict[str, list[Installed]] = {}
    for item in found:
        if item.flaw:
            nameless = item.name.endswith((".dist-info", ".egg-info"))  # it goes by its folder, which pip cannot install
            again = "reinstall what it belongs to" if nameless else f"reinstall it (pip install --force-reinstall {item.name})"
            fix = f"{again} or remove {item.place}"
            yield Finding("error" if item.groups or _ours(item.name) else "warning", item.name, item.flaw, fix)
        by_name.setdefault(_canonical(item.name), []).append(item)
    for copies in by_name.values():
        yield from _twice(copies)


def _twice(copies: list[Installed]) -> Iterator[Finding]:
    """Two in one folder are what an interrupted upgrade leaves; in two folders the first hides the others."""
    first, *others = copies
    same = [item for item in others if Path(item.place).parent == Path(first.place).parent and item.place != first.place]
    if same:
        versions = " and ".join(item.version or "?" for item in (first, *same))
        text = f"it is installed twice in {Path(first.place).parent}, as {versions}"
        yield Finding("warning", first.name, text, f"pip uninstall {first.name}, until it is gone, and install it again")
    hidden = [item for item in others if item not in same and item.place != first.place]
    if hidden and any(item.groups or _ours(item.name) for item in copies):
        text = f"{first.version} in {Path(first.place).parent} hides {hidden[0].version} in {Path(hidden[0].place).parent}"
        yield Finding("warning", first.name, text, "uninstall the one that is not meant")


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _ours(name: str) -> bool:
    return _canonical(name) == hookspecs.PROJECT or _canonical(name).startswith(f"{hookspecs.PROJECT}-")
