"""The findings of the doctor, and their report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import attrs

from providerhub import InstanceView
from providerhub.cli import _listings as listings
from providerhub.cli import _screen as screen
from providerhub.cli import _setting_rows as setting_rows
from providerhub.cli._imports import Import

Level = Literal["error", "warning", "note", "ok"]
_ORDER = ("error", "warning", "note", "ok")


class Finding(NamedTuple):
    """One result of a check.

    Args:
        level: `"error"` keeps calls from working, `"warning"` may do so, `"note"` is information, `"ok"` is a check passed.
        about: The distribution, plugin, provider, file or variable.
        text: The state that the check found.
        fix: The remedy; empty only for `"ok"`.
    """

    level: Level
    about: str
    text: str
    fix: str = ""


@attrs.define
class Report:
    """The state of an installation. `imports` are by the value of the entry point; `file` is that of the settings, if any."""

    versions: dict[str, str] = attrs.field(factory=dict)
    findings: list[Finding] = attrs.field(factory=list)
    providers: tuple[InstanceView, ...] = ()
    imports: dict[str, Import] = attrs.field(factory=dict)
    rows: tuple[setting_rows.Row, ...] = ()
    file: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.level != "error" for finding in self.findings)

    def add(self, about: str, check: Callable[[], Iterable[Finding]]) -> None:
        """Run a check of the subject `about`; an error that it raises becomes a finding."""
        try:
            self.findings.extend(check())
        except Exception as error:  # on a broken machine any check may raise; the others must still run
            text = f"this check failed: {type(error).__name__}: {screen.one_line(error)}"
            self.findings.append(Finding("error", about, text, "providerhub --debug plugins may show more"))

    def write_json(self) -> None:
        """Write the report as JSON."""
        screen.data(
            {
                "healthy": self.healthy,
                "versions": self.versions,
                "findings": [finding._asdict() for finding in self.findings],
                "providers": [listings.record(view) for view in self.providers],
                "imports": [went._asdict() for went in self.imports.values()],
                "settings": {"file": self.file, "values": [row._asdict() for row in self.rows]},
            }
        )

    def write_text(self) -> None:
        """Write the report as tables, errors first."""
        screen.heading("Versions")
        screen.table(("name", "version"), list(self.versions.items()))
        screen.heading("Settings other than the core's defaults")
        setting_rows.table(row for row in self.rows if row.origin != setting_rows.DEFAULT)
        if self.imports:
            screen.heading("Imports, each in its own process")
            rows = [(went.module, went.outcome, f"{went.seconds * 1000:.0f} ms") for went in self.imports.values()]
            screen.table(("module", "outcome", "time"), rows)
        screen.heading("Findings")
        found = sorted(self.findings, key=lambda finding: _ORDER.index(finding.level))
        screen.table(("level", "about", "finding", "fix"), found)
        counts = {level: sum(finding.level == level for finding in found) for level in _ORDER[:2]}
        screen.line(", ".join(f"{count} {level}{'s' if count != 1 else ''}" for level, count in counts.items()))
