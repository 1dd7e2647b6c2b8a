"""The installed distributions: broken metadata, and distributions that are installed twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import importlib_metadata

from providerhub import hookspecs
from providerhub._finding.discovery import GROUPS, is_near, unread
from providerhub._finding.installed import name_and_version, normalized
from providerhub._values.checks import nearest
from providerhub.cli import _screen as screen


class Finding(NamedTuple):
    """One result of a check of `about`, such as a plugin. An error keeps calls from working; only `"ok"` has no fix."""

    level: str  # "error", "warning", "note" or "ok"
    about: str
    text: str
    fix: str = ""


class Installed(NamedTuple):
    """One distribution: the place of its metadata and the mistake in it, if any, and its entry-point groups of this project."""

    name: str
    version: str
    place: Path
    groups: tuple[str, ...]
    flaw: str

    @property
    def concerns_us(self) -> bool:
        """Whether it is a part or a plugin of this project."""
        return bool(self.groups) or self.key == hookspecs.PROJECT or self.key.startswith(f"{hookspecs.PROJECT}-")

    @property
    def key(self) -> str:
        """The name as package indexes compare it."""
        return normalized(self.name)


def installed() -> tuple[Installed, ...]:
    return tuple(_read(distribution) for distribution in importlib_metadata.distributions())


def _read(distribution: Any) -> Installed:
    place = Path(str(getattr(distribution, "_path", "an unknown place")))  # it may lie in a zip file
    name, version, groups, flaw = "", "", (), ""
    try:
        name, version = name_and_version(distribution)
    except Exception as error:  # one distribution with broken metadata must not hide the others
        flaw = f"its metadata cannot be used ({type(error).__name__}: {screen.one_line(error)})"
    try:
        _check_lines(distribution.read_text("entry_points.txt") or "")
        entries = [(entry.group, entry.name, entry.module) for entry in distribution.entry_points]
        groups = tuple(sorted({group for group, _, _ in entries if group in GROUPS}))
        odd = [] if groups else [(group, name) for group, name, _ in entries if is_near(group) or _is_like_ours(group)]
        flaw = flaw or "; ".join(unread(group, name) for group, name in odd)
    except Exception as error:  # the parser raises several kinds of error
        flaw = f"its entry_points.txt is malformed ({type(error).__name__}: {screen.one_line(error)})"
    return Installed(name or place.name, version, place, groups, flaw)


def _is_like_ours(group: str) -> bool:
    return bool(nearest(group.partition(".")[0], [hookspecs.PROJECT], cutoff=0.8))


def _check_lines(text: str) -> None:
    """Check a file by the entry points specification (PyPA). Python's parser silently skips wrong lines."""
    section = False
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line.startswith("[") and line.endswith("]"):
            section = True
        elif line and not line.startswith(("#", ";")) and not (section and "=" in line and not line.startswith("[")):
            raise ValueError(f"line {number} is neither [group] nor name = value in a group")


def findings(found: Iterable[Installed]) -> Iterator[Finding]:
    """Report broken metadata and distributions that are installed twice."""
    copies: dict[str, list[Installed]] = {}
    for item in found:
        if item.flaw:
            yield _broken(item)
        copies.setdefault(item.key, []).append(item)
    for several in copies.values():
        yield from _twice(*several)


def _broken(item: Installed) -> Finding:
    is_nameless = item.name.endswith((".dist-info", ".egg-info"))
    fix = "reinstall the package" if is_nameless else f"reinstall it (pip install --force-reinstall {item.name})"
    return Finding("error" if item.concerns_us else "warning", item.name, item.flaw, f"{fix} or remove {item.place}")


def _twice(first: Installed, *others: Installed) -> Iterator[Finding]:
    """Report copies: in one folder, of an interrupted upgrade; in several folders, the first copy hides the others."""
    others = tuple(item for item in others if item.place != first.place)
    same = [item for item in others if item.place.parent == first.place.parent]
    hidden = [item for item in others if item not in same]
    if same:
        versions = " and ".join(item.version or "?" for item in (first, *same))
        text = f"it is installed twice in {first.place.parent}, as {versions}"
        fix = f"repeat pip uninstall {first.name} until it is gone, then install it again"
        yield Finding("warning", first.name, text, fix)
    if hidden and any(item.concerns_us for item in (first, *others)):
        text = f"{first.version} in {first.place.parent} hides {hidden[0].version} in {hidden[0].place.parent}"
        yield Finding("warning", first.name, text, "uninstall the copy that you do not need")
